"""What is made durable, gets its name or goes, in order: what a loss of power undoes can be read off it.

A process that is killed loses nothing that it wrote, so a missing fsync shows in no other test. What RocksDB
syncs by itself isn't seen, but for what is asked of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raftkv.storage import KvStore, LogStore


@contextmanager
def recorded(folder: Path) -> Iterator[list[str]]:
    """Give the calls as they are made, as "fsync data/STATE.new"; paths are told from `folder` on."""
    calls: list[str] = []

    def shown(path: object) -> str:
        return os.path.relpath(str(path), folder)

    def recording(owner: object, name: str, text_of: Callable[..., str]) -> Callable[[], None]:
        real = getattr(owner, name)

        def call(*args: object, **named: object) -> object:
            if not named:  # else it is one of those by which a whole tree is removed
                calls.append(text_of(*args))
            return real(*args, **named)

        setattr(owner, name, call)
        return lambda: setattr(owner, name, real)

    undo = [
        recording(os, "fsync", lambda file: f"fsync {shown(os.readlink(f'/proc/self/fd/{file}'))}"),
        recording(os, "rename", lambda source, target: f"rename {shown(source)} {shown(target)}"),
        recording(os, "replace", lambda source, target: f"replace {shown(source)} {shown(target)}"),
        recording(os, "unlink", lambda path: f"unlink {shown(path)}"),
        recording(LogStore, "sync", lambda _: "LogStore.sync"),
        recording(KvStore, "flush", lambda _: "KvStore.flush"),
    ]
    try:
        yield calls
    finally:
        for each in undo:
            each()


def replaced(path: str) -> list[str]:
    """The calls of a `replace_file`."""
    folder = os.path.dirname(path) or "."
    return [f"fsync {path}.new", f"replace {path}.new {path}", f"fsync {folder}"]
