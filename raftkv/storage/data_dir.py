"""A node's directory: whose it is, which format it has, and that one process uses it.

    LOCK        locked by the process that uses the directory; holds its process id
    FORMAT      "raftkv <version of this layout>"
    IDENTITY    JSON: the node, the members and the founding of their cluster
    log/        the Raft log (`log_store`)
    state/      the rows (`kv_store`), until a snapshot is installed
    state-<n>/  the rows since the n-th snapshot was installed
    STATE       which of these counts (`state_pointer`)
    incoming/   what has come of a snapshot (`incoming`)
    RESTORING   there while a backup is being restored into it (`restore`)
    snapshots/  what this process made (`snapshots`)

Knows nothing of what is in the databases, and of how a cluster is founded: it keeps what it is given.

Invariants:
* A directory that is refused is left as it was.
* A crash at any moment leaves FORMAT, IDENTITY and STATE whole, old or new.
* IDENTITY is saved before any of the directories is made: data without an identity have lost it.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from raftkv.raft.types import EntryId
from raftkv.storage.durable_file import make_directory, remove_tree, replace_file, sync_directory
from raftkv.storage.errors import DataDirRefused, StorageFailure
from raftkv.storage.incoming import IncomingSnapshot
from raftkv.storage.installs import INCOMING, SNAPSHOTS, check_states, clean_up, install, remove_old_states
from raftkv.storage.state_pointer import POINTER_FILE, is_state_name, read_pointer

FORMAT_VERSION = 3
_FORMAT_NAME = "raftkv"
#: Instead of a node id: it joins a cluster, which has yet to give it one.
NO_ID = 0
#: What a crash while the directory was being made can leave behind.
_LEFTOVERS = frozenset({"LOCK", "FORMAT.new", "lost+found"})
#: What a directory without a node can have; the last one is a file system's own.
_EMPTY = frozenset({"LOCK", "FORMAT", "FORMAT.new", "RESTORING.new", "lost+found"})
#: There from the beginning of a restore to its end.
RESTORING = "RESTORING"
#: What a directory without an identity can't have; states belong here too.
_DATA = frozenset({"log", INCOMING, SNAPSHOTS, POINTER_FILE})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a node is, and what its directory knows of the founding of its cluster."""

    #: NO_ID: it has yet to be given one.
    node_id: int
    #: (node id, "host:peer port") of every founder, by id; of all members at the time, if this one joined.
    members: tuple[tuple[int, str], ...]
    #: Drawn when the directory was made: tells it from one that was emptied.
    nonce: bytes
    #: (node id, nonce) of every member, by id, once this directory has agreed to them; else empty.
    agreed: tuple[tuple[int, bytes], ...] = ()
    #: None: no cluster is formed yet. Invariant: once it is set it changes by `found_anew` alone.
    cluster_id: bytes | None = None
    #: The snapshot that the state was restored from before the cluster was formed; empty: it began with none.
    #: Invariant: never changes.
    restored: bytes = b""


