"""What strangers and broken peers can do to a node: lose their own connection."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from raftkv.raft.codec import encode
from raftkv.raft.types import COMMAND, AppendEntries, Entry, Heartbeat, ProtocolError
from raftkv.transport.frames import (
    CHUNK_BYTES_MAX,
    HELLO,
    MESSAGES,
    MORE,
    PREAMBLE,
    QUESTION,
    REFUSAL,
    WELCOME,
    FrameReader,
    encode_frame,
    pack_length,
)
from raftkv.transport.greeting import BULK, URGENT, Endpoint, Hello, encode_hello, encode_welcome
from tests.transport.conftest import WithNet
from tests.transport.loopback import CLUSTER, HOST, Net, Node, eventually

STRANGER = Endpoint(node_id=2, cluster_id=CLUSTER, run_id=b"stranger")
GOOD_HELLO = PREAMBLE + encode_frame(HELLO, encode_hello(Hello(BULK, STRANGER, to=1)))
URGENT_HELLO = PREAMBLE + encode_frame(HELLO, encode_hello(Hello(URGENT, STRANGER, to=1)))
GOOD_MESSAGE = encode(Heartbeat(1, 2, 1, 0, 1))
GOOD_FRAME = encode_frame(MESSAGES, pack_length(len(GOOD_MESSAGE)) + GOOD_MESSAGE)


def one_message(message: bytes) -> bytes:
    return encode_frame(MESSAGES, pack_length(len(message)) + message)


class Stranger:
    """A bare socket to a node's peer port."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @staticmethod
    async def connect(node: Node) -> Stranger:
        return Stranger(*await asyncio.open_connection(HOST, node.transport.port))

    async def say(self, data: bytes) -> Stranger:
        self.writer.write(data)
        return self

    async def hear_to_the_end(self) -> list[tuple[int, bytes]]:
        """Wait until the node closes; give the frames that it sent."""
        frames = FrameReader(frame_bytes_max=1 << 20)
        heard: list[tuple[int, bytes]] = []
        try:
            while data := await self.reader.read(1 << 16):
                heard += [(frame.kind, bytes(frame.body)) for frame in frames.feed(data)]
        except ConnectionResetError:
            pass
        self.writer.close()
        return heard

    async def hear(self) -> tuple[int, bytes]:
        """Wait for one frame."""
        frames = FrameReader(frame_bytes_max=1 << 20)
        while data := await self.reader.read(1 << 16):
            for frame in frames.feed(data):
                return frame.kind, bytes(frame.body)
        raise AssertionError("closed without a word")


def with_strangers(with_net: WithNet, body: Callable[[Net, Node], Awaitable[None]], **limits: int) -> None:
    """Node 1 runs, node 2 is its only peer and is away; at the end node 1 still lets it in."""

    async def run_body(net: Net) -> None:
        node = await net.listen(1, **limits)
        net.addresses[2] = (HOST, 1)
        net.start(1)
        await body(net, node)
        await net.listen(2)
        second = net.start(2)
        await eventually(lambda: second.transport.is_connected(1))

    with_net(run_body)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"*1\r\n$4\r\nPING\r\n", "no raftkv peer"),
        (b"raftkv\x00\x09", "speaks version 9"),
        (PREAMBLE + b"\xff" * 20, "unknown frame kind 127"),
        (PREAMBLE + struct.pack(">IBII", 1 << 31, HELLO, 0, 0), "a piece of 2147483648 bytes"),
        (PREAMBLE + encode_frame(HELLO, bytes(17 << 10)), "a frame above 16384 bytes"),
        (PREAMBLE + encode_frame(HELLO, b"short"), "a hello of a wrong length"),
        (GOOD_HELLO[:-1] + b"?", "wrong checksum"),
        (PREAMBLE + GOOD_FRAME, "instead of a hello"),
        (PREAMBLE + encode_frame(QUESTION, b""), "a question without its kind"),
        (GOOD_HELLO + encode_frame(HELLO, b""), "instead of messages"),
        (GOOD_HELLO + GOOD_FRAME[:-1] + b"?", "wrong checksum"),
        (GOOD_HELLO + one_message(b"\xff\x00garbage"), ""),
        (GOOD_HELLO + encode_frame(MESSAGES, b"\x00\x00\x00\x09short"), "longer than its frame"),
        (GOOD_HELLO + one_message(encode(Heartbeat(1, 3, 1, 0, 1))), "a message from node 3 to node 1"),
        (GOOD_HELLO + one_message(encode(Heartbeat(1, 2, 3, 0, 1))), "a message from node 2 to node 3"),
        (
            GOOD_HELLO + encode_frame(MESSAGES | MORE, bytes(CHUNK_BYTES_MAX)) * 9,
            "a frame above 2097152 bytes",
        ),
        (
            URGENT_HELLO + encode_frame(MESSAGES | MORE, bytes(CHUNK_BYTES_MAX)) * 2,
            "a frame above 262144 bytes",
        ),
    ],
)
def test_garbage_closes_its_own_connection_with_one_clear_line(
    with_net: WithNet, caplog: pytest.LogCaptureFixture, said: bytes, reason: str
) -> None:
    """STYLE 7: that connection alone is closed; never an exception in the loop."""

    async def body(_net: Net, node: Node) -> None:
        stranger = await Stranger.connect(node)
        await (await stranger.say(said)).hear_to_the_end()
        assert node.received == []

    with_strangers(with_net, body, frame_bytes_max=2 << 20)
    assert len([text for text in caplog.messages if "closed: " in text and reason in text]) == 1


