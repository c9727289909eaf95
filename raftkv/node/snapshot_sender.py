"""The leader's end of snapshot transfers: offers a snapshot to followers and answers what they ask for.

    offer() -> Offer, again after every silence
    Want    -> the follower's queue -> (rate) -> read order -> on_read -> Chunk -> (room on the link)

Pure: files are read by the owner, on a thread, as `wants_read` orders; the time is handed in. Knows
nothing of Raft but the term in its offers. Which bytes are still missing the follower alone knows: what
is lost on its way it asks for again.

Invariants, for each follower: at most `window_chunks` Wants wait, and at most `_AHEAD_CHUNKS_MAX` chunks
are being read or wait for the link. Followers take turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Protocol

from raftkv.node.snapshot_messages import (
    Decline,
    Done,
    Holding,
    Offer,
    Refuse,
    SnapshotMessage,
    Want,
    encode,
    make_chunk,
)
from raftkv.node.snapshot_transfer import Send, TokenBucket, TransferLimits, TransferProgress
from raftkv.raft.types import ProtocolError

#: Enough to keep a disk and a link busy beside each other.
_AHEAD_CHUNKS_MAX: Final = 4
_MS: Final = 1_000_000


class SnapshotSource(Protocol):
    """A snapshot on this node's disk that stays as it is while it is offered."""

    @property
    def snapshot_id(self) -> bytes:
        """16 bytes that no other snapshot has."""

    @property
    def manifest(self) -> bytes:
        """What the follower makes the files of, encoded."""

    @property
    def bytes_total(self) -> int:
        """The size of all files."""

    def size_of(self, name: str) -> int | None:
        """Give the bytes of a file; None: the snapshot has none of that name, which may be anything."""

    def read_chunk(self, name: str, offset: int, length: int) -> bytes:
        """Read from the disk; for the owner's thread alone. Raises OSError when the snapshot is gone."""


@dataclass(slots=True, eq=False)
class ReadOrder:
    """Bytes that are to be read; told apart by identity."""

    to: int
    source: SnapshotSource
    name: str
    offset: int
    length: int
    #: The offer that it belongs to.
    number: int


class Outcome(Enum):
    """How a transfer ended."""

    #: The follower holds the snapshot.
    DONE = auto()
    #: The follower does not want it.
    DECLINED = auto()
    #: It could not be read.
    UNREADABLE = auto()
    #: Nothing was heard of the follower.
    SILENT = auto()


@dataclass(slots=True)
class EndedTransfer:
    """A transfer that the owner need not care for any more."""

    to: int
    snapshot_id: bytes
    outcome: Outcome
    #: For the log.
    reason: str


@dataclass(slots=True)
class _Transfer:
    """One follower's."""

    to: int
    source: SnapshotSource
    offer: Offer
    started_ns: int
    #: When the follower was heard last, or a chunk left for it; at first, when it began.
    alive_ns: int
    #: When the offer was taken by the link; None: not yet.
    offered_ns: int | None = None
    bytes_done: int = 0
    #: (name, offset) -> length, in the order in which they were asked for.
    wants: dict[tuple[str, int], int] = field(default_factory=dict)
    reading: set[tuple[str, int]] = field(default_factory=set)
    #: (name, offset) and the chunk, ready for the link.
    ready: deque[tuple[tuple[str, int], bytes]] = field(default_factory=deque)

    def is_under_way(self, key: tuple[str, int]) -> bool:
        return key in self.wants or key in self.reading or any(key == each for each, _ in self.ready)

    @property
    def ahead_chunks(self) -> int:
        return len(self.reading) + len(self.ready)


