"""What LOCAL handlers see: the session of the client that asks, and its node as a `NodeView`.

Knows no sockets and no event loop: the client shell makes a Session per connection and keeps its fields
marked "shell" up to date; the node implements `NodeView` and is asked for a fresh `NodeStatus` when needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b
from typing import Protocol

from raftkv.commands.administration import (
    LEARNER,
    STAGED,
    STRANGER,
    VOTER,
    Administration,
    Standing,
    TransferStatus,
)
from raftkv.commands.backup_desk import BackupDesk
from raftkv.commands.monitors import Monitors
from raftkv.commands.table import CommandTable, Sliced
from raftkv.raft.membership import Membership
from raftkv.raft.types import NOBODY, RaftStatus
from raftkv.runtime_settings import RuntimeSettings


def member_name(cluster_id: bytes, node_id: int) -> str:
    """The 40 hex digits that name a node in Redis Cluster's terms; the same on every node, for good."""
    return blake2b(b"node %d" % node_id, key=cluster_id, digest_size=20).hexdigest()


def shard_name(cluster_id: bytes, group_id: int) -> str:
    """The 40 hex digits that name a Raft group in Redis Cluster's terms (redis CLUSTER MYSHARDID)."""
    return blake2b(b"group %d" % group_id, key=cluster_id, digest_size=20).hexdigest()


@dataclass(slots=True)
class MemberStatus:
    """One member of the cluster, as this node sees it. Counters are 0 for the node itself."""

    node_id: int
    #: What clients are told: host and the two ports.
    host: str
    port: int
    peer_port: int
    #: This node has a link to it; True for the node itself.
    is_reachable: bool
    #: What the leader knows to be durable there; 0 when this node is not the leader.
    match_index: int = 0
    #: Since the last bytes came from it, None: never.
    heard_ms_ago: int | None = None
    #: Attempts to connect to it that succeeded and that failed.
    connects_count: int = 0
    failed_connects_count: int = 0
    standing: Standing = VOTER
    #: The voter that it replaces once it has caught up; NOBODY: none.
    takes_place_of: int = NOBODY
    #: How it is sent entries: "probe", "replicate" or "snapshot"; "" when this node is not the leader.
    replication: str = ""
    #: The snapshot that it is being sent, of which only the two ends know.
    snapshot: TransferStatus | None = None

    @property
    def is_voter(self) -> bool:
        """It counts in a majority."""
        return self.standing not in (LEARNER, STAGED, STRANGER)

    @property
    def is_ready(self) -> bool:
        """It has, or had once, what a voter has to have: it isn't on its way to be taken in."""
        return self.standing not in (STAGED, STRANGER)


@dataclass(slots=True)
class Counters:
    """What a node has counted since its start or CONFIG RESETSTAT, for INFO."""

    connections_received: int = 0
    rejected_connections: int = 0
    #: Carried out for clients, by full name.
    calls: Mapping[bytes, int] = field(default_factory=dict)
    input_bytes: int = 0
    output_bytes: int = 0
    keyspace_hits: int = 0
    keyspace_misses: int = 0
    expired_keys: int = 0
    #: Replies of each error prefix (redis INFO errorstats).
    errors: Mapping[str, int] = field(default_factory=dict)
    #: Connections that wait for something at the moment.
    blocked_clients: int = 0

    @property
    def commands_processed(self) -> int:
        """All calls together."""
        return sum(self.calls.values())


@dataclass(slots=True)
class Pace:
    """How busy and how punctual a node is."""

    #: Of the last whole second.
    commands_per_s: int = 0
    input_bytes_per_s: int = 0
    output_bytes_per_s: int = 0
    #: By how much the tick of the event loop came late, at worst: since the start or CONFIG RESETSTAT, and of
    #: late; and the last time.
    lag_us_max: int = 0
    recent_lag_us_max: int = 0
    lag_us: int = 0


@dataclass(slots=True)
class SaveStatus:
    """The flushes of the state to disk, which are what SAVE and BGSAVE ask for."""

    #: Seconds of the Unix epoch when the last one ended, or the node started.
    last_time_s: int
    #: Since the start.
    count: int = 0
    #: Seconds that the last one took, None: there was none yet.
    last_took_s: int | None = None
    #: Seconds since the one under way began, None: none is.
    under_way_s: int | None = None