def test_messages_before_the_garbage_are_handed_on(with_net: WithNet) -> None:
    """They came from the same good peer."""

    async def body(_net: Net, node: Node) -> None:
        stranger = await Stranger.connect(node)
        await (await stranger.say(GOOD_HELLO + GOOD_FRAME + GOOD_FRAME + b"\xff" * 20)).hear_to_the_end()
        assert node.received == [(2, 0, [Heartbeat(1, 2, 1, 0, 1)] * 2)]

    with_strangers(with_net, body)


def test_a_message_that_the_core_calls_nonsense_closes_its_connection(with_net: WithNet) -> None:
    """`RaftCore.step` raises ProtocolError through the callback."""

    async def run_body(net: Net) -> None:
        first, second = await net.pair()

        def refuse(*_args: object) -> None:
            raise ProtocolError("two leaders in one term")

        second.transport._listener.on_messages = refuse
        before = first.transport.status(2).conn_errors
        first.transport.send(2, 0, [Heartbeat(1, 1, 2, 0, 1)])
        first.transport.flush()
        await eventually(lambda: first.transport.status(2).conn_errors > before)

    with_net(run_body)


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        (Hello(BULK, replace(STRANGER, cluster_id=b"x" * 16), 1), b"belongs to cluster"),
        (Hello(BULK, replace(STRANGER, node_id=9), 1), b"node 9 is no member"),
        (Hello(BULK, replace(STRANGER, node_id=1), 1), b"there is a node 1 already"),
        (Hello(URGENT, STRANGER, 3), b"this is node 1, not node 3"),
    ],
)
def test_a_wrong_hello_is_refused_with_the_reason(with_net: WithNet, hello: Hello, reason: bytes) -> None:
    """And nothing that follows it is read."""

    async def body(_net: Net, node: Node) -> None:
        stranger = await Stranger.connect(node)
        await stranger.say(PREAMBLE + encode_frame(HELLO, encode_hello(hello)) + GOOD_FRAME)
        heard = await stranger.hear_to_the_end()
        assert [kind for kind, _ in heard] in ([REFUSAL], [])  # unread bytes may reset the connection
        assert all(reason in text for _, text in heard)
        assert node.received == []

    with_strangers(with_net, body)


def test_the_newer_of_two_connections_of_a_peer_and_channel_wins(
    with_net: WithNet, caplog: pytest.LogCaptureFixture
) -> None:
    """A peer that dials again has given up its older connection."""

    async def body(_net: Net, node: Node) -> None:
        older, newer = await Stranger.connect(node), await Stranger.connect(node)
        assert (await (await older.say(GOOD_HELLO)).hear())[0] == WELCOME
        assert (await (await newer.say(GOOD_HELLO)).hear())[0] == WELCOME
        await older.hear_to_the_end()
        await newer.say(GOOD_FRAME)
        await eventually(lambda: node.received)
        newer.writer.close()

    with_strangers(with_net, body)
    assert any("dialed again" in text for text in caplog.messages)


