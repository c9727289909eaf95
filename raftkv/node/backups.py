"""Makes a snapshot for whoever backs this node up, and reads from it on a thread while he downloads it.

The `BackupDesk` of `commands.backup_desk`. One backup at a time: each keeps files on the disk that compaction
would have removed. Knows no connections: who began may go on reading over another one.

Invariant: a snapshot that is made here is removed, when it is ended, or not used for a minute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from raftkv.commands.backup_desk import BackupRefused, OpenBackup
from raftkv.node.clock import Clock
from raftkv.raft import ProtocolError
from raftkv.storage import DataDir, KvStore, Snapshot, StorageFailure, make_snapshot
from raftkv.storage.worker import Worker

log = logging.getLogger(__name__)

_UNUSED_NS_MAX: Final = 60_000_000_000


@dataclass(frozen=True, slots=True)
class _Range:
    name: str
    offset: int
    length: int


class _Attempt:
    """A backup that is being made."""

    def __init__(self) -> None:
        self.outcome: OpenBackup | BackupRefused | None = None

    def look(self) -> OpenBackup | BackupRefused | None:
        return self.outcome


class _Reading:
    """A range on its way from the disk."""

    def __init__(self) -> None:
        self.outcome: bytes | BackupRefused | None = None

    def look(self) -> bytes | BackupRefused | None:
        return self.outcome


class Backups:
    """One node's desk. Everything is called on the loop; the disk work is the worker's."""

    def __init__(
        self,
        *,
        data_dir: DataDir,
        kv_store: KvStore,
        clock: Clock,
        worker: Worker,
        tell: Callable[[Callable[[], None]], object],
    ) -> None:
        """`worker` does the disk work, and that of no other thread that makes snapshots; `tell` has
        something called on the loop.
        """
        self._data_dir = data_dir
        self._kv_store = kv_store
        self._clock = clock
        self._worker = worker
        self._tell = tell
        self._is_making = False
        self._snapshot: Snapshot | None = None
        self._used_ns = 0
        #: What will be asked for next, as a rule: the disk works while bytes travel.
        self._ahead: tuple[_Range, _Reading] | None = None

    def begin(self) -> Callable[[], OpenBackup | BackupRefused | None]:
        """Have a snapshot made, unless there is one. Raises BackupRefused."""
        if self._is_making:
            raise BackupRefused("a backup is being made already")
        if self._snapshot is not None:
            raise BackupRefused(
                "there is a backup already; it is over when RAFT BACKUP END says so, or after a minute"
                " in which nobody reads it"
            )
        if self._kv_store.applied.index == 0:
            raise BackupRefused("there is nothing to back up yet")
        self._is_making = True
        attempt = _Attempt()
        self._worker.submit(self._make, lambda made: self._tell(lambda: self._on_made(attempt, made)))
        return attempt.look

    def _make(self) -> Snapshot | BackupRefused:
        """On the worker."""
        try:
            return make_snapshot(self._kv_store, self._data_dir.snapshots_path)
        except StorageFailure as failure:
            return BackupRefused(str(failure))

    def _on_made(self, attempt: _Attempt, made: Snapshot | BackupRefused) -> None:
        self._is_making = False
        self._used_ns = self._clock.now_ns()
        if isinstance(made, BackupRefused):
            log.warning("no backup: %s", made)
            attempt.outcome = made
            return
        manifest = made.manifest
        log.info("backup: index %d, %d MB, can be read", manifest.index, manifest.size_bytes >> 20)
        self._snapshot = made
        attempt.outcome = OpenBackup(manifest.snapshot_id.hex().encode(), manifest.encode())

    def read(
        self, backup_id: bytes, name: str, *, offset: int, length: int
    ) -> Callable[[], bytes | BackupRefused | None]:
        """Have a range read, and the one behind it. Raises BackupRefused."""
        snapshot = self._snapshot_of(backup_id)
        self._used_ns = self._clock.now_ns()
        wanted = _Range(name, offset, length)
        if self._ahead is not None and self._ahead[0] == wanted:
            reading = self._ahead[1]
        else:
            reading = self._submit(snapshot, wanted)
        self._ahead = None
        sizes = {file.name: file.size_bytes for file in snapshot.manifest.files}
        rest = sizes.get(name, 0) - offset - length
        if rest > 0:
            following = _Range(name, offset + length, min(rest, length))
            self._ahead = following, self._submit(snapshot, following)
        return reading.look

    def _submit(self, snapshot: Snapshot, wanted: _Range) -> _Reading:
        reading = _Reading()

        def read() -> bytes | BackupRefused:
            try:
                return snapshot.read(wanted.name, wanted.offset, wanted.length)
            except (StorageFailure, ProtocolError) as failure:
                return BackupRefused(str(failure))

        def done(outcome: bytes | BackupRefused) -> None:
            reading.outcome = outcome

        self._worker.submit(read, done)
        return reading

    def end(self, backup_id: bytes) -> None:
        """Remove the snapshot. Raises BackupRefused."""
        self._snapshot_of(backup_id)
        self._remove()

    def on_tick(self) -> None:
        """Let time pass."""
        if self._snapshot is not None and self._clock.now_ns() - self._used_ns > _UNUSED_NS_MAX:
            log.warning("backup: nobody has read it for a minute, it is removed")
            self._remove()

    def _snapshot_of(self, backup_id: bytes) -> Snapshot:
        snapshot = self._snapshot
        if snapshot is None or snapshot.manifest.snapshot_id.hex().encode() != backup_id:
            raise BackupRefused("there is no such backup, or it is over")
        return snapshot

    def _remove(self) -> None:
        snapshot, self._snapshot, self._ahead = self._snapshot, None, None
        assert snapshot is not None, "it is there"

        def remove() -> None:
            try:
                snapshot.remove()
            except StorageFailure as failure:
                log.warning("backup: %s", failure)

        self._worker.submit(remove, lambda _: None)
