"""A node's connections to its peers, as one thing: send here, be called back there.

Three connections to each peer, dialed by this node, carry what it says, URGENT and BULK messages and
SNAPSHOT transfers; three dialed by the peer bring what the peer says. Knows nothing of Raft beyond its
encoded messages, of snapshots nothing at all, and of clusters only their id: who is a peer, and who is
welcome, its owner decides, and may change while it runs. Nothing here waits: what can't be sent is
dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping

from raftkv.raft.codec import encode
from raftkv.raft.types import AppendEntries, AppendEntriesReply, Forward, Message, ProtocolError
from raftkv.transport.complaints import Complaints
from raftkv.transport.frames import PREAMBLE, QUESTION, REFUSAL, FrameReader, encode_frame
from raftkv.transport.greeting import (
    FORMATION,
    NO_MEMBER,
    RUN_ID_BYTES,
    Address,
    Channel,
    Endpoint,
    Hello,
    Refusal,
    RefusalCode,
    Welcomes,
    decode_refusal,
    encode_question,
)
from raftkv.transport.limits import TransportLimits
from raftkv.transport.link import Link, Refused
from raftkv.transport.listener import Listener, OnMessages, OnQuestion, OnSnapshot, Welcomer
from raftkv.transport.peer import Peer, PeerLinkStatus, status_without_links
from raftkv.transport.sockets import addresses_checked

log = logging.getLogger(__name__)

#: Every other message goes on the urgent channel.
_BULK_MESSAGES = (AppendEntries, AppendEntriesReply, Forward)

#: (node id, where it says that it listens for peers)
OnPeerAddress = Callable[[int, Address], None]
#: (node id, code, reason)
OnRefused = Callable[[int, RefusalCode, str], None]


def _refuse_snapshot(sender: int, _group_id: int, _body: bytes) -> None:
    raise ProtocolError(f"node {sender} speaks of snapshots, and this node takes none")


class Transport:
    """Sends messages to peers and hands on what they send.

    `listen`, then `start` once the cluster's id is known; between them only questions are asked and
    answered. Several messages, then one `flush` at the end of the turn. Callbacks are made on the loop
    and must not raise, but for what is said of them.
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
        on_snapshot: OnSnapshot = _refuse_snapshot,
        welcomes: Welcomes | None = None,
        on_peer_address: OnPeerAddress | None = None,
        on_refused: OnRefused | None = None,
    ) -> None:
        """`peers` must not hold this node; it is read by `start` and `ask`, until `set_peers` replaces it.

        `on_snapshot`: what a peer's `send_snapshot` sent. `welcomes`: why a node of this cluster is turned
        away; without it whoever is no peer is. `on_peer_address`: a node that was welcomed says where it
        listens, and `peers` has it elsewhere or not at all; `set_peers` may be called from within.
        `on_refused`: a peer turned this node away; told again with every attempt. With the code REMOVED
        the peer is of this cluster and means this node: it was removed.
        """
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
            node_id=node_id,
            limits=limits,
            complaints=self._complaints,
            on_messages=on_messages,
            on_snapshot=on_snapshot,
        )
        self._welcomes = welcomes or self._welcomes_peers
        self._on_peer_address = on_peer_address
        self._on_refused = on_refused
        #: This node as its peers know it; None: not started.
        self._own: Endpoint | None = None
        self._announced: Address | None = None
        #: By node id; of `_peers`, once it is started.
        self._linked: dict[int, Peer] = {}
        #: Links with messages of this turn.
        self._unflushed: set[Link] = set()
        #: The ends of links that nobody wants any more.
        self._closing: set[asyncio.Task[None]] = set()
        #: Messages to nodes that are no peers.
        self.dropped_without_peer = 0

    async def listen(self) -> None:
        """Open the peer port. Raises OSError."""
        self.port = await self._listener.listen(*self._bind)

    def answer_questions(self, kind: int, on_question: OnQuestion) -> None:
        """Answer questions of this kind, 0 to 255, with this function from now on."""
        self._listener.answers[kind] = on_question

    def answer_bootstrap(self, on_question: OnQuestion) -> None:
        """Answer the questions of nodes that form a cluster with this function from now on."""
        self.answer_questions(FORMATION, on_question)

    def start(self, cluster_id: bytes, *, announced: Address | None = None) -> None:
        """Dial the peers and let them in; `announced` is where they are told to dial back."""
        assert self._own is None, "the transport was started twice"
        self._own = Endpoint(self.node_id, cluster_id, self._run_id)
        self._announced = announced
        self._listener.welcomer = Welcomer(self._own, self._welcomes, self._on_hello)
        self.set_peers(self._peers)

    def set_peers(self, peers: Mapping[int, Address]) -> None:
        """Have these peers from now on, without this node; links that stay as they are are left alone.

        Whoever is gone, or is elsewhere, keeps what was sent to him so far if it leaves soon. Connections
        of nodes that are not welcome any more are closed.
        """
        assert self.node_id not in peers, "a node is no peer of its own"
        self._peers = dict(peers)
        if self._own is None:
            return
        for node_id, peer in list(self._linked.items()):
            if self._peers.get(node_id) != peer.address:
                del self._linked[node_id]
                self._let_go(peer)
        for node_id, address in self._peers.items():
            if node_id not in self._linked:
                self._linked[node_id] = self._make_peer(self._own, node_id, address)
        self._listener.close_unwelcome()

    async def close(self) -> None:
        """Take no more messages at once; what was flushed still leaves if it can."""
        await self._listener.close()
        await asyncio.gather(*(peer.close() for peer in self._linked.values()), *self._closing)

    def send(self, to: int, group_id: int, messages: list[Message]) -> None:
        """Queue messages for the next `flush`. Drops and counts what a peer can't be sent now."""
        peer = self._linked.get(to)
        if peer is None:
            self.dropped_without_peer += len(messages)
            return
        for message in messages:
            link = peer.bulk if isinstance(message, _BULK_MESSAGES) else peer.urgent
            if not link.is_up:
                link.dropped += 1
            elif link.send(group_id, encode(message)):
                self._unflushed.add(link)

    def flush(self) -> None:
        """Write what was sent since the last flush: one write per peer and channel."""
        for link in self._unflushed:
            link.flush()
        self._unflushed.clear()

    def send_snapshot(self, to: int, group_id: int, body: bytes) -> bool:
        """Write one frame of a snapshot transfer, or as much of it as the connection takes.

        False: it was not taken, since the peer is away or too much waits for it; try again later. What was
        taken is lost with its connection.
        """
        assert body, "a frame says something"
        peer = self._linked.get(to)
        if peer is None or not peer.snapshot.maybe_send(group_id, body):
            return False
        peer.snapshot.flush()
        return True

    def is_connected(self, node_id: int) -> bool:
        """Whether messages of both channels can be sent to that node."""
        peer = self._linked.get(node_id)
        return peer is not None and peer.is_connected

    def status(self, node_id: int) -> PeerLinkStatus:
        """Look at the way to one node, be it a peer or not."""
        peer = self._linked.get(node_id)
        if peer is None:
            return status_without_links(node_id, "not started" if node_id in self._peers else "no peer")
        return peer.status(node_id)

    async def ask(self, node_id: int, question: bytes, *, kind: int = FORMATION) -> bytes:
        """Ask a peer as `ask_address` does."""
        return await self.ask_address(self._peers[node_id], question, kind=kind)

    async def ask_address(self, address: Address, question: bytes, *, kind: int = FORMATION) -> bytes:
        """Ask whoever listens there, on a connection of its own; also before `start`.

        Raises OSError (TimeoutError included), Refused or ProtocolError.
        """
        host, port = address
        async with asyncio.timeout(self._limits.greeting_timeout_ms / 1000):
            with addresses_checked(host, port):
                reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(PREAMBLE + encode_frame(QUESTION, encode_question(kind, question)))
                return await self._read_answer(reader)
            finally:
                writer.transport.abort()

    async def _read_answer(self, reader: asyncio.StreamReader) -> bytes:
        frames = FrameReader(frame_bytes_max=self._limits.greeting_bytes_max)
        while data := await reader.read(self._limits.greeting_bytes_max):
            for frame in frames.feed(data):
                if frame.kind == REFUSAL:
                    refusal = decode_refusal(frame.body)
                    raise Refused(refusal.reason, refusal)
                if frame.kind != QUESTION:
                    raise ProtocolError(f"frame kind {frame.kind} instead of an answer")
                return bytes(frame.body)
        raise ConnectionResetError("closed without an answer")

    def _make_peer(self, own: Endpoint, node_id: int, address: Address) -> Peer:
        def make_link(channel: Channel) -> Link:
            return Link(
                Hello(channel, own, node_id, self._announced),
                address,
                limits=self._limits,
                complaints=self._complaints,
                random=self._random,
                clock_ns=self._clock_ns,
                on_refusal=lambda refusal: self._on_refusal(node_id, refusal),
            )

        peer = Peer(address, make_link)
        peer.start()
        return peer

    def _let_go(self, peer: Peer) -> None:
        peer.flush()
        task = asyncio.get_running_loop().create_task(peer.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _welcomes_peers(self, node_id: int) -> Refusal | None:
        return None if node_id in self._peers else Refusal(f"node {node_id} is no member", NO_MEMBER)

    def _on_hello(self, hello: Hello) -> None:
        sender, address = hello.sender, hello.address
        is_news = address is not None and self._peers.get(sender.node_id) != address
        if is_news and address is not None and self._on_peer_address is not None:
            self._on_peer_address(sender.node_id, address)
        peer = self._linked.get(sender.node_id)
        if peer is not None:
            peer.on_peer_hello(sender.run_id)

    def _on_refusal(self, node_id: int, refusal: Refusal) -> None:
        if self._on_refused is not None:
            self._on_refused(node_id, refusal.code, refusal.reason)
