"""One core in a test: a log in memory, a clock that the test sets, and no chance.

Node 1 of (1, 2, 3) unless said otherwise. With `NoChance` an election timeout is exactly
`TIMEOUT_MS`, and follower reads are numbered on the wire from `FIRST_WIRE_CONTEXT` on.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from raftkv.raft import (
    COMMAND,
    LEADER,
    MEMBERSHIP,
    NOBODY,
    AddMember,
    AppendEntries,
    AppendEntriesReply,
    Compacted,
    Entry,
    EntryId,
    HardState,
    Membership,
    MembershipChange,
    Message,
    RaftConfig,
    RaftCore,
    Ready,
    RequestVote,
    RequestVoteReply,
    encode_membership,
)

NS_PER_MS = 1_000_000
TIMEOUT_MS = 500
HEARTBEAT_MS = 100
#: With 5 % of drift.
LEASE_MS = 475
FIRST_WIRE_CONTEXT = 1_000_000


class NoChance(random.Random):
    """A generator whose numbers are known beforehand."""

    def randrange(self, *_args: int) -> int:  # type: ignore[override]
        """Return the smallest possible number."""
        return 0

    def getrandbits(self, _k: int) -> int:
        """Return where wire contexts begin."""
        return FIRST_WIRE_CONTEXT


class MemoryLog:
    """A LogReader over a list; entries have payloads that tell their term and index."""

    def __init__(self, terms: Sequence[int] = ()) -> None:
        self.entries = entries_of(*terms)
        #: What the entries follow.
        self.boundary = EntryId(0, 0)
        #: A test raises it to compact the log.
        self.first_index = 1

    @property
    def last_index(self) -> int:
        return self.boundary.index + len(self.entries)

    def term_at(self, index: int) -> int:
        if index < self.first_index - 1:
            raise Compacted(self.first_index)
        position = index - self.boundary.index
        return self.entries[position - 1].term if position > 0 else self.boundary.term

    def read(self, first: int, end: int, bytes_max: int) -> list[Entry]:
        assert 1 <= first < end <= self.last_index + 1
        if first < self.first_index:
            raise Compacted(self.first_index)
        position = first - self.boundary.index
        chosen = [self.entries[position - 1]]
        for entry in self.entries[position : end - 1 - self.boundary.index]:
            if sum(len(one.payload) for one in chosen) + len(entry.payload) > bytes_max:
                break
            chosen.append(entry)
        return chosen

    def append(self, entries: Sequence[Entry]) -> None:
        """Do what a Ready asks for."""
        if entries:
            assert entries[0].index <= self.last_index + 1
            del self.entries[entries[0].index - 1 - self.boundary.index :]
            self.entries.extend(entries)

    def begin_behind(self, boundary: EntryId) -> None:
        """Drop everything for a snapshot that ends with this entry."""
        self.boundary = boundary
        self.first_index = boundary.index + 1
        self.entries = []


class Node:
    """A core and its driver, one step at a time."""

    def __init__(
        self,
        terms: Sequence[int] = (),
        *,
        current_term: int | None = None,
        voted_for: int = NOBODY,
        applied: int = 0,
        voters: tuple[int, ...] = (1, 2, 3),
        started_ms: int = 0,
        config: dict[str, int] | None = None,
        entries: Sequence[Entry] = (),
        membership: Membership | None = None,
    ) -> None:
        self.log = MemoryLog(terms)
        self.log.append(entries)
        last_term = self.log.term_at(self.log.last_index)
        self.now_ns = started_ms * NS_PER_MS
        self.core = RaftCore(
            RaftConfig(node_id=1, voters=voters, **(config or {})),
            HardState(last_term if current_term is None else current_term, voted_for),
            self.log,
            applied=EntryId(self.log.term_at(applied), applied),
            random=NoChance(),
            now_ns=self.now_ns,
            membership=membership,
        )

    def wait(self, ms: int) -> None:
        """Let time pass without telling the core."""
        self.now_ns += ms * NS_PER_MS

    def tick_after(self, ms: int) -> None:
        """Let time pass and tell the core."""
        self.wait(ms)
        self.core.tick(self.now_ns)

    def step(self, *messages: Message) -> None:
        """Hand messages to the core."""
        for msg in messages:
            self.core.step(msg, self.now_ns)

    def read(self, context: int) -> None:
        """Ask for a read index."""
        self.core.read_index(context, self.now_ns)

    def change(self, change: MembershipChange) -> EntryId:
        """Ask for a change of the members."""
        return self.core.change_membership(change, self.now_ns)

    def take(self) -> Ready:
        """Take a Ready and write it, but don't sync."""
        ready = self.core.ready()
        if ready.snapshot is not None:
            self.log.begin_behind(ready.snapshot)
        self.log.append(ready.entries)
        return ready

    def persist(self, ready: Ready) -> None:
        """Report a Ready's write as durable."""
        if ready.hard_state is not None:
            self.core.hard_state_persisted(ready.hard_state)
        if ready.entries:
            self.core.persisted(EntryId(ready.entries[-1].term, ready.entries[-1].index))

    def settle(self) -> list[Ready]:
        """Take, write, sync and apply until nothing is left to do; return the Readys."""
        readys = []
        while self.core.has_ready():
            ready = self.take()
            self.persist(ready)
            if ready.committed_entries:
                self.core.applied(ready.committed_entries[-1].index)
            readys.append(ready)
        return readys

    def settled_messages(self) -> list[Message]:
        """Settle and return everything that was to be sent."""
        sent: list[Message] = []
        for ready in self.settle():
            sent += ready.messages + ready.messages_after_persist
        return sent

    def lease_is_valid(self) -> bool:
        """Ask at the present time."""
        return self.core.lease_is_valid(self.now_ns)