def test_silence_is_closed_at_the_deadline(with_net: WithNet, caplog: pytest.LogCaptureFixture) -> None:
    """A port scanner must not hold a connection."""

    async def body(_net: Net, node: Node) -> None:
        await (await Stranger.connect(node)).hear_to_the_end()
        await (await (await Stranger.connect(node)).say(GOOD_HELLO[:-1])).hear_to_the_end()

    with_strangers(with_net, body, greeting_timeout_ms=50)
    assert any("did not say who it is in time" in text for text in caplog.messages)


def test_a_frame_that_does_not_end_is_given_up(with_net: WithNet, caplog: pytest.LogCaptureFixture) -> None:
    """A flipped bit of a length: what follows would be taken for its body, heartbeats for minutes."""

    async def body(_net: Net, node: Node) -> None:
        broken = await (await Stranger.connect(node)).say(GOOD_HELLO)
        length = struct.unpack(">I", GOOD_FRAME[:4])[0] + (1 << 17)
        await broken.say(struct.pack(">I", length) + GOOD_FRAME[4:])
        while not broken.reader.at_eof():
            await broken.say(GOOD_FRAME)
            with contextlib.suppress(TimeoutError, ConnectionError):
                await asyncio.wait_for(broken.reader.read(100), 0.005)
        assert node.received == []

    with_strangers(with_net, body, frame_ms_max=50)
    assert any("a frame did not end in time" in text for text in caplog.messages)


def test_a_slow_frame_behind_a_long_silence_is_no_stalled_one(with_net: WithNet) -> None:
    """The time counts from a frame's first byte."""

    async def body(_net: Net, node: Node) -> None:
        known = await Stranger.connect(node)
        assert (await (await known.say(GOOD_HELLO + GOOD_FRAME)).hear())[0] == WELCOME
        await (await Stranger.connect(node)).hear_to_the_end()  # its deadline is later than the frame's
        for piece in (GOOD_FRAME[:5], GOOD_FRAME[5:20], GOOD_FRAME[20:]):
            await known.say(piece)
            await asyncio.sleep(0)
        await eventually(lambda: len(node.messages) == 2)
        known.writer.close()

    with_strangers(with_net, body, frame_ms_max=50, greeting_timeout_ms=60)


def test_an_identified_connection_may_be_silent(with_net: WithNet) -> None:
    """The deadline is for hellos only."""

    async def body(_net: Net, node: Node) -> None:
        known = await Stranger.connect(node)
        assert (await (await known.say(GOOD_HELLO)).hear())[0] == WELCOME
        await (await Stranger.connect(node)).hear_to_the_end()  # its deadline is later, and over
        await known.say(GOOD_FRAME)
        await eventually(lambda: node.received)
        known.writer.close()

    with_strangers(with_net, body, greeting_timeout_ms=50)


def test_the_oldest_of_too_many_strangers_is_closed(with_net: WithNet) -> None:
    """So that a peer, which speaks at once, gets in through a crowd of silent ones."""

    async def body(_net: Net, node: Node) -> None:
        crowd = [await Stranger.connect(node) for _ in range(4)]
        await eventually(lambda: node.transport._listener.half_open_count == 4)
        peer = await (await Stranger.connect(node)).say(GOOD_HELLO)
        assert (await peer.hear())[0] == WELCOME
        await crowd[0].hear_to_the_end()
        assert node.transport._listener.half_open_count == 3
        peer.writer.close()

    with_strangers(with_net, body, half_open_max=4)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"-ERR unknown command\r\n", "no raftkv peer"),
        (PREAMBLE + encode_frame(WELCOME, b"?"), "a welcome of a wrong length"),
        (PREAMBLE + encode_frame(MESSAGES, b""), "instead of a welcome"),
        (
            PREAMBLE + encode_frame(WELCOME, encode_welcome(replace(STRANGER, node_id=3))),
            "the listener is node 3",
        ),
        (
            PREAMBLE + encode_frame(WELCOME, encode_welcome(replace(STRANGER, cluster_id=b"x" * 16))),
            "cluster 7878",
        ),
        (PREAMBLE + encode_frame(WELCOME, encode_welcome(STRANGER)) + GOOD_FRAME, "talks after its welcome"),
        (b"", "no answer in time"),
    ],
)
def test_a_dialer_leaves_a_listener_that_talks_nonsense(with_net: WithNet, said: bytes, reason: str) -> None:
    """The address of a peer leads to something else; it is dialed again all the same."""

    async def body(net: Net) -> None:
        calls = 0

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal calls
            calls += 1
            writer.write(said)
            with contextlib.suppress(ConnectionError):
                await reader.read(-1)
            writer.close()

        server = await asyncio.start_server(talk, HOST, 0)
        await net.listen(1, greeting_timeout_ms=50)
        net.addresses[2] = server.sockets[0].getsockname()[:2]
        first = net.start(1)
        await eventually(lambda: reason in first.transport.status(2).last_error)
        await eventually(lambda: calls > 3)
        await first.transport.close()
        server.close()

    with_net(body)


