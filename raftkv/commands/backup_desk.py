"""What RAFT BACKUP asks of the node: a Protocol, and the values that go through it.

Knows nothing of how snapshots are made and read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

#: The most that one READ gives: a reply is written in one piece.
READ_BYTES_MAX: Final = 4 << 20


class BackupRefused(Exception):
    """What was asked for can't be had; nothing was done. The text says why."""


@dataclass(frozen=True, slots=True)
class OpenBackup:
    """A snapshot that is kept to be read."""

    backup_id: bytes
    #: As `storage.Manifest` encodes itself.
    manifest: bytes


class BackupDesk(Protocol):
    """Makes one snapshot at a time and gives it out in pieces; what is given calls back until it is there."""

    def begin(self) -> Callable[[], OpenBackup | BackupRefused | None]:
        """Have a snapshot made; what is given tells whether it is there. Raises BackupRefused."""

    def read(
        self, backup_id: bytes, name: str, *, offset: int, length: int
    ) -> Callable[[], bytes | BackupRefused | None]:
        """Have a range of a file read; what is given tells whether it is there. Raises BackupRefused."""

    def end(self, backup_id: bytes) -> None:
        """Let go of the snapshot. Raises BackupRefused when there is none of that id."""
