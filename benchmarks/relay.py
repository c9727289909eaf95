"""Passes TCP connections on, each byte later by the same time, and alters nothing.

python -m benchmarks.relay --delay-ms 10 LISTEN:TARGET [LISTEN:TARGET ...]

What comes in is kept for the delay and then written, whatever came in meanwhile: as on a long line, the time
grows and the throughput does not shrink. Both ways are delayed, so a round trip takes twice as long. Says
`ready` when it listens. Knows nothing of what it passes on.
"""

from __future__ import annotations

import argparse
import asyncio
import selectors
import socket
from collections import deque
from collections.abc import Mapping

_HOST = "127.0.0.1"


class Way(asyncio.Protocol):
    """One end of a passed-on connection: what comes in here leaves at the other end, later.

    Invariant: `_held` is ordered by time; once there is an other end, a timer runs while it holds anything.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()
        self._held: deque[tuple[float, bytes]] = deque()
        self._transport: asyncio.Transport | None = None
        self._other: Way | None = None
        self._timer: asyncio.TimerHandle | None = None

    def join(self, other: Way) -> None:
        """Make each the other's end."""
        self._other, other._other = other, self
        for way in (self, other):
            way._send_due()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send small packets at once."""
        assert isinstance(transport, asyncio.Transport), "a TCP connection"
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep what came in until it is due."""
        self._hold(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Let the other end follow, behind what is still on its way."""
        self._hold(b"")

    def pause_writing(self) -> None:
        """Take in no more than this end gets rid of."""
        if self._other and self._other._transport:
            self._other._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on taking in."""
        if self._other and self._other._transport:
            self._other._transport.resume_reading()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport:
            self._transport.abort()

    def _hold(self, data: bytes) -> None:
        """Keep bytes until they are due; none stand for the end."""
        self._held.append((self._loop.time() + self._delay_s, data))
        if self._timer is None:
            self._send_due()

    def _send_due(self) -> None:
        self._timer = None
        if self._other is None or self._other._transport is None:
            return
        now = self._loop.time()
        while self._held and self._held[0][0] <= now:
            _, data = self._held.popleft()
            if data:
                self._other._transport.write(data)
            else:
                self._other._transport.close()
        if self._held:
            self._timer = self._loop.call_at(self._held[0][0], self._send_due)


async def serve(targets: Mapping[int, int], *, delay_s: float) -> list[asyncio.Server]:
    """Listen on each port, pass on to its target."""
    loop = asyncio.get_running_loop()

    def accepted(target: int) -> Way:
        way = Way(delay_s)
        connecting.add(task := loop.create_task(connect(way, target)))
        task.add_done_callback(connecting.discard)
        return way

    async def connect(way: Way, target: int) -> None:
        try:
            _, other = await loop.create_connection(lambda: Way(delay_s), _HOST, target)
        except OSError:
            way.abort()
        else:
            way.join(other)

    connecting: set[asyncio.Task[None]] = set()
    return [
        await loop.create_server(lambda target=target: accepted(target), _HOST, port)  # type: ignore[misc]
        for port, target in targets.items()
    ]


def main() -> None:
    """Listen until killed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay", description=__doc__)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("ways", nargs="+", metavar="LISTEN:TARGET")
    arguments = parser.parse_args()
    targets = {int(listen): int(target) for listen, target in (way.split(":") for way in arguments.ways)}

    async def run() -> None:
        await serve(targets, delay_s=arguments.delay_ms / 1000)
        print("ready", flush=True)
        await asyncio.get_running_loop().create_future()

    # epoll waits in whole milliseconds, and so does uvloop; select in microseconds.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(run())


if __name__ == "__main__":
    main()
