"""Nodes without processes: everything of `raftkv.node` between the sockets and the disks is real.

Time, the loop, the network, the fsyncs and the clients' sockets are the test's to drive. Nothing
happens by itself: `Cluster.settle` lets everything that can happen at this instant happen, and
`Cluster.run` lets milliseconds pass. Messages pass through the codec, as on a wire.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hiredis

from raftkv.commands import build_table
from raftkv.config import Config, Member
from raftkv.machine import Machine
from raftkv.node.administration import GroupAdministration
from raftkv.node.admission import ADMISSION, Admission
from raftkv.node.clients import Clients
from raftkv.node.clock_guard import ClockGuard
from raftkv.node.compaction import Compactor
from raftkv.node.connection import Connection
from raftkv.node.disk_space import DiskSpace, Room
from raftkv.node.disk_watch import DiskWatch
from raftkv.node.fitness import Fitness
from raftkv.node.group import Group
from raftkv.node.invitations import answers_of_member
from raftkv.node.observer import Observer
from raftkv.node.roster import Roster
from raftkv.node.saves import Saves
from raftkv.node.snapshots import SnapshotProgress
from raftkv.node.view import View
from raftkv.raft import EntryId, RaftCore, decode
from raftkv.runtime_settings import RuntimeSettings
from raftkv.transport import Address
from tests.node.driven_links import Links, NoSnapshots, Sized
from tests.node.driven_newcomer import Newcomer
from tests.node.driven_parts import NS_PER_MS, DrivenClock, DrivenDisk, DrivenLoop, StallingRows

#: A lease lasts 475 ms, with 5 % of drift.
ELECTION_TIMEOUT_MS = 500
TABLE = build_table()
CLUSTER_ID = bytes(16)


class Socket(asyncio.Transport):
    """A transport that records; its peer reads all at once unless it `is_stuck`."""

    def __init__(self, loop: DrivenLoop, connection: Connection, port: int) -> None:
        super().__init__()
        self._loop = loop
        self._connection = connection
        self._addresses = {"peername": ("127.0.0.1", port), "sockname": ("127.0.0.1", 7001)}
        self.received = b""
        self.unread = b""
        self.is_stuck = False
        #: `close` waits for the peer to read, as real ones do.
        self.keeps_closing = False
        self.is_paused = False
        self.is_lost = False
        self._is_closing = False
        self._is_writing_paused = False
        self._high, self._low = 64 << 10, 16 << 10
        #: Unread bytes, at most so far.
        self.peak_bytes = 0
        #: How many pieces came.
        self.writes_count = 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._addresses.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        assert low is not None
        self._high, self._low = high, low

    def get_write_buffer_size(self) -> int:
        return len(self.unread)

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return not self.is_paused and not self._is_closing

    def pause_reading(self) -> None:
        assert not self._is_closing, "uvloop complains of a closed transport"
        self.is_paused = True

    def resume_reading(self) -> None:
        assert not self._is_closing, "uvloop complains of a closed transport"
        self.is_paused = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        assert data, "an empty write"
        if self._is_closing:
            return
        self.writes_count += 1
        if not self.is_stuck:
            self.received += data
            return
        self.unread += data
        self.peak_bytes = max(self.peak_bytes, len(self.unread))
        if len(self.unread) > self._high and not self._is_writing_paused:
            self._is_writing_paused = True
            self._connection.pause_writing()

    def read_all(self) -> None:
        """Let the peer read again."""
        self.is_stuck = False
        self.received += self.unread
        self.unread = b""
        if self._is_writing_paused:
            self._is_writing_paused = False
            self._connection.resume_writing()

    def read_some(self, size_bytes: int) -> None:
        """Let the peer read a little."""
        self.received += self.unread[:size_bytes]
        self.unread = self.unread[size_bytes:]

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            if not (self.keeps_closing and self.unread):
                self._loop.call_soon(self._lose)

    def abort(self) -> None:
        self._is_closing = True
        self.unread = b""
        self._loop.call_soon(self._lose)

    def _lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self._connection.connection_lost(None)


class Client:
    """A client's end of one connection."""

    def __init__(self, node: Node, port: int, *, is_standalone: bool = False) -> None:
        self.connection = node.clients._make_connection(is_standalone=is_standalone)
        self.socket = Socket(node.loop, self.connection, port)
        self.connection.connection_made(self.socket)
        self._taken = 0

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as one chunk."""
        assert not self.socket.is_lost, "the connection is closed"
        self.connection.data_received(data)

    def send(self, *requests: str | list[bytes]) -> None:
        """Pipeline requests in one chunk; a string is split at spaces."""
        self.send_bytes(b"".join(map(request_bytes, requests)))

    def end(self) -> None:
        """Say that nothing more will be sent, as `shutdown(SHUT_WR)` does."""
        if not self.connection.eof_received():
            self.socket.close()

    def take(self) -> bytes:
        """The bytes that came since the last call."""
        received = self.socket.received[self._taken :]
        self._taken = len(self.socket.received)
        return received

    def replies(self) -> list[Any]:
        """The replies that came since the last call; errors are hiredis.ReplyError."""
        reader = hiredis.Reader()
        reader.feed(self.take())
        found = []
        while (reply := reader.gets()) is not False:
            found.append(reply)
        return found

    @property
    def is_closed(self) -> bool:
        return self.socket.is_closing()

    @property
    def owes_nothing(self) -> bool:
        """Nothing of this connection waits for anything."""
        connection = self.connection
        return not (
            connection.replies.pending
            or connection.replies.buffered_bytes
            or connection.executor.backlog
            or connection.replies._answers
            or connection.executor.hold
        )


def request_bytes(request: str | list[bytes]) -> bytes:
    """A request as clients send it."""
    args = request.encode().split(b" ") if isinstance(request, str) else request
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)


class NoBackups:
    """For rows that are on no disk."""

    def begin(self) -> None:
        raise AssertionError("nobody backs this node up")


class Node:
    """One node: its group, its clients and what they stand on."""

    def __init__(
        self, cluster: Cluster, config: Config, seed: int, *, joined_with_nonce: bytes | None = None
    ) -> None:
        """A founder, or a node that joined, which knows no voters until the log says who they are."""
        self.cluster = cluster
        self.node_id = config.node_id
        self.nonce = joined_with_nonce or b"nonce of founder %d" % config.node_id
        clock = self.clock = DrivenClock()
        self.loop = DrivenLoop(clock)
        self.disk = DrivenDisk()
        self.rows = StallingRows()
        self.links = Links(cluster, self.node_id)
        self.flushes_count = 0
        #: What flushes that were asked for by clients call when they end.
        self.flushes_waiting: list[Callable[[], None]] = []
        # Without stopwatches: the table is every node's.
        self.observer = Observer(clock, config, tick_ns=10 * NS_PER_MS)
        self.was_told_to_stop = False
        self.machine = Machine(self.rows, TABLE, cache_bytes_max=config.cache_bytes_max)
        raft_config = config.raft_config()
        self.core = RaftCore(
            replace(raft_config, voters=()) if joined_with_nonce else raft_config,
            self.disk.hard_state,
            self.disk,
            applied=EntryId(0, 0),
            random=random.Random(f"{seed}/{self.node_id}"),
            now_ns=clock.ns,
        )
        self.settings = RuntimeSettings(config, on_change=self._on_settings)
        self.group = Group(
            group_id=0,
            config=config,
            core=self.core,
            durable_log=self.disk,
            machine=self.machine,
            links=self.links,
            clock=clock,
            life=random.Random(f"life {seed}/{self.node_id}").getrandbits(63),
            request_sync=self.disk.request,
            request_flush=self._count_flush,
            call_soon=self.loop.call_soon,
            call_later=self.loop.call_later,
            on_leader=lambda leader_id: self.view.on_leader(leader_id),
            on_members=self._on_members,
            snapshots=NoSnapshots(),
        )
        self.roster = Roster(config, lambda: self.core.membership)
        self.disk.on_synced = self.group.on_synced
        self.admission = Admission(
            config=config,
            nonce=self.nonce,
            cluster_id=CLUSTER_ID,
            group=self.group,
            roster=self.roster,
            peers=self.links,
            now_ns=clock.now_ns,
        )
        self._make_front(config)
        #: Time stands still for it: it does nothing, and nothing reaches it.
        self.is_stopped = False

    def _make_front(self, config: Config) -> None:
        """Make what judges the machine, and what clients meet."""
        clock = self.clock
        self.disk_watch = DiskWatch(clock, config)
        self.disk.on_begun, self.disk.on_ended = self.disk_watch.begin, self.disk_watch.end
        #: What the disk has left.
        self.room = Room(free_bytes=100 << 30, disk_bytes=200 << 30)
        guard = ClockGuard(
            clock, drift_percent=config.clock_drift_percent, references=[lambda: clock.reference_ns]
        )
        self.fitness = Fitness(self.group, self.disk_watch, DiskSpace(lambda: self.room, config), guard)
        self.stores = Sized()
        self.compactor = Compactor(
            self.disk,
            config=config,
            durable_index=lambda: self.stores.durable_index,
            needed_index=lambda: None,
        )
        #: What is on its way, as the exchange of snapshots would tell.
        self.snapshots = SnapshotProgress(outgoing=[], incoming=None)
        saves = Saves(self.flushes_waiting.append, clock)
        self.view = View(
            cluster_id=CLUSTER_ID,
            settings=self.settings,
            table=TABLE,
            clock=clock,
            group=self.group,
            roster=self.roster,
            transport=self.links,
            log_store=self.stores,
            kv_store=self.stores,
            saves=saves,
            observer=self.observer,
            fitness=self.fitness,
            administration=GroupAdministration(
                own=config.member,
                cluster_id=CLUSTER_ID,
                group=self.group,
                admission=self.admission,
                saves=saves,
                compactor=self.compactor,
                durable_index=lambda: self.stores.durable_index,
                ask=self._ask,
            ),
            progress=lambda: self.snapshots,
            backups=NoBackups(),
            request_stop=self._note_stop,
        )
        self.clients = self.view.clients = Clients(
            config=config,
            table=TABLE,
            group=self.group,
            clock=clock,
            node=self.view,
            roster=self.roster,
        )

    def _on_members(self) -> None:
        self.admission.on_members()

    def _ask(
        self, address: Address, kind: int, question: bytes, on_answer: Callable[[bytes | str], None]
    ) -> None:
        answer = self.cluster.answer_at(address, kind, question)
        self.loop.call_soon(lambda: on_answer(answer))

    def flush(self) -> None:
        """End the flushes that clients asked for."""
        self.stores.durable_index = self.core.last_applied
        waiting, self.flushes_waiting[:] = list(self.flushes_waiting), []
        for on_done in waiting:
            on_done()

    def _on_settings(self, config: Config) -> None:
        self.group.config = config
        self.fitness.adopt(config)
        self.admission.config = config
        self.clients.adopt(config)

    def _count_flush(self) -> None:
        self.flushes_count += 1

    def _note_stop(self) -> None:
        self.was_told_to_stop = True

    def set(self, **changes: Any) -> None:
        """Change settings as nothing but a test can."""
        self._on_settings(replace(self.settings.config, **changes))

    def connect(self) -> Client:
        """A new client."""
        return Client(self, next(self.cluster.ports))

    def connect_standalone(self) -> Client:
        """A new client of the listener that behaves as one single Redis."""
        return Client(self, next(self.cluster.ports), is_standalone=True)

    def tick(self) -> None:
        """What a node does every ten milliseconds."""
        self.fitness.on_tick()
        self.group.on_tick()
        self.clients.on_tick()

    def ask(self, *requests: str | list[bytes]) -> list[Any]:
        """Send requests on a new connection, let everything settle, and give the replies."""
        client = self.connect()
        client.send(*requests)
        self.cluster.settle()
        return client.replies()


class Cluster:
    """Some nodes and the network between them."""

    def __init__(self, count: int = 3, *, seed: int = 0, **settings: Any) -> None:
        self.ports = itertools.count(50001)
        self.network: deque[tuple[int, int, bytes]] = deque()
        #: (from, to): what is sent there is lost.
        self.cut: set[tuple[int, int]] = set()
        #: Messages wait for `deliver`.
        self.is_held = False
        settings = {"election_timeout_ms": ELECTION_TIMEOUT_MS, "heartbeat_interval_ms": 100, **settings}
        members = tuple(
            Member(node_id=node_id, host="127.0.0.1", port=7000 + node_id, peer_port=17000 + node_id)
            for node_id in range(1, count + 1)
        )
        self.nodes = {
            member.node_id: Node(
                self, Config(node_id=member.node_id, members=members, port=member.port, **settings), seed
            )
            for member in members
        }
        self._ticks_due = 0
        self._seed = seed
        #: Nodes that wait to be taken in, by where they listen for peers.
        self.newcomers: dict[Address, Newcomer] = {}

    def add_newcomer(self, port: int, *, nonce: bytes = b"a new directory!") -> Newcomer:
        """A node with an empty directory, waiting for an invitation."""
        newcomer = Newcomer(self, Member(1, "127.0.0.1", port), nonce=nonce)
        self.newcomers[newcomer.address] = newcomer
        return newcomer

    def admit(self, newcomer: Newcomer, node_id: int) -> None:
        """Let a newcomer go on as the member that it has become."""
        del self.newcomers[newcomer.address]
        some = next(iter(self.nodes.values()))
        member = replace(newcomer.member, node_id=node_id)
        config = replace(
            some.settings.config,
            node_id=node_id,
            members=(member,),
            port=member.port,
            peer_port=member.peer_port,
            announce_host="",
            announce_port=0,
            announce_peer_port=0,
        )
        node = self.nodes[node_id] = Node(self, config, self._seed, joined_with_nonce=newcomer.nonce)
        node.clock.ns, node.clock.reference_ns = some.clock.ns, some.clock.reference_ns

    def answer_at(self, address: Address, kind: int, question: bytes) -> bytes | str:
        """What is answered to a question on a peer port, or why nothing is."""
        if address in self.newcomers:
            return self.newcomers[address].answer(kind, question)
        for node in self.nodes.values():
            if node.settings.config.member.peer_port == address[1]:
                if kind == ADMISSION:
                    return node.admission.on_question(question)
                return answers_of_member(CLUSTER_ID, node.node_id)(question)
        return "Connection refused"

    def tell_addresses(self) -> None:
        """Let the log know how the founders are reached, as nodes do that serve for a while."""
        self.run_until(lambda: self._tell_addresses())

    def _tell_addresses(self) -> bool:
        leader = self.leader
        if leader is not None:
            leader.admission.on_tick()
        if leader is None or leader.roster.untold():
            return False
        return all(node.core.committed_membership == leader.core.membership for node in self.nodes.values())

    def __getitem__(self, node_id: int) -> Node:
        return self.nodes[node_id]

    @property
    def leader(self) -> Node | None:
        """The node that leads and serves in the highest term."""
        leaders = [node for node in self.nodes.values() if node.group.is_serving]
        return max(leaders, key=lambda node: node.core.current_term, default=None)

    # -- what happens ------------------------------------------------------------------------

    def deliver(self) -> bool:
        """Deliver or lose all messages that are under way; say whether there was one."""
        underway, self.network = self.network, deque()
        for sender, to, data in underway:
            if to not in self.nodes or (sender, to) in self.cut or self.nodes[to].is_stopped:
                continue
            refusal = self.nodes[to].admission.welcomes(sender)
            if refusal is None:
                self.nodes[to].group.on_messages([decode(data)])
            else:
                self.nodes[sender].admission.on_refused(to, refusal.code, refusal.reason)
        return bool(underway)

    def turn(self) -> bool:
        """One turn of every node's loop."""
        return sum(node.loop.run_once() for node in self.nodes.values() if not node.is_stopped) > 0

    def sync(self) -> bool:
        """End the fsyncs of disks that aren't slow."""
        nodes = [node for node in self.nodes.values() if not (node.disk.is_slow or node.is_stopped)]
        return sum(node.disk.finish_sync() for node in nodes) > 0

    def settle(self) -> None:
        """Let everything happen that needs no time."""
        for _ in range(10_000):
            is_busy = self.turn() | self.sync()
            if not self.is_held:
                is_busy |= self.deliver()
            if not is_busy:
                return
        raise AssertionError("it never settles")

    def run(self, ms: int) -> None:
        """Let milliseconds pass one by one, a tick at every tenth."""
        for _ in range(ms):
            self._ticks_due += 1
            for node in self.nodes.values():
                node.clock.advance(1)
                if not node.is_stopped and self._ticks_due % 10 == 0:
                    node.tick()
            if self._ticks_due % 100 == 0:
                for newcomer in list(self.newcomers.values()):
                    newcomer.tick()
            self.settle()

    def run_until(self, is_done: Callable[[], object], ms_max: int = 10_000) -> None:
        """Let time pass until something is so."""
        for _ in range(ms_max // 10):
            if is_done():
                return
            self.run(10)
        raise AssertionError("it never came to that")

    def elect(self, node_id: int = 1) -> Node:
        """Make a node of a quiet cluster the leader."""
        node = self.nodes[node_id]
        current = self.leader
        if current is not None and current is not node:
            current.core.transfer_leadership(node_id, current.clock.ns)
            current.group.wake()
        elif current is None:
            for each in self.nodes.values():
                each.clock.advance(2 * ELECTION_TIMEOUT_MS)
            node.tick()  # left out, after so long a pause
            node.tick()
            self.settle()
        self.run_until(lambda: self.leader is node)
        self.run(200)
        return node

    def isolate(self, node_id: int) -> None:
        """Lose all that a node sends and is sent."""
        self.cut |= {(node_id, other) for other in self.nodes} | {(other, node_id) for other in self.nodes}

    def heal(self) -> None:
        """Undo everything that was done to the network, the disks and the nodes."""
        self.cut.clear()
        self.is_held = False
        for node in self.nodes.values():
            node.disk.is_slow = False
            node.rows.is_stalled = node.rows.will_stall = False
            node.is_stopped = False


def single_node(**settings: Any) -> Node:
    """A cluster of one, serving."""
    return Cluster(1, **settings).elect()


def three_nodes(**settings: Any) -> Cluster:
    """Three nodes, of which the first leads."""
    cluster = Cluster(3, **settings)
    cluster.elect(1)
    return cluster
