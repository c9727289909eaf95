"""Clocks that jump, go back, or go at a wrong rate, beside a reference that is right."""

from __future__ import annotations

import pytest

from raftkv.node.clock import Clock
from raftkv.node.clock_guard import ClockBroken, ClockGuard, Fault, kernel_ticks_ns, raw_ns
from tests.node.driven_parts import NS_PER_MS, DrivenClock


class Guarded:
    """A clock of which the test decides how wrong it goes."""

    def __init__(self, drift_percent: int = 5) -> None:
        self.clock = DrivenClock()
        self.guard = ClockGuard(
            self.clock, drift_percent=drift_percent, references=[lambda: self.clock.reference_ns]
        )

    def run(self, seconds: float, *, rate: float = 1.0) -> set[Fault]:
        """Let time pass with a look at every tenth millisecond; give what was found."""
        faults: set[Fault] = set()
        for _ in range(int(seconds * 100)):
            self.clock.advance(10)
            self.clock.ns += int((rate - 1) * 10 * NS_PER_MS)
            fault = self.guard.look()
            if fault is not None:
                faults.add(fault)
        return faults


def test_a_clock_that_goes_right_is_trusted() -> None:
    """Nor does it matter that looks are far apart: a process may be stopped."""
    clocks = Guarded()
    assert clocks.run(10) == set()
    clocks.clock.advance(3_600_000)
    assert clocks.run(10) == set()
    assert clocks.guard.is_trusted


@pytest.mark.parametrize("jump_ms", [25, 60_000, -15, -25, -900])
def test_a_jump_is_noticed_at_the_next_look(jump_ms: int) -> None:
    """Either way; and the machine's sleep looks like one."""
    clocks = Guarded()
    clocks.run(1)
    clocks.clock.ns += jump_ms * NS_PER_MS
    assert clocks.guard.look() is Fault.JUMP
    assert not clocks.guard.is_trusted


@pytest.mark.parametrize("rate", [1.05, 0.95, 2.0, 0.5])
def test_a_wrong_rate_is_noticed(rate: float) -> None:
    """More than half of what two nodes together may differ by."""
    assert Guarded().run(5, rate=rate) == {Fault.RATE}


@pytest.mark.parametrize("rate", [1.0005, 0.9995, 1.02, 0.98])
def test_a_rate_within_the_tolerance_is_none_of_its_business(rate: float) -> None:
    """clock_drift_percent 5; NTP slews by half a thousandth at most."""
    assert Guarded().run(30, rate=rate) == set()


def test_slewing_is_tolerated_without_any_drift_allowed() -> None:
    """clock_drift_percent 0: what can't be measured can't be refused."""
    assert Guarded(0).run(30, rate=1.0005) == set()


def test_a_clock_is_trusted_again_after_a_while() -> None:
    """Ten seconds without fault."""
    clocks = Guarded()
    clocks.clock.ns += 100 * NS_PER_MS
    clocks.run(9.9)
    assert not clocks.guard.is_trusted
    clocks.run(0.2)
    assert clocks.guard.is_trusted
    assert clocks.guard.faults_count == 1


def test_a_clock_that_goes_far_back_ends_the_node() -> None:
    """Every timer and deadline would stand still for as long."""
    clocks = Guarded()
    clocks.run(1)
    clocks.clock.ns -= 2_000 * NS_PER_MS
    with pytest.raises(ClockBroken):
        clocks.guard.look()


def test_an_interrupted_look_tells_nothing() -> None:
    """The process was stopped between its readings."""
    clocks = Guarded()
    clocks.run(1)
    right_ns = clocks.clock.now_ns

    def stopped_ns() -> int:
        now_ns = right_ns()
        clocks.clock.advance(500)
        return now_ns

    clocks.clock.now_ns = stopped_ns  # type: ignore[method-assign]
    assert clocks.guard.look() is None
    clocks.clock.now_ns = right_ns  # type: ignore[method-assign]
    assert clocks.run(5) == set()


def test_the_real_clocks_agree() -> None:
    """On any machine that can run a node."""
    guard = ClockGuard(Clock(), drift_percent=5)
    assert [guard.look() for _ in range(100)] == [None] * 100
    assert raw_ns() > 0
    assert kernel_ticks_ns() > 0
