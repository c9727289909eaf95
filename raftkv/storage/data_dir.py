"""A node's directory: whose it is, which format it has, and that one process uses it.

    LOCK        locked by the process that uses the directory; holds its process id
    FORMAT      "raftkv <version of this layout>"
    IDENTITY    JSON: the node, the members and the founding of their cluster
    log/        the Raft log (`log_store`)
    state/      the rows (`kv_store`)

Knows nothing of what is in the databases, and of how a cluster is founded: it keeps what it is given.

Invariants:
* A directory that is refused is left as it was.
* A crash at any moment leaves FORMAT and IDENTITY whole, old or new.
* IDENTITY is saved before log/ or state/ is made: a directory with data and without identity has lost it.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from raftkv.storage.durable_file import replace_file, sync_directory
from raftkv.storage.errors import DataDirRefused, StorageFailure

FORMAT_VERSION = 2
_FORMAT_NAME = "raftkv"
#: What a crash while the directory was being made can leave behind.
_LEFTOVERS = frozenset({"LOCK", "FORMAT.new"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a node is, and what its directory knows of the founding of its cluster."""

    node_id: int
    #: (node id, "host:peer port") of every member, by id.
    members: tuple[tuple[int, str], ...]
    #: Drawn when the directory was made: tells it from one that was emptied.
    nonce: bytes
    #: (node id, nonce) of every member, by id, once this directory has agreed to them; else empty.
    agreed: tuple[tuple[int, bytes], ...] = ()
    #: None: no cluster is formed yet. Invariant: never changes once it is set.
    cluster_id: bytes | None = None


class DataDir:
    """An open, locked directory."""

    def __init__(self, path: Path, node_id: int, lock: int, identity: Identity | None) -> None:
        """Take over what `open` found; not for others."""
        self.path = path
        self._node_id = node_id
        self._lock = lock
        self._identity = identity

    @classmethod
    def open(cls, path: Path, node_id: int) -> DataDir:
        """Lock the directory of a node, after making it where there is none.

        Raises DataDirRefused when it is in use, another node's, of a newer format, damaged, or no
        directory of raftkv's at all; StorageFailure when it can't be read or written.
        """
        try:
            if not path.is_dir():
                _make_directory(path)
            _check_format_is_known(path)
            lock = _lock(path)
            try:
                return cls(path, node_id, lock, _open_locked(path, node_id))
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise StorageFailure(f"opening the data directory {path}", error) from error

    @property
    def log_path(self) -> Path:
        """Where the Raft log is, or will be once an identity was saved."""
        return self.path / "log"

    @property
    def state_path(self) -> Path:
        """Where the rows are, or will be once an identity was saved."""
        return self.path / "state"

    @property
    def identity(self) -> Identity | None:
        """What was saved last; None in a new directory."""
        return self._identity

    def save_identity(self, identity: Identity) -> None:
        """Make the identity durable before returning. Raises StorageFailure: it is the old or the new."""
        known = self._identity
        assert identity.node_id == self._node_id, (
            f"node {identity.node_id} in node {self._node_id}'s directory"
        )
        assert known is None or known.nonce == identity.nonce, "a directory keeps its nonce"
        assert known is None or known.cluster_id in (None, identity.cluster_id), (
            "a directory keeps its cluster"
        )
        try:
            replace_file(self.path / "IDENTITY", _encode_identity(identity))
        except OSError as error:
            raise StorageFailure(f"saving {self.path / 'IDENTITY'}", error) from error
        self._identity = identity

    def close(self) -> None:
        """Let another process use the directory."""
        os.close(self._lock)


def _make_directory(path: Path) -> None:
    if path.exists():
        raise DataDirRefused(path, "it is a file, and a directory was expected")
    path.mkdir(parents=True)
    sync_directory(path.parent)


def _check_format_is_known(path: Path) -> None:
    """Refuse a directory of someone else's before anything is put into it."""
    file = path / "FORMAT"
    if file.exists():
        found = file.read_bytes().decode(errors="replace").strip()
        name, _, version = found.partition(" ")
        if name != _FORMAT_NAME or not version.isdecimal() or not version.isascii():
            raise DataDirRefused(
                path, f"FORMAT says {found[:80]!r}, expected '{_FORMAT_NAME} {FORMAT_VERSION}'"
            )
        if int(version) != FORMAT_VERSION:
            raise DataDirRefused(
                path,
                f"it has format {int(version)}, and this version of raftkv knows format {FORMAT_VERSION};"
                f" run the version that wrote it",
            )
        return
    foreign = sorted(entry.name for entry in path.iterdir() if entry.name not in _LEFTOVERS)
    if foreign:
        raise DataDirRefused(
            path,
            f"it holds {foreign[0]!r} but no FORMAT file; expected a directory of raftkv's or an empty one",
        )


def _lock(path: Path) -> int:
    """Lock the directory for as long as the descriptor is open."""
    descriptor = os.open(path / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise DataDirRefused(path, f"it is in use by the process {holder}; expected it to be free") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _open_locked(path: Path, node_id: int) -> Identity | None:
    """Finish a new directory, or read whose it is."""
    if not (path / "FORMAT").exists():
        replace_file(path / "FORMAT", f"{_FORMAT_NAME} {FORMAT_VERSION}\n".encode())
    file = path / "IDENTITY"
    if not file.exists():
        data = [name for name in ("log", "state") if (path / name).exists()]
        if data:
            raise DataDirRefused(
                path,
                f"it holds {data[0]}/ but no IDENTITY file; expected the one of node {node_id}: put it back",
            )
        return None
    identity = _decode_identity(file.read_bytes(), path)
    if identity.node_id != node_id:
        raise DataDirRefused(path, f"it belongs to node {identity.node_id}, expected node {node_id}'s")
    return identity


def _encode_identity(identity: Identity) -> bytes:
    fields = {
        "node_id": identity.node_id,
        "members": [[node_id, address] for node_id, address in identity.members],
        "nonce": identity.nonce.hex(),
        "agreed": [[node_id, nonce.hex()] for node_id, nonce in identity.agreed],
        "cluster_id": None if identity.cluster_id is None else identity.cluster_id.hex(),
    }
    return json.dumps({**fields, "checksum": _checksum(fields)}, indent=1).encode() + b"\n"


def _decode_identity(content: bytes, path: Path) -> Identity:
    """Read an identity. Raises DataDirRefused."""
    try:
        fields = json.loads(content)
        checksum = fields.pop("checksum")
        identity = Identity(
            node_id=int(fields["node_id"]),
            members=tuple((int(node_id), str(address)) for node_id, address in fields["members"]),
            nonce=bytes.fromhex(fields["nonce"]),
            agreed=tuple((int(node_id), bytes.fromhex(nonce)) for node_id, nonce in fields["agreed"]),
            cluster_id=None if fields["cluster_id"] is None else bytes.fromhex(fields["cluster_id"]),
        )
        expected = _checksum(fields)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataDirRefused(
            path, f"its IDENTITY file is damaged: {error or type(error).__name__}"
        ) from error
    if checksum != expected:
        raise DataDirRefused(path, f"its IDENTITY file has the checksum {checksum!r}, expected {expected!r}")
    return identity


def _checksum(fields: object) -> str:
    return f"{zlib.crc32(json.dumps(fields, sort_keys=True).encode()):08x}"
