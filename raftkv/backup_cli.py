"""`raftkv backup` and `raftkv restore`: fetches a backup from a running node, verifies one, restores one.

Knows how it is asked for and shown; what a backup is on the disk is `storage.backups`' business.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Any, Final

from raftkv import __version__
from raftkv.backup_client import ConnectionBroken, NodeClient, RequestRefused
from raftkv.config import Config
from raftkv.inspect_cli import time_text
from raftkv.raft import ProtocolError
from raftkv.status import PasswordRefused, Place, StatusUnavailable
from raftkv.storage import Manifest
from raftkv.storage.backups import (
    BackupInfo,
    BackupWriter,
    OnBytes,
    opened_backup,
    part_of,
    verify_backup,
)
from raftkv.storage.restore import restore

_CHUNK_BYTES: Final = 1 << 20
#: Attempts to go on over a new connection, and the seconds between two.
_RECONNECTS_MAX: Final = 5
_RECONNECT_SECONDS: Final = 1.0
#: Times that files may come damaged.
_DAMAGED_ROUNDS_MAX: Final = 3


class BackupFailed(Exception):
    """No backup was made; what has come is kept."""


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """Whom to ask, and where to put it."""

    node: Place
    target: Path
    password: str = ""


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a node keeps for us."""

    backup_id: bytes
    manifest: Manifest
    cluster_id: str
    node_id: int


def run_backup(request: BackupRequest) -> int:
    """Fetch a backup; give the exit code.

    Raises BackupFailed, StatusUnavailable, StorageFailure, SnapshotRefused.
    """
    target = request.target
    if target.exists():
        raise BackupFailed(f"{target} is there already: a backup is never written over")
    if not target.absolute().parent.is_dir():
        raise BackupFailed(f"there is no directory {target.absolute().parent}")
    download = _Download(request.node, _password_that_works(request))
    begun = download.begin()
    try:
        with byte_bar(f"backup of node {begun.node_id}") as on_bytes:
            download.fetch(BackupWriter(target, begun.manifest), on_bytes)
    except (BackupFailed, StatusUnavailable):
        sys.stderr.write(f"raftkv: what has come is in {part_of(target)}; the same command goes on with it\n")
        raise
    finally:
        download.end()
    manifest = begun.manifest
    sys.stdout.write(
        f"{target}: the state after entry {manifest.index} of term {manifest.term}"
        f" ({time_text(manifest.log_time_ms)}), {manifest.size_bytes} bytes, from node {begun.node_id}"
        f" of cluster {begun.cluster_id}\n"
    )
    return 0


def run_verify(path: Path) -> int:
    """Verify a backup and say what is in it; give the exit code. Raises BackupDamaged, OSError."""
    with opened_backup(path) as backup:
        with byte_bar("verifying") as on_bytes:
            faults = verify_backup(backup, on_bytes)
        info, manifest = backup.info, backup.manifest
    sys.stdout.write(
        f"backup {path}: the state after entry {manifest.index} of term {manifest.term}"
        f" ({time_text(manifest.log_time_ms)}), {manifest.size_bytes} bytes\n"
        f"made {time_text(info.made_ms)} from node {info.node_id} of cluster {info.cluster_id},"
        f" by raftkv {info.version}\n"
    )
    for fault in faults:
        sys.stdout.write(f"DAMAGED: {fault}\n")
    if not faults:
        sys.stdout.write("nothing is wrong\n")
    return 1 if faults else 0


def run_restore(path: Path, config: Config) -> int:
    """Make the directory of a founder of a new cluster of a backup; give the exit code.

    Raises BackupDamaged, DataDirRefused, StorageFailure, OSError.
    """
    members = tuple((member.node_id, member.peer_address) for member in config.members)
    with opened_backup(path) as backup, byte_bar("restoring") as on_bytes:
        restore(backup, Path(config.data_dir), config.node_id, members, on_bytes)
        manifest = backup.manifest
    names = ", ".join(str(node_id) for node_id, _ in members)
    sys.stdout.write(
        f"{config.data_dir}: node {config.node_id} of a new cluster of nodes {names}, with the state after"
        f" entry {manifest.index} ({time_text(manifest.log_time_ms)})\n"
        + ("restore the same backup on each of them, then start them\n" if len(members) > 1 else "start it\n")
    )
    return 0


