"""A snapshot on its way from a peer onto this node's disk, where it survives broken links and restarts.

    incoming/<snapshot id>/manifest       as `manifest` has it
                           files/...      a file that is shorter than it should be is on its way

Each file grows from its beginning to its end, so its size tells what is there. Knows nothing of peers,
time or asking. Everything here blocks on the disk: it is for a thread, for one at a time.

Invariants:
* A table that is shared with another directory is never written to: it has its full size, and what is
  damaged is unlinked.
* Nothing leaves the snapshot's own directory, whatever the manifest or the names say.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from raftkv.raft.types import ProtocolError
from raftkv.storage.digests import digest_of
from raftkv.storage.durable_file import remove_tree, replace_file, sync_directory, sync_file
from raftkv.storage.errors import SnapshotRefused, StorageFailure
from raftkv.storage.kv_store import read_applied
from raftkv.storage.manifest import Manifest, SnapshotFile

_MANIFEST_FILE = "manifest"
_FILES_DIRECTORY = "files"
#: What a snapshot leaves free on the disk: the log must go on, or the node stops.
_RESERVED_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class MissingRange:
    """Bytes of one file that are yet to come: [offset, offset + length)."""

    name: str
    offset: int
    length: int


class IncomingSnapshot:
    """One snapshot on its way; see the module's docstring."""

    def __init__(self, incoming_path: Path, manifest: Manifest, *, have: Sequence[Path] = ()) -> None:
        """Begin below `incoming_path`, or go on where an earlier attempt ended.

        Tables that are in the directories `have`, or in what came of other snapshots, are not asked for;
        each that has the right size is read for it. Other snapshots' directories are removed afterwards:
        one is on its way at a time. Raises SnapshotRefused when the disk has no room for it,
        StorageFailure.
        """
        self.manifest = manifest
        self.path = incoming_path / manifest.snapshot_id.hex()
        self._incoming_path = incoming_path
        self._files = {file.name: file for file in manifest.files}
        #: Known to have the right digest.
        self._verified: set[str] = set()
        self._is_finished = False
        with self._failures():
            self.files_path.mkdir(parents=True, exist_ok=True)
            replace_file(self.path / _MANIFEST_FILE, manifest.encode())
            #: How much of each file is there, from its beginning.
            self._sizes = {file.name: self._kept_bytes(file) for file in manifest.files}
            others = [path for path in incoming_path.iterdir() if path != self.path]
            for directory in (*have, *(path / _FILES_DIRECTORY for path in others)):
                self._link_tables(directory)
            for path in others:
                remove_tree(path)
            free_bytes = shutil.disk_usage(self.path).free
        if self.missing_bytes + _RESERVED_BYTES > free_bytes:
            raise SnapshotRefused(
                f"{self.missing_bytes} bytes are to come, and the disk has {free_bytes} free"
            )

    @property
    def files_path(self) -> Path:
        """Where the files are: a whole database once `finish` said so."""
        return self.path / _FILES_DIRECTORY

    @property
    def missing_bytes(self) -> int:
        """How much is yet to come."""
        return self.manifest.size_bytes - sum(self._sizes.values())

    @property
    def is_finished(self) -> bool:
        """Whether all of it is there, verified and durable."""
        return self._is_finished

    def missing(self) -> list[MissingRange]:
        """Give the rest of each file that isn't there, in the manifest's order."""
        return [
            MissingRange(file.name, self._sizes[file.name], file.size_bytes - self._sizes[file.name])
            for file in self.manifest.files
            if self._sizes[file.name] < file.size_bytes
        ]

    def write(self, name: str, offset: int, data: bytes) -> bool:
        """Take the next bytes of a file; False: they are not the next ones, nothing was done.

        Files may come in any order, and in turns. Raises ProtocolError for bytes that are in no file,
        StorageFailure.
        """
        file = self._files.get(name)
        if file is None or offset < 0 or not data or offset + len(data) > file.size_bytes:
            raise ProtocolError(f"{len(data)} bytes at {offset} of {name!r}, which the snapshot doesn't have")
        if offset != self._sizes[name]:
            return False
        with self._failures(), open(self.files_path / name, "ab") as target:
            target.write(data)
            self._sizes[name] += len(data)
            if self._sizes[name] == file.size_bytes:
                # Now, not all in the end: what waits for the disk besides would wait for gigabytes.
                target.flush()
                os.fsync(target.fileno())
        return True

    def finish(self) -> list[str]:
        """Verify everything and make it durable, once nothing is missing; give the names of damaged files.

        Those are dropped, and are missing again; without any it can be installed. Raises SnapshotRefused
        when the files hold another state than the manifest says, StorageFailure.
        """
        assert self.missing_bytes == 0, f"{self.missing_bytes} bytes are missing"
        with self._failures():
            damaged = [file.name for file in self.manifest.files if not self._verify(file)]
            if damaged:
                return damaged
            for directory in (self.files_path, self.path, self._incoming_path, self._incoming_path.parent):
                sync_directory(directory)
        self._check_state()
        self._is_finished = True
        return []

    def discard(self) -> None:
        """Delete what has come. Raises StorageFailure."""
        with self._failures():
            remove_tree(self.path)

    def _kept_bytes(self, file: SnapshotFile) -> int:
        """Tell how much of a file an earlier attempt left; what can't be a part of it is dropped."""
        path = self.files_path / file.name
        if not path.exists():
            return 0
        size_bytes = path.stat().st_size
        if size_bytes <= file.size_bytes:
            return size_bytes
        path.unlink()
        return 0

    def _link_tables(self, directory: Path) -> None:
        """Take what is there already. The directory may be in use: files come and go.

        What can't be read or linked, for whatever reason, will be sent.
        """
        wanted: dict[int, list[SnapshotFile]] = {}
        for file in self.manifest.files:
            if file.is_table and self._sizes[file.name] < file.size_bytes:
                wanted.setdefault(file.size_bytes, []).append(file)
        for path in sorted(directory.glob("*.sst")):
            try:
                files = wanted.get(path.stat().st_size)
                digest = digest_of(path) if files else b""
                for file in files or ():
                    if file.digest == digest:
                        self._link(path, file)
            except OSError:
                continue

    def _link(self, path: Path, file: SnapshotFile) -> None:
        target = self.files_path / file.name
        target.unlink(missing_ok=True)  # its beginning may have come
        self._sizes[file.name] = 0
        os.link(path, target)
        self._sizes[file.name] = file.size_bytes
        self._verified.add(file.name)

    def _verify(self, file: SnapshotFile) -> bool:
        """Make a file durable and compare its digest; drop it if that is wrong."""
        path = self.files_path / file.name
        sync_file(path)
        if file.name in self._verified:
            return True
        if digest_of(path) != file.digest:
            path.unlink()
            self._sizes[file.name] = 0
            return False
        self._verified.add(file.name)
        return True

    def _check_state(self) -> None:
        """Compare what the rows say with the manifest: the log will begin behind that."""
        try:
            applied = read_applied(self.files_path)
        except StorageFailure as failure:
            raise SnapshotRefused(str(failure)) from failure
        manifest = self.manifest
        found = (applied.index, applied.term, applied.log_time_ms, applied.membership)
        if found != (manifest.index, manifest.term, manifest.log_time_ms, manifest.membership):
            raise SnapshotRefused(
                f"it says that it ends with entry {manifest.index} of term {manifest.term}, and holds the"
                f" state after entry {applied.index} of term {applied.term}"
            )

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Raise the system's errors as StorageFailure."""
        try:
            yield
        except OSError as error:
            raise StorageFailure(f"receiving a snapshot at {self.path}", error) from error


def manifest_in(path: Path) -> Manifest | None:
    """Give the manifest of a directory in `incoming/`; None: it holds none that is whole. Raises OSError."""
    try:
        return Manifest.decode((path / _MANIFEST_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ProtocolError):
        return None


def files_in(path: Path) -> Path:
    """Where the files of a directory in `incoming/` are."""
    return path / _FILES_DIRECTORY