def test_a_peer_that_stops_reading_costs_a_bounded_queue(with_net: WithNet) -> None:
    """A stopped process: its kernel takes a little, the queue some more, the rest is dropped."""

    async def body(net: Net) -> None:
        let_go = asyncio.Event()
        taken = bytearray()

        async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(PREAMBLE + encode_frame(WELCOME, encode_welcome(STRANGER)))
            await let_go.wait()
            while data := await reader.read(1 << 20):
                taken.extend(data)
            writer.close()

        server = await asyncio.start_server(stall, HOST, 0, limit=1 << 16)
        await net.listen(1, queue_bytes_max=4 << 20)
        net.addresses[2] = server.sockets[0].getsockname()[:2]
        transport = net.start(1).transport
        await eventually(lambda: transport.is_connected(2))
        sent = 0
        while transport.status(2).dropped == 0:
            entry = Entry(1, sent + 1, COMMAND, bytes(100_000))
            transport.send(2, 0, [AppendEntries(1, 1, 2, sent, 1, 0, 1, [entry])])
            transport.flush()
            assert transport.status(2).queued_bytes <= 4 << 20
            await asyncio.sleep(0)
            sent += 1
        assert transport.is_connected(2)
        let_go.set()
        await eventually(lambda: len(taken) > (sent - 1) * 100_000)
        await transport.close()
        server.close()

    with_net(body)


def test_a_bootstrap_question_is_answered_without_a_hello(with_net: WithNet) -> None:
    """A node whose cluster isn't formed has no cluster id to say hello with."""

    async def body(net: Net) -> None:
        for node_id in (1, 2):
            await net.listen(node_id)
        first, second = net.start(1), net.start(2)
        second.transport.answer_bootstrap(lambda question: question + b" yes")
        assert await first.transport.ask(2, b"are you formed?") == b"are you formed? yes"

    with_net(body)


def test_a_bootstrap_question_that_can_not_be_read_closes_its_connection(with_net: WithNet) -> None:
    """The responder raises ProtocolError."""

    async def body(_net: Net, node: Node) -> None:
        def refuse(_question: bytes) -> bytes:
            raise ProtocolError("no report")

        node.transport.answer_bootstrap(refuse)
        stranger = await (await Stranger.connect(node)).say(PREAMBLE + encode_frame(QUESTION, b"\x01?"))
        assert await stranger.hear_to_the_end() == []

    with_strangers(with_net, body)


def test_a_connection_may_ask_one_question(with_net: WithNet, caplog: pytest.LogCaptureFixture) -> None:
    """Answers to a flood of questions would fill the memory of a node that nobody reads from."""
    asked = 0

    async def body(_net: Net, node: Node) -> None:
        def answer(_question: bytes) -> bytes:
            nonlocal asked
            asked += 1
            return b"report"

        node.transport.answer_bootstrap(answer)
        question = encode_frame(QUESTION, b"\x01?")
        stranger = await (await Stranger.connect(node)).say(PREAMBLE + question + question)
        await stranger.hear_to_the_end()

    with_strangers(with_net, body)
    assert asked == 1
    assert "a second question" in caplog.text


def test_a_bootstrap_question_to_a_busy_node_is_refused(with_net: WithNet) -> None:
    """Until the node has opened its own data."""

    async def body(net: Net) -> None:
        for node_id in (1, 2):
            await net.listen(node_id)
        first = net.start(1)
        with pytest.raises(Exception, match="not ready to speak"):
            await first.transport.ask(2, b"?")

    with_net(body)
