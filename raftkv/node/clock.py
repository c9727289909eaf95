"""The only readings of time that a node takes, and the time that entries carry.

Lease arithmetic uses CLOCK_BOOTTIME: it goes on counting while the machine sleeps, and no
administrator sets it.
"""

from __future__ import annotations

import time
from functools import partial


class Clock:
    """This machine's clocks."""

    #: Nanoseconds since boot, sleep included; never goes back. Not a method: it is asked several times per
    #: request, and a frame of Python is two thirds of what one would cost.
    now_ns = staticmethod(partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME))

    def wall_ms(self) -> int:
        """Milliseconds since the epoch; may jump either way."""
        return time.time_ns() // 1_000_000

    def wall_us(self) -> int:
        """Microseconds since the epoch; may jump either way."""
        return time.time_ns() // 1000


class LogClock:
    """Entry time: max(wall clock, the newest entry's or reading's time + what has elapsed since).

    Invariant: readings never go back and, while no entry comes, never stand still, whatever the
    wall clock does. Only this time expires a key.
    """

    __slots__ = ("_clock", "_seen_ms", "_seen_ns")

    def __init__(self, clock: Clock, log_time_ms: int) -> None:
        self._clock = clock
        self._seen_ms = log_time_ms
        self._seen_ns = clock.now_ns()

    def observe(self, time_ms: int) -> None:
        """Take note of an entry's time, the own proposals' included."""
        now_ns = self._clock.now_ns()
        if time_ms > self._seen_ms + (now_ns - self._seen_ns) // 1_000_000:
            self._seen_ms = time_ms
            self._seen_ns = now_ns

    def now_ms(self) -> int:
        """The time that an entry made now carries, in milliseconds since the epoch."""
        now_ns = self._clock.now_ns()
        wall_ms = self._clock.wall_ms()
        log_ms = self._seen_ms + (now_ns - self._seen_ns) // 1_000_000
        if wall_ms <= log_ms:
            return log_ms
        self._seen_ms = wall_ms
        self._seen_ns = now_ns
        return wall_ms
