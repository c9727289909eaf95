"""The disk work of a snapshot that comes in, ordered on the loop and done on a thread.

Between the protocol (`snapshot_receiver`) and the directory (`storage.incoming`), which takes a file's bytes
from the beginning to the end: chunks that come too early are held until those before them are written.

Invariant: orders are carried out, and answered, in the order in which they were given, but for chunks held.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from raftkv.node.snapshot_messages import Offer
from raftkv.node.snapshot_transfer import FileRange
from raftkv.raft import ProtocolError, decode_membership
from raftkv.storage import IncomingSnapshot, Manifest, SnapshotRefused
from raftkv.storage.worker import Worker

log = logging.getLogger(__name__)


class Answers(Protocol):
    """Who is told what came of the orders: `SnapshotReceiver`."""

    def on_opened(
        self, snapshot_id: bytes, missing: Sequence[FileRange], *, bytes_total: int, now_ns: int
    ) -> None:
        """Answer `open`."""

    def on_unusable(self, snapshot_id: bytes, reason: str, now_ns: int) -> None:
        """Answer `open` or `finish` too."""

    def on_written(self, snapshot_id: bytes, chunk: FileRange, now_ns: int) -> None:
        """Answer `write`."""

    def on_finished(self, snapshot_id: bytes, missing: Sequence[FileRange], now_ns: int) -> None:
        """Answer `finish`."""


@dataclass(slots=True)
class _Opened:
    incoming: IncomingSnapshot
    #: Chunks that came before their place was reached; at most a window of them.
    held: dict[tuple[str, int], bytes] = field(default_factory=dict)


class IncomingFiles:
    """See `snapshot_receiver.IncomingFiles`, whose contract this fulfils."""

    def __init__(
        self,
        *,
        worker: Worker,
        tell: Callable[[Callable[[], None]], object],
        now_ns: Callable[[], int],
        incoming_path: Path,
        state_path: Callable[[], Path],
        is_news: Callable[[int], bool],
    ) -> None:
        """`tell` has something called on the loop; `is_news(index)`: this node lacks what is up to there."""
        self._worker = worker
        self._tell = tell
        self._now_ns = now_ns
        self._incoming_path = incoming_path
        self._state_path = state_path
        self._is_news = is_news
        #: Set once, before anything is ordered.
        self.answers: Answers | None = None
        #: What is being received, or was last. Written and read on the worker's thread, but for `take`.
        self._opened: _Opened | None = None

    def open(self, offer: Offer) -> None:
        """Find out what of this snapshot is here already."""
        try:
            manifest = Manifest.decode(offer.manifest)
            if manifest.membership:
                decode_membership(manifest.membership)
        except ProtocolError as garbage:
            self._answer_unusable(offer.snapshot_id, str(garbage))
            return
        if manifest.snapshot_id != offer.snapshot_id:
            self._answer_unusable(offer.snapshot_id, "the manifest is of another snapshot")
        elif not self._is_news(manifest.index):
            self._answer_unusable(offer.snapshot_id, f"entry {manifest.index} is committed here already")
        else:
            state_path = self._state_path()
            self._worker.submit(lambda: self._open(manifest, state_path), lambda answer: self._tell(answer))

    def _open(self, manifest: Manifest, state_path: Path) -> Callable[[], None]:
        snapshot_id = manifest.snapshot_id
        try:
            incoming = IncomingSnapshot(self._incoming_path, manifest, have=[state_path])
        except SnapshotRefused as refusal:
            reason = str(refusal)
            return lambda: self._told().on_unusable(snapshot_id, reason, self._now_ns())
        self._opened = _Opened(incoming)
        missing = _ranges(incoming)
        return lambda: self._told().on_opened(
            snapshot_id, missing, bytes_total=manifest.size_bytes, now_ns=self._now_ns()
        )

    def write(self, snapshot_id: bytes, chunk: FileRange, data: bytes | memoryview) -> None:
        """Write bytes in their place."""
        content = bytes(data)
        self._worker.submit(
            lambda: self._write(chunk, content), lambda written: self._report(snapshot_id, written)
        )

    def _write(self, chunk: FileRange, data: bytes) -> list[FileRange]:
        """Write a chunk, and those that were held for it; give all that are written now."""
        opened = self._opened
        assert opened is not None, "something is being received"
        written = []
        opened.held[chunk.name, chunk.offset] = data
        offset = chunk.offset
        while (next_data := opened.held.get((chunk.name, offset))) is not None:
            if not opened.incoming.write(chunk.name, offset, next_data):
                break
            del opened.held[chunk.name, offset]
            written.append(FileRange(chunk.name, offset, len(next_data)))
            offset += len(next_data)
        return written

    def _report(self, snapshot_id: bytes, written: list[FileRange]) -> None:
        for chunk in written:
            self._tell(partial(self._answer_written, snapshot_id, chunk))

    def _answer_written(self, snapshot_id: bytes, chunk: FileRange) -> None:
        self._told().on_written(snapshot_id, chunk, self._now_ns())

    def finish(self, snapshot_id: bytes) -> None:
        """Verify every digest, drop what is damaged, make the rest durable."""
        self._worker.submit(lambda: self._finish(snapshot_id), lambda answer: self._tell(answer))

    def _finish(self, snapshot_id: bytes) -> Callable[[], None]:
        opened = self._opened
        assert opened is not None, "something is being received"
        try:
            damaged = opened.incoming.finish()
        except SnapshotRefused as refusal:
            # The files are those of the manifest, but no state that it describes: all of it is useless.
            log.warning("a snapshot can't be used: %s", refusal)
            return self._begin_again(snapshot_id, opened.incoming)
        if damaged:
            log.warning("a snapshot's files arrived damaged: %s", ", ".join(damaged))
        missing = _ranges(opened.incoming)
        return lambda: self._told().on_finished(snapshot_id, missing, self._now_ns())

    def _begin_again(self, snapshot_id: bytes, useless: IncomingSnapshot) -> Callable[[], None]:
        """Drop all that has come; there may be no room to have it sent, if it was linked the first time."""
        self._opened = None
        useless.discard()
        try:
            incoming = IncomingSnapshot(self._incoming_path, useless.manifest)
        except SnapshotRefused as refusal:
            reason = str(refusal)
            return lambda: self._told().on_unusable(snapshot_id, reason, self._now_ns())
        self._opened = _Opened(incoming)
        missing = _ranges(incoming)
        return lambda: self._told().on_finished(snapshot_id, missing, self._now_ns())

    def close(self, snapshot_id: bytes) -> None:
        """Keep what was written; nothing more comes."""
        self._worker.submit(self._let_go_of_held, lambda held: self._report(snapshot_id, held))

    def _let_go_of_held(self) -> list[FileRange]:
        """Forget what was held; it counts as answered, since every order is answered."""
        if self._opened is None:
            return []
        held, self._opened.held = self._opened.held, {}
        return [FileRange(name, offset, len(data)) for (name, offset), data in held.items()]

    def take(self) -> IncomingSnapshot:
        """Give what was received whole; it is the caller's."""
        opened, self._opened = self._opened, None
        assert opened is not None, "something was received"
        assert opened.incoming.is_finished, "it was received whole"
        return opened.incoming

    def _answer_unusable(self, snapshot_id: bytes, reason: str) -> None:
        self._tell(lambda: self._told().on_unusable(snapshot_id, reason, self._now_ns()))

    def _told(self) -> Answers:
        assert self.answers is not None, "somebody gave the order"
        return self.answers


def _ranges(incoming: IncomingSnapshot) -> list[FileRange]:
    return [FileRange(each.name, each.offset, each.length) for each in incoming.missing()]
