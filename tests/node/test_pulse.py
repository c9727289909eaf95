"""Lateness of the tick, and rates."""

from __future__ import annotations

from raftkv.node.pulse import LoopLag, Rates, Totals

MS = 1_000_000
SECOND = 1000 * MS


def tick(lag: LoopLag, *, due_ns: int, late_ns: int) -> None:
    """A tick that was asked for 10 ms before it was due."""
    lag.await_next(due_ns - 10 * MS)
    assert lag.on_tick(due_ns + late_ns) == max(0, late_ns)


def test_lateness_is_worst_since_the_start_and_of_late() -> None:
    """Contract of LoopLag: "recent" is the last whole interval of ten seconds and the running one."""
    lag = LoopLag(tick_ns=10 * MS, now_ns=0)
    tick(lag, due_ns=1 * SECOND, late_ns=70 * MS)
    tick(lag, due_ns=2 * SECOND, late_ns=-1)
    assert (lag.latest_ns, lag.worst_ns, lag.recent_worst_ns) == (0, 70 * MS, 70 * MS)
    tick(lag, due_ns=11 * SECOND, late_ns=3 * MS)
    assert lag.recent_worst_ns == 70 * MS
    tick(lag, due_ns=22 * SECOND, late_ns=1 * MS)
    assert (lag.worst_ns, lag.recent_worst_ns) == (70 * MS, 3 * MS)
    lag.reset()
    assert (lag.worst_ns, lag.recent_worst_ns) == (0, 0)
    tick(lag, due_ns=23 * SECOND, late_ns=2 * MS)
    assert (lag.worst_ns, lag.recent_worst_ns) == (2 * MS, 2 * MS)


def test_the_work_of_a_tick_makes_the_next_one_no_later() -> None:
    """Contract of LoopLag: it is asked for once the work is done."""
    lag = LoopLag(tick_ns=10 * MS, now_ns=0)
    lag.await_next(500 * MS)
    assert lag.on_tick(510 * MS) == 0


def test_rates_are_those_between_two_samples() -> None:
    """redis instantaneous_ops_per_sec."""
    rates = Rates(now_ns=0)
    rates.sample(SECOND, Totals(commands_count=1000, input_bytes=2000, output_bytes=10))
    assert rates.per_second == Totals(1000, 2000, 10)
    rates.sample(3 * SECOND, Totals(commands_count=1100, input_bytes=2000, output_bytes=110))
    assert rates.per_second == Totals(50, 0, 50)
