"""A node's connections to its peers, as one thing: send here, be called back there.

Two connections to each peer, dialed by this node, carry its messages, URGENT and BULK; two dialed
by the peer bring the peer's. Knows nothing of Raft beyond its encoded messages, and of clusters
only their id. Nothing here waits: what can't be sent is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from raftkv.raft.codec import encode
from raftkv.raft.types import AppendEntries, AppendEntriesReply, Forward, Message, ProtocolError
from raftkv.transport.complaints import Complaints
from raftkv.transport.frames import BOOTSTRAP, PREAMBLE, REFUSAL, FrameReader, encode_frame
from raftkv.transport.greeting import BULK, RUN_ID_BYTES, URGENT, Endpoint, Hello, decode_refusal
from raftkv.transport.limits import TransportLimits
from raftkv.transport.link import Address, Link, Refused
from raftkv.transport.listener import Listener, OnBootstrap, OnMessages, Welcomer

log = logging.getLogger(__name__)

#: Every other message goes on the urgent channel.
_BULK_MESSAGES = (AppendEntries, AppendEntriesReply, Forward)


@dataclass(slots=True)
class PeerLinkStatus:
    """What is known of the way to one peer; both channels together."""

    node_id: int
    #: Both channels are up, as far as is known.
    is_connected: bool
    #: When the peer last said welcome, by the clock handed in; 0: never.
    last_connected_ns: int
    #: Times that a connection was not made, was refused or ended.
    conn_errors: int
    #: Times that the peer said welcome.
    conn_oks: int
    #: Messages not sent.
    dropped: int
    #: Bytes of messages that wait.
    queued_bytes: int
    #: Why it is not connected; empty while it is.
    last_error: str


class Transport:
    """Sends messages to peers and hands on what they send.

    `listen`, then `start` once the cluster's id is known; between them only bootstrap questions
    are asked and answered. Several messages, then one `flush` at the end of the turn.
    """

    def __init__(
        self,
        *,
        node_id: int,
        bind: Address,
        peers: Mapping[int, Address],
        on_messages: OnMessages,
        limits: TransportLimits,
        random: random.Random,
        clock_ns: Callable[[], int],
    ) -> None:
        """`peers` must not hold this node; it is read by `start` and `ask`."""
        self.node_id = node_id
        #: The port that is listened on, once it is.
        self.port = bind[1]
        self._bind = bind
        self._peers = peers
        self._limits = limits
        self._random = random
        self._clock_ns = clock_ns
        self._run_id = random.randbytes(RUN_ID_BYTES)
        self._complaints = Complaints(log, interval_ms=limits.complaint_interval_ms, clock_ns=clock_ns)
        self._listener = Listener(
            node_id=node_id, limits=limits, complaints=self._complaints, on_messages=on_messages
        )
        self._urgent: dict[int, Link] = {}
        self._bulk: dict[int, Link] = {}
        #: Links with messages of this turn.
        self._unflushed: set[Link] = set()

    async def listen(self, on_bootstrap: OnBootstrap | None = None) -> None:
        """Open the peer port. Raises OSError."""
        self._listener.on_bootstrap = on_bootstrap
        self.port = await self._listener.listen(*self._bind)

    def answer_bootstrap(self, on_bootstrap: OnBootstrap) -> None:
        """Answer bootstrap questions with this function from now on."""
        self._listener.on_bootstrap = on_bootstrap

    def start(self, cluster_id: bytes) -> None:
        """Dial the peers and let them in."""
        assert not self._urgent, "the transport was started twice"
        assert self.node_id not in self._peers, "a node is no peer of its own"
        own = Endpoint(self.node_id, cluster_id, self._run_id)
        for peer_id, address in self._peers.items():
            self._urgent[peer_id] = self._link(Hello(URGENT, own, peer_id), address)
            self._bulk[peer_id] = self._link(Hello(BULK, own, peer_id), address)
        self._listener.welcomer = Welcomer(own, self._urgent.keys(), self._on_hello)
        for link in (*self._urgent.values(), *self._bulk.values()):
            link.start()

    async def close(self) -> None:
        """Take no more messages at once; what was flushed still leaves if it can."""
        await self._listener.close()
        await asyncio.gather(*(link.close() for link in (*self._urgent.values(), *self._bulk.values())))

    def send(self, to: int, group_id: int, messages: list[Message]) -> None:
        """Queue messages for the next `flush`. Drops and counts what a peer can't be sent now."""
        for message in messages:
            links = self._bulk if isinstance(message, _BULK_MESSAGES) else self._urgent
            link = links[to]
            if not link.is_up:
                link.dropped += 1
            elif link.send(group_id, encode(message)):
                self._unflushed.add(link)

    def flush(self) -> None:
        """Write what was sent since the last flush: one write per peer and channel."""
        for link in self._unflushed:
            link.flush()
        self._unflushed.clear()

    def is_connected(self, node_id: int) -> bool:
        """Whether messages of both channels can be sent to that peer."""
        return node_id in self._urgent and self._urgent[node_id].is_up and self._bulk[node_id].is_up

    def status(self, node_id: int) -> PeerLinkStatus:
        """Look at the way to one peer."""
        urgent, bulk = self._urgent[node_id], self._bulk[node_id]
        return PeerLinkStatus(
            node_id=node_id,
            is_connected=urgent.is_up and bulk.is_up,
            last_connected_ns=max(urgent.last_connected_ns, bulk.last_connected_ns),
            conn_errors=urgent.conn_errors + bulk.conn_errors,
            conn_oks=urgent.conn_oks + bulk.conn_oks,
            dropped=urgent.dropped + bulk.dropped,
            queued_bytes=urgent.queued_bytes + bulk.queued_bytes,
            last_error=urgent.last_error or bulk.last_error,
        )

    async def ask(self, node_id: int, question: bytes) -> bytes:
        """Ask a peer a bootstrap question on a connection of its own.

        Raises OSError (TimeoutError included), Refused or ProtocolError.
        """
        host, port = self._peers[node_id]
        async with asyncio.timeout(self._limits.greeting_timeout_ms / 1000):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(PREAMBLE + encode_frame(BOOTSTRAP, question))
                return await self._read_answer(reader)
            finally:
                writer.transport.abort()

    async def _read_answer(self, reader: asyncio.StreamReader) -> bytes:
        frames = FrameReader(frame_bytes_max=self._limits.greeting_bytes_max)
        while data := await reader.read(self._limits.greeting_bytes_max):
            for frame in frames.feed(data):
                if frame.kind == REFUSAL:
                    raise Refused(decode_refusal(frame.body))
                if frame.kind != BOOTSTRAP:
                    raise ProtocolError(f"frame kind {frame.kind} instead of an answer")
                return bytes(frame.body)
        raise ConnectionResetError("closed without an answer")

    def _link(self, hello: Hello, address: Address) -> Link:
        return Link(
            hello,
            address,
            limits=self._limits,
            complaints=self._complaints,
            random=self._random,
            clock_ns=self._clock_ns,
        )

    def _on_hello(self, hello: Hello) -> None:
        peer_id = hello.sender.node_id
        self._urgent[peer_id].on_peer_hello(hello.sender.run_id)
        self._bulk[peer_id].on_peer_hello(hello.sender.run_id)
