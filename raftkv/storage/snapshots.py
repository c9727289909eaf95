"""Snapshots that this node makes of its state: a checkpoint's files and the manifest that names them.

A checkpoint is hard links to tables that never change, so making one costs the same for any amount of
data, and it takes space only as far as the state has moved on. Knows nothing of peers and of who wants
a snapshot. Everything here blocks on the disk: it is for a thread.
"""

from __future__ import annotations

import os
from pathlib import Path

from raftkv.raft.types import ProtocolError
from raftkv.storage.digests import digest_of
from raftkv.storage.durable_file import remove_tree
from raftkv.storage.errors import StorageFailure
from raftkv.storage.kv_store import KvStore, read_applied
from raftkv.storage.manifest import Manifest, SnapshotFile, is_snapshot_file


class Snapshot:
    """One snapshot in a directory of its own; it stays as it is until it is removed."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        """Take over a checkpoint; `make_snapshot` makes one."""
        self.manifest = manifest
        self._path = path
        self._sizes = {file.name: file.size_bytes for file in manifest.files}

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Give a range of a file, which is what a peer asked for.

        Raises ProtocolError when the snapshot has no such range, StorageFailure.
        """
        size_bytes = self._sizes.get(name)
        if size_bytes is None or offset < 0 or length <= 0 or offset + length > size_bytes:
            raise ProtocolError(f"bytes {offset} to {offset + length} of {name!r} are in no snapshot here")
        try:
            with open(self._path / name, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), length, offset)
        except OSError as error:
            raise StorageFailure(f"reading the snapshot at {self._path}", error) from error
        if len(data) != length:
            raise StorageFailure(f"reading the snapshot at {self._path}", f"{name} has become shorter")
        return data

    def remove(self) -> None:
        """Delete its files; nothing may be read from it any more. Raises StorageFailure."""
        try:
            remove_tree(self._path)
        except OSError as error:
            raise StorageFailure(f"removing the snapshot at {self._path}", error) from error


def make_snapshot(kv_store: KvStore, snapshots_path: Path) -> Snapshot:
    """Make a snapshot of what is applied by now, in a fresh directory below `snapshots_path`.

    From one thread at a time; the store must have applied something, and must not be closed meanwhile.
    Every byte is read for the digests. Raises StorageFailure.
    """
    path = _fresh_directory(snapshots_path)
    kv_store.checkpoint(path)
    # What the copy itself says: the store has moved on.
    applied = read_applied(path)
    assert applied.index > 0, "there is nothing to make a snapshot of"
    files = _files_of(path)
    return Snapshot(
        path, Manifest(applied.index, applied.term, applied.log_time_ms, applied.membership, files)
    )


def _fresh_directory(snapshots_path: Path) -> Path:
    """Give a path that isn't taken; RocksDB makes the directory."""
    try:
        snapshots_path.mkdir(exist_ok=True)
        # RocksDB collects the files of a checkpoint in "<name>.tmp"; "0...." is from reading one.
        numbers = [int(name.partition(".")[0]) for name in os.listdir(snapshots_path)]
    except OSError as error:
        raise StorageFailure(f"making a snapshot in {snapshots_path}", error) from error
    return snapshots_path / str(max(numbers, default=0) + 1)


def _files_of(path: Path) -> tuple[SnapshotFile, ...]:
    """Name what a peer needs, in order: neither the diaries, nor the options, which every node has."""
    try:
        names = sorted(name for name in os.listdir(path) if is_snapshot_file(name))
        for log in path.glob("*.log"):
            assert log.stat().st_size == 0, "rows in a write-ahead log, which the state doesn't use"
        return tuple(
            SnapshotFile(name, (path / name).stat().st_size, digest_of(path / name)) for name in names
        )
    except OSError as error:
        raise StorageFailure(f"reading the snapshot at {path}", error) from error