@dataclass(slots=True)
class FitnessStatus:
    """What a node's disk and clock are like, as far as that decides what it does."""

    #: Of the disk under the data directory, a second ago at most; and below which writes are refused.
    free_bytes: int = 0
    free_bytes_min: int = 0
    is_short_of_space: bool = False
    #: No writes are taken: this node is short of space, or a majority is.
    is_refusing_writes: bool = False
    #: An fsync hangs, or did of late: this node won't lead.
    is_disk_stalled: bool = False
    disk_stalls_count: int = 0
    #: Leases are trusted.
    is_clock_trusted: bool = True
    clock_faults_count: int = 0

    @property
    def disk_state(self) -> str:
        """In a word."""
        return "stalled" if self.is_disk_stalled else "short" if self.is_short_of_space else "ok"


@dataclass(slots=True)
class ProcessStatus:
    """What the operating system says of the node's process and its directory; dear to ask."""

    pid: int
    #: 40 hex digits, new at each start.
    run_id: str
    uptime_s: int
    #: Resident bytes now, and at most so far.
    memory_bytes: int
    memory_peak_bytes: int
    #: Resident bytes when the node had started.
    memory_startup_bytes: int
    #: Of the whole machine.
    memory_total_bytes: int
    cpu_user_s: float
    cpu_system_s: float
    #: Of the data directory's two parts.
    log_bytes: int
    state_bytes: int
    #: The log index up to which `state/` is durable by itself.
    state_durable_index: int
    #: As `uname -srm` has it.
    os_name: str = ""
    config_file: str = ""
    executable: str = ""
    #: Of live values, in front of the rows on disk.
    cache_bytes: int = 0


@dataclass(slots=True)
class KeyCount:
    """Keys of one database."""

    keys: int
    #: How many of them have an expiry.
    expiring: int


@dataclass(slots=True)
class NodeStatus:
    """One look at a node and its cluster. `members` is ordered by id and holds the node itself."""

    cluster_id: bytes
    node_id: int
    members: Sequence[MemberStatus]
    raft: RaftStatus
    #: The leader, or while there is none the last one that was known. NOBODY: never knew any.
    last_leader_id: int
    #: Milliseconds of the Unix epoch when the node started.
    started_ms: int
    #: The one in force.
    membership: Membership
    #: It is known to be committed.
    is_membership_committed: bool = True

    @property
    def has_leader(self) -> bool:
        """Whether a leader is known at the moment."""
        return self.raft.leader_id != NOBODY

    @property
    def is_leader(self) -> bool:
        """Whether this node leads."""
        return self.raft.leader_id == self.node_id

    @property
    def myself(self) -> MemberStatus:
        """This node among the members."""
        return self.member(self.node_id)

    @property
    def master(self) -> MemberStatus:
        """Whom clients are told that serves all slots; always somebody, for an empty map makes them raise."""
        last = self.find(self.last_leader_id)
        if last is not None:
            return last
        return next((member for member in self.members if member.is_voter), self.members[0])

    def member(self, node_id: int) -> MemberStatus:
        """The member with that id, which must be one."""
        return next(member for member in self.members if member.node_id == node_id)

    def find(self, node_id: int) -> MemberStatus | None:
        """The member with that id, or this node; None: there is none, or its address isn't known."""
        return next((member for member in self.members if member.node_id == node_id), None)


class ConfigNotWritten(Exception):
    """CONFIG REWRITE can't be done, and the file is as it was. The text says why."""


