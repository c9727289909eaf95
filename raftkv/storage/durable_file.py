"""Files whose content is either the old or the new one after a crash, never a mixture.

Directories are made as durably. Knows nothing of what is in them.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`, durably and in one step. Raises OSError; `path` is then the old or the new.

    Who may read and write it stays as it was, from the first byte on.
    """
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        if path.exists():
            os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Make a directory, with those above it that are missing, durably. Raises OSError."""
    if not path.parent.is_dir():
        make_directory(path.parent)
    path.mkdir(exist_ok=True)  # another node may be making it as well
    sync_directory(path.parent)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable; its name is its directory's. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it, or a file; fine if it isn't there. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
