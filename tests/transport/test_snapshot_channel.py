"""The channel of snapshot transfers: opaque, bounded, and in nobody's way."""

from __future__ import annotations

import asyncio

import pytest

from raftkv.raft.types import Heartbeat, ProtocolError
from raftkv.transport.frames import HELLO, MESSAGES, PREAMBLE, WELCOME, encode_frame
from raftkv.transport.greeting import SNAPSHOT, Endpoint, Hello, encode_hello
from tests.transport.conftest import WithNet
from tests.transport.loopback import CLUSTER, HOST, Net, Node, eventually


def is_up(node: Node, peer: int) -> bool:
    return node.transport.status(peer).is_snapshot_connected


async def snapshot_pair(net: Net, **limits: int) -> tuple[Node, Node]:
    first, second = await net.pair(**limits)
    await eventually(lambda: is_up(first, 2) and is_up(second, 1))
    return first, second


@pytest.mark.parametrize("size", [1, 1 << 10, (256 << 10) + 30, 3 << 20])
def test_frames_arrive_as_they_were_without_a_flush(with_net: WithNet, size: int) -> None:
    """Whatever is in them, in order, with their group."""

    async def body(net: Net) -> None:
        first, second = await snapshot_pair(net)
        bodies = [bytes([count]) * size for count in range(3)]
        for count, body in enumerate(bodies):
            while not first.transport.send_snapshot(2, count, body):
                await asyncio.sleep(0)
        assert second.transport.send_snapshot(1, 0, b"want")
        await eventually(lambda: len(second.snapshots) == 3 and first.snapshots)
        assert second.snapshots == [(1, count, body) for count, body in enumerate(bodies)]
        assert first.snapshots == [(2, 0, b"want")]

    with_net(body)


def test_nothing_is_taken_for_a_peer_that_is_away_or_unknown(with_net: WithNet) -> None:
    """The sender tries again; what it keeps is its own."""

    async def body(net: Net) -> None:
        for node_id in (1, 2):
            await net.listen(node_id)
        assert not net.nodes[1].transport.send_snapshot(2, 0, b"x")
        first = net.start(1)
        assert not first.transport.send_snapshot(2, 0, b"x")
        assert not first.transport.send_snapshot(9, 0, b"x")
        assert first.transport.status(2).dropped == 0

    with_net(body)


def test_what_waits_is_bounded_and_heartbeats_pass(
    with_net: WithNet, caplog: pytest.LogCaptureFixture
) -> None:
    """A full queue is nothing to complain of: chunks are read from the disk when there is room."""

    async def body(net: Net) -> None:
        first, second = await snapshot_pair(net, snapshot_queue_bytes_max=1 << 20)
        taken = 0
        while first.transport.send_snapshot(2, 0, bytes(256 << 10)):
            taken += 1
            assert taken < 1000
        assert first.transport._linked[2].snapshot.queued_bytes <= 1 << 20
        assert first.transport.status(2).queued_bytes == 0
        first.transport.send(2, 0, [Heartbeat(1, 1, 2, 0, 1)])
        first.transport.flush()
        await eventually(lambda: second.messages)
        await eventually(lambda: len(second.snapshots) == taken)
        assert first.transport.send_snapshot(2, 0, b"again")
        await eventually(lambda: second.snapshots[-1] == (1, 0, b"again"))

    with_net(body)
    assert not any("dropped" in text for text in caplog.messages)


def test_a_frame_above_the_limit_is_never_taken(with_net: WithNet) -> None:
    """No peer would read it."""

    async def body(net: Net) -> None:
        first, second = await snapshot_pair(net, snapshot_frame_bytes_max=1 << 20)
        assert not first.transport.send_snapshot(2, 0, bytes(1 << 20))
        assert first.transport.send_snapshot(2, 0, bytes((1 << 20) - 4))
        await eventually(lambda: second.snapshots)

    with_net(body)


def test_a_frame_that_can_not_be_read_closes_this_channel_alone(with_net: WithNet) -> None:
    """STYLE 7; the messages' connections stand."""

    async def body(net: Net) -> None:
        first, second = await snapshot_pair(net)

        def refuse(*_frame: object) -> None:
            raise ProtocolError("no such thing")

        second.transport._listener.on_snapshot = refuse
        link = first.transport._linked[2].snapshot
        assert first.transport.send_snapshot(2, 0, b"garbage")
        await eventually(lambda: link.conn_errors == 1)
        await eventually(lambda: link.is_up)
        assert first.transport.status(2).conn_errors == 0
        assert first.transport.is_connected(2)

    with_net(body)


def test_messages_on_the_snapshot_channel_are_taken_for_none(with_net: WithNet) -> None:
    """What a channel carries is decided by its hello."""

    async def body(net: Net) -> None:
        node = await net.listen(1)
        net.addresses[2] = (HOST, 1)
        net.start(1)
        hello = Hello(SNAPSHOT, Endpoint(2, CLUSTER, b"stranger"), to=1)
        said = encode_frame(HELLO, encode_hello(hello))
        reader, writer = await asyncio.open_connection(HOST, node.transport.port)
        writer.write(PREAMBLE + said + encode_frame(MESSAGES, b"\x00\x00\x00\x01?", group_id=5))
        await eventually(lambda: node.snapshots)
        assert node.snapshots == [(2, 5, b"?")]
        assert node.received == []
        writer.write(encode_frame(WELCOME, b""))
        heard = await reader.read(-1)
        assert heard[len(PREAMBLE) + 4] == WELCOME
        writer.close()

    with_net(body)
