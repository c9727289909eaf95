"""Log time: entries' time never goes back and never stands still."""

from __future__ import annotations

import random

from raftkv.node.clock import Clock, LogClock
from tests.node.driven_parts import START_MS, DrivenClock


def test_log_time_is_the_wall_clocks_while_that_is_ahead() -> None:
    """DESIGN.md: an entry's time is max(wall clock, previous entry's time + time elapsed)."""
    clock = DrivenClock()
    log_clock = LogClock(clock, 0)
    assert log_clock.now_ms() == clock.wall_ms()
    clock.wall_offset_ms += 10_000
    assert log_clock.now_ms() == clock.wall_ms()


def test_log_time_goes_on_from_an_entry_of_the_future() -> None:
    """A leader whose wall clock was ahead is followed: the time that has elapsed is added."""
    clock = DrivenClock()
    log_clock = LogClock(clock, 0)
    log_clock.observe(clock.wall_ms() + 60_000)
    seen_ms = log_clock.now_ms()
    clock.advance(250)
    assert log_clock.now_ms() == seen_ms + 250


def test_log_time_starts_from_what_the_state_has() -> None:
    """After a restart with a wall clock that was set back."""
    clock = DrivenClock()
    log_clock = LogClock(clock, START_MS + 1_000_000)
    clock.advance(5)
    assert log_clock.now_ms() == START_MS + 1_000_005


def test_an_entry_of_the_past_changes_nothing() -> None:
    """Followers observe entries late."""
    clock = DrivenClock()
    log_clock = LogClock(clock, 0)
    log_clock.observe(clock.wall_ms() - 5)
    assert log_clock.now_ms() == clock.wall_ms()


def test_log_time_never_goes_back_and_never_stands_still() -> None:
    """LogClock's invariant, whatever the wall clock does; a reading counts though no entry carried it."""
    draw = random.Random(7)
    clock = DrivenClock()
    log_clock = LogClock(clock, 0)
    last_ms = log_clock.now_ms()
    for _ in range(2000):
        elapsed_ms = draw.choice((0, 0.4, 1, 3, 50))
        clock.advance(elapsed_ms)
        clock.wall_offset_ms += draw.choice((0, 0, 0, -5000, 4000, -1, 1))
        if draw.random() < 0.3:
            log_clock.observe(last_ms + draw.randint(-1000, 100))
        now_ms = log_clock.now_ms()
        assert now_ms >= last_ms + int(elapsed_ms)
        last_ms = now_ms


def test_the_machines_clocks_are_read() -> None:
    """CLOCK_BOOTTIME and the wall clock."""
    clock = Clock()
    before_ns = clock.now_ns()
    assert clock.now_ns() >= before_ns
    assert clock.wall_ms() > 1_600_000_000_000
