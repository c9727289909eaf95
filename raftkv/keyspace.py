"""Typed values by key, with expiry, over rows; a bounded cache of live values in front.

Knows no commands, no log and no clock: the machine says what time it is. What a caller sees is a
function of the rows and the time alone, never of what the cache happens to hold.

Two times: `now_ms` is the log time, by which keys expire; `clock_ms` is the reader's clock, ahead of
it. A key that is due by the second but not by the first can't be answered yet (`ReadsDueKey`): once
a client saw it expired it must not come back. While an entry is applied the two are equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from raftkv import rows
from raftkv.rows import STRING, VALUE_OFFSET, PendingRows, RowStore

#: What a cached value costs in memory on top of its bytes, about.
_RECORD_OVERHEAD_BYTES: Final = 300

#: `set_string`: leave the expiry as it is.
KEEP_EXPIRY: Final = -1


class ReadsDueKey(Exception):
    """The answer depends on whether a key has expired, which the log has not settled yet."""


class WrongType(Exception):
    """The key holds a value of another type."""


@dataclass(slots=True)
class Record:
    """A key as it stands in the rows. Owned by the keyspace: callers only read it."""

    row_key: bytes
    kind: int
    #: Milliseconds of the Unix epoch, log time; 0: never.
    expires_ms: int
    #: Log index of the last change.
    version: int
    value: bytes
    #: Read since the cache last looked for something to forget.
    is_recent: bool = False


@dataclass(slots=True)
class KeyCount:
    """Keys of one database, due ones that are not removed yet included."""

    keys: int
    expiring: int


class Keyspace:
    """All databases of one group; `db` says which one is meant.

    Invariant: `_cache` holds what the rows hold (None: no such key), as far as it holds anything.
    """

    def __init__(self, store: RowStore, *, cache_bytes_max: int) -> None:
        self.rows = PendingRows(store)
        #: The database that calls are about. Set by the machine.
        self.db = 0
        self.now_ms = store.applied.log_time_ms
        self.clock_ms = self.now_ms
        #: Log index of the entry that is applied.
        self.version = store.applied.index
        #: Rows may be changed: an entry is being applied.
        self.is_applying = False
        self._cache_bytes_max = cache_bytes_max
        self._cache_bytes = 0
        self._caches: dict[int, dict[bytes, Record | None]] = {}

    # -- one key ----------------------------------------------------------------------------

    def find(self, key: bytes) -> Record | None:
        """The key's record; None when there is none or it has expired. Raises `ReadsDueKey`."""
        record = self._stored(key)
        if record is None:
            return None
        expires_ms = record.expires_ms
        if expires_ms and expires_ms <= self.clock_ms:
            if expires_ms > self.now_ms:
                raise ReadsDueKey
            if self.is_applying:
                self._remove(key, record)
            return None
        return record

    def get_string(self, key: bytes) -> bytes | None:
        """The string at `key`; None when there is no such key. Raises `WrongType`, `ReadsDueKey`."""
        record = self.find(key)
        if record is None:
            return None
        if record.kind != STRING:
            raise WrongType
        return record.value

    def set_string(self, key: bytes, value: bytes, expires_ms: int = 0) -> None:
        """Set `key` to a string, whatever it was; `expires_ms` 0: never, KEEP_EXPIRY: as it is."""
        record = self._stored(key)
        if record is None:
            expires_ms = 0 if expires_ms == KEEP_EXPIRY else expires_ms
            record = Record(rows.key_row(self.db, key), STRING, 0, 0, value)
            self._remember(key, record, len(value))
            self._count(1, 0)
        else:
            self._cache_bytes += len(value) - len(record.value)
            if self._cache_bytes > self._cache_bytes_max:
                self._forget(key)
        if expires_ms not in (KEEP_EXPIRY, record.expires_ms):
            self._move_expiry(record, expires_ms)
        record.kind = STRING
        record.value = value
        self._put(record)

    def delete(self, key: bytes) -> bool:
        """Delete a key; say whether there was one."""
        record = self.find(key)
        if record is None:
            return False
        self._remove(key, record)
        return True

    def set_expiry(self, key: bytes, expires_ms: int) -> None:
        """Let an existing key expire; 0: never."""
        record = self._stored(key)
        assert record is not None, "only an existing key gets an expiry"
        self._move_expiry(record, expires_ms)
        self._put(record)

    # -- many keys --------------------------------------------------------------------------

    def counts(self) -> KeyCount:
        """Number of keys of this database, without a look at them."""
        return KeyCount(*rows.unpack_counts(self.rows.get(rows.counts_row(self.db))))

    def counts_by_db(self) -> dict[int, KeyCount]:
        """Number of keys of every database that ever had one."""
        first, end = bytes((rows.COUNTS,)), bytes((rows.COUNTS + 1,))
        return {row_key[1]: KeyCount(*rows.unpack_counts(row)) for row_key, row in self.rows.scan(first, end)}

    def all_keys(self) -> Iterator[tuple[bytes, int]]:
        """The live keys of this database and their types, in the order of their rows, as of this call."""
        first, end = rows.db_range(rows.KEYS, self.db)
        return self._live(self.rows.scan(first, end))

    def scan(self, cursor: int, count: int) -> tuple[Iterator[tuple[bytes, int]], ScanCursor]:
        """At least `count` rows from `cursor` on, those of one hash never apart.

        Gives the live keys with their types, and what holds the next cursor once they were consumed.
        """
        first = self._row_of_cursor(cursor)
        _, end = rows.db_range(rows.KEYS, self.db)
        position = ScanCursor()
        return self._live(_page(self.rows.scan(first, end), count, position)), position

    def count_keys_in_slot(self, slot: int) -> int:
        """Number of live keys in a slot of this database."""
        return sum(1 for _ in self._live(self.rows.scan(*rows.slot_range(self.db, slot))))

    def keys_in_slot(self, slot: int, count_max: int) -> list[bytes]:
        """The first live keys in a slot of this database."""
        found: list[bytes] = []
        for key, _ in self._live(self.rows.scan(*rows.slot_range(self.db, slot))):
            if len(found) >= count_max:
                break
            found.append(key)
        return found

    def due_keys(self, time_ms: int, count_max: int) -> dict[int, list[bytes]]:
        """Up to `count_max` keys that are due at `time_ms`, the longest due first, by database."""
        due: dict[int, list[bytes]] = {}
        for position, (row_key, _) in enumerate(self.rows.scan(*rows.expires_range(time_ms))):
            if position >= count_max:
                break
            db, key = rows.db_and_key_of_expiry(row_key)
            due.setdefault(db, []).append(key)
        return due

    def flush_all(self) -> None:
        """Delete every key of every database."""
        self._caches.clear()
        self._cache_bytes = 0
        self.rows.delete_range(rows.DATA_FIRST, rows.DATA_END)

    # -- undo -------------------------------------------------------------------------------

    def rollback(self) -> None:
        """Take back all that the present command changed."""
        self.rows.rollback()
        # It may have changed any value in place, so none is trusted; they are read again as needed.
        self._caches.clear()
        self._cache_bytes = 0

    # -- rows and cache ---------------------------------------------------------------------

    def _stored(self, key: bytes) -> Record | None:
        """The key's record, expired or not."""
        cache = self._caches.get(self.db)
        if cache is None:
            cache = self._caches[self.db] = {}
        try:
            record = cache[key]
        except KeyError:
            return self._load(key)
        if record is not None:
            record.is_recent = True
        return record

    def _load(self, key: bytes) -> Record | None:
        row_key = rows.key_row(self.db, key)
        row = self.rows.get(row_key)
        if row is None:
            self._remember(key, None, 0)
            return None
        kind, expires_ms, version = rows.unpack_value(row)
        record = Record(row_key, kind, expires_ms, version, row[VALUE_OFFSET:])
        self._remember(key, record, len(record.value))
        return record

    def _remember(self, key: bytes, record: Record | None, value_bytes: int) -> None:
        cache = self._caches[self.db]
        if key not in cache:
            self._cache_bytes += len(key) + _RECORD_OVERHEAD_BYTES
        cache[key] = record
        self._cache_bytes += value_bytes
        if self._cache_bytes > self._cache_bytes_max:
            self._forget(key)

    def _forget(self, newest: bytes) -> None:
        """Forget old values until the rest fits; those read since the last look get a second chance."""
        cache = self._caches[self.db]
        while self._cache_bytes > self._cache_bytes_max:
            key = next(iter(cache))
            record = cache.pop(key)
            if key == newest:
                cache[key] = record
                if len(cache) == 1:
                    return
            elif record is not None and record.is_recent:
                record.is_recent = False
                cache[key] = record
            else:
                self._cache_bytes -= _cost(key, record)

    def _put(self, record: Record) -> None:
        record.version = self.version
        self.rows.put(
            record.row_key, rows.pack_value(record.kind, record.expires_ms, record.version, record.value)
        )

    def _remove(self, key: bytes, record: Record) -> None:
        if record.expires_ms:
            self.rows.delete(rows.expires_row(record.expires_ms, record.row_key))
        self.rows.delete(record.row_key)
        self._count(-1, -1 if record.expires_ms else 0)
        cache = self._caches[self.db]
        if key in cache:
            self._cache_bytes -= len(record.value)
            cache[key] = None

    def _move_expiry(self, record: Record, expires_ms: int) -> None:
        if record.expires_ms:
            self.rows.delete(rows.expires_row(record.expires_ms, record.row_key))
        if expires_ms:
            self.rows.put(rows.expires_row(expires_ms, record.row_key), b"")
        self._count(0, bool(expires_ms) - bool(record.expires_ms))
        record.expires_ms = expires_ms

    def _count(self, keys: int, expiring: int) -> None:
        if keys or expiring:
            row_key = rows.counts_row(self.db)
            keys_before, expiring_before = rows.unpack_counts(self.rows.get(row_key))
            self.rows.put(row_key, rows.pack_counts(keys_before + keys, expiring_before + expiring))

    def _live(self, stored: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, int]]:
        """Keys and types of the rows that have not expired by now."""
        return _live_rows(stored, self.now_ms)

    def _row_of_cursor(self, cursor: int) -> bytes:
        return rows.keys_from(self.db, cursor >> 32, cursor & 0xFFFFFFFF)


class ScanCursor:
    """Where a scan goes on; known once its page was consumed."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        #: 0: there is no more.
        self.next = 0


def _page(
    stored: Iterator[tuple[bytes, bytes]], count: int, position: ScanCursor
) -> Iterator[tuple[bytes, bytes]]:
    """The first `count` rows, and more while they share the last one's slot and hash.

    The cursor is slot and hash of the row behind them. It is never 0: a row at slot 0 and hash 0 is
    the first of all and so is in the first page.
    """
    last = (-1, -1)
    for taken, (row_key, value) in enumerate(stored):
        place = rows.slot_and_hash_of(row_key)
        if taken >= count and place != last:
            position.next = place[0] << 32 | place[1]
            return
        last = place
        yield row_key, value


def _live_rows(stored: Iterator[tuple[bytes, bytes]], now_ms: int) -> Iterator[tuple[bytes, int]]:
    for row_key, value in stored:
        kind, expires_ms, _ = rows.unpack_value(value)
        if not expires_ms or expires_ms > now_ms:
            yield rows.key_of(row_key), kind


def _cost(key: bytes, record: Record | None) -> int:
    return len(key) + _RECORD_OVERHEAD_BYTES + (len(record.value) if record is not None else 0)
