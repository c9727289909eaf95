"""The two servers that are compared, behind one small interface: real redis-server, and raftkv.

raftkv runs in this process without sockets or disks (thousands of requests a second, time stands still), or
as a cluster of real processes. A `Face` says as what both of them are run.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.differential.replies import NotAReply, Reply, ReplyReader
from tests.integration.cluster import Cluster
from tests.integration.waiting import wait_until
from tests.node.driven_cluster import Client, Node, single_node
from tests.ports import free_ports

_READ_BYTES = 1 << 16
#: Seconds after which a reply that was expected won't come.
_SILENCE_SECONDS = 20.0
#: The same where time is ours to drive; beyond every bound that a node promises.
_SILENCE_MS = 20_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one piece."""

    replies: tuple[Reply, ...]
    #: The server closed the connection behind them.
    is_closed: bool = False
    #: It neither closed nor sent all that was expected.
    is_silent: bool = False
    #: Bytes that are no whole reply.
    rest: bytes = b""


@dataclass(frozen=True, slots=True)
class Expected:
    """When a link has taken all that will come."""

    #: As many replies, if the server doesn't close.
    replies_count: int
    #: The server closes behind them.
    closes: bool = False
    #: The client ends its side first.
    ends: bool = False


class Link(Protocol):
    """A connection to a server."""

    def send(self, data: bytes, expected: Expected) -> None:
        """Send a piece."""

    def receive(self, expected: Expected) -> Answer:
        """Take what is expected to come back for the piece that was sent."""

    def close(self) -> None:
        """End the connection."""


class Server(Protocol):
    """A server that is compared."""

    def begin(self) -> None:
        """Forget all data: a case begins."""

    def connect(self) -> Link:
        """Make a new connection."""


@dataclass(frozen=True, slots=True)
class Face:
    """As what the servers are run: one listener of raftkv, and the Redis that behaves like it."""

    name: str
    redis_options: tuple[str, ...]
    #: Connects to that listener of a driven node.
    connect: Callable[[Node], Client]
    #: Redis gives all slots to itself first.
    has_slots: bool
    #: The port of a real cluster to ask: the leader's, or that of a node which passes everything on.
    port_of: Callable[[Cluster], int]


def _leaders_port(cluster: Cluster) -> int:
    return cluster.wait_for_leader().port


def _followers_port(cluster: Cluster) -> int:
    return cluster.followers()[0].standalone_port


CLUSTER = Face("cluster", ("--cluster-enabled", "yes"), Node.connect, True, _leaders_port)
STANDALONE = Face("standalone", (), Node.connect_standalone, False, _followers_port)
FACES = {face.name: face for face in (CLUSTER, STANDALONE)}


class SocketLink:
    """A connection to a process."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_SILENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = ReplyReader()

    def send(self, data: bytes, expected: Expected) -> None:
        with contextlib.suppress(OSError):  # it may close before it has read all
            self._socket.sendall(data)
            if expected.ends:
                self._socket.shutdown(socket.SHUT_WR)

    def receive(self, expected: Expected) -> Answer:
        replies: list[Reply] = []
        try:
            while expected.closes or len(replies) < expected.replies_count:
                received = self._receive()
                if not received:
                    return Answer(tuple(replies), is_closed=True, rest=self._reader.rest)
                replies += self._reader.feed(received)
        except TimeoutError:
            return Answer(tuple(replies), is_silent=True, rest=self._reader.rest)
        except NotAReply as failure:
            return Answer(tuple(replies), rest=str(failure).encode())
        return Answer(tuple(replies), rest=self._reader.rest)

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_READ_BYTES)
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        self._socket.close()


def ask(link: Link, data: bytes) -> Reply:
    """One request's reply."""
    link.send(data, Expected(1))
    (reply,) = link.receive(Expected(1)).replies
    return reply


class RedisServer:
    """A redis-server of our own, which keeps nothing on disk."""

    def __init__(self, directory: Path, face: Face) -> None:
        """Start it and wait until it serves."""
        self.port, bus_port = free_ports(2)
        options = {
            "--port": str(self.port),
            "--bind": "127.0.0.1",
            "--save": "",
            "--dir": str(directory),
            "--logfile": str(directory / "redis.log"),
        }
        if face.has_slots:
            options["--cluster-port"] = str(bus_port)
        words = [word for pair in options.items() for word in pair]
        self._process = subprocess.Popen(["redis-server", *words, *face.redis_options])
        try:
            self._control = wait_until(self._connected, "redis-server accepts connections")
            if face.has_slots:
                self._ask(b"CLUSTER ADDSLOTSRANGE 0 16383\r\n")
                wait_until(self._is_whole, "redis-server serves all slots")
        except BaseException:
            self._end()
            raise

    def begin(self) -> None:
        self._ask(b"FLUSHALL\r\n")

    def connect(self) -> Link:
        return SocketLink(self.port)

    def close(self) -> None:
        """Stop it."""
        self._control.close()
        self._end()

    def _connected(self) -> SocketLink | None:
        assert self._process.poll() is None, "redis-server ended by itself"
        try:
            return SocketLink(self.port)
        except OSError:
            return None

    def _is_whole(self) -> bool:
        return b"cluster_state:ok" in (self._ask(b"CLUSTER INFO\r\n").text or b"")

    def _ask(self, line: bytes) -> Reply:
        reply = ask(self._control, line)
        assert not reply.is_error, f"{line!r}: {reply}"
        return reply

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def running_redis(directory: Path, face: Face) -> Iterator[RedisServer]:
    """Run a redis-server until the end of the block."""
    server = RedisServer(directory, face)
    try:
        yield server
    finally:
        server.close()


class DrivenServer:
    """One node of raftkv in this process, a new one for every case; its time passes for who waits for it."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._node = single_node()

    def begin(self) -> None:
        node = self._node = single_node()
        node.clock.wall_offset_ms += time.time_ns() // 1_000_000 - node.clock.wall_ms()

    def connect(self) -> Link:
        return DrivenLink(self._node, self._face)


class DrivenLink:
    """A connection to a driven node."""

    def __init__(self, node: Node, face: Face) -> None:
        self._node = node
        self._client = face.connect(node)
        self._reader = ReplyReader()

    def send(self, data: bytes, expected: Expected) -> None:
        del expected
        self._client.send_bytes(data)
        self._node.cluster.settle()

    def receive(self, expected: Expected) -> Answer:
        client, cluster = self._client, self._node.cluster
        for _ in range(_SILENCE_MS // 10):
            if client.is_closed or client.owes_nothing:
                break
            cluster.run(10)
        if expected.ends and not client.is_closed:
            client.end()
            cluster.settle()
        try:
            replies = self._reader.feed(client.take())
        except NotAReply as failure:
            return Answer((), rest=str(failure).encode())
        is_silent = not client.is_closed and (expected.closes or len(replies) < expected.replies_count)
        return Answer(tuple(replies), client.is_closed, is_silent, self._reader.rest)

    def close(self) -> None:
        if not self._client.is_closed:
            self._client.connection.close()
            self._node.cluster.settle()


class ClusterServer:
    """Real processes, asked at one of them."""

    def __init__(self, cluster: Cluster, face: Face) -> None:
        self._port = face.port_of(cluster)

    def begin(self) -> None:
        link = SocketLink(self._port)
        reply = ask(link, b"FLUSHALL\r\n")
        link.close()
        assert not reply.is_error, reply

    def connect(self) -> Link:
        return SocketLink(self._port)
