"""The whole state of one Raft node (Raft Figure 2, "State"), and what it is about to send.

Holds no rules. Each field names the module that writes it: `election` owns term, vote, role and
timers, `replication` the progress of followers, `read_index` rounds, lease and reads, `transfer`
the transfer, `reconfiguration` the memberships and who has a progress, `snapshot` when one was
restored; `core` empties the outbox.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random

from raftkv.raft.log import RaftLog
from raftkv.raft.membership import Membership
from raftkv.raft.progress import Inflights, Progress
from raftkv.raft.types import (
    FOLLOWER,
    NOBODY,
    Entry,
    EntryId,
    EntryKind,
    Forward,
    HardState,
    Message,
    RaftConfig,
    ReadState,
    Role,
)

NS_PER_MS = 1_000_000


@dataclass(slots=True)
class Outbox:
    """What the next Ready carries, besides entries. Any module adds, `core` empties."""

    messages: list[Message] = field(default_factory=list)
    messages_after_persist: list[Message] = field(default_factory=list)
    read_states: list[ReadState] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    snapshots_wanted: list[int] = field(default_factory=list)
    #: What takes the place of state and log.
    snapshot: EntryId | None = None
    #: Term or vote changed since the last Ready.
    has_hard_state: bool = False


@dataclass(slots=True)
class PendingRead:
    """A read that waits at the leader until a majority has acknowledged its round (thesis §6.4)."""

    #: Who asked: this node itself, or a follower.
    asker: int
    context: int
    read_index: int
    round: int


@dataclass(slots=True)
class MembershipAt:
    """A membership and the entry that brought it."""

    #: 0: the founding one, or the one that the state machine had at the start.
    index: int
    membership: Membership


@dataclass(slots=True)
class Transfer:
    """A leadership transfer under way (thesis §3.10)."""

    to: int
    #: Given up from then on.
    deadline_ns: int


@dataclass(slots=True)
class LeaderState:
    """What only a leader knows, for one term (Raft Figure 2, "Volatile state on leaders")."""

    #: When the term's leadership began.
    since_ns: int
    #: Index of the term's empty entry; everything from there on is of the leader's own term.
    term_start_index: int
    #: The other members, and for a while those who ceased to be one.
    progresses: dict[int, Progress]
    heartbeat_due_ns: int
    #: Payload bytes of this term's uncommitted entries.
    uncommitted_bytes: int = 0
    #: Some follower may lack entries that its window has room for.
    has_appends: bool = True
    #: The contact round that messages carry now, from 1.
    round: int = 0
    #: A message carrying `round` was made, so a later request needs a new one.
    is_round_carried: bool = True
    #: Heartbeats of `round` are to be sent in the next Ready.
    wants_heartbeats: bool = False
    #: (round, when it began) of rounds without a majority's answer, rising.
    round_starts: deque[tuple[int, int]] = field(default_factory=deque)
    #: The newest round that a majority, the leader included, has acknowledged.
    quorum_round: int = 0
    #: The lease runs short of then; 0: none was had in this term.
    lease_end_ns: int = 0
    #: Invariant: rounds rise.
    reads: deque[PendingRead] = field(default_factory=deque)
    transfer: Transfer | None = None
    #: The target may campaign at any time from then on, so no lease is trusted (thesis §6.4.1).
    has_sent_timeout_now: bool = False
    #: A leader that is to go: whom it has asked to take over, and before when it asks nobody else.
    successors_asked: set[int] = field(default_factory=set)
    next_successor_ns: int = 0


@dataclass(slots=True)
class RaftState:
    """One node; made by `start`."""

    config: RaftConfig
    #: The newest one that is known to be committed, and all later ones of the log, rising. The last one is in
    #: force: a membership counts from the moment that it is appended (Raft §6). `reconfiguration` writes it.
    memberships: list[MembershipAt]
    log: RaftLog
    random: Random
    #: The newest time that the driver has told.
    now_ns: int
    #: Written by `election`.
    current_term: int
    voted_for: int
    #: No vote is granted before then: the node forgot whom it heard before it was started.
    quiet_until_ns: int
    #: Contexts of follower reads on the wire count up from a random place, so that an answer to
    #: an earlier life of this node is never taken for one to this life.
    next_wire_context: int
    election_timeout_ns: int
    heartbeat_interval_ns: int
    #: How long a round's acknowledgement by a majority keeps other leaders away.
    lease_ns: int
    role: Role = FOLLOWER
    leader_id: int = NOBODY
    #: In which term a snapshot last told what is committed, 0: never. That term's leader may lack it.
    restored_in_term: int = 0
    #: False: the driver says that this node had better not lead; written by `election`.
    may_lead: bool = True
    #: False: the driver says that time can't be told, so no lease is trusted; written by `election`.
    may_lease: bool = True
    #: When a leader was last heard, whatever its term; None: never since the start.
    heard_leader_ns: int | None = None
    #: The election timer fires `election_wait_ns` after this.
    election_timer_ns: int = 0
    election_wait_ns: int = 0
    #: Answers to the running (pre-)election.
    votes: dict[int, bool] = field(default_factory=dict)
    #: None unless role is LEADER.
    leader: LeaderState | None = None
    #: A follower's reads at its leader: context on the wire -> the driver's context.
    follower_reads: dict[int, int] = field(default_factory=dict)
    outbox: Outbox = field(default_factory=Outbox)
    #: Follow from the membership in force: itself, the majorities that must agree, the other voters.
    membership: Membership = field(init=False)
    halves: tuple[tuple[int, ...], ...] = field(init=False)
    voting_peers: tuple[int, ...] = field(init=False)
    is_sole_voter: bool = field(init=False)

    def __post_init__(self) -> None:
        self.adopt_newest_membership()

    def adopt_newest_membership(self) -> None:
        """Let the last of `memberships` be in force."""
        membership = self.memberships[-1].membership
        self.membership = membership
        self.halves = (
            (membership.voters, membership.outgoing) if membership.outgoing else (membership.voters,)
        )
        self.voting_peers = tuple(sorted(membership.voter_ids - {self.node_id}))
        self.is_sole_voter = membership.is_sole_voter(self.node_id)

    @property
    def node_id(self) -> int:
        """This node's id."""
        return self.config.node_id

    def leading(self) -> LeaderState:
        """Return the leader's part of the state; the node must lead."""
        assert self.leader is not None, f"node {self.node_id} doesn't lead in term {self.current_term}"
        return self.leader

    def append_own(self, kind: EntryKind, payload: bytes) -> Entry:
        """Append the next entry of this leader's term."""
        leader = self.leading()
        entry = Entry(self.current_term, self.log.last_index + 1, kind, payload)
        self.log.append(entry)
        leader.uncommitted_bytes += len(payload)
        leader.has_appends = True
        return entry

    def advance_clock(self, now_ns: int) -> None:
        """Take a newer reading of the clock; an older one says nothing new."""
        if now_ns > self.now_ns:
            self.now_ns = now_ns


