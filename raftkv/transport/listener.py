"""The peer port: takes connections, learns who dialed, hands on what peers say.

A connection carries data one way, from its dialer to here. It begins unidentified: it may say a
hello, and is then welcomed or refused by `greeting`, or ask as a node does that is in no cluster
yet. Unidentified connections are limited in number, time and bytes. Whatever else comes is a
reason to close that connection, with a log line, and nothing more.

Knows nothing of Raft beyond its encoded messages. Invariant: one connection per peer and channel;
the newest wins, since a peer that dials again has given its older connection up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from raftkv.raft.codec import decode
from raftkv.raft.types import Message, ProtocolError
from raftkv.transport.complaints import Complaints
from raftkv.transport.frames import (
    HELLO,
    MESSAGES,
    PREAMBLE,
    QUESTION,
    REFUSAL,
    WELCOME,
    Frame,
    FrameReader,
    encode_frame,
    split_messages,
)
from raftkv.transport.greeting import (
    SNAPSHOT,
    Channel,
    Endpoint,
    Hello,
    Refusal,
    Welcomes,
    decode_hello,
    encode_refusal,
    encode_welcome,
    reason_to_refuse,
)
from raftkv.transport.limits import TransportLimits
from raftkv.transport.sockets import address_text, tune

#: (sender, group id, messages); may raise ProtocolError, which closes the sender's connection.
OnMessages = Callable[[int, int, list[Message]], None]
#: (sender, group id, one frame of a snapshot transfer); may raise ProtocolError, as above.
OnSnapshot = Callable[[int, int, bytes], None]
#: A question -> its answer; may raise ProtocolError.
OnQuestion = Callable[[bytes], bytes]


@dataclass(slots=True)
class Welcomer:
    """Who this node is and whom it lets in; from the moment its cluster is formed."""

    own: Endpoint
    welcomes: Welcomes
    #: A peer was just welcomed.
    on_hello: Callable[[Hello], None]


class Listener:
    """Owns the listening socket and every accepted connection."""

    def __init__(
        self,
        *,
        node_id: int,
        limits: TransportLimits,
        complaints: Complaints,
        on_messages: OnMessages,
        on_snapshot: OnSnapshot,
    ) -> None:
        self.limits = limits
        self.on_messages = on_messages
        self.on_snapshot = on_snapshot
        #: By the kind of question; questions of other kinds are refused.
        self.answers: dict[int, OnQuestion] = {}
        #: None: hellos are refused, the cluster isn't formed.
        self.welcomer: Welcomer | None = None
        self._node_id = node_id
        self._complaints = complaints
        #: Connections that haven't said who they are, the oldest first.
        self._half_open: dict[Accepted, asyncio.TimerHandle] = {}
        self._identified: dict[tuple[int, Channel], Accepted] = {}
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Open the port; give its number (of use when `port` is 0). Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Accepted(self), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        for accepted in (*self._half_open, *self._identified.values()):
            accepted.end()
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def half_open_count(self) -> int:
        """How many connections haven't said who they are."""
        return len(self._half_open)

    def peer_channels(self) -> Iterable[tuple[int, Channel]]:
        """Which peers are connected to this node, by channel."""
        return self._identified.keys()

    def on_accepted(self, accepted: Accepted) -> None:
        """Count a new connection and start its clock."""
        if len(self._half_open) >= self.limits.half_open_max:
            self.turn_away(next(iter(self._half_open)), "too many connections that don't say who they are")
        timeout_s = self.limits.greeting_timeout_ms / 1000
        loop = asyncio.get_running_loop()
        self._half_open[accepted] = loop.call_later(timeout_s, self._on_silence, accepted)

    def on_ended(self, accepted: Accepted) -> None:
        """Forget a connection."""
        timer = self._half_open.pop(accepted, None)
        if timer is not None:
            timer.cancel()
        hello = accepted.hello
        if hello is not None and self._identified.get((hello.sender.node_id, hello.channel)) is accepted:
            del self._identified[hello.sender.node_id, hello.channel]

    def on_hello(self, accepted: Accepted, hello: Hello) -> Refusal | None:
        """Let a peer in; or say why not."""
        welcomer = self.welcomer
        if welcomer is None:
            return Refusal("the cluster of this node is not formed yet")
        refusal = reason_to_refuse(hello, welcomer.own, welcomer.welcomes)
        if refusal is not None:
            self._complain(accepted, f"refused: {refusal.reason}")
            return refusal
        self._half_open.pop(accepted).cancel()
        older = self._identified.pop((hello.sender.node_id, hello.channel), None)
        if older is not None:
            self._complain(older, "closed: the peer dialed again")
            older.end()
        accepted.hello = hello
        self._identified[hello.sender.node_id, hello.channel] = accepted
        welcomer.on_hello(hello)
        return None

    def close_unwelcome(self) -> None:
        """Close the connections of those who are welcome no longer; they hear why when they dial again."""
        assert self.welcomer is not None, "nobody was let in yet"
        for (node_id, _), accepted in list(self._identified.items()):
            refusal = self.welcomer.welcomes(node_id)
            if refusal is not None:
                self.turn_away(accepted, refusal.reason)

    def turn_away(self, accepted: Accepted, reason: str) -> None:
        """Close a connection that misbehaved and say so."""
        self._complain(accepted, f"closed: {reason}")
        accepted.end()

    def _on_silence(self, accepted: Accepted) -> None:
        if accepted.is_answered:
            accepted.end()
        else:
            self.turn_away(accepted, "it did not say who it is in time")

    def _complain(self, accepted: Accepted, what: str) -> None:
        hello = accepted.hello
        who = f"node {hello.sender.node_id}" if hello is not None else "an unknown peer"
        text = f"node {self._node_id}: connection from {who} at {accepted.address} {what}"
        self._complaints.warn(f"accepted {who} {what}", text)


