"""Virtual time: the queue of what happens when, and the clocks that nodes read.

Knows nothing of nodes or of Raft. Two events of the same moment happen in the order in which they were
scheduled.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000

_PPM = 1_000_000


class Timeline:
    """True time, which no node can see, and what is due to happen."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._scheduled_count = 0

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        """Let `action` happen at `time_ns`, or now when that is past."""
        self._scheduled_count += 1
        heapq.heappush(self._events, (max(time_ns, self.now_ns), self._scheduled_count, action))

    def after(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Let `action` happen `delay_ns` from now."""
        self.at(self.now_ns + delay_ns, action)

    def advance(self) -> None:
        """Go on to the next event and let it happen."""
        self.now_ns, _, action = heapq.heappop(self._events)
        action()

    def next_event_ns(self) -> int:
        """When the next event is due."""
        return self._events[0][0]


class DriftingClock:
    """One node's clock: never stops, goes wrong by a constant share until the share is changed."""

    def __init__(self, timeline: Timeline, *, offset_ns: int, drift_ppm: int) -> None:
        self._timeline = timeline
        self._own_at_base_ns = offset_ns
        self._true_at_base_ns = timeline.now_ns
        self._drift_ppm = drift_ppm

    def now_ns(self) -> int:
        """Read the clock."""
        true_ns = self._timeline.now_ns - self._true_at_base_ns
        return self._own_at_base_ns + true_ns * (_PPM + self._drift_ppm) // _PPM

    def set_drift(self, drift_ppm: int) -> None:
        """Go on from the present reading at another speed."""
        self._own_at_base_ns = self.now_ns()
        self._true_at_base_ns = self._timeline.now_ns
        self._drift_ppm = drift_ppm
