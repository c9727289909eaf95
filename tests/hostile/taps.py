"""Stands at the nodes' peer addresses: passes everything on, and remembers or spoils what dialers say.

Knows nothing of what the bytes mean. Everything runs on one thread with an event loop of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from dataclasses import dataclass, field
from types import TracebackType

#: Of one connection's first bytes; a replay needs the beginning.
_RECORDED_BYTES_MAX = 256 << 10
_READ_BYTES = 64 << 10
#: Connections that are remembered, the newest ones, beside those that stand.
_RECORDINGS_MAX = 16


@dataclass(slots=True, eq=False)
class Recording:
    """What a dialer has said from the first byte on."""

    #: The port that was dialed in truth.
    target_port: int
    data: bytearray = field(default_factory=bytearray)
    #: The connection stands.
    is_open: bool = True
    #: Flip one bit of what comes next.
    must_spoil: bool = False


class Taps:
    """One tap for each (port, port of the node behind it); listens from `__enter__` to `__exit__`."""

    def __init__(self, ports: dict[int, int], *, seed: int) -> None:
        self._ports = ports
        self._random = random.Random(seed)
        self._recordings: list[Recording] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="taps")
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Taps:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def recordings(self) -> list[Recording]:
        """What dialers said, the oldest first; those that have ended included."""
        return list(self._recordings)

    def spoil(self, recording: Recording) -> None:
        """Flip one bit of what comes next on a connection that stands."""
        recording.must_spoil = True

    async def _listen(self) -> None:
        for port, target_port in self._ports.items():
            self._servers.append(await asyncio.start_server(self._serve_at(target_port), "127.0.0.1", port))

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _serve_at(self, target_port: int):  # type: ignore[no-untyped-def]
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            recording = Recording(target_port)
            self._recordings.append(recording)
            newest = self._recordings[-_RECORDINGS_MAX:]
            self._recordings = [each for each in self._recordings if each.is_open or each in newest]
            with contextlib.suppress(OSError, asyncio.CancelledError):
                onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", target_port)
                back = asyncio.ensure_future(_pump(onward_reader, writer))
                try:
                    await self._pass_on(reader, onward_writer, recording)
                finally:
                    back.cancel()
                    onward_writer.transport.abort()
            recording.is_open = False
            writer.transport.abort()

        return serve

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recording: Recording
    ) -> None:
        while data := await reader.read(_READ_BYTES):
            recording.data += data[: _RECORDED_BYTES_MAX - len(recording.data)]
            if recording.must_spoil:
                recording.must_spoil = False
                data = flipped(self._random, data)
            writer.write(data)
            await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what a listener says; its end is the dialer's, too."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


def flipped(source: random.Random, data: bytes) -> bytes:
    """Return the bytes with one bit flipped."""
    place = source.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << source.randrange(8)]) + data[place + 1 :]