class Accepted(asyncio.Protocol):
    """One accepted connection."""

    def __init__(self, listener: Listener) -> None:
        #: Set once the dialer is welcome.
        self.hello: Hello | None = None
        self.address = "an unknown address"
        #: A question was answered: nothing is wrong with falling silent.
        self.is_answered = False
        self._listener = listener
        self._reader = FrameReader(frame_bytes_max=listener.limits.greeting_bytes_max)
        self._transport: asyncio.Transport | None = None
        #: Since when the reader has held the piece behind so many; None: it holds none.
        self._held_since_s: float | None = None
        self._pieces_count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.address = address_text(transport)
        tune(transport, unacked_ms_max=self._listener.limits.unacked_ms_max)
        transport.write(PREAMBLE)
        self._listener.on_accepted(self)

    def data_received(self, data: bytes) -> None:
        try:
            if self.hello is not None:
                self._receive(self.hello, self._reader.feed(data))
                self._look_at_progress()
            else:
                self._receive_greeting(data)
        except ProtocolError as error:
            if self._transport is not None:
                self._listener.turn_away(self, str(error))

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._listener.on_ended(self)

    def end(self) -> None:
        """Close at once."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            self._listener.on_ended(self)

    def _receive(self, hello: Hello, frames: Iterable[Frame]) -> None:
        if hello.channel is SNAPSHOT:
            self._receive_snapshot(hello.sender.node_id, frames)
        else:
            self._receive_messages(hello, frames)

    def _receive_snapshot(self, sender: int, frames: Iterable[Frame]) -> None:
        """Hand on what a snapshot transfer says, as it is."""
        for frame in frames:
            if frame.kind != MESSAGES:
                raise ProtocolError(f"frame kind {frame.kind} instead of messages")
            for body in split_messages(frame.body):
                if self._transport is not None:
                    self._listener.on_snapshot(sender, frame.group_id, bytes(body))

    def _receive_messages(self, hello: Hello, frames: Iterable[Frame]) -> None:
        """Decode what one read brought; one callback per run of frames of one group."""
        sender, to = hello.sender.node_id, hello.to
        group_id = 0
        messages: list[Message] = []
        try:
            for frame in frames:
                if frame.kind != MESSAGES:
                    raise ProtocolError(f"frame kind {frame.kind} instead of messages")
                if frame.group_id != group_id:
                    self._hand_on(sender, group_id, messages)
                    group_id, messages = frame.group_id, []
                for encoded in split_messages(frame.body):
                    message = decode(encoded)
                    if message.sender != sender or message.to != to:
                        raise ProtocolError(
                            f"a message from node {message.sender} to node {message.to}"
                            f" on the link from node {sender} to node {to}"
                        )
                    messages.append(message)
        except ProtocolError:
            self._hand_on(sender, group_id, messages)  # what came before it is good
            raise
        self._hand_on(sender, group_id, messages)

    def _look_at_progress(self) -> None:
        """Raise ProtocolError for a frame that takes too long to end: its length can't be right."""
        reader = self._reader
        if not reader.held_bytes:
            self._held_since_s = None
            return
        now_s = asyncio.get_running_loop().time()
        if self._held_since_s is None or reader.pieces_count != self._pieces_count:
            self._held_since_s, self._pieces_count = now_s, reader.pieces_count
        elif now_s - self._held_since_s > self._listener.limits.frame_ms_max / 1000:
            raise ProtocolError("a frame did not end in time")

    def _hand_on(self, sender: int, group_id: int, messages: list[Message]) -> None:
        if messages and self._transport is not None:
            self._listener.on_messages(sender, group_id, messages)

    def _receive_greeting(self, data: bytes) -> None:
        frames = self._reader.feed(data)
        for frame in frames:
            if self._transport is None:
                return
            if frame.kind == HELLO:
                self._on_hello(decode_hello(frame.body))
                if self.hello is not None:
                    self._receive(self.hello, frames)
            elif frame.kind == QUESTION:
                self._on_question(bytes(frame.body))
            else:
                raise ProtocolError(f"frame kind {frame.kind} instead of a hello")

    def _on_hello(self, hello: Hello) -> None:
        refusal = self._listener.on_hello(self, hello)
        if refusal is not None:
            return self._refuse(refusal)
        if self._transport is None:
            return None  # the owner, who was told of the peer, has changed his mind
        self._reader.frame_bytes_max = self._listener.limits.frame_bytes_from(hello.channel)
        welcomer = self._listener.welcomer
        assert welcomer is not None, "a peer was welcomed"
        return self._answer(WELCOME, encode_welcome(welcomer.own))

    def _on_question(self, body: bytes) -> None:
        if not body:
            raise ProtocolError("a question without its kind")
        on_question = self._listener.answers.get(body[0])
        if on_question is None:
            return self._refuse(
                Refusal(f"this node is not ready to speak about its cluster (question kind {body[0]})")
            )
        if self.is_answered:
            raise ProtocolError("a second question on one connection")
        self.is_answered = True
        return self._answer(QUESTION, on_question(body[1:]))

    def _answer(self, kind: int, body: bytes) -> None:
        assert self._transport is not None, "the connection stands"
        self._transport.write(encode_frame(kind, body))

    def _refuse(self, refusal: Refusal) -> None:
        """Say why, and close as soon as that is out."""
        self._answer(REFUSAL, encode_refusal(refusal))
        transport, self._transport = self._transport, None
        assert transport is not None, "the connection stands"
        transport.close()
        self._listener.on_ended(self)
