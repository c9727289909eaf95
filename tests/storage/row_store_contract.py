"""What every row store must do (`raftkv.rows.RowStore`), as tests for a subclass to run.

A subclass gives the fixture `store`, an empty one. Row keys begin at 0x01: table 0x00 is the store's.
"""

from __future__ import annotations

from raftkv.applied import AppliedState
from raftkv.rows import RowStore

APPLIED = AppliedState(index=7, term=3, log_time_ms=1234, membership=b"m")


def rows_of(store: RowStore, first: bytes = b"\x01", end: bytes | None = None) -> list[tuple[bytes, bytes]]:
    """All rows of [first, end)."""
    return list(store.scan(first, end))


class RowStoreContract:
    """The contract; not collected by itself."""

    def test_new_store_is_empty_and_has_applied_nothing(self, store: RowStore) -> None:
        """Contract: a state machine begins before the first entry."""
        assert store.applied == AppliedState()
        assert rows_of(store) == []
        assert store.get(b"\x01a") is None
        assert not store.is_write_stopped()

    def test_write_puts_deletes_and_moves_the_applied_state(self, store: RowStore) -> None:
        """Contract: rows and applied index in one batch."""
        store.write({b"\x01a": b"1", b"\x01b": b"", b"\x01c": b"3"}, [], AppliedState(1, 1))
        store.write({b"\x01a": None, b"\x01c": b"4", b"\x01z": None}, [], APPLIED)
        assert rows_of(store) == [(b"\x01b", b""), (b"\x01c", b"4")]
        assert (store.get(b"\x01a"), store.get(b"\x01b"), store.get(b"\x01c")) == (None, b"", b"4")
        assert store.applied == APPLIED

    def test_many_rows_are_read_in_the_order_of_their_keys(self, store: RowStore) -> None:
        """Contract: `get_many` gives what `get` does, for keys in any order, twice, or none."""
        store.write({b"\x01a": b"1", b"\x01b": b"", b"\x01c": b"3"}, [], APPLIED)
        keys = [b"\x01c", b"\x01x", b"\x01a", b"\x01c", b"\x01b"]
        assert store.get_many(keys) == [store.get(key) for key in keys] == [b"3", None, b"1", b"3", b""]
        assert store.get_many([]) == []

    def test_ranges_are_deleted_before_rows_are_put(self, store: RowStore) -> None:
        """Contract: a row put after its range was deleted stays."""
        store.write({bytes((1, n)): b"old" for n in range(10)}, [], AppliedState(1, 1))
        ranges = [(bytes((1, 2)), bytes((1, 5))), (bytes((1, 4)), bytes((1, 7)))]
        store.write({bytes((1, 3)): b"new"}, ranges, APPLIED)
        assert [row_key[1] for row_key, _ in rows_of(store)] == [0, 1, 3, 7, 8, 9]
        assert store.get(bytes((1, 3))) == b"new"

    def test_scan_is_ordered_by_bytes_and_half_open(self, store: RowStore) -> None:
        """Contract: [first, end), unsigned bytes, a prefix before what it begins."""
        keys = [b"\x01", b"\x01\x00", b"\x01\x7f", b"\x01\x80", b"\x01\xff", b"\x01\xff\xff", b"\x02"]
        store.write(dict.fromkeys(reversed(keys), b"v"), [], APPLIED)
        assert [key for key, _ in rows_of(store)] == keys
        assert [key for key, _ in rows_of(store, b"\x01\x00", b"\x01\xff")] == keys[1:4]
        assert rows_of(store, b"\x01\x80", b"\x01\x80") == []

    def test_scan_shows_the_rows_of_the_moment_of_the_call(self, store: RowStore) -> None:
        """DESIGN: iterators of rocksdict's snapshots see later writes; this one must not."""
        store.write({b"\x01a": b"1", b"\x01b": b"2"}, [], AppliedState(1, 1))
        untouched, begun = store.scan(b"\x01", None), store.scan(b"\x01", None)
        assert next(begun) == (b"\x01a", b"1")
        store.write({b"\x01b": b"changed", b"\x01c": b"new"}, [], AppliedState(2, 1))
        store.write({}, [(b"\x01", b"\x02")], APPLIED)
        assert list(untouched) == [(b"\x01a", b"1"), (b"\x01b", b"2")]
        assert list(begun) == [(b"\x01b", b"2")]
        assert rows_of(store) == []

    def test_write_keeps_nothing_of_what_it_was_given(self, store: RowStore) -> None:
        """Contract: the caller goes on using its dict and list."""
        puts: dict[bytes, bytes | None] = {b"\x01a": b"1"}
        ranges: list[tuple[bytes, bytes]] = []
        store.write(puts, ranges, APPLIED)
        puts[b"\x01b"] = b"2"
        ranges.append((b"\x01", b"\x02"))
        assert puts[b"\x01a"] == b"1"
        assert rows_of(store) == [(b"\x01a", b"1")]