def entries_of(*terms: int, first: int = 1) -> list[Entry]:
    """Return entries with these terms from index `first` on."""
    return [
        Entry(term, index, COMMAND, f"{term}.{index}".encode()) for index, term in enumerate(terms, first)
    ]


def candidate(
    terms: Sequence[int] = (), *, voters: tuple[int, ...] = (1, 2, 3), applied: int = 0, **config: int
) -> Node:
    """Return a node that asks for votes in the term after its log's, its requests sent."""
    node = Node(terms, voters=voters, applied=applied, config=config)
    node.tick_after(TIMEOUT_MS)
    term = node.core.current_term + 1
    for voter in voters[1 : len(voters) // 2 + 1]:
        node.step(pre_vote_reply(term, voter))
    node.settle()
    assert node.core.current_term == term
    return node


def new_leader(
    terms: Sequence[int] = (), *, voters: tuple[int, ...] = (1, 2, 3), applied: int = 0, **config: int
) -> Node:
    """Return a leader just elected: its first Ready isn't taken."""
    node = candidate(terms, voters=voters, applied=applied, **config)
    for voter in voters[1 : len(voters) // 2 + 1]:
        node.step(vote_reply(node.core.current_term, voter))
    assert node.core.role is LEADER
    return node


def leader(terms: Sequence[int] = (), *, voters: tuple[int, ...] = (1, 2, 3), **config: int) -> Node:
    """Return a leader whose followers have its log up to the empty entry, which it has applied.

    They also know that it is committed, and acknowledged the first round.
    """
    node = new_leader(terms, voters=voters, **config)
    node.settle()
    for voter in voters[1:]:
        node.step(append_reply(node, voter, node.core.last_index))
    node.settle()
    node.tick_after(1)
    node.settle()
    assert node.core.last_applied == node.core.last_index
    return node


def follower(terms: Sequence[int] = (), *, term: int = 0, applied: int = 0, **config: int) -> Node:
    """Return a follower of node 2 in `term`, or the log's last term; its quiet start is over."""
    node = Node(terms, applied=applied, config=config)
    node.wait(TIMEOUT_MS - 1)
    term = term or node.core.current_term or 1
    last_index = node.log.last_index
    node.step(AppendEntries(term, 2, 1, last_index, node.log.term_at(last_index), applied, 0, []))
    node.settle()
    node.wait(1)
    return node


def pre_vote_reply(term: int, sender: int, *, is_granted: bool = True) -> RequestVoteReply:
    """Return an answer to node 1's pre-vote."""
    return RequestVoteReply(term, sender, 1, is_pre_vote=True, is_granted=is_granted)


def vote_reply(term: int, sender: int, *, is_granted: bool = True) -> RequestVoteReply:
    """Return an answer to node 1's request for a vote."""
    return RequestVoteReply(term, sender, 1, is_pre_vote=False, is_granted=is_granted)


def vote_request(
    term: int, sender: int, last: tuple[int, int], *, is_pre_vote: bool = False, is_transfer: bool = False
) -> RequestVote:
    """Return a request to node 1 for its vote; `last` is the sender's last (term, index)."""
    return RequestVote(term, sender, 1, last[1], last[0], is_pre_vote, is_transfer)


def append_reply(node: Node, sender: int, match_index: int, *, round_number: int = 1) -> AppendEntriesReply:
    """Return a follower's success to leader `node`."""
    return AppendEntriesReply(node.core.current_term, sender, 1, round_number, True, match_index, 0, 0)


def rejection(
    node: Node, sender: int, rejected_index: int, *, conflict_index: int, conflict_term: int
) -> AppendEntriesReply:
    """Return a follower's rejection to leader `node`."""
    term = node.core.current_term
    return AppendEntriesReply(term, sender, 1, 1, False, rejected_index, conflict_index, conflict_term)


def membership_entry(term: int, index: int, membership: Membership) -> Entry:
    return Entry(term, index, MEMBERSHIP, encode_membership(membership))


def brought(membership: Membership, *, prev: tuple[int, int] = (1, 1), commit: int = 0) -> AppendEntries:
    """Return node 2's append of a membership to node 1."""
    entry = membership_entry(prev[0], prev[1] + 1, membership)
    return AppendEntries(prev[0], 2, 1, prev[1], prev[0], commit, 1, [entry])


def acknowledge(node: Node, *senders: int) -> None:
    """Let these nodes have all that the leader has."""
    for sender in senders:
        node.step(append_reply(node, sender, node.core.last_index))


def with_learner() -> Node:
    """Return the leader of voters 1 2 3 and learner 4, which all have everything but the learner."""
    node = leader()
    node.change(AddMember(b"", is_staged=False))
    node.settle()
    acknowledge(node, 2, 3)
    node.settle()
    return node
