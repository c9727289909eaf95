"""Every setting of a node: one field per key, from which TOML keys, environment and flags all follow.

Pure: reads no file, environment or clock; `config_sources` tells where values come from. What is built is
valid: a `Config` that exists has passed every check, derived values included. What may change while
the node runs, and under which of Redis's names, is `runtime_settings`' business.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from typing import Any

from raftkv.config_values import (
    PEER_PORT_OFFSET,
    Choice,
    Flag,
    Integer,
    Kind,
    Member,
    Members,
    Number,
    Size,
    Text,
    address_to_join,
    join_address,
)
from raftkv.raft.types import RaftConfig

__all__ = [
    "PEER_PORT_OFFSET",
    "Config",
    "ConfigError",
    "Member",
    "is_loopback",
    "join_address",
]

_MINUTE_MS = 60_000
_MB = 1 << 20
_GB = 1 << 30
_TB = 1 << 40
_INT64_MAX = (1 << 63) - 1


class ConfigError(Exception):
    """A setting can't be taken. `key` is "" where no single one is to blame."""

    def __init__(self, reason: str, *, key: str = "", source: str = "") -> None:
        super().__init__(": ".join(part for part in (source, key, reason) if part))
        self.reason = reason
        self.key = key
        #: Where the value came from: a file's name, "environment RAFTKV_X" or "--x".
        self.source = source


def _key(
    kind: Kind, help_text: str, *, redis: str = "", is_runtime: bool = False, is_hidden: bool = False
) -> dict[str, Any]:
    """Describe a key in its field's metadata. `redis`: its name in CONFIG GET, if Redis has one."""
    return {"kind": kind, "help": help_text, "redis": redis, "is_runtime": is_runtime, "is_hidden": is_hidden}


