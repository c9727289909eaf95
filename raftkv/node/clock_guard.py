"""Notices clocks that go wrong: CLOCK_BOOTTIME, which leases and promises rest on, beside other clocks.

References are CLOCK_MONOTONIC_RAW, which nobody slews, and the kernel's count of its own ticks (`times`),
which libraries that fake clocks leave alone: libfaketime 0.9.10 fakes BOOTTIME, MONOTONIC and RAW alike,
all or none of them. The machine's sleep looks like a jump, since the references stand still in it.

What it can't see: a clock and its references going wrong by the same share, as in a virtual machine whose
host is wrong. `clock_drift_percent` is what leases tolerate of two nodes together, so half of it is what
this node's clock may be wrong by before its own leases are no longer trusted. Knows nothing of Raft.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from raftkv.node.clock import Clock

#: `times` counts hundredths of a second.
_COARSE_NS: Final = 15_000_000
#: What a clock may differ by from one look to the next, besides its rate: less than what a lease of the
#: default election timeout is shortened by (25 ms), and more than `times` is wrong by.
_JUMP_NS: Final = 20_000_000
#: Over which time rates are compared.
_WINDOW_NS: Final = 2_000_000_000
#: A look that took longer was interrupted, and tells nothing.
_LOOK_NS_MAX: Final = 2_000_000
#: A clock that goes back so far stops timers and deadlines for as long: the node had better start anew.
_BACK_NS_MAX: Final = 1_000_000_000
#: Looks without fault after which a clock is trusted again: ten seconds.
_CALM_LOOKS_COUNT: Final = 1000

Reference = Callable[[], int]


class ClockBroken(Exception):
    """CLOCK_BOOTTIME went back, which no working kernel lets it do. The node stops."""

    def __init__(self, back_ns: int) -> None:
        super().__init__(f"CLOCK_BOOTTIME went back by {back_ns / 1e9:.3f} s")
        self.back_ns = back_ns


class Fault(Enum):
    """What a look found."""

    JUMP = "jumped"
    RATE = "goes at another rate than the other clocks"


def raw_ns() -> int:
    """Nanoseconds that no administrator and no NTP changes the rate of."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def kernel_ticks_ns() -> int:
    """The kernel's ticks, in nanoseconds; a hundredth of a second is the least step."""
    return int(os.times().elapsed * 1e9)


class ClockGuard:
    """One process's."""

    def __init__(
        self,
        clock: Clock,
        *,
        drift_percent: int,
        references: Sequence[Reference] = (raw_ns, kernel_ticks_ns),
    ) -> None:
        self._clock = clock
        self._drift_percent = drift_percent
        self._references = references
        self._now_ns = self._window_ns = clock.now_ns()
        #: How far the clock is ahead of each reference: at the last look, and when the window began.
        self._ahead_ns = [self._now_ns - read() for read in references]
        self._window_ahead_ns = list(self._ahead_ns)
        self._calm_count = _CALM_LOOKS_COUNT
        self.faults_count = 0

    @property
    def is_trusted(self) -> bool:
        """No fault was found for a while."""
        return self._calm_count >= _CALM_LOOKS_COUNT

    def look(self) -> Fault | None:
        """Compare the clocks; about every ten milliseconds. Raises ClockBroken."""
        before_ns = self._clock.now_ns()
        if before_ns < self._now_ns - _BACK_NS_MAX:
            raise ClockBroken(self._now_ns - before_ns)
        ahead_ns = [before_ns - read() for read in self._references]
        if not 0 <= self._clock.now_ns() - before_ns <= _LOOK_NS_MAX:
            return None
        fault = self._judge(before_ns, ahead_ns)
        self._now_ns, self._ahead_ns = before_ns, ahead_ns
        if fault is None:
            self._calm_count += 1
            return None
        self._window_ns, self._window_ahead_ns = before_ns, ahead_ns
        self.faults_count += 1
        self._calm_count = 0
        return fault

    def _judge(self, now_ns: int, ahead_ns: list[int]) -> Fault | None:
        jump_ns = _JUMP_NS + self._tolerated_ns(now_ns - self._now_ns)
        if now_ns < self._now_ns or _difference(ahead_ns, self._ahead_ns) > jump_ns:
            return Fault.JUMP
        window_ns = now_ns - self._window_ns
        if window_ns < _WINDOW_NS:
            return None
        difference_ns = _difference(ahead_ns, self._window_ahead_ns)
        self._window_ns, self._window_ahead_ns = now_ns, ahead_ns
        return Fault.RATE if difference_ns > self._tolerated_ns(window_ns) + _COARSE_NS else None

    def _tolerated_ns(self, elapsed_ns: int) -> int:
        return elapsed_ns * self._drift_percent // 200


def _difference(ahead_ns: list[int], before_ns: list[int]) -> int:
    return max((abs(a - b) for a, b in zip(ahead_ns, before_ns, strict=True)), default=0)
