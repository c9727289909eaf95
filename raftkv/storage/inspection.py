"""Looks over the data directory of a stopped node, changing nothing in it, and reports what is wrong.

Puts together what `log_inspection` and `state_inspection` say with the directory's own files, and compares
them. Knows nothing of how a report is shown.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from raftkv.applied import AppliedState
from raftkv.storage.data_dir import Identity, check_format_is_known, decode_identity
from raftkv.storage.errors import DataDirRefused, LogCorrupted
from raftkv.storage.findings import Finding, Findings, OnProgress
from raftkv.storage.incoming import files_in, manifest_in
from raftkv.storage.installs import INCOMING, SNAPSHOTS, check_states
from raftkv.storage.log_inspection import LogSummary, inspect_log
from raftkv.storage.settle import settle_log_with_state
from raftkv.storage.state_inspection import inspect_applied, inspect_rows
from raftkv.storage.state_pointer import StatePointer, read_pointer


@dataclass(slots=True)
class Report:
    """What an inspection found."""

    path: Path
    identity: Identity | None = None
    pointer: StatePointer = field(default_factory=StatePointer)
    #: None: not there yet, or too damaged to say.
    log: LogSummary | None = None
    applied: AppliedState | None = None
    #: By place; None: the rows were not read.
    keys: dict[int, int] | None = None
    #: What is worth knowing and no damage.
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


@contextmanager
def unused(path: Path) -> Iterator[None]:
    """Keep nodes from using a directory, without changing it. Raises DataDirRefused when one does, OSError.

    A copy that has no LOCK file isn't kept from anybody.
    """
    if not path.is_dir():
        raise DataDirRefused(path, "there is no such directory")
    try:
        descriptor = os.open(path / "LOCK", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise DataDirRefused(path, f"it is in use by the process {holder}; stop the node first") from None
    try:
        yield
    finally:
        os.close(descriptor)


def read_identity(path: Path) -> Identity | None:
    """Give the identity in a directory, whoever's; None: it has none. Raises DataDirRefused, OSError."""
    file = path / "IDENTITY"
    return decode_identity(file.read_bytes(), path) if file.exists() else None


def inspect_quickly(path: Path, on_progress: OnProgress) -> Report:
    """Inspect all but the rows of an `unused` directory. Raises OSError."""
    return _Inspection(path, on_progress).run()


def inspect_fully(path: Path, on_progress: OnProgress) -> Report:
    """Inspect everything in an `unused` directory. Raises OSError."""
    inspection = _Inspection(path, on_progress)
    report = inspection.run()
    if report.applied is not None:
        inspection.read_rows()
    return report


class _Inspection:
    """One look at a directory."""

    def __init__(self, path: Path, on_progress: OnProgress) -> None:
        self._path = path
        self._on_progress = on_progress
        self._findings = Findings()
        self._report = Report(path)

    def run(self) -> Report:
        report = self._report
        if self._look_at_files() and not self._is_empty():
            report.log = inspect_log(self._path / "log", self._findings, self._on_progress)
            report.applied = inspect_applied(self._state_path, self._findings)
            self._compare()
            self._look_at_incoming()
        report.findings = self._findings.all()
        return report

    def read_rows(self) -> None:
        self._report.keys = inspect_rows(self._state_path, self._findings, self._on_progress)
        self._report.findings = self._findings.all()

    @property
    def _state_path(self) -> Path:
        return self._path / self._report.pointer.directory

    def _look_at_files(self) -> bool:
        """Read FORMAT, IDENTITY and STATE; False: what else is there can't be judged."""
        report, path = self._report, self._path
        part = "FORMAT"
        try:
            check_format_is_known(path)
            if not (path / "FORMAT").exists():
                raise DataDirRefused(path, "it is empty")
            part = "IDENTITY"
            report.identity = read_identity(path)
            part = "STATE"
            report.pointer = read_pointer(path)
            check_states(path, report.pointer)
        except DataDirRefused as refusal:
            self._findings.add(part, refusal.reason)
            # Without an identity the data can be judged all the same.
            if part == "IDENTITY":
                report.pointer = self._pointer_at_least()
                return True
            return False
        if report.identity is None and (path / "log").exists():
            self._findings.add("IDENTITY", "it is missing")
        return True

    def _pointer_at_least(self) -> StatePointer:
        try:
            return read_pointer(self._path)
        except DataDirRefused as refusal:
            self._findings.add("STATE", refusal.reason)
            return StatePointer()

    def _is_empty(self) -> bool:
        """Whether nothing was ever stored here."""
        identity = self._report.identity
        if identity is None or identity.cluster_id is not None:
            return not (self._path / "log").exists() and identity is None
        self._report.notes.append("its cluster is not formed yet")
        # A node makes the log, then the state; a restore has made both.
        has_both = all((path / "CURRENT").exists() for path in (self._path / "log", self._state_path))
        return not identity.restored and not has_both

    def _compare(self) -> None:
        """Compare the log with what the state has applied."""
        log, applied = self._report.log, self._report.applied
        if log is None or applied is None:
            return
        try:
            settle_log_with_state(log, applied, self._report.pointer.installed)
        except LogCorrupted as fault:
            self._findings.add("log", fault.detail)
        if log.is_reset:
            self._report.notes.append("a snapshot's installing was cut off; the next start ends it")

    def _look_at_incoming(self) -> None:
        """What has come of snapshots harms nobody: it is verified before it is used."""
        directory = self._path / INCOMING
        for received in sorted(directory.iterdir()) if directory.is_dir() else ():
            manifest = manifest_in(received)
            if manifest is None or manifest.snapshot_id.hex() != received.name:
                self._report.notes.append(
                    f"{INCOMING}/{received.name} is of no use; the next start removes it"
                )
                continue
            files = files_in(received)
            come = sum(file.stat().st_size for file in files.iterdir()) if files.is_dir() else 0
            self._report.notes.append(
                f"{come} of {manifest.size_bytes} bytes of a snapshot up to entry {manifest.index} have come"
            )
        if (self._path / SNAPSHOTS).is_dir() and any((self._path / SNAPSHOTS).iterdir()):
            self._report.notes.append(f"{SNAPSHOTS}/ holds a snapshot for others; the next start removes it")