_MILLISECONDS = Integer(1, 10 * _MINUTE_MS)
_SECONDS = Integer(0, (1 << 31) - 1)
_ANY_PORT = Integer(0, 65535)
_ANY_SIZE = Size(1 << 10, _TB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one node, checked. Raises ConfigError when they don't fit together."""

    # -- who this node is, and the others --

    #: From 1 to 65535. Bound to the data directory for good.
    node_id: int = field(default=1, metadata=_key(Integer(1, 65535), "this node's id"))
    #: Ordered by id. Empty in a source means a cluster of this node alone; never empty afterwards.
    members: tuple[Member, ...] = field(
        default=(),
        metadata=_key(Members(), "all members of the cluster, this node included, the same on each"),
    )
    #: HOST:PORT[@PEER_PORT] of any member, PEER_PORT being PORT + 10000 unless given; or "invitation". A node
    #: that joins gets its id from the cluster, and has no `members` of its own. Stays set afterwards.
    join: str = field(
        default="",
        metadata=_key(
            Text(may_be_empty=True), "a member of the cluster that this node joins, or 'invitation'"
        ),
    )
    join_in_place_of: int = field(
        default=0, metadata=_key(Integer(0, 65535), "id of the voter that the joining node replaces; 0: none")
    )
    join_as_learner: bool = field(
        default=False, metadata=_key(Flag(), "the joining node gets all data and never votes")
    )
    #: One address or host name. Anything but loopback needs `requirepass`, or `protected_mode` off.
    bind: str = field(
        default="127.0.0.1", metadata=_key(Text(), "address that both ports listen on", redis="bind")
    )
    #: Port for clients, 1 to 65535.
    port: int = field(default=7001, metadata=_key(Integer(1, 65535), "port for clients", redis="port"))
    #: A second port for clients, which find one single Redis there; 0: there is none.
    standalone_port: int = field(
        default=0,
        metadata=_key(_ANY_PORT, "port for clients that know no Redis Cluster; 0: none"),
    )
    #: Port for the other nodes. 0 in a source means port + 10000; never 0 afterwards.
    peer_port: int = field(
        default=0, metadata=_key(_ANY_PORT, "port for the other nodes; 0: port + 10000", redis="cluster-port")
    )
    #: What the cluster calls this node. "" and 0 in a source mean: as `members` says, or else `bind`,
    #: `port` and `peer_port`. Invariant: equal to this node's entry in `members`.
    announce_host: str = field(
        default="",
        metadata=_key(Text(may_be_empty=True), "host that clients are told", redis="cluster-announce-ip"),
    )
    announce_port: int = field(
        default=0, metadata=_key(_ANY_PORT, "port that clients are told", redis="cluster-announce-port")
    )
    announce_peer_port: int = field(
        default=0,
        metadata=_key(_ANY_PORT, "port that the other nodes use", redis="cluster-announce-bus-port"),
    )
    #: Only who turns this off, or sets a password, is served beyond loopback. There is no TLS yet.
    protected_mode: bool = field(
        default=True,
        metadata=_key(Flag(), "refuse to listen beyond loopback without a password", redis="protected-mode"),
    )
    #: "": there is none. The peer port asks for none.
    requirepass: str = field(
        default="",
        repr=False,
        metadata=_key(
            Text(may_be_empty=True),
            "password that clients must give",
            redis="requirepass",
            is_runtime=True,
        ),
    )

    # -- the process --

    #: A path; made when missing, locked while in use.
    data_dir: str = field(default="./raftkv-data", metadata=_key(Text(), "data directory", redis="dir"))
    loop: str = field(default="uvloop", metadata=_key(Choice(("uvloop", "asyncio")), "event loop"))
    log_level: str = field(
        default="info",
        metadata=_key(
            Choice(("debug", "info", "warning", "error")),
            "least level that is logged",
            redis="loglevel",
            is_runtime=True,
        ),
    )

    # -- Raft's times; the same on every member --

    #: Milliseconds, at least twice `heartbeat_interval_ms`. A follower campaigns after one to two of
    #: these without a leader; a lease lasts less than one.
    election_timeout_ms: int = field(
        default=500, metadata=_key(Integer(50, 10 * _MINUTE_MS), "silence after which a leader is replaced")
    )
    #: Milliseconds.
    heartbeat_interval_ms: int = field(
        default=100, metadata=_key(Integer(5, _MINUTE_MS), "time between a leader's heartbeats")
    )
    #: Percent of any time span. Lease reads are linearizable only while clocks keep to it.
    clock_drift_percent: int = field(
        default=5, metadata=_key(Integer(0, 50), "how far two nodes' clocks may drift apart")
    )

    # -- requests --

    #: Milliseconds; then a proposed write is answered -UNKNOWN.
    request_timeout_ms: int = field(
        default=5000, metadata=_key(_MILLISECONDS, "longest wait for a request's outcome", is_runtime=True)
    )
    #: Milliseconds; then -CLUSTERDOWN, and nothing was done.
    leader_wait_ms: int = field(
        default=1000,
        metadata=_key(Integer(0, 10 * _MINUTE_MS), "longest wait for a leader to be known", is_runtime=True),
    )
    #: Payload bytes of one entry; one larger command travels alone. At most `command_bytes_max`.
    batch_bytes_max: int = field(default=_MB, metadata=_key(Size(1 << 10, 64 * _MB), "size of one entry"))
    #: Milliseconds that commands may wait for company while other batches are in flight.
    gather_ms: float = field(
        default=5.0,
        metadata=_key(Number(0, 1000), "time that commands gather behind a batch in flight", is_runtime=True),
    )
    batches_in_flight_max: int = field(
        default=64, metadata=_key(Integer(1, 65536), "uncommitted entries of this node's clients")
    )
    #: Bytes of one write command, all arguments together. At most `uncommitted_bytes_max`.
    #: Larger ones hold the event loops of all nodes for longer: 60 MB took 0.5 s and cost a busy leader its
    #: leadership.
    command_bytes_max: int = field(default=16 * _MB, metadata=_key(Size(1 << 10, _GB), "size of one write"))

    # -- clients --

    clients_max: int = field(
        default=10_000,
        metadata=_key(Integer(1, 1_000_000), "client connections", redis="maxclients", is_runtime=True),
    )
    #: Seconds without a request, after which a client is closed; 0: never. Who waits for a reply isn't idle.
    idle_timeout_s: int = field(
        default=0,
        metadata=_key(_SECONDS, "time after which idle clients are closed", redis="timeout", is_runtime=True),
    )
    #: Seconds of silence after which a client's system is asked whether it is still there, and a third of it
    #: between the three times that it is asked; 0: never. Holds for new connections.
    tcp_keepalive_s: int = field(
        default=300,
        metadata=_key(
            _SECONDS, "silence after which TCP probes a client", redis="tcp-keepalive", is_runtime=True
        ),
    )
    #: Bytes received but not yet run, per connection.
    query_buffer_bytes_max: int = field(
        default=_GB,
        metadata=_key(
            Size(_MB, _TB),
            "unread request bytes of a client",
            redis="client-query-buffer-limit",
            is_runtime=True,
        ),
    )
    #: Arguments of one request.
    multibulk_max: int = field(
        default=1 << 20, metadata=_key(Integer(1024, 1 << 30), "arguments of one request")
    )
    #: Bytes of one argument.
    bulk_bytes_max: int = field(
        default=512 * _MB,
        metadata=_key(Size(_MB, _TB), "size of one argument", redis="proto-max-bulk-len", is_runtime=True),
    )
    #: Bytes of an inline request's line.
    inline_bytes_max: int = field(
        default=64 << 10, metadata=_key(Size(1 << 10, _GB), "size of an inline request")
    )
    #: Reply bytes that wait for a slow client; past it the connection is closed. 0: there is no limit.
    output_buffer_bytes_max: int = field(
        default=256 * _MB,
        metadata=_key(Size(0, _TB), "unsent reply bytes of a client; 0: any", is_runtime=True),
    )
    #: The same, but for a client that stays above it for longer than the seconds that follow. 0: no limit.
    output_buffer_soft_bytes_max: int = field(
        default=0,
        metadata=_key(Size(0, _TB), "unsent reply bytes of a client for long; 0: any", is_runtime=True),
    )
    output_buffer_soft_s: int = field(
        default=0, metadata=_key(_SECONDS, "seconds that a client may be above that", is_runtime=True)
    )

    # -- replication windows --

    #: Payload bytes that the leader holds uncommitted; past it writes are refused (TRYAGAIN).
    uncommitted_bytes_max: int = field(default=256 * _MB, metadata=_key(Size(_MB, _TB), "uncommitted bytes"))
    #: Payload bytes of one AppendEntries; one larger entry travels alone.
    append_bytes_max: int = field(default=_MB, metadata=_key(Size(1 << 10, 64 * _MB), "size of one append"))
    inflight_messages_max: int = field(
        default=64, metadata=_key(Integer(1, 65536), "unanswered appends to one follower")
    )
    inflight_bytes_max: int = field(
        default=8 * _MB, metadata=_key(_ANY_SIZE, "unanswered append bytes to one follower")
    )
    #: Payload bytes of committed entries that are applied at a time; one larger entry travels alone.
    committed_bytes_max: int = field(
        default=4 * _MB, metadata=_key(Size(1 << 10, _GB), "entry bytes applied at a time")
    )
    #: ReadIndex requests that wait for a majority; further ones are refused.
    pending_reads_max: int = field(
        default=4096, metadata=_key(Integer(1, 1_000_000), "read requests that wait for a majority")
    )
    #: Bytes of messages that wait for a slow peer link; past it they are dropped, and Raft sends again.
    peer_queue_bytes_max: int = field(
        default=64 * _MB, metadata=_key(Size(_MB, _TB), "unsent bytes to one peer")
    )

    # -- snapshots for nodes that are far behind --

    #: Chunks that such a node has asked for and not written yet; it holds them in memory.
    snapshot_window_chunks: int = field(
        default=16, metadata=_key(Integer(1, 256), "chunks of a snapshot under way to one node")
    )
    #: Bytes.
    snapshot_chunk_bytes: int = field(
        default=256 << 10, metadata=_key(Size(4 << 10, 4 * _MB), "size of a snapshot's chunk")
    )
    #: Bytes per second, to all nodes together. 0: as fast as it goes; else at least a chunk in a second.
    snapshot_rate_bytes_max: int = field(
        default=64 * _MB, metadata=_key(Size(0, _TB), "snapshot bytes that are sent per second; 0: any")
    )

    # -- memory and disk --

    #: Payload bytes of recent entries kept in memory for followers that are a little behind.
    log_cache_bytes_max: int = field(default=32 * _MB, metadata=_key(_ANY_SIZE, "recent log kept in memory"))
    #: A learner that is to vote does so once it lacks no more entries than this.
    promotion_lag_entries_max: int = field(
        default=64,
        metadata=_key(Integer(0, 1 << 40), "entries that a learner may lack when it becomes a voter"),
    )
    #: Bytes of live values kept in front of the rows.
    cache_bytes_max: int = field(default=256 * _MB, metadata=_key(_ANY_SIZE, "values kept in memory"))
    #: Bounds replay after a crash.
    flush_commands_max: int = field(
        default=100_000, metadata=_key(Integer(1, 1 << 40), "commands applied between two flushes of state/")
    )
    #: Bytes of entries applied, at most, between two flushes: what is flushed can go from the log.
    flush_bytes_max: int = field(
        default=32 * _MB, metadata=_key(_ANY_SIZE, "bytes of entries applied between two flushes of state/")
    )
    #: Bytes of entries that the log keeps, though they are flushed, for followers that were away for a while.
    #: Whoever lacks more is sent a snapshot.
    log_tail_bytes: int = field(
        default=32 * _MB,
        metadata=_key(
            _ANY_SIZE, "bytes of applied entries kept in the log for slow followers", is_runtime=True
        ),
    )
    #: Bytes. Something must hold up the log's compaction, as a flush or a snapshot that does not end.
    log_warn_bytes: int = field(
        default=4 * _GB, metadata=_key(_ANY_SIZE, "log size from which the node warns", is_runtime=True)
    )
    #: Free bytes of the disk, at most a tenth of it, below which writes are refused (MISCONF); 0: none are.
    disk_free_min: int = field(
        default=256 * _MB,
        metadata=_key(Size(0, _TB), "free disk space below which writes are refused", is_runtime=True),
    )
    #: Milliseconds that an fsync may take before the node gives leadership away; 0: it never does.
    disk_stall_ms: int = field(
        default=2000,
        metadata=_key(
            Integer(0, 10 * _MINUTE_MS), "fsync time from which a node does not lead", is_runtime=True
        ),
    )
    #: Milliseconds that the event loop may hang, as in a write, before the process is ended; 0: it never is.
    loop_stall_ms: int = field(
        default=30_000,
        metadata=_key(Integer(0, 10 * _MINUTE_MS), "hang of the event loop that ends the process"),
    )
    #: Milliseconds that each fsync of the log is made to take longer, for tests of slow disks.
    debug_sync_delay_ms: int = field(
        default=0,
        metadata=_key(
            Integer(0, 10 * _MINUTE_MS), "delay of fsyncs, for tests", is_runtime=True, is_hidden=True
        ),
    )
    #: Milliseconds of the event loop that work over many rows takes at a time.
    slice_ms: int = field(
        default=3, metadata=_key(Integer(1, 1000), "slice of work over many rows", is_runtime=True)
    )

    # -- what is observed --

    #: Microseconds that a command's handler may take before it is kept in the slow log; -1: none is kept.
    #: Below 1000 every command is measured one by one, which takes as long as a short command itself.
    slowlog_slower_than_us: int = field(
        default=10_000,
        metadata=_key(
            Integer(-1, _INT64_MAX),
            "time from which a command counts as slow",
            redis="slowlog-log-slower-than",
            is_runtime=True,
        ),
    )
    slowlog_count_max: int = field(
        default=128,
        metadata=_key(Integer(0, 1_000_000), "slow commands kept", redis="slowlog-max-len", is_runtime=True),
    )
    #: Milliseconds that make an fsync, a command or a late turn of the loop an event for LATENCY; 0: none.
    latency_threshold_ms: int = field(
        default=0,
        metadata=_key(
            Integer(0, _INT64_MAX),
            "time from which LATENCY notes what took so long",
            redis="latency-monitor-threshold",
            is_runtime=True,
        ),
    )

    def __post_init__(self) -> None:
        _check_reachable_only_as_allowed(self)
        _fill_ports(self)
        _fill_announced(self)
        _check_members(self)
        _check_announced(self)
        _check_sizes(self)
        _check_join(self)

    @property
    def member(self) -> Member:
        """This node's own entry."""
        return next(member for member in self.members if member.node_id == self.node_id)

    @property
    def other_members(self) -> tuple[Member, ...]:
        """Every member but this node."""
        return tuple(member for member in self.members if member.node_id != self.node_id)

    def of_joined(self, node_id: int) -> Config:
        """Return the settings of the same node as the member that it became by joining."""
        return replace(self, node_id=node_id, members=(replace(self.member, node_id=node_id),))

    def raft_config(self) -> RaftConfig:
        """Return what the Raft core needs to know, for a new cluster of the `members`."""
        return RaftConfig(
            node_id=self.node_id,
            voters=tuple(member.node_id for member in self.members),
            election_timeout_ms=self.election_timeout_ms,
            heartbeat_interval_ms=self.heartbeat_interval_ms,
            clock_drift_percent=self.clock_drift_percent,
            append_bytes_max=self.append_bytes_max,
            inflight_messages_max=self.inflight_messages_max,
            inflight_bytes_max=self.inflight_bytes_max,
            uncommitted_bytes_max=self.uncommitted_bytes_max,
            log_cache_bytes_max=self.log_cache_bytes_max,
            committed_bytes_max=self.committed_bytes_max,
            pending_reads_max=self.pending_reads_max,
            promotion_lag_entries_max=self.promotion_lag_entries_max,
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`. Names other than localhost: no."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _fill_ports(config: Config) -> None:
    _fill_peer_port(config)
    if config.standalone_port in (config.port, config.peer_port):
        raise ConfigError("must be another than port and peer_port", key="standalone_port")


def _fill_peer_port(config: Config) -> None:
    if config.peer_port:
        return
    peer_port = config.port + PEER_PORT_OFFSET
    if peer_port > 65535:
        raise ConfigError(
            f"must be set: by default it is port + {PEER_PORT_OFFSET}, and {peer_port} is no port",
            key="peer_port",
        )
    object.__setattr__(config, "peer_port", peer_port)


def _fill_announced(config: Config) -> None:
    """Derive what the cluster calls this node; a node without `members` is a cluster of its own."""
    own = next((member for member in config.members if member.node_id == config.node_id), None)
    derived = {
        "announce_host": own.host if own else config.bind,
        "announce_port": own.port if own else config.port,
        "announce_peer_port": own.peer_port if own else config.peer_port,
    }
    for key, value in derived.items():
        if not getattr(config, key):
            object.__setattr__(config, key, value)
    if not config.members:
        _refuse_wildcard(config.announce_host)
        alone = Member(
            node_id=config.node_id,
            host=config.announce_host,
            port=config.announce_port,
            peer_port=config.announce_peer_port,
        )
        object.__setattr__(config, "members", (alone,))


def _refuse_wildcard(host: str) -> None:
    if host in ("0.0.0.0", "::"):
        raise ConfigError(f"must be set: clients can't be told {host!r}", key="announce_host")


def _check_members(config: Config) -> None:
    ids = [member.node_id for member in config.members]
    for node_id in ids:
        if ids.count(node_id) > 1:
            raise ConfigError(f"has two members with id {node_id}", key="members")
    if config.node_id not in ids:
        listed = ", ".join(str(node_id) for node_id in sorted(ids))
        raise ConfigError(f"{config.node_id} is not among the members' ids ({listed})", key="node_id")
    if config.port == config.peer_port:
        raise ConfigError(f"{config.peer_port} is already the port for clients (port)", key="peer_port")
    taken: dict[str, str] = {}
    for member in config.members:
        for address, use in ((member.address, "clients"), (member.peer_address, "peers")):
            here = f"member {member.node_id}'s address for {use}"
            if address in taken:
                raise ConfigError(f"uses {address} twice: as {taken[address]} and as {here}", key="members")
            taken[address] = here


def _check_announced(config: Config) -> None:
    own = config.member
    announced = {
        "announce_host": (config.announce_host, own.host),
        "announce_port": (config.announce_port, own.port),
        "announce_peer_port": (config.announce_peer_port, own.peer_port),
    }
    for key, (said, listed) in announced.items():
        if said != listed:
            raise ConfigError(
                f"{said!r} contradicts members, where node {own.node_id} has {listed!r}: "
                "leave it out, or change members on every node",
                key=key,
            )


def _check_reachable_only_as_allowed(config: Config) -> None:
    if config.protected_mode and not config.requirepass and not is_loopback(config.bind):
        raise ConfigError(
            f"{config.bind!r} can be reached from other machines, and there is no password or TLS: whoever "
            "reaches the client or the peer port can read and change everything. Bind to 127.0.0.1, or set "
            "protected_mode = false if the network itself keeps strangers out. With requirepass set clients "
            "need a password, but the peer port asks for none: it must be kept from strangers still",
            key="bind",
        )


def _check_join(config: Config) -> None:
    if not config.join:
        return
    if config.other_members:
        raise ConfigError(
            "leave it out, or members: who joins learns from the cluster who is in it", key="join"
        )
    try:
        address_to_join(config.join)
    except ValueError as refusal:
        raise ConfigError(f"{config.join!r} can't be taken: it {refusal}", key="join") from None


def _check_sizes(config: Config) -> None:
    """Hold what is said at the fields about two settings at a time."""
    at_most = (
        ("batch_bytes_max", "command_bytes_max"),
        ("command_bytes_max", "uncommitted_bytes_max"),
    )
    for smaller, larger in at_most:
        if getattr(config, smaller) > getattr(config, larger):
            raise ConfigError(
                f"{getattr(config, smaller)} must not exceed {larger} ({getattr(config, larger)})",
                key=smaller,
            )
    if 0 < config.snapshot_rate_bytes_max < config.snapshot_chunk_bytes:
        raise ConfigError(
            f"{config.snapshot_rate_bytes_max} must be 0 or at least snapshot_chunk_bytes "
            f"({config.snapshot_chunk_bytes})",
            key="snapshot_rate_bytes_max",
        )
    if config.heartbeat_interval_ms * 2 > config.election_timeout_ms:
        raise ConfigError(
            f"{config.heartbeat_interval_ms} must be at most half of election_timeout_ms "
            f"({config.election_timeout_ms})",
            key="heartbeat_interval_ms",
        )
