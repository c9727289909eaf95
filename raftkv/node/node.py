"""One process: its data directory, its listeners, the Raft group that it hosts, from start to stop.

Wires the parts and owns their lifetimes; decides nothing. A defect or a failed disk ends the process
at once: what can't be sure must not go on answering.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from raftkv import __version__
from raftkv.commands import build_table
from raftkv.commands.table import CommandTable
from raftkv.config import Config, join_address
from raftkv.machine import Machine
from raftkv.node.administration import GroupAdministration
from raftkv.node.admission import ADMISSION, Admission
from raftkv.node.asking import Asker
from raftkv.node.backups import Backups
from raftkv.node.bootstrap import answers_of_formed, form_cluster, open_identity
from raftkv.node.clients import Clients, bind_socket
from raftkv.node.clock import Clock
from raftkv.node.clock_guard import ClockBroken, ClockGuard
from raftkv.node.compaction import Compactor
from raftkv.node.disk_space import DiskSpace, room_of
from raftkv.node.disk_watch import DiskWatch
from raftkv.node.disks import Disks
from raftkv.node.fitness import Fitness
from raftkv.node.group import Group
from raftkv.node.invitations import INVITE, Invitations, answers_of_member
from raftkv.node.joining import Joining
from raftkv.node.observer import Observer
from raftkv.node.open_files import room_for_clients
from raftkv.node.roster import Roster
from raftkv.node.saves import Saves
from raftkv.node.snapshot_transfer import transfer_limits
from raftkv.node.snapshots import SnapshotExchange
from raftkv.node.view import View
from raftkv.node.watchdog import Watchdog
from raftkv.raft import (
    EntryId,
    Message,
    ProtocolError,
    RaftCore,
    RequestVote,
    decode_membership,
)
from raftkv.runtime_settings import RuntimeSettings
from raftkv.storage import (
    NO_ID,
    DataDir,
    DataDirRefused,
    Flusher,
    GroupLog,
    Identity,
    KvStore,
    LogStore,
    StorageFailure,
    SyncWriter,
    settle_log_with_state,
)
from raftkv.storage.worker import Worker
from raftkv.transport import Address, Refusal, RefusalCode, Transport, TransportLimits

log = logging.getLogger(__name__)

#: The one group of today; it owns all slots.
GROUP_ID = 0
#: Seconds between two ticks.
_TICK_SECONDS = 0.01
#: Ticks between two signs of life to the watchdog.
_TICKS_PER_SIGN = 10
#: Seconds between two looks at the size of the log.
_LOG_SIZE_SECONDS = 10.0
#: Seconds that a leader gives its followers to take over before it stops anyway.
_HANDOVER_SECONDS = 2.0
#: Seconds that clients' pending writes get to settle on the way out.
_SETTLE_SECONDS = 1.0
#: Slack on top of the largest command: the entry's and the frame's own bytes.
_FRAME_SLACK_BYTES = 1 << 20


class Node:
    """One node from start to stop; `run` is called once."""

    def __init__(
        self, config: Config, config_path: Path | None = None, watchdog: Watchdog | None = None
    ) -> None:
        self._config = config
        # Absolute: what is shown and written must not depend on where the node was started.
        self._config_path = None if config_path is None else config_path.absolute()
        self._clock = Clock()
        self._observer = Observer(self._clock, config, tick_ns=int(_TICK_SECONDS * 1e9))
        # Unpredictable: nonces and election timeouts of two nodes, or of two lives, must differ.
        self._random = random.Random(os.urandom(32))
        self._settings = RuntimeSettings(
            config, on_change=self._on_settings, room_for_clients=room_for_clients
        )
        self._stop = asyncio.Event()
        self._watchdog = watchdog
        self._ticks_count = 0
        self._disk_watch = DiskWatch(self._clock, config)
        self._group: Group | None = None
        self._fitness: Fitness | None = None
        self._clients: Clients | None = None
        self._log_bytes_warned = 0
        self._admission: Admission | None = None

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT. Raises DataDirRefused, StorageFailure, OSError."""
        config = self._config
        log.info("node %d: raftkv %s starts, data in %s", config.node_id, __version__, config.data_dir)
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self._stop.set)
        async with AsyncExitStack() as stack:
            await self._serve(stack)
        log.info("node %d: stopped", config.node_id)
        return 0

    async def _serve(self, stack: AsyncExitStack) -> None:
        config = self._config
        data_dir = DataDir.open(Path(config.data_dir), None if config.join else config.node_id)
        stack.callback(data_dir.close)
        identity = self._open_identity(data_dir)
        # Once the cluster is formed, or a backup restored, log and state exist: one that is missing was lost.
        is_new = identity.cluster_id is None and not identity.restored
        log_store = LogStore(data_dir.log_path, create=is_new)
        stack.callback(log_store.close)
        kv_store = KvStore(data_dir.state_path, create=is_new)
        stack.callback(kv_store.close)
        client_socket = bind_socket(config.bind, config.port)
        stack.callback(client_socket.close)
        standalone_socket = None
        if config.standalone_port:
            standalone_socket = bind_socket(config.bind, config.standalone_port)
            stack.callback(standalone_socket.close)
        if config.join:
            if identity.cluster_id is None and not await self._unless_stopped(self._join(data_dir)):
                return
            config = self._adopt_id(data_dir)
        transport = self._make_transport()
        await transport.listen()
        stack.push_async_callback(transport.close)
        if config.join:
            assert data_dir.identity is not None, "it has joined"
            transport.answer_bootstrap(answers_of_formed(data_dir.identity))
        elif not await self._unless_stopped(self._form(data_dir, transport)):
            return
        settle_log_with_state(log_store.group(GROUP_ID), kv_store.applied, data_dir.installed)
        assert data_dir.identity is not None, "the cluster is formed"
        self._start_group(stack, data_dir.identity, Disks(data_dir, log_store, kv_store), transport)
        assert self._clients is not None, "the group was started"
        await self._clients.listen(client_socket, is_standalone=False)
        if standalone_socket is not None:
            await self._clients.listen(standalone_socket, is_standalone=True)
            log.info(
                "node %d: a single Redis is served at %s:%d",
                config.node_id,
                config.bind,
                config.standalone_port,
            )
        stack.push_async_callback(self._clients.close)
        log.info("node %d: clients are served at %s:%d", config.node_id, config.bind, config.port)
        if self._watchdog is not None:
            stack.callback(self._watchdog.close)  # databases may take their time to close
        await self._stop.wait()
        await self._hand_over()

    def _open_identity(self, data_dir: DataDir) -> Identity:
        """Give who this node is, as far as its directory knows; a new one is told."""
        config = self._config
        nonce = os.urandom(16)
        if not config.join:
            return open_identity(data_dir, node_id=config.node_id, members=_addresses(config), nonce=nonce)
        known = data_dir.identity
        if known is not None and known.cluster_id is None and known.node_id != NO_ID:
            raise DataDirRefused(
                data_dir.path,
                f"it was made for node {known.node_id} to found a cluster; empty it to join one",
            )
        if known is None:
            data_dir.save_identity(Identity(NO_ID, (), nonce))
        assert data_dir.identity is not None, "it was saved"
        return data_dir.identity

    async def _form(self, data_dir: DataDir, transport: Transport) -> bytes:
        config = self._config
        return await form_cluster(
            data_dir,
            transport,
            node_id=config.node_id,
            members=_addresses(config),
            nonce=os.urandom(16),
            random=self._random,
        )

    async def _join(self, data_dir: DataDir) -> bytes:
        """Become a member of a cluster that there is; what was given is saved then. Raises JoinRefused."""
        identity = data_dir.identity
        assert identity is not None, "a newcomer has a nonce"
        # Only for questions: nobody is a peer yet.
        transport = self._make_transport(peers={})
        await transport.listen()
        try:
            joining = Joining(
                self._config,
                nonce=identity.nonce,
                ask=lambda address, question: transport.ask_address(address, question, kind=ADMISSION),
                random=self._random,
            )
            invitations = Invitations(nonce=identity.nonce, on_invited=joining.on_invited)
            transport.answer_questions(INVITE, invitations.on_question)
            admitted = await joining.run()
        finally:
            await transport.close()
        members = tuple((node_id, join_address(host, port)) for node_id, host, port in admitted.members)
        data_dir.save_identity(
            replace(identity, node_id=admitted.node_id, members=members, cluster_id=admitted.cluster_id)
        )
        log.info("node %d: joined cluster %s", admitted.node_id, admitted.cluster_id.hex())
        return admitted.cluster_id

    def _adopt_id(self, data_dir: DataDir) -> Config:
        """Go on as the member that this node became when it joined."""
        assert data_dir.identity is not None, "it has joined"
        config = self._config = self._config.of_joined(data_dir.identity.node_id)
        self._settings = RuntimeSettings(
            config, on_change=self._on_settings, room_for_clients=room_for_clients
        )
        return config

    async def _unless_stopped(self, forming: Coroutine[None, None, bytes]) -> bytes | None:
        """Await the forming of the cluster, or its joining; None: the node was told to stop first."""
        task = asyncio.create_task(forming)
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not task.done():
            task.cancel()
            return None
        return task.result()

    # -- wiring -----------------------------------------------------------------------------

    def _make_transport(self, peers: dict[int, Address] | None = None) -> Transport:
        config = self._config
        if peers is None:
            peers = {each.node_id: (each.peer_host, each.peer_port) for each in config.other_members}
        return Transport(
            node_id=config.node_id,
            bind=(config.bind, config.peer_port),
            peers=peers,
            on_messages=self._on_messages,
            on_snapshot=self._on_snapshot_frame,
            welcomes=self._welcomes,
            on_peer_address=self._on_peer_address,
            on_refused=self._on_refused,
            limits=TransportLimits(
                frame_bytes_max=config.command_bytes_max + _FRAME_SLACK_BYTES,
                queue_bytes_max=max(
                    config.peer_queue_bytes_max, config.command_bytes_max + _FRAME_SLACK_BYTES
                ),
            ),
            random=self._random,
            clock_ns=self._clock.now_ns,
        )

    def _start_group(
        self, stack: AsyncExitStack, identity: Identity, disks: Disks, transport: Transport
    ) -> None:
        """Recover the group from the disk and begin to take part."""
        config, cluster_id = self._config, identity.cluster_id
        assert cluster_id is not None, "the cluster is formed"
        loop = self._loop = asyncio.get_running_loop()
        self._log_store, self._transport = disks.log_store, transport
        table = build_table()
        group_log = disks.log_store.group(GROUP_ID)
        machine = Machine(disks.kv_store, table, cache_bytes_max=config.cache_bytes_max)
        self._observer.attach(table, machine.commands)
        core = self._make_core(identity, machine, group_log)
        roster = Roster(config, lambda: core.membership)
        writer, saves = self._start_threads(stack, disks)
        snapshots = self._make_snapshots(stack, disks, group_log)
        self._compactor = Compactor(
            group_log,
            config=config,
            durable_index=lambda: disks.kv_store.durable_index,
            needed_index=lambda: snapshots.needed_index,
        )
        group = self._group = Group(
            group_id=GROUP_ID,
            config=config,
            core=core,
            durable_log=group_log,
            machine=machine,
            links=transport,
            clock=self._clock,
            life=self._random.getrandbits(63),
            request_sync=writer.request,
            request_flush=saves.begin,
            call_soon=lambda callback: loop.call_soon(_or_die, callback),
            call_later=lambda seconds, callback: loop.call_later(seconds, _or_die, callback),
            on_leader=lambda leader_id: self._view.on_leader(leader_id),
            on_members=self._on_members,
            snapshots=snapshots,
        )
        snapshots.attach(group)
        stack.callback(group.stop)
        self._admission = Admission(
            config=config,
            nonce=identity.nonce,
            cluster_id=cluster_id,
            group=group,
            roster=roster,
            peers=transport,
            now_ns=self._clock.now_ns,
        )
        transport.answer_questions(ADMISSION, self._admission.on_question)
        self._make_front(cluster_id, table, group, roster, disks, saves)
        log.info(
            "node %d: cluster %s, term %d, log up to %d, applied up to %d",
            config.node_id,
            cluster_id.hex(),
            core.current_term,
            core.last_index,
            core.last_applied,
        )
        transport.start(cluster_id, announced=(config.member.peer_host, config.member.peer_port))
        self._on_members()
        self._tick()
        self._watch_log_size()

    def _make_core(self, identity: Identity, machine: Machine, group_log: GroupLog) -> RaftCore:
        # Whatever the configuration lists by now; a node that joined agreed to no founding.
        founders = tuple(node_id for node_id, _ in identity.agreed)
        return RaftCore(
            replace(self._config.raft_config(), voters=founders),
            group_log.hard_state,
            group_log,
            applied=EntryId(machine.applied_term, machine.applied_index),
            random=self._random,
            now_ns=self._clock.now_ns(),
            membership=decode_membership(machine.membership) if machine.membership else None,
        )

    def _make_front(
        self, cluster_id: bytes, table: CommandTable, group: Group, roster: Roster, disks: Disks, saves: Saves
    ) -> None:
        """Make what clients meet."""
        view = self._view = View(
            cluster_id=cluster_id,
            settings=self._settings,
            table=table,
            clock=self._clock,
            group=group,
            roster=roster,
            transport=self._transport,
            log_store=disks.log_store,
            kv_store=disks.kv_store,
            saves=saves,
            observer=self._observer,
            fitness=self._watch_fitness(group),
            administration=self._make_administration(cluster_id, group, disks, saves),
            progress=self._snapshots.progress,
            backups=self._backups,
            request_stop=self._stop.set,
            config_path=self._config_path,
        )
        self._clients = view.clients = Clients(
            config=self._config, table=table, group=group, clock=self._clock, node=view, roster=roster
        )

    def _make_administration(
        self, cluster_id: bytes, group: Group, disks: Disks, saves: Saves
    ) -> GroupAdministration:
        config, transport = self._config, self._transport
        assert self._admission is not None, "the group was started"
        transport.answer_questions(INVITE, answers_of_member(cluster_id, config.node_id))
        return GroupAdministration(
            own=config.member,
            cluster_id=cluster_id,
            group=group,
            admission=self._admission,
            saves=saves,
            compactor=self._compactor,
            durable_index=lambda: disks.kv_store.durable_index,
            ask=Asker(transport).ask,
        )

    def _make_snapshots(self, stack: AsyncExitStack, disks: Disks, group_log: GroupLog) -> SnapshotExchange:
        loop = self._loop
        outgoing = Worker(on_failure=_die, name="snapshot-out")
        stack.callback(outgoing.close)
        incoming = Worker(on_failure=_die, name="snapshot-in")
        stack.callback(incoming.close)
        self._backups = Backups(
            data_dir=disks.data_dir,
            kv_store=disks.kv_store,
            clock=self._clock,
            worker=outgoing,
            tell=lambda callback: loop.call_soon_threadsafe(_or_die, callback),
        )
        self._snapshots = SnapshotExchange(
            node_id=self._config.node_id,
            limits=transfer_limits(self._config),
            data_dir=disks.data_dir,
            kv_store=disks.kv_store,
            log_store=disks.log_store,
            group_log=group_log,
            clock=self._clock,
            send=lambda to, body: self._transport.send_snapshot(to, GROUP_ID, body),
            outgoing=outgoing,
            incoming=incoming,
            tell=lambda callback: loop.call_soon_threadsafe(_or_die, callback),
            call_later=lambda seconds, callback: loop.call_later(seconds, _or_die, callback),
        )
        return self._snapshots

    def _watch_fitness(self, group: Group) -> Fitness:
        config, path = self._config, Path(self._config.data_dir)
        guard = ClockGuard(self._clock, drift_percent=config.clock_drift_percent)
        space = DiskSpace(lambda: room_of(path), config)
        self._fitness = Fitness(group, self._disk_watch, space, guard)
        return self._fitness

    def _start_threads(self, stack: AsyncExitStack, disks: Disks) -> tuple[SyncWriter, Saves]:
        """Start those who wait for the disk."""
        tell = self._loop.call_soon_threadsafe
        sync = self._observer.watched("fsync", self._disk_watch.watched(disks.log_store.sync), tell=tell)
        writer = SyncWriter(sync, on_synced=self._on_synced, on_failure=_die)
        stack.callback(writer.close)
        flush = self._observer.watched("state-flush", disks.flush, tell=tell)
        flusher = Flusher(flush, on_failure=_die)
        stack.callback(flusher.close)
        saves = Saves(
            flusher.request,
            self._clock,
            on_flushed=lambda: tell(_or_die, self._on_flushed),
        )
        return writer, saves

    # -- callbacks --------------------------------------------------------------------------

    def _on_messages(self, sender: int, group_id: int, messages: list[Message]) -> None:
        """Raises ProtocolError for what no correct peer sends: its connection is closed."""
        if self._group is None:
            return
        if group_id != GROUP_ID:
            raise ProtocolError(f"node {sender} speaks of group {group_id}, which is not hosted here")
        try:
            if self._fitness is not None and RequestVote in map(type, messages):
                self._fitness.look_at_clock()
            self._group.on_messages(messages)
        except ProtocolError:
            raise
        except BaseException as error:  # noqa: BLE001 - a defect: whatever it is, the node must not go on
            _die(error)

    def _on_flushed(self) -> None:
        self._compactor.on_flushed()

    def _on_snapshot_frame(self, sender: int, group_id: int, body: bytes) -> None:
        """Raises ProtocolError for what no correct peer sends: its connection is closed."""
        if self._group is None:
            return
        if group_id != GROUP_ID:
            raise ProtocolError(f"node {sender} speaks of group {group_id}, which is not hosted here")
        try:
            self._snapshots.on_frame(sender, body)
        except ProtocolError:
            raise
        except BaseException as error:  # noqa: BLE001 - a defect: whatever it is, the node must not go on
            _die(error)

    def _welcomes(self, node_id: int) -> Refusal | None:
        return None if self._admission is None else self._admission.welcomes(node_id)

    def _on_peer_address(self, node_id: int, address: Address) -> None:
        if self._admission is not None:
            self._admission.on_peer_address(node_id, address)

    def _on_refused(self, node_id: int, code: RefusalCode, reason: str) -> None:
        if self._admission is not None:
            self._admission.on_refused(node_id, code, reason)

    def _on_members(self) -> None:
        if self._admission is not None:
            self._admission.on_members()

    def _on_synced(self, ticket: int) -> None:
        """On the writer's thread."""
        assert self._group is not None, "only a group asks for syncs"
        self._loop.call_soon_threadsafe(_or_die, self._group.on_synced, ticket)

    def _on_settings(self, config: Config) -> None:
        logging.getLogger().setLevel(config.log_level.upper())
        self._observer.adopt(config)
        if self._group is not None and self._clients is not None:
            self._group.config = self._compactor.config = config
            if self._fitness is not None:
                self._fitness.adopt(config)
            if self._admission is not None:
                self._admission.config = config
            self._clients.adopt(config)

    def _tick(self) -> None:
        if self._group is None or self._clients is None:
            return
        self._ticks_count += 1
        if self._watchdog is not None and self._ticks_count % _TICKS_PER_SIGN == 0:
            self._watchdog.give_sign()
        if self._observer.on_tick():
            self._view.sample()
            if self._admission is not None:
                _or_die(self._admission.on_tick)
        if self._fitness is not None:
            _or_die(self._fitness.on_tick)
        _or_die(self._group.on_tick)
        _or_die(self._snapshots.on_tick)
        _or_die(self._backups.on_tick)
        _or_die(self._clients.on_tick)
        self._observer.await_tick()
        self._loop.call_later(_TICK_SECONDS, self._tick)

    def _watch_log_size(self) -> None:
        """Warn as the log passes the limit, and each time that it has doubled since."""
        size_bytes = self._log_store.size_bytes()
        limit_bytes = max(self._settings.config.log_warn_bytes, 2 * self._log_bytes_warned)
        if size_bytes >= limit_bytes:
            self._log_bytes_warned = size_bytes
            log.warning(
                "node %d: the Raft log has %d MB; what was flushed should be gone from it, watch the disk",
                self._config.node_id,
                size_bytes >> 20,
            )
        self._loop.call_later(_LOG_SIZE_SECONDS, self._watch_log_size)

    # -- the end ----------------------------------------------------------------------------

    async def _hand_over(self) -> None:
        """Give leadership away and let pending writes settle, within bounds."""
        group = self._group
        assert group is not None, "the group was started"
        if group.is_leader and group.has_peers:
            successor = group.hand_over()
            log.info("node %d: stopping, leadership is handed to node %s", self._config.node_id, successor)
            await _until(lambda: not group.is_leader, _HANDOVER_SECONDS)
        await _until(lambda: not group.has_pending, _SETTLE_SECONDS)


def _addresses(config: Config) -> tuple[tuple[int, str], ...]:
    return tuple((member.node_id, member.peer_address) for member in config.members)


def _or_die(callback: Callable[..., None], *args: object) -> None:
    """Run a step of the group. What escapes it is a defect or a failed disk: the node ends."""
    try:
        callback(*args)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the node must not go on
        _die(error)


def _die(error: BaseException) -> None:
    """End the process now, from any thread: no further byte leaves, what is on the disk is whole anyway."""
    if isinstance(error, StorageFailure | ClockBroken):
        log.critical("the node stops: %s", error)
    else:
        log.critical("the node stops over a defect", exc_info=error)
    logging.shutdown()
    os._exit(1)


async def _until(is_done: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition, but no longer than that."""
    try:
        async with asyncio.timeout(seconds):
            while not is_done():
                await asyncio.sleep(_TICK_SECONDS)
    except TimeoutError:
        log.warning("gave up waiting after %g s", seconds)
