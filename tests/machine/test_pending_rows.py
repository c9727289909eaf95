"""The overlay of unwritten rows (`raftkv.rows.PendingRows`) against a plain dict."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raftkv.applied import AppliedState
from raftkv.rows import POINT_DELETES_MAX, PendingRows
from raftkv.storage.errors import WriteStalled
from tests.memory_rows import MemoryRows

ROW_KEYS = st.integers(0, 400).map(lambda n: b"\x01" + n.to_bytes(2, "big"))
APPLIED = AppliedState(1, 1)


class AnyOrderOfChanges(RuleBasedStateMachine):
    """Whatever is done, the overlay reads like a dict that it was done to."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryRows()
        self.pending = PendingRows(self.store)
        self.model: dict[bytes, bytes] = {}
        self.saved: dict[bytes, bytes] = {}
        self.savepoint_given = 0

    @rule(row_key=ROW_KEYS, value=st.binary(max_size=2))
    def put(self, row_key: bytes, value: bytes) -> None:
        """One row."""
        self.pending.put(row_key, value)
        self.model[row_key] = value

    @rule(row_key=ROW_KEYS)
    def delete(self, row_key: bytes) -> None:
        """One row, there or not."""
        self.pending.delete(row_key)
        self.model.pop(row_key, None)

    @rule(first=st.integers(0, 400), count=st.integers(0, 400))
    def fill(self, first: int, count: int) -> None:
        """Many rows, so that some ranges are large."""
        for number in range(first, first + count):
            row_key = b"\x01" + number.to_bytes(2, "big")
            self.pending.put(row_key, b"filled")
            self.model[row_key] = b"filled"

    @rule(first=ROW_KEYS, end=ROW_KEYS)
    def delete_range(self, first: bytes, end: bytes) -> None:
        """Small ones row by row, large ones as a range."""
        doomed = [row_key for row_key in self.model if first <= row_key < end]
        self.pending.delete_range(first, end)
        for row_key in doomed:
            del self.model[row_key]

    @rule()
    def savepoint(self) -> None:
        """A command begins."""
        self.savepoint_given = self.pending.savepoint()
        self.saved = dict(self.model)

    @rule()
    def rollback(self) -> None:
        """A command fails."""
        self.pending.rollback(self.savepoint_given)
        self.model = dict(self.saved)

    @rule()
    def refuse_write(self) -> None:
        """A write that is refused changes nothing, here or there."""
        self.store.is_stalled = True
        before = dict(self.store.rows)
        with pytest.raises(WriteStalled):
            self.pending.write(APPLIED)
        self.store.is_stalled = False
        assert self.store.rows == before

    @rule()
    def write(self) -> None:
        """A commit between two commands."""
        self.pending.write(APPLIED)
        assert self.store.rows == self.model
        self.savepoint_given = self.pending.savepoint()
        self.saved = dict(self.model)

    @rule(row_key=ROW_KEYS)
    def get(self, row_key: bytes) -> None:
        """One row."""
        assert self.pending.get(row_key) == self.model.get(row_key)

    @rule(first=ROW_KEYS, end=st.none() | ROW_KEYS)
    def scan(self, first: bytes, end: bytes | None) -> None:
        """A range."""
        expected = sorted(row for row in self.model.items() if first <= row[0] and (not end or row[0] < end))
        assert list(self.pending.scan(first, end)) == expected

    @invariant()
    def everything_is_the_same(self) -> None:
        """All rows, in order."""
        assert list(self.pending.scan(b"\x01", None)) == sorted(self.model.items())


TestAnyOrderOfChanges = AnyOrderOfChanges.TestCase
TestAnyOrderOfChanges.settings = settings(max_examples=60, stateful_step_count=30)


def pending_over(count: int) -> tuple[MemoryRows, PendingRows]:
    """An overlay over a store with `count` rows."""
    store = MemoryRows()
    store.rows = {b"\x01%05d" % number: b"v" for number in range(count)}
    return store, PendingRows(store)


@pytest.mark.parametrize(("count", "ranges_count"), [(POINT_DELETES_MAX, 0), (POINT_DELETES_MAX + 1, 1)])
def test_small_ranges_are_deleted_row_by_row(count: int, ranges_count: int) -> None:
    """DESIGN, "Storage": every range tombstone slows later reads, so few rows go one by one."""
    store, pending = pending_over(count)
    pending.delete_range(b"\x01", b"\x02")
    pending.put(b"\x0100001", b"after")
    pending.write(APPLIED)
    assert store.range_deletes_count == ranges_count
    assert store.rows == {b"\x0100001": b"after"}


def test_several_ranges_are_deleted_in_one_turn() -> None:
    """Each large range counts, a repeated one once; rows put in between go with the range behind them."""
    store, pending = pending_over(1000)
    for _ in range(2):
        pending.delete_range(b"\x0100000", b"\x0100300")
        for number in range(300):
            pending.put(b"\x01%05d" % number, b"again")
    pending.delete_range(b"\x0100400", b"\x0100800")
    pending.delete_range(b"\x0100000", b"\x0100299")
    left = [299, *range(300, 400), *range(800, 1000)]
    expected = {b"\x01%05d" % number: b"again" if number == 299 else b"v" for number in left}
    assert dict(pending.scan(b"\x01", None)) == expected
    pending.write(APPLIED)
    assert store.rows == expected
    assert store.range_deletes_count == 3


def test_scan_does_not_see_changes_made_after_the_call() -> None:
    """Contract: long reads take their view at once, though they run later."""
    store, pending = pending_over(3)
    pending.put(b"\x0100003", b"pending")
    before = [*sorted(store.rows.items()), (b"\x0100003", b"pending")]
    untouched, begun = pending.scan(b"\x01", None), pending.scan(b"\x01", None)
    assert next(begun) == before[0]
    pending.delete(b"\x0100001")
    pending.put(b"\x0100004", b"later")
    pending.write(APPLIED)
    pending.delete_range(b"\x01", b"\x02")
    assert list(untouched) == before
    assert list(begun) == before[1:]


def test_rollback_names_the_rows_that_it_took_back() -> None:
    """The keyspace forgets what it cached of them."""
    _, pending = pending_over(2)
    pending.put(b"\x01kept", b"v")
    savepoint = pending.savepoint()
    pending.put(b"\x0100000", b"changed")
    pending.delete(b"\x0100001")
    assert sorted(pending.rollback(savepoint)) == [b"\x0100000", b"\x0100001"]
    assert pending.rollback(savepoint) == []
    assert pending.get(b"\x01kept") == b"v"


def test_many_rows_are_read_through_what_is_pending() -> None:
    """Contract of `get_many`: as `get`, whether nothing, a row or a range has changed."""
    store = MemoryRows()
    store.write({b"\x01a": b"1", b"\x01b": b"2", b"\x01c": b"3"}, [], AppliedState(1, 1))
    pending = PendingRows(store)
    keys = [b"\x01c", b"\x01a", b"\x01x", b"\x01b"]
    assert pending.get_many(keys) == [b"3", b"1", None, b"2"]
    pending.put(b"\x01x", b"new")
    pending.delete(b"\x01a")
    assert pending.get_many(keys) == [b"3", None, b"new", b"2"]
    pending.write(AppliedState(2, 1))
    pending.delete_range(b"\x01b", b"\x01d")
    assert pending.get_many(keys) == [None, None, b"new", None]