class NodeView(Protocol):
    """The node, as LOCAL handlers ask it. Nothing here waits, but for the disk in `rewrite_config`."""

    @property
    def commands(self) -> CommandTable:
        """The table that the node serves."""

    @property
    def settings(self) -> RuntimeSettings:
        """What CONFIG GET and SET show and change."""

    @property
    def monitors(self) -> Monitors:
        """What SLOWLOG and LATENCY show and reset."""

    @property
    def administration(self) -> Administration:
        """How the cluster is changed."""

    @property
    def backups(self) -> BackupDesk:
        """What RAFT BACKUP asks."""

    def status(self) -> NodeStatus:
        """A fresh look; the caller's own. Cheap: it asks the memory alone."""

    def process(self) -> ProcessStatus:
        """A fresh look at the process and its files; dear."""

    def counters(self) -> Counters:
        """A fresh look."""

    def pace(self) -> Pace:
        """A fresh look."""

    def reset_statistics(self) -> None:
        """Count from nothing again (redis CONFIG RESETSTAT)."""

    def saves(self) -> SaveStatus:
        """A fresh look."""

    def fitness(self) -> FitnessStatus:
        """A fresh look."""

    def begin_save(self) -> Callable[[], bool]:
        """Have all that is applied flushed to `state/` on disk; what is given tells whether it is done."""

    def rewrite_config(self) -> None:
        """Write the settings that hold into the configuration file. Raises ConfigNotWritten."""

    def release_memory(self) -> None:
        """Look for garbage now; for milliseconds at most."""

    @property
    def is_stopping(self) -> bool:
        """The node was told to stop and is on its way out."""

    def stop(self) -> None:
        """Stop the node as SIGTERM does: soon, and cleanly."""

    def now_us(self) -> int:
        """Microseconds of the Unix epoch by this node's clock."""

    def sessions(self) -> Iterable[Session]:
        """Every client's session, oldest first."""

    def kill_client(self, client_id: int) -> None:
        """Close another client's connection at once, whatever it is owed."""

    def pause_clients(self, timeout_ms: int, *, is_of_all: bool) -> None:
        """Let this node's clients wait with all their commands, or with writes alone."""

    def unpause_clients(self) -> None:
        """Let them go on."""

    def unblock_client(self, client_id: int, *, with_error: bool) -> bool:
        """Answer what another client awaits as if its time were over, or with an error; False: it doesn't."""

    def key_counts(self) -> Mapping[int, KeyCount]:
        """By database; those without keys may be left out."""

    def count_keys_in_slot(self, slot: int) -> Sliced:
        """Number of keys in the slot as this node has applied them."""

    def keys_in_slot(self, slot: int, *, count_max: int) -> Sliced:
        """The first keys of the slot in the order of its rows."""

    def digest(self) -> Sliced:
        """[digest of all rows in hex, the applied index at which it holds]."""

    def replicas_at(self, index: int) -> int | None:
        """How many other members have the log up to `index` on their disks; None: only the leader knows."""

    def request_leadership(self) -> None:
        """Ask the leader, which is known and another node, to hand over to this one."""


class ReplyMode(Enum):
    """What CLIENT REPLY asks for."""

    ON = "on"
    OFF = "off"
    #: The next command's reply is not sent.
    SKIP = "skip"


@dataclass(slots=True, eq=False)
class Session:
    """One client's connection, as the commands know it.

    Handlers write what the client chose; the client shell writes the fields marked "shell" and acts on
    `is_closing`, `protocol`, `db` and `is_readonly`.
    """

    #: From 1, never used again.
    client_id: int
    node: NodeView
    #: "host:port" of the client and of our end.
    address: str = ""
    local_address: str = ""
    file_descriptor: int = -1
    #: Milliseconds of the Unix epoch.
    created_ms: int = 0
    #: RESP version of the replies: 2, or 3 after HELLO 3.
    protocol: int = 2
    db: int = 0
    name: bytes = b""
    lib_name: bytes = b""
    lib_ver: bytes = b""
    #: It gave the password, or came when there was none. Shell: at its start.
    is_authenticated: bool = True
    #: It came by the listener that behaves as one single Redis: 16 databases, no slots, no other nodes.
    is_standalone: bool = False
    #: Reads at a follower are welcome (redis READONLY).
    is_readonly: bool = False
    #: ASKING was said. No slot ever moves between groups yet, so nothing depends on it.
    is_asking: bool = False
    #: It would not be closed for memory's sake (redis CLIENT NO-EVICT).
    is_evictable: bool = True
    #: Its reads count as uses of keys (redis CLIENT NO-TOUCH).
    is_touching: bool = True
    #: No replies are sent (redis CLIENT REPLY OFF).
    is_silent: bool = False
    #: What CLIENT REPLY has just asked for; the shell does it and sets None.
    reply_change: ReplyMode | None = None
    #: Shell: it awaits something, as WAIT does, or is paused.
    is_blocked: bool = False
    #: Close the connection once the replies so far have left (redis QUIT).
    is_closing: bool = False
    #: Shell: name of the last command, `client|list` for a sub-command.
    last_command: bytes = b""
    #: Shell: milliseconds of the Unix epoch when bytes last came.
    active_ms: int = 0
    #: Shell: the log index of the last write that was answered; 0: none was.
    last_write_index: int = 0
    #: Shell: unparsed request bytes, and reply bytes that have not left.
    input_bytes: int = 0
    output_bytes: int = 0

    @property
    def must_authenticate(self) -> bool:
        """There is a password, and the client has not given it (redis authRequired)."""
        return not self.is_authenticated and bool(self.node.settings.config.requirepass)
