"""Typed values by key, with expiry, over rows; a bounded cache of live values in front.

Knows no commands, no log and no clock: the machine says what time it is. What a caller sees is a
function of the rows and the time alone, never of what the cache happens to hold.

Two times: `now_ms` is the log time, by which keys expire; `clock_ms` is the reader's clock, ahead of
it. A key that is due by the second but not by the first can't be answered yet (`ReadsDueKey`): once
a client saw it expired it must not come back. While an entry is applied the two are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from heapq import merge
from itertools import chain
from operator import itemgetter
from typing import Final

from raftkv import rows
from raftkv.cache import SHARD_MASK, Record, RecordCache
from raftkv.places import Places
from raftkv.rows import ABSENT, STRING, VALUE_OFFSET, PendingRows, RowStore
from raftkv.slots import SLOT_COUNT

#: Bytes of keys that one removal of due keys names, but for the last one's.
DUE_BYTES_MAX: Final = 256 << 10

#: The first item of a row.
_ROW_KEY: Final = itemgetter(0)

#: Later than any key can expire.
_NEVER_MS: Final = (1 << 63) - 1

#: `set_string`: leave the expiry as it is.
KEEP_EXPIRY: Final = -1


class ReadsDueKey(Exception):
    """The answer depends on whether a key has expired, which the log has not settled yet."""


class WrongType(Exception):
    """The key holds a value of another type."""


@dataclass(slots=True)
class KeyCount:
    """Keys of one database, due ones that are not removed yet included."""

    keys: int
    expiring: int


class Keyspace:
    """All databases of one group; `db` says which one is meant.

    Invariants: the cache holds what the rows hold, as far as it holds anything; like the rows, it goes by
    places. `_place` is that of `db`. No key expires before `_first_expiry_ms`.
    """

    def __init__(self, store: RowStore, *, cache_bytes_max: int) -> None:
        self.rows = PendingRows(store)
        self._change_row = self.rows.change
        self.now_ms = store.applied.log_time_ms
        self.clock_ms = self.now_ms
        #: Log index of the entry that is applied.
        self.version = store.applied.index
        #: Every row of a string that this entry sets and that never expires begins so.
        self._lasting_string = rows.pack_value(STRING, 0, self.version, b"")
        #: Rows may be changed: an entry is being applied.
        self.is_applying = False
        #: Keys that were removed because they had expired, since this node started.
        self.expired_count = 0
        #: Look-ups by reads that found no key, since this node started.
        self.missed_count = 0
        self._cache = RecordCache(cache_bytes_max)
        #: What the `counts` rows say, as far as it is known; by place.
        self._counts: dict[int, KeyCount] = {}
        self._places = Places(self.rows)
        self.db = 0
        self._first_expiry_ms = 0
        #: Random numbers that reads asked for, since this node started.
        self._draws_count = 0

    @property
    def db(self) -> int:
        """The database that calls are about. Set by the machine."""
        return self._db

    @db.setter
    def db(self, db: int) -> None:
        self._db = db
        self._place = self._places.of(db)
        self._cache.select(self._place)

    @property
    def cache_bytes(self) -> int:
        """What the live values in memory take up, about."""
        return self._cache.size_bytes

    def begin_entry(self, *, version: int, time_ms: int) -> None:
        """Let rows be changed, by an entry of this log index and time."""
        self.version = version
        self.now_ms = self.clock_ms = time_ms
        self._lasting_string = rows.pack_value(STRING, 0, version, b"")
        self.is_applying = True

    # -- one key ----------------------------------------------------------------------------

    def find(self, key: bytes) -> Record | None:
        """The key's record; None when there is none or it has expired. Raises `ReadsDueKey`."""
        record = self._record(key)
        if record.kind == ABSENT:
            if not self.is_applying:
                self.missed_count += 1
            return None
        expires_ms = record.expires_ms
        if expires_ms and expires_ms <= self.clock_ms:
            if expires_ms > self.now_ms:
                raise ReadsDueKey
            if self.is_applying:
                self._remove(key, record)
                self.expired_count += 1
            else:
                self.missed_count += 1
            return None
        return record

    def find_in(self, db: int, key: bytes) -> Record | None:
        """As `find`, in another database."""
        selected, self.db = self._db, db
        try:
            return self.find(key)
        finally:
            self.db = selected

    def peek(self, key: bytes) -> Record | None:
        """As `find`, but the key does not count as used (redis LOOKUP_NOTOUCH)."""
        held = self._cache.get(key)
        used_ms = self.clock_ms if held is None else held.used_ms
        record = self.find(key)
        if record is not None:
            record.used_ms = used_ms
        return record

    @contextmanager
    def untouched(self, keys: Iterable[bytes]) -> Iterator[None]:
        """Have no use of these keys count in the meantime (redis CLIENT_NO_TOUCH)."""
        used = [(key, record.used_ms) for key in keys if (record := self._cache.get(key)) is not None]
        try:
            yield
        finally:
            for key, used_ms in used:
                if (record := self._cache.get(key)) is not None:
                    record.used_ms = used_ms

    def get_string(self, key: bytes) -> bytes | None:
        """The string at `key`; None when there is no such key. Raises `WrongType`, `ReadsDueKey`."""
        record = self.find(key)
        if record is None:
            return None
        if record.kind != STRING:
            raise WrongType
        return record.value

    def get_strings(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """As `get_string` of each key; what is in memory and never expires costs a third of that."""
        shards, clock_ms = self._cache.shards, self.clock_ms
        strings: list[bytes | None] = []
        append = strings.append
        for key in keys:
            record = shards[hash(key) & SHARD_MASK].get(key)
            if record is not None and record.kind == STRING and not record.expires_ms:
                record.used_ms = clock_ms
                append(record.value)
            else:
                append(self.get_string(key))
        return strings

    def set_string(self, key: bytes, value: bytes, expires_ms: int = 0) -> None:
        """Set `key` to a string, whatever it was; `expires_ms` 0: never, KEEP_EXPIRY: as it is."""
        record = self._cache.shards[hash(key) & SHARD_MASK].get(key) or self._load(key)
        record.used_ms = self.clock_ms
        if record.kind == STRING and not record.expires_ms and not expires_ms:
            # Most writes: one row changes, and its beginning is known. Half the cost of `_put`.
            self._change_row((record.row_key, self._lasting_string + value))
            grown_bytes = len(value) - len(record.value)
            record.version = self.version
            record.value = value
            if grown_bytes:
                self._cache.resize(key, grown_bytes)
            return
        if expires_ms == KEEP_EXPIRY:
            expires_ms = record.expires_ms
        self._put(key, record, STRING, expires_ms, value)

    def set_strings(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """As `set_string` of each key to the value at its place, for half of the cost or less."""
        cache, change = self._cache, self._change_row
        shards = cache.shards
        version, used_ms, beginning = self.version, self.clock_ms, self._lasting_string
        has_looked, new_count = False, 0
        for key, value in zip(keys, values, strict=True):
            record = shards[hash(key) & SHARD_MASK].get(key)
            if record is None and not has_looked:
                has_looked = True
                self._load_all(keys)
                record = cache.get(key)
            if record is None or record.expires_ms or (record.kind != STRING and record.kind != ABSENT):
                self.set_string(key, value)
                continue
            change((record.row_key, beginning + value))
            if record.kind == ABSENT:
                record.kind = STRING
                new_count += 1
            if len(value) != len(record.value):
                cache.resize(key, len(value) - len(record.value))
            record.used_ms = used_ms
            record.version = version
            record.value = value
        if new_count:
            self._count(new_count, 0)

    def delete(self, key: bytes) -> bool:
        """Delete a key; say whether there was one."""
        record = self.find(key)
        if record is None:
            return False
        self._remove(key, record)
        return True

    def set_expiry(self, key: bytes, expires_ms: int) -> None:
        """Let an existing key expire; 0: never."""
        record = self._record(key)
        assert record.kind != ABSENT, "only an existing key gets an expiry"
        self._put(key, record, record.kind, expires_ms, record.value)

    def copy(self, key: bytes, new_key: bytes, *, to_db: int) -> None:
        """Give `new_key` of `to_db` the value and expiry of an existing key, whatever it was."""
        source = self._record(key)
        assert source.kind != ABSENT, "only an existing key is copied"
        kind, expires_ms, value = source.kind, source.expires_ms, source.value
        selected, self.db = self._db, to_db
        try:
            self._put(new_key, self._record(new_key), kind, expires_ms, value)
        finally:
            self.db = selected

    def move(self, key: bytes, new_key: bytes, *, to_db: int) -> None:
        """As `copy`, and delete the key, which is another one than `new_key` there."""
        assert (self._db, key) != (to_db, new_key), "a key is moved onto itself"
        self.copy(key, new_key, to_db=to_db)
        self._remove(key, self._record(key))

    def size_bytes(self, record: Record) -> int:
        """Bytes of all rows of an existing key."""
        size_bytes = len(record.row_key) + VALUE_OFFSET + len(record.value)
        if record.expires_ms:
            size_bytes += len(rows.expires_row(record.expires_ms, record.row_key))
        return size_bytes

    # -- many keys --------------------------------------------------------------------------

    def counts(self) -> KeyCount:
        """Number of keys of this database, without a look at them."""
        return KeyCount(*rows.unpack_counts(self.rows.get(rows.counts_row(self._place))))

    def counts_by_db(self) -> dict[int, KeyCount]:
        """Number of keys of every database that has one."""
        return {self._places.database_at(place): count for place, count in self._counts_by_place()}

    def _counts_by_place(self) -> Iterator[tuple[int, KeyCount]]:
        for row_key, row in self.rows.scan(bytes((rows.COUNTS,)), bytes((rows.COUNTS + 1,))):
            yield row_key[1], KeyCount(*rows.unpack_counts(row))

    def all_keys(self) -> Iterator[tuple[bytes, int]]:
        """The keys of this database and their types, in the order of their rows, as of this call.

        Expired ones come too, as ABSENT: whoever works in slices counts what was passed over.
        """
        return _keys_and_types(self.rows.scan(*rows.db_range(rows.KEYS, self._place)), self.now_ms)

    def scan(self, cursor: int, count: int) -> tuple[Iterator[tuple[bytes, int]], ScanCursor]:
        """At least `count` rows from `cursor` on, those of one hash never apart; as of this call.

        Gives the keys with their types (ABSENT: expired), and what holds the next cursor once they
        were consumed.
        """
        first, end = rows.db_range(rows.KEYS, self._place)
        slot, key_hash = cursor >> 32, cursor & 0xFFFFFFFF
        # A cursor that nobody was given may name a slot that doesn't fit a row: nothing is there.
        first = rows.keys_from(self._place, slot, key_hash) if slot < SLOT_COUNT else end
        position = ScanCursor()
        return _keys_and_types(_page(self.rows.scan(first, end), count, position), self.now_ms), position

    def keys_from_anywhere(self) -> Iterator[tuple[bytes, int]]:
        """The keys of this database and their types, once round from a drawn one, as of this call.

        A slot that holds keys is drawn, then one of its keys: both are as likely as the gap in front of
        them is wide.
        """
        first, end = rows.db_range(rows.KEYS, self._place)
        slot, key_hash = self.draw() % SLOT_COUNT, self.draw() >> 32
        nearest = next(self.rows.scan(rows.keys_from(self._place, slot, 0), end), None)
        nearest = nearest or next(self.rows.scan(first, end), None)
        if nearest is None:
            return iter(())
        slot, _ = rows.slot_and_hash_of(nearest[0])
        slot_first, slot_end = rows.slot_range(self._place, slot)
        start = rows.keys_from(self._place, slot, key_hash)
        parts = (start, slot_end), (slot_first, start), (slot_end, end), (first, slot_first)
        return _keys_and_types(chain.from_iterable([self.rows.scan(*part) for part in parts]), self.now_ms)

    def draw(self) -> int:
        """A number of 64 bits, another one at each call. Nodes draw differently: nothing applied may ask.

        Derived from what was applied, the reader's clock and the number of draws.
        """
        assert not self.is_applying, "what is applied must not depend on the node"
        self._draws_count += 1
        seed = b"%d %d %d" % (self.version, self.clock_ms, self._draws_count)
        return int.from_bytes(blake2b(seed, digest_size=8).digest(), "big")

    def keys_in_slot(self, slot: int) -> Iterator[tuple[bytes, int]]:
        """The keys of a slot of this database and their types (ABSENT: expired), as of this call."""
        return _keys_and_types(self.rows.scan(*rows.slot_range(self._place, slot)), self.now_ms)

    def due_keys(self, time_ms: int, count_max: int) -> dict[int, list[bytes]]:
        """Up to `count_max` keys that are due at `time_ms`, the longest due first, by database.

        Fewer when they are long: all but the last take up at most DUE_BYTES_MAX.
        Looks at rows only once the earliest is due, and only behind what earlier calls found to be empty:
        there lie the remains of removed rows, which RocksDB walks over one by one.
        """
        due: dict[int, list[bytes]] = {}
        if time_ms < self._first_expiry_ms:
            return due
        first_ms = _NEVER_MS
        size_bytes = 0
        for position, row_key in enumerate(self._expires_rows()):
            expires_ms, place, key = rows.expiry_of(row_key)
            first_ms = min(first_ms, expires_ms)
            if expires_ms > time_ms or position >= count_max or size_bytes > DUE_BYTES_MAX:
                break
            size_bytes += len(key)
            due.setdefault(self._places.database_at(place), []).append(key)
        self._first_expiry_ms = first_ms
        return due

    def _expires_rows(self) -> Iterator[bytes]:
        """The `expires` rows from `_first_expiry_ms` on, of all databases, the earliest first."""
        ranges = [
            rows.expires_range(place, self._first_expiry_ms, _NEVER_MS)
            for place, count in self._counts_by_place()
            if count.expiring
        ]
        scans = [map(_ROW_KEY, self.rows.scan(*each)) for each in ranges]
        return scans[0] if len(scans) == 1 else merge(*scans, key=rows.expiry_of)

    # -- whole databases --------------------------------------------------------------------

    def swap(self, first_db: int, second_db: int) -> None:
        """Let two databases have each other's keys, however many there are."""
        self._places.swap(first_db, second_db)
        self.db = self._db

    def flush_db(self) -> None:
        """Delete every key of this database."""
        # The others' values come back from the rows: to look for this one's would take longer.
        self._cache.clear()
        self._counts.pop(self._place, None)
        for table in (rows.KEYS, rows.ELEMENTS, rows.EXPIRES):
            self.rows.delete_range(*rows.db_range(table, self._place))
        self.rows.delete(rows.counts_row(self._place))

    def flush_all(self) -> None:
        """Delete every key of every database."""
        self._cache.clear()
        self._counts.clear()
        self.rows.delete_range(rows.DATA_FIRST, rows.DATA_END)
        self._reload_places()

    def _reload_places(self) -> None:
        self._places.reload()
        self.db = self._db

    # -- undo -------------------------------------------------------------------------------

    def rollback(self, savepoint: int) -> None:
        """Take back all that was changed since the savepoint."""
        self._counts.clear()
        undone = self.rows.rollback(savepoint)
        for row_key in undone:
            owner = rows.db_and_key_of(row_key)
            if owner is not None:
                self._cache.drop(*owner)
            elif row_key[0] == rows.KEYS:
                # The keys of a deleted range are not named; those looked up since were remembered as missing.
                self._cache.clear()
        if any(row_key[0] == rows.PLACES or row_key == rows.DATA_FIRST for row_key in undone):
            self._reload_places()

    # -- rows and cache ---------------------------------------------------------------------

    def _record(self, key: bytes) -> Record:
        """The key's record, expired or not; of kind ABSENT when there is no such key."""
        record = self._cache.shards[hash(key) & SHARD_MASK].get(key) or self._load(key)
        record.used_ms = self.clock_ms
        return record

    def _load(self, key: bytes) -> Record:
        row_key = rows.key_row(self._place, key)
        return self._hold(key, row_key, self.rows.get(row_key))

    def _load_all(self, keys: Iterable[bytes]) -> None:
        """Load the records that the cache doesn't hold, as far as it has room for them all."""
        shards, place = self._cache.shards, self._place
        missing = [key for key in dict.fromkeys(keys) if key not in shards[hash(key) & SHARD_MASK]]
        row_keys = [rows.key_row(place, key) for key in missing]
        for key, row_key, row in zip(missing, row_keys, self.rows.get_many(row_keys), strict=True):
            self._hold(key, row_key, row)

    def _hold(self, key: bytes, row_key: bytes, row: bytes | None) -> Record:
        """Let the cache hold a key's record, made of its row."""
        if row is None:
            record = Record(row_key, ABSENT, 0, 0, b"")
        else:
            kind, expires_ms, version = rows.unpack_value(row)
            record = Record(row_key, kind, expires_ms, version, row[VALUE_OFFSET:])
        record.used_ms = record.spared_ms = self.clock_ms
        self._cache.add(key, record)
        return record

    def _put(self, key: bytes, record: Record, kind: int, expires_ms: int, value: bytes) -> None:
        """Give a key this content. The rows come first: what fails there leaves the record as it was."""
        version = self.version
        is_new = record.kind == ABSENT
        if expires_ms != record.expires_ms:
            self._move_expiry(record, expires_ms)
            self._count(is_new, bool(expires_ms) - bool(record.expires_ms))
        elif is_new:
            self._count(1, 0)
        self.rows.put(record.row_key, rows.pack_value(kind, expires_ms, version, value))
        grown_bytes = len(value) - len(record.value)
        record.kind = kind
        record.expires_ms = expires_ms
        record.version = version
        record.value = value
        if grown_bytes:
            self._cache.resize(key, grown_bytes)

    def _remove(self, key: bytes, record: Record) -> None:
        if record.expires_ms:
            self._move_expiry(record, 0)
        self.rows.delete(record.row_key)
        self._count(-1, -1 if record.expires_ms else 0)
        size_bytes = len(record.value)
        record.kind = ABSENT
        record.expires_ms = record.version = 0
        record.value = b""
        self._cache.resize(key, -size_bytes)

    def _move_expiry(self, record: Record, expires_ms: int) -> None:
        """Let the `expires` row follow a change of the record's expiry, which the caller makes."""
        if record.expires_ms:
            self.rows.delete(rows.expires_row(record.expires_ms, record.row_key))
        if expires_ms:
            self.rows.put(rows.expires_row(expires_ms, record.row_key), b"")
            self._first_expiry_ms = min(self._first_expiry_ms, expires_ms)

    def _count(self, keys: int, expiring: int) -> None:
        counts = self._counts.get(self._place)
        if counts is None:
            counts = self._counts[self._place] = self.counts()
        counts.keys += keys
        counts.expiring += expiring
        row_key = rows.counts_row(self._place)
        if counts.keys:
            self.rows.put(row_key, rows.pack_counts(counts.keys, counts.expiring))
        else:
            self.rows.delete(row_key)  # so that no keys look the same, whether there were any or not


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


def _keys_and_types(stored: Iterator[tuple[bytes, bytes]], now_ms: int) -> Iterator[tuple[bytes, int]]:
    """The keys of rows with their types; ABSENT: it has expired by `now_ms`."""
    for row_key, value in stored:
        kind, expires_ms, _ = rows.unpack_value(value)
        yield rows.key_of(row_key), ABSENT if expires_ms and expires_ms <= now_ms else kind
