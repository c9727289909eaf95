"""Refuses to compare a system that syncs every write before it answers with one that does not.

Two proofs are asked of each: what its running processes say of their settings, and that a write which is
alone takes at least as long as the fastest sync of this disk. The second catches a setting that is not kept
(and a library that swallows syncs), on disks where a sync takes longer than a request.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from benchmarks.systems.system import System
from tests.integration.waiting import wait_until

_SYNCS = 50
_WRITES = 30
_BLOCK_BYTES = 4096


class NotDurable(Exception):
    """A system answers writes that are not on its disk."""


def prove(system: System, directory: Path) -> str:
    """Return both proofs in words. The system must be awake, `directory` on its disk. Raises NotDurable."""
    promise = system.prove_durable()
    floor = fastest_sync_seconds(directory)
    alone = median_write_seconds(system)
    figures = f"one write alone {alone * 1e6:,.0f} us, fastest sync of this disk {floor * 1e6:,.0f} us"
    if alone < floor:
        raise NotDurable(f"{system.name}: {figures}: it can't have synced it")
    return f"{promise}; {figures}"


def fastest_sync_seconds(directory: Path) -> float:
    """Overwrite one block of a file again and again, the cheapest that can be synced; return the shortest."""
    path = directory / "sync-probe"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.write(descriptor, bytes(_BLOCK_BYTES))
        os.fsync(descriptor)
        return min(_synced_write_seconds(descriptor) for _ in range(_SYNCS))
    finally:
        os.close(descriptor)
        path.unlink()


def median_write_seconds(system: System) -> float:
    """Return how long a write takes while nothing else is going on."""
    leader, *_ = system.members().values()
    write = leader.writer()

    def seconds() -> float | None:
        begin = time.perf_counter()
        return time.perf_counter() - begin if write() else None

    found = (wait_until(seconds, f"{system.name} acknowledges a write") for _ in range(_WRITES))
    return statistics.median(each for each in found if each is not None)


def _synced_write_seconds(descriptor: int) -> float:
    os.pwrite(descriptor, os.urandom(_BLOCK_BYTES), 0)
    begin = time.perf_counter()
    os.fdatasync(descriptor)
    return time.perf_counter() - begin
