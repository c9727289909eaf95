"""Entries dropped from the front of the Raft log: what stays known, what is refused, what the disk keeps."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest

from raftkv.raft.types import Compacted, EntryId, HardState
from raftkv.storage import LogCorrupted, LogStore, log_store
from tests.storage.test_log_files import sizes_of
from tests.storage.test_log_store import GROUP, change_rows, entry, entry_key, row_of, write_log

BOUNDARY_KEY = GROUP.to_bytes(4, "big") + b"\x02"
BUFFER_BYTES = 1 << 20


def compacted_log(path: Path, *, count: int, to_index: int) -> None:
    """Make a log of `count` entries of term 2, drop those up to `to_index`, and close it."""
    write_log(path, [entry(index, term=2) for index in range(1, count + 1)])
    store = LogStore(path, create=False)
    store.group(GROUP).compact(to_index)
    store.close()


@pytest.mark.parametrize("is_reopened", [False, True])
@pytest.mark.parametrize("dropped", [4, 300])
def test_read_below_the_first_entry_is_compacted(tmp_path: Path, dropped: int, is_reopened: bool) -> None:
    """Contract of LogReader: what is gone is told by an exception with the first index that is left."""
    write_log(tmp_path, [entry(index, term=2) for index in range(1, dropped + 7)])
    store = LogStore(tmp_path, create=False)
    store.group(GROUP).compact(dropped)
    if is_reopened:
        store.close()
        store = LogStore(tmp_path, create=False)
    group = store.group(GROUP)
    assert (group.first_index, group.last_index) == (dropped + 1, dropped + 6)
    for refused in (
        lambda: group.read(dropped, dropped + 2, 1),
        lambda: group.term_at(dropped - 1),
        lambda: group.term_at(0),
    ):
        with pytest.raises(Compacted) as compacted:
            refused()
        assert compacted.value.first_index == dropped + 1
    assert group.term_at(dropped) == 2, "the consistency check of the next entry needs it (Raft §7)"
    assert group.boundary == EntryId(2, dropped)
    assert len(group.read(dropped + 1, dropped + 7, 1 << 30)) == 6
    store.close()


def test_log_of_which_all_was_dropped_goes_on_behind_it(tmp_path: Path) -> None:
    """Invariant: an empty log ends at its boundary."""
    compacted_log(tmp_path, count=10, to_index=10)
    store = LogStore(tmp_path, create=False)
    group = store.group(GROUP)
    assert (group.first_index, group.last_index, group.term_at(10)) == (11, 10, 2)
    with pytest.raises(AssertionError, match="after term"):
        group.append(None, [entry(11, term=1)])
    group.append(None, [entry(11, term=3)])
    assert (group.read(11, 12, 1), group.term_at(11)) == ([entry(11, term=3)], 3)
    store.close()


def test_reset_keeps_the_hard_state_and_nothing_else(tmp_path: Path) -> None:
    """Raft Figure 13, receiver step 7: the entire log is discarded, the vote is not."""
    write_log(tmp_path, [entry(index, term=2) for index in range(1, 400)])
    store = LogStore(tmp_path, create=False)
    store.group(GROUP).append(HardState(7, 3), [])
    store.group(GROUP).reset(EntryId(5, 1000))
    store.close()
    store = LogStore(tmp_path, create=False)
    group = store.group(GROUP)
    assert (group.boundary, group.first_index, group.last_index) == (EntryId(5, 1000), 1001, 1000)
    assert group.hard_state == HardState(7, 3)
    assert group.term_at(1000) == 5
    store.close()


def test_compaction_of_what_is_gone_is_no_news(tmp_path: Path) -> None:
    """Two reasons to compact may come in any order."""
    compacted_log(tmp_path, count=10, to_index=6)
    store = LogStore(tmp_path, create=False)
    group = store.group(GROUP)
    for to_index in (0, 3, 6):
        group.compact(to_index)
        assert group.boundary == EntryId(2, 6)
    store.close()


def test_compaction_beyond_the_end_and_reset_below_the_boundary_are_bugs(tmp_path: Path) -> None:
    """Either would make a log out of nothing."""
    compacted_log(tmp_path, count=10, to_index=6)
    store = LogStore(tmp_path, create=False)
    group = store.group(GROUP)
    with pytest.raises(AssertionError, match="the last entry is 10"):
        group.compact(11)
    with pytest.raises(AssertionError, match="below what was dropped"):
        group.reset(EntryId(9, 5))
    assert (group.boundary, group.last_index) == (EntryId(2, 6), 10)
    store.close()


def test_groups_are_compacted_one_by_one(tmp_path: Path) -> None:
    """DESIGN: a process may host several groups; each has its own log."""
    store = LogStore(tmp_path, create=True)
    for group_id in range(3):
        store.group(group_id).append(None, [entry(index) for index in range(1, 601)])
    store.group(1).compact(500)
    store.group(2).reset(EntryId(4, 900))
    store.close()
    store = LogStore(tmp_path, create=False)
    assert [store.group(group_id).first_index for group_id in range(3)] == [1, 501, 901]
    assert [len(store.group(group_id).read(501, 601, 1 << 30)) for group_id in range(2)] == [100, 100]
    store.close()


@pytest.mark.parametrize(
    ("damage", "index"),
    [
        ("boundary gone", 1),
        ("boundary damaged", None),
        ("boundary short", None),
        ("first entry gone", 7),
        ("dropped entry back", 6),
        ("term below the boundary's", 7),
    ],
)
def test_front_that_disagrees_with_the_boundary_is_refused(
    tmp_path: Path, damage: str, index: int | None
) -> None:
    """DESIGN: a node whose log is damaged refuses to vote and says why."""
    compacted_log(tmp_path / "log", count=10, to_index=6)
    write_log(tmp_path / "other", [entry(at, term=1) for at in range(1, 8)])
    old_row, low_row = (row_of(tmp_path / "other", entry_key(at)) for at in (6, 7))
    changes: dict[str, dict[bytes, bytes | None]] = {
        "boundary gone": {BOUNDARY_KEY: None},
        "boundary damaged": {BOUNDARY_KEY: bytes(20)},
        "boundary short": {BOUNDARY_KEY: b""},
        "first entry gone": {entry_key(7): None},
        "dropped entry back": {entry_key(6): old_row},
        "term below the boundary's": {entry_key(7): low_row},
    }
    change_rows(tmp_path / "log", changes[damage])
    store = LogStore(tmp_path / "log", create=False)
    with pytest.raises(LogCorrupted, match="must not vote") as corrupted:
        store.group(GROUP)
    assert corrupted.value.index == index
    store.close()


def test_space_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundred buffers' worth goes through a log that keeps an eighth of one; files stay few."""
    monkeypatch.setattr(log_store, "WRITE_BUFFER_BYTES", BUFFER_BYTES)
    store = LogStore(tmp_path, create=True)
    log = store.group(0)
    entry_bytes = BUFFER_BYTES // 1024
    for first in range(1, 102_400, 512):
        log.append(None, [entry(index, payload=bytes(entry_bytes)) for index in range(first, first + 512)])
        log.compact(first + 511 - 128)
    # RocksDB deletes files on a thread of its own, which cannot be waited for in another way.
    deadline = time.monotonic() + 30
    while sum(sizes_of(tmp_path)) > 4 * (BUFFER_BYTES + 512 * entry_bytes) or store.size_bytes() > 20 << 20:
        assert time.monotonic() < deadline, f"{store.size_bytes()} bytes stay"
        time.sleep(0.01)
    assert len(log.read(log.first_index, log.last_index + 1, 1 << 30)) == 128
    store.close()


def test_reclaimed_space_comes_back_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LogStore.reclaim: not when RocksDB finds the time; what is kept stays, also after a restart."""
    monkeypatch.setattr(log_store, "WRITE_BUFFER_BYTES", BUFFER_BYTES)
    store = LogStore(tmp_path, create=True)
    log = store.group(GROUP)
    random = Random(1)
    for first in range(1, 3_001, 100):
        log.append(
            None, [entry(index, payload=random.randbytes(1024)) for index in range(first, first + 100)]
        )
    assert table_bytes(tmp_path) > 1 << 20
    log.compact(2_990)
    store.reclaim()
    store.reclaim()
    deadline = time.monotonic() + 30
    while table_bytes(tmp_path) > 64 << 10:  # deleted on a thread of RocksDB's
        assert time.monotonic() < deadline, f"{table_bytes(tmp_path)} bytes stay"
        time.sleep(0.01)
    kept = log.read(2_991, 3_001, 1 << 30)
    store.close()
    store = LogStore(tmp_path, create=False)
    assert store.group(GROUP).read(2_991, 3_001, 1 << 30) == kept
    assert len(kept) == 10
    store.close()


def table_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.glob("*.sst"))