def _password_that_works(request: BackupRequest) -> str:
    """Ask at the terminal, if there is one, for a password that turns out to miss; as `passwords` does."""
    try:
        client = NodeClient(request.node, password=request.password)
        try:
            client.ask("PING")
        finally:
            client.close()
    except PasswordRefused:
        if request.password or not sys.stdin.isatty():
            raise
        return getpass(f"Password of {request.node}: ")
    except RequestRefused as refusal:
        raise StatusUnavailable(str(request.node), f"says {refusal}") from None
    return request.password


def _begun_of(reply: Any) -> _Begun:
    backup_id, manifest, cluster_id, node_id = reply
    return _Begun(bytes(backup_id), Manifest.decode(manifest), cluster_id.decode(), int(node_id))


class _Download:
    """The way to one node, with as many connections one after the other as it takes."""

    def __init__(self, node: Place, password: str) -> None:
        self._node = node
        self._password = password
        self._client = NodeClient(node, password=password)
        self._backup_id = b""

    def begin(self) -> _Begun:
        """Have the node keep a state for us. Raises BackupFailed, StatusUnavailable."""
        try:
            reply = self._client.wait_for("RAFT", "BACKUP", "BEGIN")
        except RequestRefused as refusal:
            raise BackupFailed(f"{self._node} says {refusal}") from None
        try:
            begun = _begun_of(reply)
        except (TypeError, ValueError, AttributeError, ProtocolError) as error:
            raise BackupFailed(f"{self._node} gave no backup: {error}") from None
        self._backup_id = begun.backup_id
        self._info = BackupInfo(begun.cluster_id, begun.node_id, time.time_ns() // 1_000_000, __version__)
        return begun

    def fetch(self, writer: BackupWriter, on_bytes: OnBytes) -> None:
        """Fetch what is missing until the backup is whole. Raises BackupFailed, StatusUnavailable."""
        incoming = writer.incoming
        total = incoming.manifest.size_bytes
        for _ in range(_DAMAGED_ROUNDS_MAX):
            for missing in incoming.missing():
                offset = missing.offset
                end = missing.offset + missing.length
                while offset < end:
                    data = self._read(missing.name, offset, min(_CHUNK_BYTES, end - offset))
                    incoming.write(missing.name, offset, data)
                    offset += len(data)
                    on_bytes(total - incoming.missing_bytes, total)
            damaged = writer.finish(self._info)
            if not damaged:
                return
            sys.stderr.write(f"raftkv: {', '.join(damaged)} came damaged, once more\n")
        raise BackupFailed(f"files come damaged from {self._node} again and again")

    def end(self) -> None:
        """Let the node remove it; one that can't be told removes it by itself."""
        with contextlib.suppress(StatusUnavailable, RequestRefused):
            self._client.ask("RAFT", "BACKUP", "END", self._backup_id)
        self._client.close()

    def _read(self, name: str, offset: int, length: int) -> bytes:
        data = self._retried(
            lambda: self._client.ask("RAFT", "BACKUP", "READ", self._backup_id, name, offset, length)
        )
        if not isinstance(data, bytes) or len(data) != length:
            raise BackupFailed(f"{self._node} gave no {length} bytes of {name}")
        return data

    def _retried(self, ask: Callable[[], object]) -> object:
        """Ask, over another connection when this one breaks. Raises BackupFailed, ConnectionBroken."""
        for attempt in range(_RECONNECTS_MAX + 1):
            try:
                if attempt:
                    time.sleep(_RECONNECT_SECONDS)
                    self._client = NodeClient(self._node, password=self._password)
                return ask()
            except RequestRefused as refusal:
                raise BackupFailed(f"{self._node} says {refusal}") from None
            except ConnectionBroken as failure:
                broken = failure
        raise broken


@contextlib.contextmanager
def byte_bar(what: str) -> Iterator[OnBytes]:
    """Show on the terminal how many bytes are done; without a terminal nothing."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn(what), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