class SnapshotSender:
    """All transfers of one group from this node; the owner makes and removes the snapshots."""

    def __init__(
        self,
        *,
        node_id: int,
        limits: TransferLimits,
        send: Send,
        wants_read: Callable[[ReadOrder], None],
        on_end: Callable[[EndedTransfer], None],
    ) -> None:
        """`wants_read`: answered by `on_read`, once each, later. `on_end`: not called for withdrawn ones."""
        self._node_id = node_id
        self._limits = limits
        self._send = send
        self._wants_read = wants_read
        self._on_end = on_end
        self._bucket = TokenBucket(limits.rate_bytes)
        #: By follower; whose turn it is next stands first.
        self._transfers: dict[int, _Transfer] = {}
        self._newest_number = 0

    def offer(self, to: int, source: SnapshotSource, *, term: int, now_ns: int) -> None:
        """Begin to send a snapshot, in place of any other that this follower was offered.

        The leader of `term` calls it, as often as it likes: one that is under way goes on.
        """
        older = self._transfers.get(to)
        if older is not None and (older.source.snapshot_id, older.offer.term) == (source.snapshot_id, term):
            return
        self._newest_number += 1
        offer = Offer(
            snapshot_id=source.snapshot_id,
            term=term,
            leader_id=self._node_id,
            number=self._newest_number,
            rate_bytes=self._limits.rate_bytes,
            window_chunks=self._limits.window_chunks,
            chunk_bytes=self._limits.chunk_bytes,
            manifest=source.manifest,
        )
        self._transfers[to] = transfer = _Transfer(to, source, offer, started_ns=now_ns, alive_ns=now_ns)
        self._send_offer(transfer, now_ns)

    def withdraw(self, to: int) -> None:
        """Offer this follower nothing any more; it hears so when it asks for more."""
        self._transfers.pop(to, None)

    def withdraw_all(self) -> None:
        """Offer nobody anything: this node leads no longer."""
        self._transfers.clear()

    @property
    def is_idle(self) -> bool:
        """Whether nobody is being sent anything."""
        return not self._transfers

    def progress(self) -> list[TransferProgress]:
        """Look at all transfers."""
        return [
            TransferProgress(
                node_id=each.to,
                snapshot_id=each.offer.snapshot_id,
                bytes_done=each.bytes_done,
                bytes_total=each.source.bytes_total,
                chunks_open=len(each.wants) + each.ahead_chunks,
                started_ns=each.started_ns,
            )
            for each in self._transfers.values()
        ]

    def on_message(self, sender: int, message: SnapshotMessage, now_ns: int) -> None:
        """Take a Want, Holding, Decline or Done; others are none of this end's.

        Raises ProtocolError for a Want that no correct follower sends.
        """
        transfer = self._transfers.get(sender)
        if transfer is None or transfer.offer.snapshot_id != message.snapshot_id:
            if isinstance(message, Want):
                reason = f"node {self._node_id} offers node {sender} no such snapshot"
                self._send(sender, encode(Refuse(message.snapshot_id, reason)))
            return
        transfer.alive_ns = now_ns
        match message:
            case Want():
                self._on_want(transfer, message)
                self._pump(now_ns)
            case Holding():
                transfer.bytes_done = min(message.bytes_done, transfer.source.bytes_total)
            case Decline():
                self._end(transfer, Outcome.DECLINED, message.reason)
            case Done():
                self._end(transfer, Outcome.DONE, "")
            case _:
                pass

    def on_read(self, order: ReadOrder, data: bytes | None, now_ns: int) -> None:
        """Take what was read; None: it could not be, and the snapshot is of no use any more."""
        transfer = self._transfers.get(order.to)
        if transfer is None or transfer.offer.number != order.number:
            return
        key = (order.name, order.offset)
        transfer.reading.remove(key)
        if data is None:
            reason = f"node {self._node_id} can't read the snapshot any more"
            self._send(order.to, encode(Refuse(transfer.offer.snapshot_id, reason)))
            self._end(transfer, Outcome.UNREADABLE, reason)
            return
        assert len(data) == order.length, f"{len(data)} bytes were read instead of {order.length}"
        chunk = make_chunk(transfer.offer.snapshot_id, order.name, order.offset, data)
        transfer.ready.append((key, encode(chunk)))
        self._send_ready(transfer, now_ns)
        self._pump(now_ns)

    def on_tick(self, now_ns: int) -> None:
        """Try again what the links did not take, repeat offers, and give up on who is silent for too long."""
        if not self._transfers:
            return  # as nearly always
        for transfer in list(self._transfers.values()):
            if now_ns - transfer.alive_ns >= self._limits.abandon_ms * _MS:
                self._end(transfer, Outcome.SILENT, f"nothing was heard of node {transfer.to}")
                continue
            self._send_ready(transfer, now_ns)
            if self._is_offer_due(transfer, now_ns):
                self._send_offer(transfer, now_ns)
        self._pump(now_ns)

    def _is_offer_due(self, transfer: _Transfer, now_ns: int) -> bool:
        if transfer.offered_ns is None:
            return True
        if transfer.wants or transfer.ahead_chunks:
            return False  # the follower knows of it, and waits
        return now_ns - max(transfer.alive_ns, transfer.offered_ns) >= self._limits.silence_ms * _MS

    def _on_want(self, transfer: _Transfer, want: Want) -> None:
        size_bytes = transfer.source.size_of(want.name)
        if size_bytes is None or want.offset + want.length > size_bytes:
            raise ProtocolError(f"node {transfer.to} wants what the snapshot does not have")
        if not 0 < want.length <= self._limits.chunk_bytes:
            raise ProtocolError(f"node {transfer.to} wants a chunk of {want.length} bytes")
        transfer.bytes_done = min(want.bytes_done, transfer.source.bytes_total)
        key = (want.name, want.offset)
        if len(transfer.wants) < self._limits.window_chunks and not transfer.is_under_way(key):
            transfer.wants[key] = want.length

    def _pump(self, now_ns: int) -> None:
        """Order reads as far as the rate and what is ahead of the links allow."""
        while self._bucket.is_open(now_ns):
            transfer = next((each for each in self._transfers.values() if self._may_read(each)), None)
            if transfer is None:
                return
            self._transfers[transfer.to] = self._transfers.pop(transfer.to)
            key = next(iter(transfer.wants))
            length = transfer.wants.pop(key)
            transfer.reading.add(key)
            self._bucket.take(length)
            self._wants_read(
                ReadOrder(transfer.to, transfer.source, *key, length=length, number=transfer.offer.number)
            )

    def _may_read(self, transfer: _Transfer) -> bool:
        return bool(transfer.wants) and transfer.ahead_chunks < _AHEAD_CHUNKS_MAX

    def _send_ready(self, transfer: _Transfer, now_ns: int) -> None:
        while transfer.ready and self._send(transfer.to, transfer.ready[0][1]):
            transfer.ready.popleft()
            transfer.alive_ns = now_ns

    def _send_offer(self, transfer: _Transfer, now_ns: int) -> None:
        if self._send(transfer.to, encode(transfer.offer)):
            transfer.offered_ns = now_ns

    def _end(self, transfer: _Transfer, outcome: Outcome, reason: str) -> None:
        del self._transfers[transfer.to]
        self._on_end(EndedTransfer(transfer.to, transfer.offer.snapshot_id, outcome, reason))
