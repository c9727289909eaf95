"""What is done to a Raft log is what it says: the log as the node's own code reads it tells."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from raftkv.storage.errors import LogCorrupted
from tests.chaos import logs
from tests.storage.test_log_damage import ENTRY_COUNT, copy, entries_of, expected, killed_log

__all__ = ["copy", "killed_log"]
_SEEDS = range(5)


@pytest.mark.parametrize("seed", _SEEDS)
def test_torn_end_is_dropped_and_nothing_before_it(copy: Path, seed: int) -> None:
    """A crash tears what nobody was told is durable."""
    log = logs.newest_log(copy.parent)
    assert logs.tear(log, random.Random(seed)) > 0
    assert entries_of(copy) == expected(ENTRY_COUNT)


@pytest.mark.parametrize("seed", _SEEDS)
def test_flipped_bit_is_noticed(copy: Path, seed: int) -> None:
    """DESIGN: a checksum failure inside what was acknowledged: the node says why."""
    assert logs.flip_bit(logs.newest_log(copy.parent), random.Random(seed)) is not None
    with pytest.raises(LogCorrupted):
        entries_of(copy)


def test_end_that_is_torn_already_is_not_torn_again(copy: Path) -> None:
    """Bytes behind a torn record would be damage."""
    log = logs.newest_log(copy.parent)
    assert logs.tear(log, random.Random(1)) > 0
    assert logs.tear(log, random.Random(1)) == 0
