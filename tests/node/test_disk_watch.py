"""Fsyncs that hang, as a thread would begin and end them."""

from __future__ import annotations

from raftkv.config import Config
from raftkv.node.disk_watch import DiskWatch
from tests.node.driven_parts import DrivenClock


class Watched:
    """A watch whose fsyncs begin and end when the test says so."""

    def __init__(self, stall_ms: int = 500) -> None:
        self.clock = DrivenClock()
        self.watch = DiskWatch(self.clock, Config(disk_stall_ms=stall_ms))

    def begin(self) -> None:
        """Begin an fsync."""
        self.watch.begin()

    def end(self) -> None:
        """End it."""
        self.watch.end()

    def run(self, ms: int) -> bool:
        """Let time pass with a tick at every tenth millisecond; say whether the disk hangs."""
        for _ in range(ms // 10):
            self.clock.advance(10)
            self.watch.on_tick(self.clock.ns)
        return self.watch.is_stalled


def test_an_fsync_that_takes_too_long_is_a_stall() -> None:
    """disk_stall_ms"""
    disk = Watched()
    disk.begin()
    assert not disk.run(500)
    assert disk.run(20)
    assert disk.watch.stalls_count == 1
    assert disk.run(5_000)
    assert disk.watch.stalls_count == 1


def test_many_short_fsyncs_are_none() -> None:
    """Each counts by itself."""
    disk = Watched()
    for _ in range(10):
        disk.begin()
        assert not disk.run(400)
        disk.end()
    assert not disk.run(1_000)


def test_a_stall_is_over_after_a_calm_time() -> None:
    """Not as soon as the fsync ends: the next one is likely to hang as well."""
    disk = Watched()
    disk.begin()
    disk.run(600)
    disk.end()
    assert disk.run(490)
    assert not disk.run(20)


def test_a_disk_that_hangs_again_stays_stalled() -> None:
    """As one does whose every fsync takes too long."""
    disk = Watched()
    for _ in range(5):
        disk.begin()
        disk.run(800)
        assert disk.watch.is_stalled
        disk.end()
        assert disk.run(100)
    assert disk.watch.stalls_count == 1


def test_a_process_that_stood_still_saw_nothing_hang() -> None:
    """SIGSTOP, or a machine that slept, in the middle of an fsync."""
    disk = Watched()
    disk.begin()
    disk.run(100)
    disk.clock.advance(3_600_000)
    assert not disk.run(300)


def test_it_can_be_turned_off() -> None:
    """disk_stall_ms 0"""
    disk = Watched(0)
    disk.begin()
    assert not disk.run(60_000)


def test_watched_work_is_done_between_its_begin_and_its_end() -> None:
    """What the thread that syncs runs."""
    watch = DiskWatch(DrivenClock(), Config())
    seen: list[tuple[int, int]] = []
    work = watch.watched(lambda: seen.append((watch._begun_count, watch._ended_count)))
    work()
    work()
    assert seen == [(1, 0), (2, 1)]
    assert watch._ended_count == 2
