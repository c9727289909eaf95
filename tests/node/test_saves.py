"""Flushes that are asked for."""

from __future__ import annotations

from collections.abc import Callable

from raftkv.commands.session import SaveStatus
from raftkv.node.saves import Saves
from tests.node.driven_parts import START_MS, DrivenClock


def test_a_flush_is_done_when_it_has_ended() -> None:
    """redis LASTSAVE, INFO persistence."""
    clock, waiting = DrivenClock(), list[Callable[[], None]]()
    saves = Saves(waiting.append, clock)
    started_s = START_MS // 1000 + 1
    assert saves.status() == SaveStatus(last_time_s=started_s)
    is_done = saves.begin()
    clock.advance(3000)
    assert not is_done()
    assert saves.status() == SaveStatus(last_time_s=started_s, under_way_s=3)
    clock.advance(2000)
    waiting.pop(0)()
    assert is_done()
    assert saves.status() == SaveStatus(last_time_s=started_s + 5, count=1, last_took_s=5)


def test_one_that_waits_for_another_ends_after_it() -> None:
    """redis BGSAVE SCHEDULE: who asked later is done later."""
    clock, waiting = DrivenClock(), list[Callable[[], None]]()
    saves = Saves(waiting.append, clock)
    first, second = saves.begin(), saves.begin()
    waiting.pop(0)()
    assert (first(), second()) == (True, False)
    clock.advance(2000)
    assert saves.status().under_way_s == 2
    waiting.pop(0)()
    assert second()
    assert saves.status().last_took_s == 2
