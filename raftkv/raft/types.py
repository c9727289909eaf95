"""The values that go into and come out of the Raft core: entries, messages, Ready.

Knows nothing of bytes on a wire (`codec`), of disks or of clocks. Entries and messages are never
changed after they were handed over; every time is a caller's reading in nanoseconds of a clock
that keeps counting while the machine sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

#: The id that no node has: "nobody" in `voted_for` and `leader_id`.
NOBODY = 0


class Role(IntEnum):
    """What a node is in its current term (Raft §5.1, thesis §9.6 for the pre-candidate)."""

    FOLLOWER = 1
    PRE_CANDIDATE = 2
    CANDIDATE = 3
    LEADER = 4


FOLLOWER = Role.FOLLOWER
PRE_CANDIDATE = Role.PRE_CANDIDATE
CANDIDATE = Role.CANDIDATE
LEADER = Role.LEADER


class EntryKind(IntEnum):
    """What an entry's payload is."""

    #: No payload: the first entry of a leader's term (Raft §8).
    EMPTY = 0
    #: A payload of the state machine's.
    COMMAND = 1
    #: A `Membership`, whole (Raft §6); in force from the moment that it is appended.
    MEMBERSHIP = 2


EMPTY = EntryKind.EMPTY
COMMAND = EntryKind.COMMAND
MEMBERSHIP = EntryKind.MEMBERSHIP


@dataclass(slots=True)
class EntryId:
    """Names one entry for good: no two entries share both (Raft §5.3, log matching)."""

    term: int
    index: int


@dataclass(slots=True)
class Entry:
    """One place of the log."""

    term: int
    #: Position in the log, from 1.
    index: int
    kind: EntryKind
    payload: bytes


@dataclass(slots=True)
class HardState:
    """What a node must never forget (Raft Figure 2, persistent state)."""

    current_term: int = 0
    voted_for: int = NOBODY


@dataclass(slots=True)
class RequestVote:
    """Ask for a vote (Raft §5.2), or with `is_pre_vote` whether one would be had (thesis §9.6).

    A pre-vote names the term that the sender would campaign in, and changes nobody's term.
    """

    term: int
    sender: int
    to: int
    last_log_index: int
    last_log_term: int
    is_pre_vote: bool
    #: The leader asked for this election: stickiness to a live leader is waived (thesis §4.2.3).
    is_transfer: bool


@dataclass(slots=True)
class RequestVoteReply:
    """Answer a RequestVote. A granted pre-vote echoes the asked term, a denial carries the own."""

    term: int
    sender: int
    to: int
    is_pre_vote: bool
    is_granted: bool


@dataclass(slots=True)
class AppendEntries:
    """Replicate entries after (`prev_log_index`, `prev_log_term`) (Raft §5.3)."""

    term: int
    sender: int
    to: int
    prev_log_index: int
    prev_log_term: int
    leader_commit: int
    #: The leader's contact round; see `Heartbeat.round`.
    round: int
    entries: list[Entry]


@dataclass(slots=True)
class AppendEntriesReply:
    """Answer an AppendEntries once what it promises is durable.

    Success: `match_index` is the last index known to equal the leader's and to be durable here.
    Rejection: `conflict_index` is the first index of the term `conflict_term` that stands at
    `prev_log_index` here, or one past the last index with `conflict_term` 0 when the log is too
    short (Raft §5.3, the last paragraphs). With `match_index` and `conflict_index` 0 the
    AppendEntries was of an older term than the answer, which says nothing of the logs.
    """

    term: int
    sender: int
    to: int
    round: int
    is_success: bool
    #: Success: see above. Rejection: the `prev_log_index` that was rejected.
    match_index: int
    conflict_index: int
    conflict_term: int


@dataclass(slots=True)
class Heartbeat:
    """Claim leadership and pass on the commit index (Raft §5.2; etcd keeps it apart as well)."""

    term: int
    sender: int
    to: int
    #: Never above what `to` is known to have: min(match_index, commit_index).
    leader_commit: int
    #: Counts the leader's contact rounds; the leader knows when each began.
    round: int


@dataclass(slots=True)
class HeartbeatReply:
    """Acknowledge every contact round up to `round`."""

    term: int
    sender: int
    to: int
    round: int


@dataclass(slots=True)
class TimeoutNow:
    """Tell the target of a leadership transfer to campaign at once (thesis §3.10)."""

    term: int
    sender: int
    to: int


@dataclass(slots=True)
class TransferRequest:
    """A follower asks its leader to hand over to it (redis CLUSTER FAILOVER); lost ones are not repeated."""

    term: int
    sender: int
    to: int


@dataclass(slots=True)
class Forward:
    """A follower passes commands of its clients on to its leader, whose driver proposes them (thesis §6.2).

    The core looks at term and role alone: a leader's driver gets it in a Ready, everybody else drops it.
    """

    term: int
    sender: int
    to: int
    #: Which run of the sender's process it comes from.
    life: int
    #: Place among the sender's forwards in this life and term, from 1.
    number: int
    payload: bytes


@dataclass(slots=True)
class ReadIndexRequest:
    """A follower asks its leader for a read index (thesis §6.4)."""

    term: int
    sender: int
    to: int
    #: The follower's name for its waiting reads, given back in the reply.
    context: int