def start(
    config: RaftConfig,
    hard_state: HardState,
    log: RaftLog,
    random: Random,
    now_ns: int,
    memberships: list[MembershipAt],
) -> RaftState:
    """Make the state of a node that starts as a follower from what is durable."""
    assert hard_state.current_term >= log.last_term, (
        f"the log ends in term {log.last_term}, the hard state in {hard_state.current_term}"
    )
    timeout_ns = config.election_timeout_ms * NS_PER_MS
    is_pristine = hard_state.current_term == 0 and log.last_index == 0
    return RaftState(
        config=config,
        memberships=memberships,
        log=log,
        random=random,
        now_ns=now_ns,
        current_term=hard_state.current_term,
        voted_for=hard_state.voted_for,
        # A brand-new group has no leader yet whose lease a vote could break.
        quiet_until_ns=now_ns if is_pristine else now_ns + timeout_ns,
        next_wire_context=random.getrandbits(62),
        election_timeout_ns=timeout_ns,
        heartbeat_interval_ns=config.heartbeat_interval_ms * NS_PER_MS,
        lease_ns=timeout_ns * (100 - config.clock_drift_percent) // 100,
    )


def new_progress(state: RaftState, node_id: int) -> Progress:
    """Return what a leader knows of a member that it has heard nothing of."""
    config = state.config
    inflights = Inflights(count_max=config.inflight_messages_max, bytes_max=config.inflight_bytes_max)
    return Progress(node_id=node_id, next_index=state.log.last_index + 1, inflights=inflights)


def new_leader_state(state: RaftState) -> LeaderState:
    """Return what a leader knows at the start of its term, before its empty entry is appended."""
    others = sorted(state.membership.member_ids - {state.node_id})
    return LeaderState(
        since_ns=state.now_ns,
        term_start_index=state.log.last_index + 1,
        progresses={node_id: new_progress(state, node_id) for node_id in others},
        heartbeat_due_ns=state.now_ns + state.heartbeat_interval_ns,
    )
