"""The virtual disk loses what a real one may lose, and nothing else.

Source: DESIGN.md, "Storage": the log keeps what was synced, `state/` any state since its last flush.
"""

from __future__ import annotations

import random

import pytest

from raftkv.raft.types import COMMAND, Entry, HardState
from tests.simulator.clock import DriftingClock, Timeline
from tests.simulator.disk import LogWrite, SyncWriter, VirtualLog, VirtualState


def _entry(term: int, index: int) -> Entry:
    return Entry(term, index, COMMAND, b"")


def _log_of(*writes: LogWrite) -> VirtualLog:
    log = VirtualLog(lambda _: None)
    for write in writes:
        log.append(write)
    return log


@pytest.mark.parametrize(("kept_count", "terms"), [(0, []), (1, [1, 1]), (2, [1, 2, 2]), (3, [1, 2, 2, 2])])
def test_a_crash_keeps_a_prefix_of_the_writes(kept_count: int, terms: list[int]) -> None:
    log = _log_of(
        LogWrite(HardState(1, 1), [_entry(1, 1), _entry(1, 2)]),
        LogWrite(HardState(2, 0), [_entry(2, 2), _entry(2, 3)]),
        LogWrite(None, [_entry(2, 4)]),
    )
    log.lose_unsynced(kept_count)
    assert [log.term_at(index) for index in range(1, log.last_index + 1)] == terms
    assert log.hard_state.current_term == min(kept_count, 2)


def test_what_was_synced_survives_every_crash() -> None:
    log = _log_of(LogWrite(HardState(1, 1), [_entry(1, 1)]), LogWrite(None, [_entry(1, 2)]))
    log.make_durable(1)
    log.lose_unsynced(0)
    assert (log.last_index, log.hard_state) == (1, HardState(1, 1))


def test_a_synced_entry_that_an_unsynced_write_cuts_is_not_sure() -> None:
    """A crash may leave either entry, so neither may be applied."""
    log = _log_of(LogWrite(None, [_entry(1, 1), _entry(1, 2)]))
    log.make_durable(1)
    log.append(LogWrite(None, [_entry(2, 2)]))
    assert (log.durable_last_index, log.durable_term_at(2)) == (1, 0)
    log.make_durable(2)
    assert (log.durable_last_index, log.durable_term_at(2)) == (2, 2)


def test_state_falls_back_no_further_than_to_its_last_flush() -> None:
    survived = set()
    for seed in range(50):
        state = VirtualState()
        for index in range(1, 6):
            state.apply(_entry(1, index))
            if index == 2:
                state.flush()
        state.lose_unflushed(random.Random(seed))
        survived.add(state.applied.index)
    assert survived == {2, 3, 4, 5}


def test_a_sync_reports_what_was_requested_before_it_began() -> None:
    timeline = Timeline()
    log = _log_of(LogWrite(None, [_entry(1, 1)]))
    reports: list[tuple[int, int]] = []
    writer = SyncWriter(
        timeline,
        log,
        draw_sync_ns=lambda: 10,
        on_synced=lambda ticket: reports.append((ticket, log.durable_last_index)),
    )
    writer.request(1)
    log.append(LogWrite(None, [_entry(1, 2)]))
    writer.request(2)
    log.append(LogWrite(None, [_entry(1, 3)]))
    writer.request(3)
    timeline.advance()
    timeline.advance()
    assert reports == [(1, 1), (3, 3)]


def test_a_clock_drifts_by_its_share_and_never_jumps() -> None:
    timeline = Timeline()
    clock = DriftingClock(timeline, offset_ns=7, drift_ppm=-25_000)
    timeline.now_ns = 1_000_000
    assert clock.now_ns() == 7 + 975_000
    clock.set_drift(25_000)
    assert clock.now_ns() == 7 + 975_000
    timeline.now_ns = 2_000_000
    assert clock.now_ns() == 7 + 975_000 + 1_025_000
