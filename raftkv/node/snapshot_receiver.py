"""The follower's end of a snapshot transfer: takes an offer and asks for what is missing until nothing is.

    Offer -> OPENING --on_opened--> FETCHING --all written--> FINISHING --on_finished: whole--> complete, Done
                                       ^                          |
                                       '---- some is damaged -----'

Pure: what is to be done on the disk is ordered of `IncomingFiles`, which answers later; the time is handed
in. Knows nothing of Raft but that a later term's offer counts more, and of manifests nothing at all.

One transfer at a time, the newest offer's. An older one stops at once, but the next begins only when all
orders of the older one were answered.

Invariants:
* Chunks that were asked for, or are being written, are at most as many as the window.
* Every byte that is missing is in exactly one place: a range, asked for, or being written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Protocol

from raftkv.node.snapshot_messages import (
    Chunk,
    Decline,
    Done,
    Holding,
    Offer,
    Refuse,
    SnapshotMessage,
    Want,
    encode,
)
from raftkv.node.snapshot_transfer import FileRange, Send, TransferLimits, TransferProgress
from raftkv.raft.types import ProtocolError

#: After so many times that files were damaged when all was there, the leader's are taken to be so.
_DAMAGES_MAX: Final = 3
#: Pauses before the same is asked for again double so many times.
_DOUBLINGS_MAX: Final = 4
_MS: Final = 1_000_000


class IncomingFiles(Protocol):
    """The disk work of a transfer, done on a thread, strictly in the order in which it is ordered.

    Each order but `close` is answered once, later and never from within, by the receiver's method that is
    named there. A failed disk is no answer: the node stops.
    """

    def open(self, offer: Offer) -> None:
        """Find out what of this snapshot is here already: `on_opened`, or `on_unusable`."""

    def write(self, snapshot_id: bytes, chunk: FileRange, data: bytes | memoryview) -> None:
        """Write bytes in their place: `on_written`."""

    def finish(self, snapshot_id: bytes) -> None:
        """Verify all digests, drop what is damaged, make the rest durable: `on_finished` or `on_unusable`."""

    def close(self, snapshot_id: bytes) -> None:
        """Nothing more comes for this one; keep what was written. There is no answer."""


class _State(Enum):
    OPENING = auto()
    FETCHING = auto()
    FINISHING = auto()


_OPENING = _State.OPENING
_FETCHING = _State.FETCHING
_FINISHING = _State.FINISHING


@dataclass(slots=True)
class _Asked:
    """A chunk that is to come."""

    length: int
    #: None: the link did not take the question, or it is to be asked again.
    asked_ns: int | None = None


@dataclass(slots=True)
class _Transfer:
    offer: Offer
    started_ns: int
    #: When the leader was heard last, or owed nothing.
    heard_ns: int
    state: _State = _OPENING
    #: What nobody was asked for yet.
    ranges: deque[FileRange] = field(default_factory=deque)
    #: By (name, offset), in the order in which they were asked for first.
    asked: dict[tuple[str, int], _Asked] = field(default_factory=dict)
    #: (name, offset) -> length
    writing: dict[tuple[str, int], int] = field(default_factory=dict)
    bytes_done: int = 0
    bytes_total: int = 0
    #: Times that something was asked for again since a chunk came.
    repeats: int = 0
    #: Times that files were damaged when all was there.
    damages: int = 0

    @property
    def snapshot_id(self) -> bytes:
        return self.offer.snapshot_id


class SnapshotReceiver:
    """At most one transfer of one group to this node."""

    def __init__(
        self,
        *,
        limits: TransferLimits,
        send: Send,
        files: IncomingFiles,
        on_complete: Callable[[Offer], None],
    ) -> None:
        """`on_complete`: the snapshot is here, whole, verified and durable; its files belong to the owner."""
        self._limits = limits
        self._send = send
        self._files = files
        self._on_complete = on_complete
        self._transfer: _Transfer | None = None
        #: Begins when the disk has answered all that was ordered for an older one.
        self._next: Offer | None = None
        #: Orders that were not answered yet.
        self._orders = 0
        #: (term, number) of the newest offer.
        self._newest = (0, 0)
        #: The newest offer was taken to its end: repetitions of it are answered by Done.
        self._is_newest_complete = False
        #: Chunks whose checksum was wrong, or that had another length than was asked for.
        self.damaged_chunks = 0
        #: Why the last transfer that stopped before its end did so; "": none has.
        self.last_failure = ""

    def progress(self) -> TransferProgress | None:
        """Look at the transfer; None: there is none."""
        transfer = self._transfer
        if transfer is None:
            return None
        return TransferProgress(
            node_id=transfer.offer.leader_id,
            snapshot_id=transfer.snapshot_id,
            bytes_done=transfer.bytes_done,
            bytes_total=transfer.bytes_total,
            chunks_open=len(transfer.asked),
            started_ns=transfer.started_ns,
        )

    def cancel(self) -> None:
        """Stop; a later offer goes on where this one stood."""
        self._next = None
        self._stop("stopped by this node")

    # -- what the leader says ---------------------------------------------------------------

    def on_message(self, sender: int, message: SnapshotMessage, now_ns: int) -> None:
        """Take an Offer, Chunk or Refuse; others are none of this end's.

        Raises ProtocolError for an offer in another node's name.
        """
        match message:
            case Offer():
                if message.leader_id != sender:
                    raise ProtocolError(f"node {sender} offers a snapshot as node {message.leader_id}")
                self._on_offer(message, now_ns)
            case Chunk():
                self._on_chunk(message, now_ns)
            case Refuse():
                if self._is_from(sender, message.snapshot_id):
                    self._stop(message.reason)
            case _:
                pass

    def _is_from(self, sender: int, snapshot_id: bytes) -> bool:
        transfer = self._transfer
        return (
            transfer is not None
            and transfer.snapshot_id == snapshot_id
            and transfer.offer.leader_id == sender
        )

    def _on_offer(self, offer: Offer, now_ns: int) -> None:
        key = (offer.term, offer.number)
        if key < self._newest:
            return
        if key > self._newest:
            self._newest, self._is_newest_complete = key, False
        if self._is_newest_complete:
            self._tell(offer, Done(offer.snapshot_id))
            return
        transfer = self._transfer
        if transfer is not None and transfer.snapshot_id == offer.snapshot_id:
            self._go_on_with(transfer, offer, now_ns)
            return
        self._stop(f"node {offer.leader_id} has offered another one")
        self._next = offer
        self._tell(offer, Holding(offer.snapshot_id, 0))
        self._maybe_begin(now_ns)

    def _go_on_with(self, transfer: _Transfer, offer: Offer, now_ns: int) -> None:
        """The same snapshot again: repeated, or by a newer offer."""
        is_same = (transfer.offer.term, transfer.offer.number) == (offer.term, offer.number)
        transfer.offer = offer
        transfer.heard_ns = now_ns
        if not is_same:
            for each in transfer.asked.values():
                each.asked_ns = None
        self._tell(offer, Holding(offer.snapshot_id, transfer.bytes_done))
        self._pump(now_ns)

    def _on_chunk(self, chunk: Chunk, now_ns: int) -> None:
        transfer = self._transfer
        if transfer is None or transfer.snapshot_id != chunk.snapshot_id:
            return
        key = (chunk.name, chunk.offset)
        asked = transfer.asked.get(key)
        if asked is None:
            return  # it came twice
        if len(chunk.data) != asked.length or not chunk.is_intact:
            self.damaged_chunks += 1  # asked for again after a while, not at once: it may stay so
            return
        del transfer.asked[key]
        transfer.writing[key] = asked.length
        transfer.heard_ns = now_ns
        transfer.repeats = 0
        self._orders += 1
        self._files.write(transfer.snapshot_id, FileRange(*key, asked.length), chunk.data)

    # -- what the disk answers --------------------------------------------------------------

    def on_opened(
        self, snapshot_id: bytes, missing: Sequence[FileRange], *, bytes_total: int, now_ns: int
    ) -> None:
        """The answer to `open`: what is missing, of how much."""
        transfer = self._answered(snapshot_id, now_ns)
        if transfer is not None:
            transfer.bytes_total = bytes_total
            self._fetch(transfer, missing, now_ns)

    def on_unusable(self, snapshot_id: bytes, reason: str, now_ns: int) -> None:
        """The other answer to `open` and `finish`: this snapshot can't be taken, or is not wanted."""
        transfer = self._answered(snapshot_id, now_ns)
        if transfer is not None:
            self._decline(transfer, reason)

    def on_written(self, snapshot_id: bytes, chunk: FileRange, now_ns: int) -> None:
        """The answer to `write`."""
        transfer = self._answered(snapshot_id, now_ns)
        if transfer is not None:
            transfer.bytes_done += transfer.writing.pop((chunk.name, chunk.offset))
            self._pump(now_ns)

    def on_finished(self, snapshot_id: bytes, missing: Sequence[FileRange], now_ns: int) -> None:
        """The answer to `finish`: what was damaged and is missing again; nothing: the snapshot is whole."""
        transfer = self._answered(snapshot_id, now_ns)
        if transfer is None:
            return
        if not missing:
            self._transfer = None
            self._is_newest_complete = True
            self._tell(transfer.offer, Done(snapshot_id))
            self._on_complete(transfer.offer)
            return
        transfer.damages += 1
        if transfer.damages < _DAMAGES_MAX:
            self._fetch(transfer, missing, now_ns)
        else:
            self._decline(transfer, f"files arrived damaged {_DAMAGES_MAX} times")

    def on_tick(self, now_ns: int) -> None:
        """Ask again for what does not come, and give up on a leader that is silent for too long."""
        transfer = self._transfer
        if transfer is None or transfer.state is not _FETCHING:
            return
        if not transfer.asked:
            transfer.heard_ns = now_ns
            return
        patience_ns = self._patience_ns(transfer)
        if now_ns - transfer.heard_ns >= self._limits.abandon_ms * _MS + patience_ns:
            self._stop(f"nothing was heard of node {transfer.offer.leader_id}")
            return
        pause_ns = (self._limits.silence_ms * _MS + patience_ns) << min(transfer.repeats, _DOUBLINGS_MAX)
        overdue = [
            each
            for each in transfer.asked.values()
            if each.asked_ns is not None and now_ns - each.asked_ns >= pause_ns
        ]
        for each in overdue:
            each.asked_ns = None
        if overdue:
            transfer.repeats += 1
        self._pump(now_ns)

    # -- the transfer -----------------------------------------------------------------------

    def _maybe_begin(self, now_ns: int) -> None:
        if self._next is None or self._orders:
            return
        offer, self._next = self._next, None
        self._transfer = _Transfer(offer, started_ns=now_ns, heard_ns=now_ns)
        self._orders += 1
        self._files.open(offer)

    def _answered(self, snapshot_id: bytes, now_ns: int) -> _Transfer | None:
        """Count an answer; give the transfer that it is for, None if that is over."""
        assert self._orders > 0, "the disk answers what was not ordered"
        self._orders -= 1
        if self._transfer is None:
            self._maybe_begin(now_ns)
            return None
        assert self._transfer.snapshot_id == snapshot_id, "an answer for a transfer that is over"
        return self._transfer

    def _fetch(self, transfer: _Transfer, missing: Sequence[FileRange], now_ns: int) -> None:
        transfer.state = _FETCHING
        transfer.heard_ns = now_ns
        transfer.ranges.extend(missing)
        transfer.bytes_done = transfer.bytes_total - sum(each.length for each in missing)
        self._pump(now_ns)

    def _pump(self, now_ns: int) -> None:
        """Ask for as much as the window allows; when all is written, have it verified."""
        if (transfer := self._transfer) is None or transfer.state is not _FETCHING:
            return
        for key, asked in transfer.asked.items():
            if asked.asked_ns is None and not self._ask(transfer, key, asked, now_ns):
                return
        window_chunks = min(self._limits.window_chunks, transfer.offer.window_chunks)
        while transfer.ranges and len(transfer.asked) + len(transfer.writing) < window_chunks:
            key, asked = self._next_chunk(transfer)
            transfer.asked[key] = asked
            if not self._ask(transfer, key, asked, now_ns):
                return
        if not transfer.ranges and not transfer.asked and not transfer.writing:
            transfer.state = _FINISHING
            self._orders += 1
            self._files.finish(transfer.snapshot_id)

    def _next_chunk(self, transfer: _Transfer) -> tuple[tuple[str, int], _Asked]:
        """Cut the next chunk off what is missing."""
        first = transfer.ranges[0]
        length = min(first.length, self._limits.chunk_bytes, transfer.offer.chunk_bytes)
        if length == first.length:
            transfer.ranges.popleft()
        else:
            transfer.ranges[0] = FileRange(first.name, first.offset + length, first.length - length)
        return (first.name, first.offset), _Asked(length)

    def _ask(self, transfer: _Transfer, key: tuple[str, int], asked: _Asked, now_ns: int) -> bool:
        want = Want(transfer.snapshot_id, *key, length=asked.length, bytes_done=transfer.bytes_done)
        if not self._tell(transfer.offer, want):
            return False
        asked.asked_ns = now_ns
        return True

    def _patience_ns(self, transfer: _Transfer) -> int:
        """How long a whole window takes at the leader's rate."""
        offer = transfer.offer
        if not offer.rate_bytes:
            return 0
        window_chunks = min(self._limits.window_chunks, offer.window_chunks)
        return window_chunks * offer.chunk_bytes * 1_000_000_000 // offer.rate_bytes

    def _decline(self, transfer: _Transfer, reason: str) -> None:
        self._tell(transfer.offer, Decline(transfer.snapshot_id, reason))
        self._stop(reason)

    def _stop(self, reason: str) -> None:
        transfer, self._transfer = self._transfer, None
        if transfer is not None:
            self.last_failure = reason
            self._files.close(transfer.snapshot_id)

    def _tell(self, offer: Offer, message: SnapshotMessage) -> bool:
        return self._send(offer.leader_id, encode(message))
