"""The node as LOCAL commands see it: a `NodeView` over its parts.

Only looks and passes on; owns nothing but the memory of who led last.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from raftkv.commands.administration import TransferStatus, standing_of
from raftkv.commands.monitors import Monitors
from raftkv.commands.session import (
    ConfigNotWritten,
    Counters,
    FitnessStatus,
    KeyCount,
    MemberStatus,
    NodeStatus,
    Pace,
    ProcessStatus,
    SaveStatus,
    Session,
)
from raftkv.commands.table import CommandTable, Sliced
from raftkv.config import ConfigError, Member
from raftkv.node.administration import GroupAdministration
from raftkv.node.backups import Backups
from raftkv.node.clients import Clients
from raftkv.node.clock import Clock
from raftkv.node.fitness import Fitness
from raftkv.node.group import Group
from raftkv.node.observer import Observer
from raftkv.node.pulse import Rates, Totals
from raftkv.node.roster import Roster
from raftkv.node.saves import Saves
from raftkv.node.snapshot_transfer import TransferProgress
from raftkv.node.snapshots import SnapshotProgress
from raftkv.raft import NOBODY
from raftkv.runtime_settings import RuntimeSettings
from raftkv.storage import KvStore, LogStore
from raftkv.storage.durable_file import replace_file
from raftkv.transport import Transport

#: The oldest generation is left alone: with millions of keys in the cache that would stop the loop.
_COLLECTED_GENERATION: Final = 1


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
        roster: Roster,
        transport: Transport,
        log_store: LogStore,
        kv_store: KvStore,
        saves: Saves,
        observer: Observer,
        fitness: Fitness,
        administration: GroupAdministration,
        progress: Callable[[], SnapshotProgress],
        backups: Backups,
        request_stop: Callable[[], None],
        config_path: Path | None = None,
    ) -> None:
        """Take note of the parts.

        `progress()` of snapshots; `config_path` is the file that the settings came from, if there was one.
        """
        self._cluster_id = cluster_id
        self._settings = settings
        self._table = table
        self._clock = clock
        self._group = group
        self._roster = roster
        self._transport = transport
        self._log_store = log_store
        self._kv_store = kv_store
        self._saves = saves
        self._observer = observer
        self._fitness = fitness
        self._administration = administration
        self._progress = progress
        self._backups = backups
        self._request_stop = request_stop
        self._config_path = config_path
        self._process = ProcessLook(clock)
        self._rates = Rates(clock.now_ns())
        self._started_ms = clock.wall_ms()
        self._is_stopping = False
        #: What had been counted at the last CONFIG RESETSTAT.
        self._forgotten = Counters()
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

    @property
    def monitors(self) -> Monitors:
        """What SLOWLOG and LATENCY show and reset."""
        return self._observer.monitors

    @property
    def administration(self) -> GroupAdministration:
        """What changes the cluster."""
        return self._administration

    @property
    def backups(self) -> Backups:
        """What RAFT BACKUP asks."""
        return self._backups

    def on_leader(self, leader_id: int) -> None:
        """Remember who led last: without a leader, clients are still given a whole slot map."""
        if leader_id != NOBODY:
            self._last_leader_id = leader_id

    def status(self) -> NodeStatus:
        """A fresh look; the caller's own. Cheap: it asks the memory alone."""
        raft = self._group.core.status(self._clock.now_ns())
        self.on_leader(raft.leader_id)
        followers = {peer.node_id: peer for peer in raft.peers}
        transfers = self._transfers()
        membership = self._group.core.membership
        replaced = {staged.node_id: staged.takes_place_of for staged in membership.staged}
        members = []
        for member in self._roster.members:
            status = self._look_at(member)
            status.standing = standing_of(membership, member.node_id)
            status.takes_place_of = replaced.get(member.node_id, NOBODY)
            status.snapshot = transfers.get(member.node_id)
            follower = followers.get(member.node_id)
            if follower is not None:
                status.match_index = follower.match_index
                status.heard_ms_ago = follower.heard_ms_ago
                status.replication = follower.state
            members.append(status)
        return NodeStatus(
            cluster_id=self._cluster_id,
            node_id=self._settings.config.node_id,
            members=members,
            raft=raft,
            last_leader_id=self._last_leader_id,
            started_ms=self._started_ms,
            membership=membership,
            is_membership_committed=self._group.core.committed_membership == membership,
        )

    def _transfers(self) -> dict[int, TransferStatus]:
        """The snapshots under way, by who is to get them."""
        progress = self._progress()
        transfers = {each.node_id: _transfer_status(each) for each in progress.outgoing}
        if progress.incoming is not None:
            transfers[self._settings.config.node_id] = _transfer_status(progress.incoming)
        return transfers

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

    # -- figures ----------------------------------------------------------------------------

    def process(self) -> ProcessStatus:
        """A fresh look at the process and its files; dear."""
        status = self._process.look(self._log_store, self._kv_store)
        status.config_file = "" if self._config_path is None else str(self._config_path)
        status.cache_bytes = self._group.machine.keyspace.cache_bytes
        return status

    def counters(self) -> Counters:
        """What was counted since the start or the last CONFIG RESETSTAT."""
        counted, forgotten = self._counted(), self._forgotten
        return Counters(
            connections_received=counted.connections_received - forgotten.connections_received,
            rejected_connections=counted.rejected_connections - forgotten.rejected_connections,
            calls=Counter(counted.calls) - Counter(forgotten.calls),
            input_bytes=counted.input_bytes - forgotten.input_bytes,
            output_bytes=counted.output_bytes - forgotten.output_bytes,
            keyspace_hits=counted.keyspace_hits - forgotten.keyspace_hits,
            keyspace_misses=counted.keyspace_misses - forgotten.keyspace_misses,
            expired_keys=counted.expired_keys - forgotten.expired_keys,
            errors=Counter(counted.errors) - Counter(forgotten.errors),
            blocked_clients=counted.blocked_clients,
        )

    def _counted(self) -> Counters:
        """What was counted since the start."""
        clients, machine = self.clients, self._group.machine
        if clients is None:
            return Counters()
        traffic, missed_count = clients.traffic(), machine.keyspace.missed_count
        return Counters(
            connections_received=clients.accepted_count,
            rejected_connections=clients.rejected_count,
            calls=dict(clients.calls),
            input_bytes=traffic.input_bytes,
            output_bytes=traffic.output_bytes,
            # A read may look a key up twice.
            keyspace_hits=max(0, machine.lookups_count - missed_count),
            keyspace_misses=missed_count,
            expired_keys=machine.keyspace.expired_count,
            errors=dict(clients.errors),
            blocked_clients=clients.held_count,
        )

    def reset_statistics(self) -> None:
        """Count from nothing again; what was measured is forgotten too."""
        self._forgotten = self._counted()
        self._observer.loop_lag.reset()
        for timing in self._observer.monitors.timings.values():
            timing.reset()

    def sample(self) -> None:
        """Take the totals that INFO's rates are made of; about once a second."""
        counted = self._counted()
        totals = Totals(counted.commands_processed, counted.input_bytes, counted.output_bytes)
        self._rates.sample(self._clock.now_ns(), totals)

    def pace(self) -> Pace:
        """How busy and how punctual the node is."""
        rates, lag = self._rates.per_second, self._observer.loop_lag
        return Pace(
            commands_per_s=rates.commands_count,
            input_bytes_per_s=rates.input_bytes,
            output_bytes_per_s=rates.output_bytes,
            lag_us_max=lag.worst_ns // 1000,
            recent_lag_us_max=lag.recent_worst_ns // 1000,
            lag_us=lag.latest_ns // 1000,
        )

    def now_us(self) -> int:
        """Microseconds of the Unix epoch."""
        return self._clock.wall_us()

    def sessions(self) -> Iterable[Session]:
        """Every client's session, oldest first."""
        return self.clients.sessions() if self.clients is not None else ()

    def kill_client(self, client_id: int) -> None:
        """Close another client's connection at once, whatever it is owed."""
        connection = None if self.clients is None else self.clients.find(client_id)
        if connection is not None:
            connection.kill()

    def pause_clients(self, timeout_ms: int, *, is_of_all: bool) -> None:
        """Let this node's clients wait with all their commands, or with writes alone."""
        assert self.clients is not None, "a client asks"
        self.clients.pause.begin(self._clock.now_ns() + timeout_ms * 1_000_000, is_of_all=is_of_all)

    def unpause_clients(self) -> None:
        """Let them go on."""
        assert self.clients is not None, "a client asks"
        self.clients.pause.end()

    def unblock_client(self, client_id: int, *, with_error: bool) -> bool:
        """Answer what another client awaits as if its time were over, or with an error; False: it doesn't."""
        connection = None if self.clients is None else self.clients.find(client_id)
        return connection is not None and connection.executor.unblock(with_error=with_error)

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

    # -- what the node is told to do --------------------------------------------------------

    def request_leadership(self) -> None:
        """Ask the leader to hand over to this node."""
        self._group.request_leadership()

    def saves(self) -> SaveStatus:
        """How the flushes of the state go."""
        return self._saves.status()

    def fitness(self) -> FitnessStatus:
        """What disk and clock are like."""
        return self._fitness.status()

    def begin_save(self) -> Callable[[], bool]:
        """Have all that is applied flushed to `state/`; what is given tells whether it is done."""
        return self._saves.begin()

    @property
    def is_stopping(self) -> bool:
        """The node was told to stop and is on its way out."""
        return self._is_stopping

    def stop(self) -> None:
        """Stop the node as SIGTERM does."""
        self._is_stopping = True
        self._request_stop()

    def rewrite_config(self) -> None:
        """Write the settings that hold into the configuration file. Raises ConfigNotWritten."""
        if self._config_path is None:
            raise ConfigNotWritten("The server is running without a config file")
        path = self._config_path.resolve()  # not the link to it
        try:
            replace_file(path, self._settings.rewritten(path.read_bytes(), name=str(path)))
        except OSError as failure:
            raise ConfigNotWritten(f"Rewriting config file: {failure.strerror}") from None
        except ConfigError as refusal:
            raise ConfigNotWritten(f"Rewriting config file: {refusal}") from None

    def release_memory(self) -> None:
        """Collect the garbage of the younger generations: milliseconds, however much is cached."""
        gc.collect(_COLLECTED_GENERATION)


def _transfer_status(progress: TransferProgress) -> TransferStatus:
    return TransferStatus(progress.bytes_done, progress.bytes_total)


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
        self._memory_startup_bytes = self._resident_bytes()

    def look(self, log_store: LogStore, kv_store: KvStore) -> ProcessStatus:
        """A fresh look."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        resident_bytes = self._resident_bytes()
        return ProcessStatus(
            pid=os.getpid(),
            run_id=self._run_id,
            uptime_s=(self._clock.now_ns() - self._started_ns) // 1_000_000_000,
            memory_bytes=resident_bytes,
            # The kernel notes the peak now and then, not at once.
            memory_peak_bytes=max(usage.ru_maxrss * 1024, resident_bytes),
            memory_startup_bytes=self._memory_startup_bytes,
            memory_total_bytes=self._memory_total_bytes,
            cpu_user_s=usage.ru_utime,
            cpu_system_s=usage.ru_stime,
            log_bytes=log_store.size_bytes(),
            state_bytes=kv_store.size_bytes(),
            state_durable_index=kv_store.durable_index,
            os_name=self._os_name,
            executable=sys.executable,
        )

    def _resident_bytes(self) -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * self._page_bytes
