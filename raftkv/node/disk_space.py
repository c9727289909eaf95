"""How much room the disk under the data directory has left, and whether that is too little to take writes.

Only looks when it is told to, about once a second: never for a command. What follows from too little is
`fitness`' business.

The floor is `disk_free_min`, but no more than a tenth of the disk, so that small disks can be used at all.
It leaves room for what was proposed before it was reached, for flushes and for compactions. Writes are
taken again only with a quarter more than the floor: at the edge they would be refused and taken by turns.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from raftkv.config import Config
from raftkv.storage.errors import StorageFailure

#: Share of the disk that the floor is at most: 1 / 10.
_DISK_SHARE: Final = 10


@dataclass(slots=True)
class Room:
    """One look at a disk."""

    free_bytes: int
    disk_bytes: int


def room_of(path: Path) -> Room:
    """Look at the file system that holds `path`; what is kept for the superuser is not free.

    Raises StorageFailure.
    """
    try:
        found = os.statvfs(path)
    except OSError as error:
        raise StorageFailure("looking at the disk's free space", error) from error
    return Room(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


class DiskSpace:
    """The room on one node's disk."""

    def __init__(self, look: Callable[[], Room], config: Config) -> None:
        self._look = look
        #: Replaced as a whole when a setting changes.
        self.config = config
        self.free_bytes = self.floor_bytes = 0
        self.is_short = False
        self.sample()

    def sample(self) -> None:
        """Look at the disk."""
        room = self._look()
        self.free_bytes = room.free_bytes
        self.floor_bytes = min(self.config.disk_free_min, room.disk_bytes // _DISK_SHARE)
        enough_bytes = self.floor_bytes + (self.floor_bytes // 4 if self.is_short else 0)
        self.is_short = room.free_bytes < enough_bytes
