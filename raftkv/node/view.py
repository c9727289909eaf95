"""The node as LOCAL commands see it: a `NodeView` over its parts.

Only looks and passes on; owns nothing but the memory of who led last.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from raftkv.commands.session import (
    Counters,
    KeyCount,
    MemberStatus,
    NodeStatus,
    ProcessStatus,
    Session,
)
from raftkv.commands.table import CommandTable, Sliced
from raftkv.config import Member
from raftkv.node.clients import Clients
from raftkv.node.clock import Clock
from raftkv.node.group import Group
from raftkv.raft import NOBODY
from raftkv.runtime_settings import RuntimeSettings
from raftkv.storage import KvStore, LogStore
from raftkv.transport import Transport


class View:
    """Answers what LOCAL commands ask."""

    def __init__(
        self,
        *,
        cluster_id: bytes,
        settings: RuntimeSettings,
        table: CommandTable,
        clock: Clock,
        group: Group,
        transport: Transport,
        log_store: LogStore,
        kv_store: KvStore,
    ) -> None:
        self._cluster_id = cluster_id
        self._settings = settings
        self._table = table
        self._clock = clock
        self._group = group
        self._transport = transport
        self._log_store = log_store
        self._kv_store = kv_store
        self._process = ProcessLook(clock)
        self._last_leader_id = NOBODY
        #: Set once there is a listener.
        self.clients: Clients | None = None

    @property
    def commands(self) -> CommandTable:
        """The table that the node serves."""
        return self._table

    @property
    def settings(self) -> RuntimeSettings:
        """What CONFIG GET and SET show and change."""
        return self._settings

    def on_leader(self, leader_id: int) -> None:
        """Remember who led last: without a leader, clients are still given a whole slot map."""
        if leader_id != NOBODY:
            self._last_leader_id = leader_id

    def status(self) -> NodeStatus:
        """A fresh look; the caller's own."""
        raft = self._group.core.status(self._clock.now_ns())
        self.on_leader(raft.leader_id)
        followers = {peer.node_id: peer for peer in raft.peers}
        members = []
        for member in self._settings.config.members:
            status = self._look_at(member)
            follower = followers.get(member.node_id)
            if follower is not None:
                status.match_index = follower.match_index
                status.heard_ms_ago = follower.heard_ms_ago
            members.append(status)
        return NodeStatus(
            cluster_id=self._cluster_id,
            node_id=self._settings.config.node_id,
            members=members,
            raft=raft,
            last_leader_id=self._last_leader_id,
            process=self._process.look(self._log_store, self._kv_store),
            counters=self._counters(),
        )

    def _look_at(self, member: Member) -> MemberStatus:
        status = MemberStatus(
            node_id=member.node_id,
            host=member.host,
            port=member.port,
            peer_port=member.peer_port,
            is_reachable=True,
        )
        if member.node_id != self._settings.config.node_id:
            link = self._transport.status(member.node_id)
            status.is_reachable = link.is_connected
            status.connects_count = link.conn_oks
            status.failed_connects_count = link.conn_errors
        return status

    def _counters(self) -> Counters:
        clients = self.clients
        if clients is None:
            return Counters()
        traffic = clients.traffic()
        return Counters(
            connections_received=clients.accepted_count,
            rejected_connections=clients.rejected_count,
            commands_processed=traffic.commands_count,
            input_bytes=traffic.input_bytes,
            output_bytes=traffic.output_bytes,
            expired_keys=self._group.machine.keyspace.expired_count,
            errors=dict(clients.errors),
            blocked_clients=clients.held_count,
        )

    def now_us(self) -> int:
        """Microseconds of the Unix epoch."""
        return self._clock.wall_ms() * 1000

    def sessions(self) -> Iterable[Session]:
        """Every client's session, oldest first."""
        return self.clients.sessions() if self.clients is not None else ()

    def key_counts(self) -> Mapping[int, KeyCount]:
        """Number of keys of each database."""
        counts = self._group.machine.keyspace.counts_by_db()
        return {db: KeyCount(keys=count.keys, expiring=count.expiring) for db, count in counts.items()}

    def count_keys_in_slot(self, slot: int) -> Sliced:
        """Number of keys in the slot as this node has applied them."""
        return self._group.machine.count_keys_in_slot(slot)

    def keys_in_slot(self, slot: int, *, count_max: int) -> Sliced:
        """The first keys of the slot in the order of its rows."""
        return self._group.machine.keys_in_slot(slot, count_max=count_max)

    def digest(self) -> Sliced:
        """[digest of all rows in hex, the applied index at which it holds]."""
        return self._group.machine.digest()

    def replicas_at(self, index: int) -> int | None:
        """How many other members have the log up to `index` on their disks; None: only the leader knows."""
        if not self._group.is_leader:
            return None
        raft = self._group.core.status(self._clock.now_ns())
        return sum(peer.match_index >= index for peer in raft.peers)

    def request_leadership(self) -> None:
        """Ask the leader to hand over to this node."""
        self._group.request_leadership()


class ProcessLook:
    """What the operating system says of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_ns = clock.now_ns()
        uname = os.uname()
        self._os_name = f"{uname.sysname} {uname.release} {uname.machine}"
        self._run_id = os.urandom(20).hex()
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._memory_total_bytes = os.sysconf("SC_PHYS_PAGES") * self._page_bytes

    def look(self, log_store: LogStore, kv_store: KvStore) -> ProcessStatus:
        """A fresh look."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
        return ProcessStatus(
            pid=os.getpid(),
            run_id=self._run_id,
            uptime_s=(self._clock.now_ns() - self._started_ns) // 1_000_000_000,
            memory_bytes=resident_pages * self._page_bytes,
            memory_peak_bytes=usage.ru_maxrss * 1024,
            memory_total_bytes=self._memory_total_bytes,
            cpu_user_s=usage.ru_utime,
            cpu_system_s=usage.ru_stime,
            log_bytes=log_store.size_bytes(),
            state_bytes=kv_store.size_bytes(),
            state_durable_index=kv_store.durable_index,
            os_name=self._os_name,
            executable=sys.executable,
        )
