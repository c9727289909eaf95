"""Fixtures: each test with real sockets runs on both event loops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.transport.loopback import LOOPS, Net, net, run_on

WithNet = Callable[[Callable[[Net], Awaitable[None]]], None]


@pytest.fixture(params=LOOPS)
def with_net(request: pytest.FixtureRequest) -> WithNet:
    """Run a test body with a net of nodes that is closed after it."""

    def run_body(body: Callable[[Net], Awaitable[None]]) -> None:
        async def main() -> None:
            async with net() as nodes:
                await body(nodes)

        run_on(request.param, main())

    return run_body
