"""INFO: the sections, each a function from a `Report` to its fields, in Redis's names where Redis has them.

Knows nothing of how a client asks for sections; `server` does. What Redis reports and raftkv has no like of
is left out, but for the fields that clients and monitors are known to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Final

from raftkv import __version__
from raftkv.commands.administration import STRANGER, VOTER
from raftkv.commands.cluster import role_name
from raftkv.commands.connection import REDIS_VERSION
from raftkv.commands.monitors import Timing
from raftkv.commands.session import (
    Counters,
    FitnessStatus,
    KeyCount,
    MemberStatus,
    NodeStatus,
    NodeView,
    Pace,
    ProcessStatus,
    SaveStatus,
    Session,
    member_name,
)
from raftkv.config import Config
from raftkv.raft.types import NOBODY

Fields = Iterator[tuple[str, object]]

#: Percent of the calls of a command (redis latency-tracking-info-percentiles).
_PERCENTILES: Final = (50, 99, 99.9)
#: Sections that are shown only to who asks for them, or for all.
_ON_REQUEST: Final = frozenset({"commandstats", "latencystats"})


class Report:
    """What INFO tells about, looked at when the first section wants it, and once."""

    def __init__(self, node: NodeView, *, is_standalone: bool) -> None:
        self._node = node
        #: Asked by a client that knows no cluster.
        self.is_standalone = is_standalone

    @cached_property
    def status(self) -> NodeStatus:
        return self._node.status()

    @cached_property
    def process(self) -> ProcessStatus:
        return self._node.process()

    @cached_property
    def counters(self) -> Counters:
        return self._node.counters()

    @cached_property
    def pace(self) -> Pace:
        return self._node.pace()

    @cached_property
    def saves(self) -> SaveStatus:
        return self._node.saves()

    @cached_property
    def fitness(self) -> FitnessStatus:
        return self._node.fitness()

    @cached_property
    def config(self) -> Config:
        return self._node.settings.config

    @cached_property
    def timings(self) -> Mapping[bytes, Timing]:
        return self._node.monitors.timings

    @cached_property
    def now_us(self) -> int:
        return self._node.now_us()

    @cached_property
    def sessions(self) -> Sequence[Session]:
        return list(self._node.sessions())

    @cached_property
    def key_counts(self) -> Mapping[int, KeyCount]:
        return self._node.key_counts()

    @property
    def clients_bytes(self) -> int:
        """Requests that wait and replies that have not left."""
        return sum(session.input_bytes + session.output_bytes for session in self.sessions)


def human_size(size_bytes: int) -> str:
    """A size as people read it: 1.46M (redis bytesToHuman)."""
    size, units = float(size_bytes), "BKMGTPE"
    position = 0
    while size >= 1024 and position < len(units) - 1:
        size /= 1024
        position += 1
    return f"{size:.2f}{units[position]}" if position else f"{size_bytes}B"


def _server(report: Report) -> Fields:
    process = report.process
    yield "redis_version", REDIS_VERSION
    yield "redis_git_sha1", "00000000"
    yield "redis_git_dirty", 0
    yield "raftkv_version", __version__
    yield "redis_mode", "standalone" if report.is_standalone else "cluster"
    yield "os", process.os_name
    yield "arch_bits", 64
    yield "monotonic_clock", "CLOCK_BOOTTIME"
    yield "multiplexing_api", report.config.loop
    yield "process_id", process.pid
    yield "process_supervised", "no"
    yield "run_id", process.run_id
    yield "tcp_port", report.config.standalone_port if report.is_standalone else report.config.port
    yield "server_time_usec", report.now_us
    yield "uptime_in_seconds", process.uptime_s
    yield "uptime_in_days", process.uptime_s // 86400
    yield "hz", 100
    yield "configured_hz", 100
    yield "lru_clock", report.now_us // 1_000_000 % (1 << 24)
    yield "executable", process.executable
    yield "config_file", process.config_file
    yield "io_threads_active", 0


def _clients(report: Report) -> Fields:
    yield "connected_clients", len(report.sessions)
    yield "cluster_connections", sum(member.is_reachable for member in _others(report.status))
    yield "maxclients", report.config.clients_max
    yield "client_recent_max_input_buffer", max((each.input_bytes for each in report.sessions), default=0)
    yield "client_recent_max_output_buffer", max((each.output_bytes for each in report.sessions), default=0)
    yield "blocked_clients", report.counters.blocked_clients
    yield "tracking_clients", 0


def _memory(report: Report) -> Fields:
    process = report.process
    yield "used_memory", process.memory_bytes
    yield "used_memory_human", human_size(process.memory_bytes)
    yield "used_memory_rss", process.memory_bytes
    yield "used_memory_rss_human", human_size(process.memory_bytes)
    yield "used_memory_peak", process.memory_peak_bytes
    yield "used_memory_peak_human", human_size(process.memory_peak_bytes)
    yield "used_memory_peak_perc", f"{100 * process.memory_bytes / process.memory_peak_bytes:.2f}%"
    yield "used_memory_overhead", process.memory_startup_bytes + report.clients_bytes
    yield "used_memory_startup", process.memory_startup_bytes
    yield "used_memory_dataset", process.cache_bytes
    yield "total_system_memory", process.memory_total_bytes
    yield "total_system_memory_human", human_size(process.memory_total_bytes)
    yield "maxmemory", 0
    yield "maxmemory_human", "0B"
    yield "maxmemory_policy", "noeviction"
    yield "mem_fragmentation_ratio", "1.00"
    yield "mem_clients_normal", report.clients_bytes
    yield "mem_allocator", "libc"


def _persistence(report: Report) -> Fields:
    """What Redis calls a save is a flush of `state/` here, its append-only file the Raft log.

    A status is never anything but ok: a node whose disk failed has stopped.
    """
    process, saves, fitness = report.process, report.saves, report.fitness
    is_saving = saves.under_way_s is not None
    yield "loading", 0
    yield "async_loading", 0
    yield "rdb_changes_since_last_save", report.status.raft.last_applied - process.state_durable_index
    yield "rdb_bgsave_in_progress", int(is_saving)
    yield "rdb_last_save_time", saves.last_time_s
    yield "rdb_last_bgsave_status", "ok"
    yield "rdb_last_bgsave_time_sec", -1 if saves.last_took_s is None else saves.last_took_s
    yield "rdb_current_bgsave_time_sec", saves.under_way_s if is_saving else -1
    yield "rdb_saves", saves.count
    yield "aof_enabled", 1
    yield "aof_rewrite_in_progress", 0
    yield "aof_rewrite_scheduled", 0
    yield "aof_last_bgrewrite_status", "ok"
    yield "aof_last_write_status", "ok"
    yield "aof_current_size", process.log_bytes
    yield "log_size_bytes", process.log_bytes
    yield "state_size_bytes", process.state_bytes
    yield "state_durable_index", process.state_durable_index
    yield "disk_free_bytes", fitness.free_bytes
    yield "disk_free_min_bytes", fitness.free_bytes_min
    yield "disk_short_of_space", int(fitness.is_short_of_space)
    yield "disk_writes_refused", int(fitness.is_refusing_writes)
    yield "disk_stalled", int(fitness.is_disk_stalled)
    yield "disk_stalls", fitness.disk_stalls_count


def _stats(report: Report) -> Fields:
    counters, pace = report.counters, report.pace
    yield "total_connections_received", counters.connections_received
    yield "total_commands_processed", counters.commands_processed
    yield "instantaneous_ops_per_sec", pace.commands_per_s
    yield "total_net_input_bytes", counters.input_bytes
    yield "total_net_output_bytes", counters.output_bytes
    yield "instantaneous_input_kbps", f"{pace.input_bytes_per_s / 1024:.2f}"
    yield "instantaneous_output_kbps", f"{pace.output_bytes_per_s / 1024:.2f}"
    yield "rejected_connections", counters.rejected_connections
    yield "expired_keys", counters.expired_keys
    yield "evicted_keys", 0
    yield "keyspace_hits", counters.keyspace_hits
    yield "keyspace_misses", counters.keyspace_misses
    yield "pubsub_channels", 0
    yield "pubsub_patterns", 0
    yield "total_error_replies", sum(counters.errors.values())
    # Not Redis's: by how much the event loop's tick of 10 ms came late.
    yield "loop_lag_usec", pace.lag_us
    yield "loop_lag_recent_max_usec", pace.recent_lag_us_max
    yield "loop_lag_max_usec", pace.lag_us_max


def _replication(report: Report) -> Fields:
    status = report.status
    if status.is_leader or report.is_standalone:
        replicas = _others(status)
        yield "role", "master"
        yield "connected_slaves", sum(member.is_reachable for member in replicas)
        for position, member in enumerate(member for member in replicas if member.is_reachable):
            heard_s = (member.heard_ms_ago or 0) // 1000
            state = "online" if member.snapshot is None else "send_bulk"
            yield (
                f"slave{position}",
                f"ip={member.host},port={member.port},state={state},offset={member.match_index},lag={heard_s}",
            )
    else:
        yield from _master_link(status)
    yield "master_failover_state", "no-failover"
    yield "master_replid", member_name(status.cluster_id, 0)
    yield "master_replid2", "0" * 40
    yield "master_repl_offset", status.raft.commit_index
    yield "second_repl_offset", -1
    yield "repl_backlog_active", 1
    yield "repl_backlog_first_byte_offset", status.raft.first_index
    yield "repl_backlog_histlen", status.raft.last_index - status.raft.first_index + 1


def _master_link(status: NodeStatus) -> Fields:
    master = status.master
    yield "role", "slave"
    yield "master_host", master.host
    yield "master_port", master.port
    yield "master_link_status", "up" if status.has_leader else "down"
    yield "master_last_io_seconds_ago", -1 if master.heard_ms_ago is None else master.heard_ms_ago // 1000
    yield "master_sync_in_progress", int(status.myself.snapshot is not None)
    yield "slave_read_repl_offset", status.raft.last_index
    yield "slave_repl_offset", status.raft.last_applied
    yield "slave_priority", 100
    yield "slave_read_only", 1
    yield "connected_slaves", 0


def _cpu(report: Report) -> Fields:
    process = report.process
    yield "used_cpu_sys", f"{process.cpu_system_s:.6f}"
    yield "used_cpu_user", f"{process.cpu_user_s:.6f}"


def _modules(_report: Report) -> Fields:
    yield from ()


def _commandstats(report: Report) -> Fields:
    """Calls are counted; their time is that of those measured, which need not be all."""
    for name, calls in sorted(report.counters.calls.items()):
        timing = report.timings.get(name)
        us_per_call = timing.total_ns / timing.count / 1000 if timing is not None and timing.count else 0.0
        yield (
            f"cmdstat_{name.decode()}",
            f"calls={calls},usec={calls * us_per_call:.0f},usec_per_call={us_per_call:.2f}",
        )


def _latencystats(report: Report) -> Fields:
    for name, timing in sorted(report.timings.items()):
        if timing.count:
            shares = (f"p{percent:g}={timing.percentile_ns(percent) / 1000:.3f}" for percent in _PERCENTILES)
            yield f"latency_percentiles_usec_{name.decode()}", ",".join(shares)


def _errorstats(report: Report) -> Fields:
    for prefix, count in sorted(report.counters.errors.items()):
        yield f"errorstat_{prefix}", f"count={count}"


def _cluster(report: Report) -> Fields:
    yield "cluster_enabled", int(not report.is_standalone)


def _keyspace(report: Report) -> Fields:
    for db, count in sorted(report.key_counts.items()):
        if count.keys:
            yield f"db{db}", f"keys={count.keys},expires={count.expiring},avg_ttl=0"


def _raft(report: Report) -> Fields:
    """The names are RedisRaft's up to `raft_last_applied_index`."""
    status = report.status
    raft = status.raft
    yield "raft_cluster_id", status.cluster_id.hex()
    yield "raft_node_id", status.node_id
    was_removed = status.node_id <= status.membership.newest_id and status.myself.standing is STRANGER
    yield "raft_state", "removed" if was_removed else "up"
    yield "raft_role", role_name(raft.role)
    yield "raft_is_voting", "yes" if status.myself.is_voter else "no"
    yield "raft_leader_id", -1 if raft.leader_id == NOBODY else raft.leader_id
    yield "raft_current_term", raft.current_term
    yield "raft_num_nodes", len(status.members)
    yield "raft_num_voting_nodes", sum(member.is_voter for member in status.members)
    membership = status.membership
    yield "raft_voters", ",".join(map(str, sorted(membership.voter_ids)))
    yield "raft_learners", ",".join(map(str, membership.learners))
    for member in _others(status):
        yield f"raft_node{member.node_id}", _raft_node(status, member)
    yield "raft_log_entries", raft.last_index - raft.first_index + 1
    yield "raft_current_index", raft.last_index
    yield "raft_commit_index", raft.commit_index
    yield "raft_last_applied_index", raft.last_applied
    yield "raft_persisted_index", raft.persisted_index
    yield "raft_disk", report.fitness.disk_state
    # Leases tolerate that two nodes' clocks drift apart by so much; without trust reads go by ReadIndex.
    yield "raft_lease_drift_percent", report.config.clock_drift_percent
    yield "raft_lease_trusted", int(report.fitness.is_clock_trusted)
    yield "raft_clock_faults", report.fitness.clock_faults_count


