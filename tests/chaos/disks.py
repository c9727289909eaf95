"""A small disk for a node: a tmpfs, which is full as soon as it is made as small as what is on it.

So a disk is filled without writing anything, at once, down to the last page. An fsync costs nothing here
(`slow_disks` makes it cost something), and all is lost with the machine, which none of these runs stops.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_BYTES = 2 << 30
#: Tries to make a disk as small as what is on it, while a node writes to it.
_TRIES = 50


class SmallDisk:
    """The disk at a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: Nothing more can be written, or little.
        self.is_full = False

    def open(self) -> None:
        """Make it; the directory must not exist yet."""
        self._path.mkdir(parents=True)
        _mount("-t", "tmpfs", "-o", f"size={_BYTES}", "none", str(self._path))

    def fill(self, *, spare_bytes: int) -> None:
        """Leave so much."""
        for _ in range(_TRIES):
            try:
                self._resize(shutil.disk_usage(self._path).used + spare_bytes)
            except RuntimeError:  # more was written meanwhile
                continue
            self.is_full = True
            return
        raise AssertionError(f"{self._path} can't be filled: it grows too fast")

    def free(self) -> None:
        """Make it as large again as it was."""
        self._resize(_BYTES)
        self.is_full = False

    def copy(self, directory: Path, *, bytes_max: int) -> None:
        """Copy what is on it, unless that is too much."""
        if shutil.disk_usage(self._path).used <= bytes_max:
            shutil.copytree(self._path, directory)

    def close(self) -> None:
        """End it, with all that is on it."""
        subprocess.run(["umount", str(self._path)], capture_output=True, check=False)

    def _resize(self, size_bytes: int) -> None:
        _mount("-o", f"remount,size={size_bytes}", str(self._path))


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
