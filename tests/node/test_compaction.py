"""Which entries are dropped from the log, and when.

Source: DESIGN.md, "Storage": entries up to what is durable in the state may go, keeping a tail.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from raftkv.config import Config
from raftkv.node.compaction import Compactor


@dataclass
class Log:
    """A log of entries of 100 bytes."""

    first_index: int = 1
    last_index: int = 0
    compactions: list[int] = field(default_factory=list)

    @property
    def appended_bytes(self) -> int:
        return 100 * self.last_index

    def compact(self, to_index: int) -> None:
        assert self.first_index <= to_index <= self.last_index
        self.compactions.append(to_index)
        self.first_index = to_index + 1


class Group:
    """A log with its state and its snapshots."""

    def __init__(self) -> None:
        self.log = Log()
        self.durable_index = 0
        self.needed_index: int | None = None
        self.compactor = Compactor(
            self.log,
            config=Config(log_tail_bytes=1 << 10),
            durable_index=lambda: self.durable_index,
            needed_index=lambda: self.needed_index,
        )

    def flush_at(self, last_index: int, *, durable_index: int | None = None) -> list[int]:
        """Let the log grow, then a flush end; give what was dropped by it."""
        self.log.last_index = last_index
        self.durable_index = last_index if durable_index is None else durable_index
        self.log.compactions.clear()
        self.compactor.on_flushed()
        return self.log.compactions


def test_a_tail_of_bytes_stays_in_the_log() -> None:
    """Config.log_tail_bytes, from one flush to another: what a flush covers goes once so much was written."""
    group = Group()
    assert group.flush_at(5) == []
    assert group.flush_at(10) == []
    assert group.flush_at(16) == [5]
    assert group.flush_at(30) == [16]
    assert group.flush_at(31) == []
    assert group.flush_at(60) == [31]


def test_flushes_of_a_log_that_does_not_grow_are_not_remembered() -> None:
    """SAVE, again and again on an idle node, takes no memory."""
    group = Group()
    for _ in range(100):
        assert group.flush_at(5) == []
    assert len(group.compactor._marks) == 1
    assert group.flush_at(16) == [5]


def test_only_what_is_durable_in_the_state_is_dropped() -> None:
    """A crash would need the rest."""
    group = Group()
    group.flush_at(20, durable_index=4)
    assert group.flush_at(40, durable_index=4) == [4]
    assert group.flush_at(60, durable_index=50) == [40]


def test_what_follows_a_snapshot_on_its_way_is_kept() -> None:
    """Whoever has received it goes on from there."""
    group = Group()
    group.flush_at(20)
    group.needed_index = 12
    assert group.flush_at(40) == [12]
    assert group.flush_at(60) == []
    group.needed_index = None
    assert group.flush_at(80) == [60]


def test_all_that_is_durable_goes_when_asked_for() -> None:
    """RAFT COMPACT."""
    group = Group()
    group.flush_at(5)
    assert group.compactor.drop_all() == 6
    group.durable_index, group.log.last_index = 8, 9
    assert group.compactor.drop_all() == 9
    assert group.log.compactions == [5, 8]


def test_a_larger_tail_takes_hold_at_the_next_flush() -> None:
    """CONFIG SET log-tail-bytes."""
    group = Group()
    group.flush_at(20)
    group.compactor.config = Config(log_tail_bytes=1 << 20)
    assert group.flush_at(60) == []
