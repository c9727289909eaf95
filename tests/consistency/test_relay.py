"""The relay between two endpoints that speak as nodes do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from raftkv.transport.frames import HELLO, PREAMBLE, encode_frame
from raftkv.transport.greeting import URGENT, Endpoint, Hello, encode_hello
from tests.consistency.relay import Relay
from tests.consistency.ways import Way

_SECONDS_MAX = 10.0
#: How long nothing must come for it to count as cut.
_QUIET_SECONDS = 0.1


def _greeting(sender: int, to: int) -> bytes:
    return PREAMBLE + encode_frame(
        HELLO, encode_hello(Hello(URGENT, Endpoint(sender, b"c" * 16, b"r" * 8), to))
    )


class Listener:
    """Node 2: keeps what it is told on its newest connection."""

    def __init__(self) -> None:
        self.heard = asyncio.Queue[bytes]()

    async def on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on what comes, and at last b"" for its end."""
        data = b"?"
        while data:
            try:
                data = await reader.read(1 << 16)
            except OSError:
                data = b""
            self.heard.put_nowait(data)
        writer.close()

    async def hear(self) -> bytes:
        """The next thing."""
        async with asyncio.timeout(_SECONDS_MAX):
            return await self.heard.get()

    async def hears_nothing(self) -> bool:
        """Whether nothing comes for a while."""
        try:
            async with asyncio.timeout(_QUIET_SECONDS):
                await self.heard.get()
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def _relayed() -> AsyncIterator[tuple[Relay, Listener, asyncio.StreamWriter]]:
    """Node 1 has dialed node 2 and said hello."""
    listener, relay = Listener(), Relay()
    server = await asyncio.start_server(listener.on_connection, "127.0.0.1", 0)
    _, port = await relay.open((1, 2))
    relay.targets[2] = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_greeting(1, 2))
        assert await listener.hear() == _greeting(1, 2)
        yield relay, listener, writer
    finally:
        writer.transport.abort()
        await relay.close()
        server.close()


def test_what_is_said_on_a_silent_cut_comes_late_and_whole() -> None:
    """As on a network that drops packets for a while."""

    async def scenario() -> None:
        async with _relayed() as (relay, listener, writer):
            relay.cut([Way(1, 2)], is_told=False)
            writer.write(b"late")
            assert await listener.hears_nothing()
            relay.heal()
            assert await listener.hear() == b"late"

    asyncio.run(scenario())


def test_reset_ends_the_connection() -> None:
    """Both ends are told."""

    async def scenario() -> None:
        async with _relayed() as (relay, listener, _):
            relay.cut([Way(1, 2)], is_told=True)
            assert await listener.hear() == b""

    asyncio.run(scenario())


@pytest.mark.parametrize("way", [Way(2, 1), Way(1, 3), Way(3, 2)])
def test_other_ways_stay_open(way: Way) -> None:
    """A way is one direction between two nodes, told by who says hello."""

    async def scenario() -> None:
        async with _relayed() as (relay, listener, writer):
            relay.cut([way], is_told=False)
            writer.write(b"at once")
            assert await listener.hear() == b"at once"

    asyncio.run(scenario())
