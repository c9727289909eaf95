"""Stands between the nodes: what one dials to reach another passes through here, and can be cut.

The nodes announce the relay's ports to each other and listen on others. Who dials is read off its HELLO, so
each direction between two nodes can be cut by itself: what a node says travels on the connections that it
dialed. Knows the frames of the peer protocol up to that HELLO, and nothing of what they carry.

Two ways to cut: in silence, as a network does it that drops packets (connections stay, and what was said is
delivered late), or with a reset (connections end, new ones are refused).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from functools import partial

from raftkv.raft.types import ProtocolError
from raftkv.transport.frames import HELLO, FrameReader
from raftkv.transport.greeting import decode_hello
from tests.consistency.ways import Way

_READ_BYTES = 1 << 16
_GREETING_BYTES_MAX = 1 << 16
#: Whoever asks before the cluster is formed says no HELLO.
_UNNAMED = 0


class Relay:
    """Listens in place of every node. `open` first, then tell it where the nodes are (`targets`)."""

    def __init__(self) -> None:
        #: By node id: the port on which it listens itself.
        self.targets: dict[int, int] = {}
        self._servers: list[asyncio.Server] = []
        self._silent: set[Way] = set()
        self._refused: set[Way] = set()
        #: Set and replaced whenever a way is opened.
        self._opened = asyncio.Event()
        self._writers: dict[Way, set[asyncio.StreamWriter]] = {}
        self._tasks: set[asyncio.Task[object]] = set()

    async def open(self, node_ids: Iterable[int]) -> list[int]:
        """Listen for all nodes; return the ports, in their order."""
        ports = []
        for node_id in node_ids:
            server = await asyncio.start_server(partial(self._accept, node_id), "127.0.0.1", 0)
            self._servers.append(server)
            ports.append(int(server.sockets[0].getsockname()[1]))
        return ports

    def cut(self, ways: Iterable[Way], *, is_told: bool) -> None:
        """Let nothing pass on these ways."""
        for way in ways:
            if is_told:
                self._refused.add(way)
                for writer in self._writers.get(way, ()):
                    writer.transport.abort()
            else:
                self._silent.add(way)

    def heal(self) -> None:
        """Let everything pass again, what waited first."""
        self._silent.clear()
        self._refused.clear()
        self._opened.set()
        self._opened = asyncio.Event()

    async def close(self) -> None:
        """End everything."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, to: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "this runs in a task"
        self._tasks.add(task)
        try:
            await self._serve(reader, writer, to)
        except (OSError, asyncio.CancelledError):
            pass  # either end is gone, which the other one is told, or the relay is closing
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: int) -> None:
        greeting, sender = await _read_greeting(reader)
        way = Way(sender, to)
        if way in self._refused:
            return
        await self._until_open(way)
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self.targets[to])
        writers = self._writers.setdefault(way, set())
        writers |= {writer, other_writer}
        try:
            other_writer.write(greeting)
            async with asyncio.TaskGroup() as group:
                there = group.create_task(self._pump(reader, other_writer, way))
                back = group.create_task(self._pump(other_reader, writer, way))
                await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
                there.cancel()
                back.cancel()
        finally:
            writers -= {writer, other_writer}
            other_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                await self._until_open(way)
                writer.write(data)
                await writer.drain()

    async def _until_open(self, way: Way) -> None:
        while way in self._silent:
            await self._opened.wait()


async def _read_greeting(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    """Return what the dialer said first, and who it is."""
    frames = FrameReader(frame_bytes_max=_GREETING_BYTES_MAX)
    greeting = b""
    while data := await reader.read(_READ_BYTES):
        greeting += data
        try:
            for frame in frames.feed(data):
                is_hello = frame.kind == HELLO
                return greeting, decode_hello(frame.body).sender.node_id if is_hello else _UNNAMED
        except ProtocolError:
            break
    return greeting, _UNNAMED
