"""Tells whether this node's disk hangs: an fsync of the log that takes longer than `disk_stall_ms`.

The fsyncs run on a thread of their own; this only sees them begin and end. Knows nothing of Raft: what a
hanging disk means is `fitness`' business.

Invariant: only time that the event loop lived through counts. A process that was stopped, or a machine that
slept, in the middle of an fsync has not seen it hang.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Final

from raftkv.config import Config
from raftkv.node.clock import Clock

#: Ticks further apart than this count as so far apart.
_TICK_NS_MAX: Final = 50_000_000
#: Seconds between two looks at a delay that may be lifted meanwhile.
_DELAY_LOOK_SECONDS: Final = 0.01


class DiskWatch:
    """Watches the fsyncs of one process's log."""

    def __init__(self, clock: Clock, config: Config) -> None:
        self._clock = clock
        #: Replaced as a whole when a setting changes.
        self.config = config
        #: Written by the thread that syncs, read by the loop's.
        self._begun_count = self._ended_count = 0
        self._ticked_ns = clock.now_ns()
        #: The fsync that the last tick saw under way, and for how long it has been.
        self._seen_count = 0
        self._under_way_ns = 0
        #: How long no fsync has been under way for too long.
        self._calm_ns = 0
        self.is_stalled = False
        #: How often the disk began to hang, since the start.
        self.stalls_count = 0

    def watched(self, sync: Callable[[], None]) -> Callable[[], None]:
        """The same work for the thread that syncs, watched, and delayed if a test says so."""

        def watched() -> None:
            self.begin()
            self._delay()
            sync()
            self.end()

        return watched

    def begin(self) -> None:
        """An fsync begins; on the thread that syncs."""
        self._begun_count += 1

    def end(self) -> None:
        """It has ended; on the same thread."""
        self._ended_count = self._begun_count

    def on_tick(self, now_ns: int) -> None:
        """Look whether an fsync hangs, or has not for as long as one may take."""
        elapsed_ns = min(max(0, now_ns - self._ticked_ns), _TICK_NS_MAX)
        self._ticked_ns = now_ns
        begun_count = self._begun_count
        if begun_count == self._ended_count or begun_count != self._seen_count:
            self._under_way_ns = 0
        else:
            self._under_way_ns += elapsed_ns
        self._seen_count = begun_count
        limit_ns = self.config.disk_stall_ms * 1_000_000
        if 0 < limit_ns <= self._under_way_ns:
            self._calm_ns = 0
            self.stalls_count += not self.is_stalled
            self.is_stalled = True
        elif self.is_stalled and self._under_way_ns <= limit_ns // 4:
            # An fsync that took so long is often followed by another one.
            self._calm_ns += elapsed_ns
            self.is_stalled = self._calm_ns < limit_ns

    def _delay(self) -> None:
        """Take the time that `debug_sync_delay_ms` says, as it is now."""
        began_ns = self._clock.now_ns()
        while self._clock.now_ns() - began_ns < self.config.debug_sync_delay_ms * 1_000_000:
            select.select((), (), (), _DELAY_LOOK_SECONDS)