def _raft_node(status: NodeStatus, member: MemberStatus) -> str:
    heard_s = -1 if member.heard_ms_ago is None else member.heard_ms_ago // 1000
    fields: dict[str, object] = {
        "id": member.node_id,
        "state": "connected" if member.is_reachable else "disconnected",
        "voting": "yes" if member.is_voter else "no",
        "addr": member.host,
        "port": member.port,
        "last_conn_secs": heard_s,
        "conn_errors": member.failed_connects_count,
        "conn_oks": member.connects_count,
    }
    if member.standing is not VOTER:
        fields["role"] = member.standing.value
        if status.is_leader:
            fields["lag"] = max(0, status.raft.commit_index - member.match_index)
    if member.snapshot is not None:
        fields["snapshot_percent"] = member.snapshot.percent
    return ",".join(f"{name}={value}" for name, value in fields.items())


def _others(status: NodeStatus) -> list[MemberStatus]:
    return [member for member in status.members if member.node_id != status.node_id]


#: In the order in which INFO shows them.
SECTIONS: Final[Mapping[str, Callable[[Report], Fields]]] = MappingProxyType(
    {
        "server": _server,
        "clients": _clients,
        "memory": _memory,
        "persistence": _persistence,
        "stats": _stats,
        "replication": _replication,
        "cpu": _cpu,
        "modules": _modules,
        "commandstats": _commandstats,
        "errorstats": _errorstats,
        "latencystats": _latencystats,
        "cluster": _cluster,
        "keyspace": _keyspace,
        "raft": _raft,
    }
)


def sections_of(names: list[str]) -> list[str]:
    """The sections that INFO was asked for, each once, in their order; unknown names are ignored."""
    wanted = set(names)
    if not wanted or "default" in wanted:
        wanted |= SECTIONS.keys() - _ON_REQUEST
    if wanted & {"all", "everything"}:
        wanted |= SECTIONS.keys()
    return [name for name in SECTIONS if name in wanted]


def text_of(report: Report, sections: list[str]) -> str:
    """The sections' text (redis genRedisInfoString)."""
    return "\r\n".join(_section(report, name) for name in sections)


def _section(report: Report, name: str) -> str:
    title = "CPU" if name == "cpu" else name.capitalize()
    lines = (f"{field}:{value}\r\n" for field, value in SECTIONS[name](report))
    return f"# {title}\r\n{''.join(lines)}"
