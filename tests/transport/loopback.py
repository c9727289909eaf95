"""Real transports on loopback, on both event loops."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import uvloop

from raftkv.raft.types import Message
from raftkv.transport import Address, Refusal, RefusalCode, Transport, TransportLimits

CLUSTER = b"c" * 16
HOST = "127.0.0.1"
#: Far more than any of this takes; reached only by a bug.
DEADLINE_S = 20.0

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def run_on(loop: str, main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on one kind of loop; an exception that reaches the loop is a failure."""
    escaped: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.get_loop().set_exception_handler(lambda _loop, context: escaped.append(context))
        runner.run(asyncio.wait_for(main, 2 * DEADLINE_S))
    assert not escaped, f"the loop caught {escaped}"


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        await asyncio.sleep(0.002)


@dataclass
class Node:
    """A transport and what it received."""

    transport: Transport
    peers: dict[int, Address]
    received: list[tuple[int, int, list[Message]]] = field(default_factory=list)
    #: (sender, group id, body)
    snapshots: list[tuple[int, int, bytes]] = field(default_factory=list)
    #: Where nodes said that they are, if that was news.
    told: list[tuple[int, Address]] = field(default_factory=list)
    #: By whom this node was turned away.
    refusals: list[tuple[int, RefusalCode, str]] = field(default_factory=list)

    @property
    def messages(self) -> list[Message]:
        return [message for _, _, messages in self.received for message in messages]


class Net:
    """Nodes that know each other's ports."""

    def __init__(self) -> None:
        self.addresses: dict[int, Address] = {}
        self.nodes: dict[int, Node] = {}
        #: Short pauses: tests wait for them.
        self.limits = TransportLimits(backoff_min_ms=5, backoff_max_ms=40, complaint_interval_ms=0)

    async def listen(
        self,
        node_id: int,
        *,
        port: int = 0,
        welcomes: Callable[[int], Refusal | None] | None = None,
        **limits: int,
    ) -> Node:
        """Make a node that listens and has not started."""
        received: list[tuple[int, int, list[Message]]] = []
        snapshots: list[tuple[int, int, bytes]] = []
        told: list[tuple[int, Address]] = []
        refusals: list[tuple[int, RefusalCode, str]] = []
        peers: dict[int, Address] = {}
        transport = Transport(
            node_id=node_id,
            bind=(HOST, port),
            peers=peers,
            on_messages=lambda sender, group_id, messages: received.append((sender, group_id, messages)),
            limits=replace(self.limits, **limits),
            random=random.Random(f"{node_id} {time.time_ns()}"),
            clock_ns=time.monotonic_ns,
            on_snapshot=lambda *frame: snapshots.append(frame),
            welcomes=welcomes,
            on_peer_address=lambda *news: told.append(news),
            on_refused=lambda *refusal: refusals.append(refusal),
        )
        await transport.listen()
        self.addresses[node_id] = (HOST, transport.port)
        self.nodes[node_id] = Node(transport, peers, received, snapshots, told, refusals)
        return self.nodes[node_id]

    def start(
        self, node_id: int, *, cluster_id: bytes = CLUSTER, peers: dict[int, Address] | None = None
    ) -> Node:
        """Start a node with every other one as its peer, unless `peers` says with whom."""
        node = self.nodes[node_id]
        others = {peer: at for peer, at in self.addresses.items() if peer != node_id}
        node.peers.update(others if peers is None else peers)
        node.transport.start(cluster_id, announced=self.addresses[node_id])
        return node

    async def pair(self, **limits: int) -> tuple[Node, Node]:
        """Two connected nodes."""
        for node_id in (1, 2):
            await self.listen(node_id, **limits)
        first, second = self.start(1), self.start(2)
        await eventually(lambda: first.transport.is_connected(2) and second.transport.is_connected(1))
        return first, second

    async def close(self) -> None:
        for node in self.nodes.values():
            await node.transport.close()


@asynccontextmanager
async def net() -> AsyncIterator[Net]:
    nodes = Net()
    try:
        yield nodes
    finally:
        await nodes.close()