class DataDir:
    """An open, locked directory."""

    def __init__(self, path: Path, node_id: int | None, lock: int) -> None:
        """Read a directory that `open` has locked; not for others. Raises OSError, DataDirRefused."""
        self.path = path
        self._node_id = node_id
        self._lock = lock
        self._identity = _open_locked(path, node_id)
        self._pointer = read_pointer(path)
        check_states(path, self._pointer)
        clean_up(path, self._pointer)

    @classmethod
    def open(cls, path: Path, node_id: int | None) -> DataDir:
        """Lock the directory of a node, after making it where there is none, and clear it of leftovers.

        None: whichever node's it is; it may be one that has no id yet.

        Raises DataDirRefused when it is in use, another node's, of a newer format, damaged, or no
        directory of raftkv's at all; StorageFailure when it can't be read or written.
        """
        try:
            if not path.is_dir():
                _make_directory(path)
            check_format_is_known(path)
            lock = _lock(path)
            try:
                return cls(path, node_id, lock)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise StorageFailure(f"opening the data directory {path}", error) from error

    @classmethod
    def begin_restore(cls, path: Path, node_id: int) -> DataDir:
        """Lock a directory that is empty, or was being restored into, and empty it; `end_restore` ends that.

        Until then nobody else can `open` it. Raises DataDirRefused, StorageFailure.
        """
        try:
            if not path.is_dir():
                _make_directory(path)
            _check_may_be_restored_into(path)
            lock = _lock(path)
            try:
                _check_may_be_restored_into(path)  # again: who had the lock may have put something there
                replace_file(path / RESTORING, b"")
                for name in os.listdir(path):
                    if name not in ("LOCK", RESTORING, "lost+found"):
                        remove_tree(path / name)
                return cls(path, node_id, lock)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise StorageFailure(f"restoring into the data directory {path}", error) from error

    def end_restore(self) -> None:
        """Let nodes use the directory, durably. Raises StorageFailure."""
        try:
            (self.path / RESTORING).unlink()
            sync_directory(self.path)
        except OSError as error:
            raise StorageFailure(f"restoring into the data directory {self.path}", error) from error

    @property
    def log_path(self) -> Path:
        """Where the Raft log is, or will be once an identity was saved."""
        return self.path / "log"

    @property
    def state_path(self) -> Path:
        """Where the rows are, or will be once an identity was saved: what was installed last."""
        return self.path / self._pointer.directory

    @property
    def installed(self) -> EntryId | None:
        """The last entry of the snapshot that the state was installed from; None: it grew here."""
        return self._pointer.installed

    @property
    def snapshots_path(self) -> Path:
        """Where this process makes snapshots; emptied at the next `open`."""
        return self.path / SNAPSHOTS

    @property
    def incoming_path(self) -> Path:
        """Where snapshots arrive."""
        return self.path / INCOMING

    @property
    def identity(self) -> Identity | None:
        """What was saved last; None in a new directory."""
        return self._identity

    def save_identity(self, identity: Identity) -> None:
        """Make the identity durable before returning. Raises StorageFailure: it is the old or the new."""
        known = self._identity
        assert self._node_id is None or identity.node_id == self._node_id, (
            f"node {identity.node_id} in node {self._node_id}'s directory"
        )
        assert known is None or known.node_id in (NO_ID, identity.node_id), "a directory keeps its node"
        assert known is None or known.nonce == identity.nonce, "a directory keeps its nonce"
        assert known is None or known.cluster_id in (None, identity.cluster_id), (
            "a directory keeps its cluster"
        )
        self._save(identity)

    def _save(self, identity: Identity) -> None:
        try:
            if self._identity is None:  # who made the directory may have been killed before this
                sync_directory(self.path.parent)
            replace_file(self.path / "IDENTITY", _encode_identity(identity))
        except OSError as error:
            raise StorageFailure(f"saving {self.path / 'IDENTITY'}", error) from error
        self._identity = identity

    def found_anew(self, cluster_id: bytes) -> None:
        """Belong to another cluster from now on, which this node begins alone; the one exception.

        Durable before returning. Raises StorageFailure: it is the old or the new.
        """
        known = self._identity
        assert known is not None, "there is a node"
        assert known.cluster_id not in (None, cluster_id), "it leaves a cluster for a new one"
        members = tuple(pair for pair in known.members if pair[0] == known.node_id)
        self._save(replace(known, members=members, agreed=(), cluster_id=cluster_id))

    def install_state(self, incoming: IncomingSnapshot) -> None:
        """Make a snapshot that is finished the state, durably; `state_path` and `installed` tell it then.

        What is open of the old state goes on to be the old state. For a thread. Raises StorageFailure:
        after a restart it is the old or the new state.
        """
        try:
            self._pointer = install(self.path, self._pointer, incoming)
        except OSError as error:
            raise StorageFailure(f"installing a snapshot in {self.path}", error) from error

    def remove_old_states(self) -> None:
        """Delete the states before the one that counts, which are closed by now; for a thread.

        What is left by a crash goes at the next `open`. Raises StorageFailure.
        """
        try:
            remove_old_states(self.path, self._pointer)
        except OSError as error:
            raise StorageFailure(f"removing the old state in {self.path}", error) from error

    def close(self) -> None:
        """Let another process use the directory."""
        os.close(self._lock)