@dataclass(slots=True)
class ReadIndexReply:
    """Answer a ReadIndexRequest: reads may run once `read_index` is applied at the asker."""

    term: int
    sender: int
    to: int
    context: int
    #: 0: refused, the answering node doesn't lead.
    read_index: int
    #: As in `Heartbeat`, so that an idle follower need not wait for the next one to apply.
    leader_commit: int


Message = (
    RequestVote
    | RequestVoteReply
    | AppendEntries
    | AppendEntriesReply
    | Heartbeat
    | HeartbeatReply
    | TimeoutNow
    | TransferRequest
    | Forward
    | ReadIndexRequest
    | ReadIndexReply
)


@dataclass(slots=True)
class ReadState:
    """A read that was asked for as `context` may run once `index` is applied (thesis §6.4)."""

    context: int
    #: 0: refused, nobody confirmed it; ask again or give up (always definite, a read changes nothing).
    index: int


@dataclass(slots=True)
class Ready:
    """Everything that the core wants done, in one value; see `core` for the order."""

    #: First of all: replace state and log by the snapshot that ends with this entry, which the driver gave
    #: to `restore`. What was committed earlier and isn't applied yet is part of it: forget that.
    snapshot: EntryId | None = None
    #: Make durable before or together with `entries`; None: as before.
    hard_state: HardState | None = None
    #: Append to the log after cutting it from `entries[0].index` on; make durable, then `persisted`.
    entries: list[Entry] = field(default_factory=list)
    #: Send at once.
    messages: list[Message] = field(default_factory=list)
    #: Send once everything up to and including this Ready's hard state and entries is durable.
    messages_after_persist: list[Message] = field(default_factory=list)
    #: Apply in order, then `applied`. Invariant: committed, and durable in the own log.
    committed_entries: list[Entry] = field(default_factory=list)
    read_states: list[ReadState] = field(default_factory=list)
    #: Of this term, in the order in which they came; only a leader gets some.
    forwards: list[Forward] = field(default_factory=list)
    #: Nodes that lack entries which this log no longer holds: bring each a snapshot, then, or if that
    #: fails, call `snapshot_ended`. Only a leader asks, once for each.
    snapshots_wanted: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """How one core behaves; the same on every member, but for `node_id`."""

    #: From 1.
    node_id: int
    #: Who founded the group: its voters until a MEMBERSHIP entry says otherwise. Empty at a node that joins.
    voters: tuple[int, ...]
    #: A follower campaigns after one to two of these without a leader.
    election_timeout_ms: int = 500
    heartbeat_interval_ms: int = 100
    #: Two members' clocks never drift apart by more than this share of any time span.
    clock_drift_percent: int = 5
    #: Entries in one AppendEntries; one larger entry travels alone.
    append_bytes_max: int = 1 << 20
    #: Unanswered AppendEntries to one follower.
    inflight_messages_max: int = 64
    inflight_bytes_max: int = 8 << 20
    #: Payload bytes that the leader holds uncommitted before it refuses proposals.
    uncommitted_bytes_max: int = 256 << 20
    #: Payload bytes of entries kept in memory, for followers that are a little behind.
    log_cache_bytes_max: int = 32 << 20
    #: Payload bytes of committed entries in one Ready; one larger entry travels alone.
    committed_bytes_max: int = 4 << 20
    #: Unanswered `read_index` calls; further ones are refused.
    pending_reads_max: int = 4096
    #: A staged learner becomes a voter once it lacks no more entries than this of what is committed.
    promotion_lag_entries_max: int = 64


@dataclass(slots=True)
class PeerStatus:
    """What a leader knows of one follower."""

    node_id: int
    match_index: int
    next_index: int
    #: "probe", "replicate" or "snapshot".
    state: str
    #: Milliseconds since it was last heard, None: not in this term.
    heard_ms_ago: int | None
    #: Counted in (one of) the majorities.
    is_voter: bool


@dataclass(slots=True)
class RaftStatus:
    """One look at a core, for status pages and INFO."""

    node_id: int
    role: Role
    current_term: int
    leader_id: int
    commit_index: int
    last_applied: int
    first_index: int
    last_index: int
    persisted_index: int
    #: Empty unless leader.
    peers: list[PeerStatus]


class LogReader(Protocol):
    """The durable log as the core reads it back. Holds what earlier Readys asked to append."""

    @property
    def first_index(self) -> int:
        """The oldest entry held; `last_index + 1` when there is none."""

    @property
    def last_index(self) -> int:
        """The newest entry held; 0 when there never was one."""

    def term_at(self, index: int) -> int:
        """The term at `index`; 0 at index 0. Raises `Compacted` below what is known."""

    def read(self, first: int, end: int, bytes_max: int) -> list[Entry]:
        """The entries of [first, end), cut at `bytes_max` payload bytes but never empty."""


class NotLeader(Exception):
    """This node can't do that: it isn't the leader. `leader_id` is NOBODY when none is known."""

    def __init__(self, leader_id: int) -> None:
        super().__init__(f"not the leader; the leader is {leader_id or 'unknown'}")
        self.leader_id = leader_id


class ProposalDropped(Exception):
    """A proposal was refused and left no trace: a transfer is under way, or too much is uncommitted."""


class Compacted(Exception):
    """The log no longer holds what was asked for."""

    def __init__(self, first_index: int) -> None:
        super().__init__(f"the log begins at index {first_index}")
        self.first_index = first_index


class ProtocolError(Exception):
    """A peer sent what no correct peer sends."""
