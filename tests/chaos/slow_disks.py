"""Disks that take long to sync: each node's, by as much as stands in a file of its own at that moment.

The delay is put between RocksDB and the C library (`benchmarks.slow_sync`). Should nodes get a setting for
it, this is the one place to set it instead.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import slow_sync
from benchmarks.workload import Unsupported
from tests.chaos.dials import Dials


class SlowDisks:
    """How long syncs take on all nodes."""

    def __init__(self, directory: Path) -> None:
        """`directory` is for the files."""
        self._dials = Dials(directory, "sync-delay")
        self._library: Path | None = None
        #: Why no disk can be slowed down; "" if it can.
        self.reason_against = ""
        try:
            self._library = slow_sync.built(directory)
        except Unsupported as unsupported:
            self.reason_against = str(unsupported)

    def environment(self, node_id: int) -> dict[str, str]:
        """Return what to set for a node's process; its disk is as fast as it is at first."""
        self.slow(node_id, delay_ms=0.0)
        return {"LD_PRELOAD": str(self._library), "SYNC_DELAY_FILE": str(self._dials.path(node_id))}

    def slow(self, node_id: int, *, delay_ms: float) -> None:
        """Let every further sync of a node take so much longer."""
        self._dials.turn(node_id, f"{delay_ms:.3f}")