def _make_directory(path: Path) -> None:
    if path.exists():
        raise DataDirRefused(path, "it is a file, and a directory was expected")
    make_directory(path)


def check_format_is_known(path: Path) -> None:
    """Refuse a directory of someone else's before anything is put into it. Raises OSError, DataDirRefused."""
    if (path / RESTORING).exists():
        raise DataDirRefused(
            path, "restoring a backup into it has not ended: run `raftkv restore` again, or empty it"
        )
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


def _check_may_be_restored_into(path: Path) -> None:
    """Refuse to restore over anything but what a restore left that was cut off."""
    if (path / RESTORING).exists():
        return
    held = sorted(entry.name for entry in path.iterdir() if entry.name not in _EMPTY)
    if held:
        raise DataDirRefused(path, f"it holds {held[0]!r}; a backup is restored into an empty directory only")


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


def _open_locked(path: Path, node_id: int | None) -> Identity | None:
    """Finish a new directory, or read whose it is."""
    if not (path / "FORMAT").exists():
        replace_file(path / "FORMAT", f"{_FORMAT_NAME} {FORMAT_VERSION}\n".encode())
    file = path / "IDENTITY"
    if not file.exists():
        data = [name for name in os.listdir(path) if name in _DATA or is_state_name(name)]
        if data:
            raise DataDirRefused(
                path,
                f"it holds {min(data)} but no IDENTITY file; expected the one of node {node_id or 'any'}:"
                " put it back",
                is_damage=True,
            )
        return None
    identity = decode_identity(file.read_bytes(), path)
    if node_id is not None and identity.node_id == NO_ID:
        raise DataDirRefused(path, "its node was to join a cluster and has no id yet; set `join` again")
    if node_id not in (None, identity.node_id):
        raise DataDirRefused(path, f"it belongs to node {identity.node_id}, expected node {node_id}'s")
    return identity


def _encode_identity(identity: Identity) -> bytes:
    fields = {
        "node_id": identity.node_id,
        "members": [[node_id, address] for node_id, address in identity.members],
        "nonce": identity.nonce.hex(),
        "agreed": [[node_id, nonce.hex()] for node_id, nonce in identity.agreed],
        "cluster_id": None if identity.cluster_id is None else identity.cluster_id.hex(),
        "restored": identity.restored.hex(),
    }
    return json.dumps({**fields, "checksum": _checksum(fields)}, indent=1).encode() + b"\n"


def decode_identity(content: bytes, path: Path) -> Identity:
    """Read the content of a directory's IDENTITY file. Raises DataDirRefused."""
    try:
        fields = json.loads(content)
        checksum = fields.pop("checksum")
        identity = Identity(
            node_id=int(fields["node_id"]),
            members=tuple((int(node_id), str(address)) for node_id, address in fields["members"]),
            nonce=bytes.fromhex(fields["nonce"]),
            agreed=tuple((int(node_id), bytes.fromhex(nonce)) for node_id, nonce in fields["agreed"]),
            cluster_id=None if fields["cluster_id"] is None else bytes.fromhex(fields["cluster_id"]),
            restored=bytes.fromhex(fields.get("restored", "")),
        )
        expected = _checksum(fields)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataDirRefused(
            path, f"its IDENTITY file is damaged: {error or type(error).__name__}", is_damage=True
        ) from error
    if checksum != expected:
        raise DataDirRefused(
            path,
            f"its IDENTITY file has the checksum {checksum!r}, expected {expected!r}",
            is_damage=True,
        )
    return identity


def _checksum(fields: object) -> str:
    return f"{zlib.crc32(json.dumps(fields, sort_keys=True).encode()):08x}"
