"""Backups on a disk: one state of a cluster, as a directory or as one tar file, with digests of everything.

    BACKUP      JSON: from where and when it is, with a checksum
    manifest    as `manifest` has it: the place in the log that the state stands for, the files' digests
    files/...   the files, which together are a RocksDB database

A backup gets its name once all of it is there, verified and durable; until then it is in "<name>.part/", from
where an interrupted one goes on. Knows nothing of how the bytes come here. Everything blocks on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from raftkv.raft.types import ProtocolError
from raftkv.storage.durable_file import remove_tree, replace_file, sync_directory
from raftkv.storage.errors import StorageFailure
from raftkv.storage.incoming import IncomingSnapshot, files_in
from raftkv.storage.manifest import DIGEST_BYTES, MANIFEST_BYTES_MAX, Manifest, SnapshotFile

#: Told how many bytes of how many are done.
OnBytes = Callable[[int, int], None]

_FORMAT: Final = 1
_INFO: Final = "BACKUP"
_MANIFEST: Final = "manifest"
_FILES: Final = "files"
_TAR_SUFFIX: Final = ".tar"
_INFO_BYTES_MAX: Final = 1 << 16
_PIECE_BYTES: Final = 1 << 20
#: What reading a damaged tar file raises; the last two for a size that is far too large.
_TAR_FAILURES: Final = (tarfile.TarError, OverflowError, MemoryError)


class BackupDamaged(Exception):
    """A backup that isn't what was written, or none at all."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"backup {path}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """From where a backup is."""

    cluster_id: str
    node_id: int
    #: Milliseconds of the Unix epoch by the clock of who fetched it.
    made_ms: int
    #: Of raftkv.
    version: str

    def encode(self) -> bytes:
        """Give the content of the file BACKUP."""
        fields = {"format": _FORMAT, **asdict(self)}
        return json.dumps({**fields, "checksum": _checksum(fields)}, indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, content: bytes) -> BackupInfo:
        """Read the content of the file BACKUP. Raises ValueError."""
        try:
            fields = json.loads(content)
            checksum = fields.pop("checksum")
            if checksum != _checksum(fields):
                raise ValueError("its checksum is wrong")
            if fields["format"] != _FORMAT:
                raise ValueError(f"it has format {fields['format']}, and this version knows {_FORMAT}")
            return cls(
                str(fields["cluster_id"]),
                int(fields["node_id"]),
                int(fields["made_ms"]),
                str(fields["version"]),
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(str(error) or type(error).__name__) from None


def _checksum(fields: dict[str, object]) -> str:
    return f"{zlib.crc32(json.dumps(fields, sort_keys=True).encode()):08x}"


# --- writing ------------------------------------------------------------------------------------


class BackupWriter:
    """A backup on its way to its place."""

    def __init__(self, target: Path, manifest: Manifest) -> None:
        """Begin, or go on with what is there of an earlier attempt. `target` isn't there yet.

        Raises SnapshotRefused when the disk has no room for it, StorageFailure.
        """
        self._target = target
        self._part = part_of(target)
        try:
            self._part.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageFailure(f"writing the backup {target}", error) from error
        self.incoming = IncomingSnapshot(self._part, manifest)

    def finish(self, info: BackupInfo) -> list[str]:
        """Verify everything and give the backup its name; give the names of files that must come again.

        Raises SnapshotRefused, StorageFailure.
        """
        damaged = self.incoming.finish()
        if damaged:
            return damaged
        whole = self.incoming.path
        try:
            replace_file(whole / _INFO, info.encode())
            if is_tar(self._target):
                whole = self._write_tar(whole)
            os.rename(whole, self._target)
            sync_directory(self._target.absolute().parent)
            remove_tree(self._part)
        except OSError as error:
            raise StorageFailure(f"writing the backup {self._target}", error) from error
        return []

    def _write_tar(self, whole: Path) -> Path:
        """Make the one file, with what is needed to read the rest at its beginning."""
        path = self._part / "backup.tar"
        with open(path, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for name in (_INFO, _MANIFEST):
                    tar.add(whole / name, arcname=name)
                for each in self.incoming.manifest.files:
                    tar.add(files_in(whole) / each.name, arcname=f"{_FILES}/{each.name}")
            file.flush()
            os.fsync(file.fileno())
        return path


def part_of(target: Path) -> Path:
    """Where a backup is until it is whole."""
    return target.with_name(target.name + ".part")


def is_tar(target: Path) -> bool:
    """Tell whether a backup of that name is one file."""
    return target.suffix == _TAR_SUFFIX


# --- reading ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is open."""

    path: Path
    info: BackupInfo
    manifest: Manifest
    _open: Callable[[str], IO[bytes]]

    def pieces(self, file: SnapshotFile) -> Iterator[bytes]:
        """Give a file's content, and verify it: the last piece has been given when that is done.

        Raises BackupDamaged.
        """
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        size_bytes = 0
        try:
            with self._open(f"{_FILES}/{file.name}") as source:
                while piece := source.read(_PIECE_BYTES):
                    size_bytes += len(piece)
                    if size_bytes > file.size_bytes:
                        break
                    digest.update(piece)
                    yield piece
        except (OSError, KeyError, *_TAR_FAILURES) as error:
            raise BackupDamaged(self.path, f"{file.name} can't be read: {error}") from error
        if size_bytes != file.size_bytes:
            found = f"{size_bytes} bytes" if size_bytes < file.size_bytes else "more bytes"
            raise BackupDamaged(self.path, f"{file.name} has {found}, expected {file.size_bytes}")
        if digest.digest() != file.digest:
            raise BackupDamaged(self.path, f"{file.name} has another content than was written")


@contextmanager
def opened_backup(path: Path) -> Iterator[Backup]:
    """Open a backup and read what it says of itself. Raises BackupDamaged, OSError."""
    if path.is_dir():
        yield _backup_of(path, lambda name: open(path / name, "rb"))  # noqa: SIM115 - the caller closes it
        return
    if not path.exists():
        raise BackupDamaged(path, "there is no such file or directory")
    try:
        # Not compressed: what a stranger compressed has no end that could be known before.
        tar = tarfile.open(path, "r:")  # noqa: SIM115 - it is closed below
    except _TAR_FAILURES as error:
        raise BackupDamaged(path, f"it is neither a directory nor a tar file: {error}") from error
    with tar:
        yield _backup_of(path, lambda name: _member(tar, name))


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.getmember(name)
    # A link is followed to wherever it leads, and it may lead to itself.
    member = tar.extractfile(found) if found.isreg() else None
    if member is None:
        raise KeyError(f"{name} is no file")
    return member


def _backup_of(path: Path, open_file: Callable[[str], IO[bytes]]) -> Backup:
    name = _INFO
    try:
        with open_file(_INFO) as file:
            info = BackupInfo.decode(file.read(_INFO_BYTES_MAX))
        name = _MANIFEST
        with open_file(_MANIFEST) as file:
            manifest = Manifest.decode(file.read(MANIFEST_BYTES_MAX + 1))
    except (OSError, KeyError, ValueError, ProtocolError, *_TAR_FAILURES) as error:
        raise BackupDamaged(path, f"{name} can't be read: {error}") from error
    return Backup(path, info, manifest, open_file)


def verify_backup(backup: Backup, on_bytes: OnBytes) -> list[str]:
    """Read all of a backup and give what is wrong with it."""
    faults = []
    done = 0
    for file in backup.manifest.files:
        try:
            for piece in backup.pieces(file):
                done += len(piece)
                on_bytes(done, backup.manifest.size_bytes)
        except BackupDamaged as fault:
            faults.append(fault.reason)
    return faults
