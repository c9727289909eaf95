"""How keys lie in the row store, and the rows that one turn of applying has changed so far.

Knows bytes and their order, not commands, values or time. All numbers are big-endian, so rows stand
in the order of their fields:

    keys      01 | db 1 | slot 2 | crc32 of the key 4 | key   ->  type 1 | expires_ms 8 | version 8 | value
    elements  02 | db 1 | slot 2 | ...                        (collections: none yet)
    expires   03 | db 1 | expires_ms 8 | slot 2 | crc32 4 | key  ->  (empty)
    counts    04 | db 1                                       ->  keys 8 | keys with an expiry 8
    places    05 | database 1                                 ->  db 1

`db` is where a database is stored, its place: the number that clients call it by, unless `places` says
otherwise. So databases are swapped by two rows. Table 00 is the store's own. Invariants: a key with an
expiry has exactly one `expires` row, `counts` tells how many rows there are, no two databases share a place.
"""

from __future__ import annotations

import struct
from binascii import crc32
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from raftkv.applied import AppliedState
from raftkv.slots import slot_of

KEYS: Final = 0x01
ELEMENTS: Final = 0x02
EXPIRES: Final = 0x03
COUNTS: Final = 0x04
PLACES: Final = 0x05

#: All tables that hold data: [first, end).
DATA_FIRST: Final = bytes((KEYS,))
DATA_END: Final = bytes((PLACES + 1,))

#: The type byte of a string; the collections' follow. ABSENT stands for no row at all.
ABSENT: Final = 0
STRING: Final = 1

#: Where the key begins in a `keys` row's key, and where the place (db, slot, crc32) begins.
KEY_OFFSET: Final = 8
#: Where the value begins in a `keys` row's value.
VALUE_OFFSET: Final = 17

#: Ranges of at most so many rows are deleted row by row: a range tombstone slows every later read.
POINT_DELETES_MAX: Final = 256

_KEY_PREFIX: Final = struct.Struct(">BBHI")
_SLOT_PREFIX: Final = struct.Struct(">BBH")
_KEY_VALUE: Final = struct.Struct(">BQQ")
_EXPIRES_PREFIX: Final = struct.Struct(">BBQ")
#: Bytes in front of the key in an `expires` row's key.
_EXPIRES_KEY_OFFSET: Final = _EXPIRES_PREFIX.size + KEY_OFFSET - 2
_COUNTS_VALUE: Final = struct.Struct(">QQ")


class RowStoreFailure(Exception):
    """The rows can't be read or written: what this node would answer from here on could be wrong."""


class RowStore(Protocol):
    """An ordered map from bytes to bytes that is written batch by batch, whole or not at all."""

    @property
    def applied(self) -> AppliedState:
        """What was stored with the last batch."""

    def get(self, row_key: bytes) -> bytes | None:
        """One row's value."""

    def get_many(self, row_keys: list[bytes]) -> list[bytes | None]:
        """The rows' values, in the order of the keys."""

    def scan(self, first: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """The rows of [first, end) as they are at the moment of this call; None: to the last."""

    def write(
        self,
        puts: Mapping[bytes, bytes | None],
        range_deletes: Sequence[tuple[bytes, bytes]],
        applied: AppliedState,
    ) -> None:
        """Delete the ranges, then put or (None) delete the rows. Raises `WriteStalled`: nothing was done."""

    def is_write_stopped(self) -> bool:
        """Whether a write would be refused at the moment."""


def key_row(db: int, key: bytes) -> bytes:
    """The key of a key's row."""
    return _KEY_PREFIX.pack(KEYS, db, slot_of(key), crc32(key)) + key


def key_of(row_key: bytes) -> bytes:
    """The key that a `keys` row belongs to."""
    return row_key[KEY_OFFSET:]


def slot_and_hash_of(row_key: bytes) -> tuple[int, int]:
    """A `keys` row's slot and the crc32 of its key."""
    _, _, slot, key_hash = _KEY_PREFIX.unpack_from(row_key)
    return slot, key_hash


def keys_from(db: int, slot: int, key_hash: int) -> bytes:
    """Where the `keys` rows of a place begin that have this slot and hash, or a higher one."""
    return _KEY_PREFIX.pack(KEYS, db, slot, key_hash)


def slot_range(db: int, slot: int) -> tuple[bytes, bytes]:
    """[first, end) of a slot's `keys` rows."""
    first = _SLOT_PREFIX.pack(KEYS, db, slot)
    return first, next_prefix(first)


def db_range(table: int, db: int) -> tuple[bytes, bytes]:
    """[first, end) of a place's rows in `keys`, `elements` or `expires`."""
    first = bytes((table, db))
    return first, next_prefix(first)


def next_prefix(prefix: bytes) -> bytes:
    """The first row key behind all that begin with `prefix`, which is not all ff."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,))


def expires_row(expires_ms: int, row_key: bytes) -> bytes:
    """The key of the `expires` row that belongs to a `keys` row."""
    return _EXPIRES_PREFIX.pack(EXPIRES, row_key[1], expires_ms) + row_key[2:]


def expires_range(db: int, first_ms: int, until_ms: int) -> tuple[bytes, bytes]:
    """[first, end) of a place's `expires` rows from `first_ms` to `until_ms`, both included."""
    return _EXPIRES_PREFIX.pack(EXPIRES, db, first_ms), _EXPIRES_PREFIX.pack(EXPIRES, db, until_ms + 1)


def expiry_of(expires_row_key: bytes) -> tuple[int, int, bytes]:
    """Time, place and key that an `expires` row tells of."""
    _, db, expires_ms = _EXPIRES_PREFIX.unpack_from(expires_row_key)
    return expires_ms, db, expires_row_key[_EXPIRES_KEY_OFFSET:]


def db_and_key_of(row_key: bytes) -> tuple[int, bytes] | None:
    """The place and key that a data row belongs to; None: it belongs to no single key."""
    if len(row_key) < KEY_OFFSET:
        return None
    if row_key[0] == KEYS:
        return row_key[1], row_key[KEY_OFFSET:]
    if row_key[0] == EXPIRES:
        return expiry_of(row_key)[1:]
    return None


def pack_value(kind: int, expires_ms: int, version: int, value: bytes) -> bytes:
    """The value of a `keys` row; `expires_ms` 0: never."""
    return _KEY_VALUE.pack(kind, expires_ms, version) + value


def unpack_value(row: bytes) -> tuple[int, int, int]:
    """Type, expiry and version of a `keys` row's value; the rest begins at VALUE_OFFSET."""
    return _KEY_VALUE.unpack_from(row)


def counts_row(db: int) -> bytes:
    """The key of a place's counters."""
    return bytes((COUNTS, db))


def pack_counts(keys: int, expiring: int) -> bytes:
    """The value of a `counts` row."""
    return _COUNTS_VALUE.pack(keys, expiring)


def unpack_counts(row: bytes | None) -> tuple[int, int]:
    """Number of keys, and of those with an expiry."""
    return (0, 0) if row is None else _COUNTS_VALUE.unpack(row)


def place_row(database: int) -> bytes:
    """The key of the row that tells where a database is stored."""
    return bytes((PLACES, database))


class _Absent:
    """The type of a row that the overlay says nothing of."""


_ABSENT: Final = _Absent()


@dataclass(slots=True)
class _RangeDelete:
    """Stands beside its first row key where other changes have a value."""

    end: bytes


class PendingRows:
    """The store's rows with the changes that are not written yet on top; undoes one command.

    Changes are only noted, in their order: most rows are never looked at before they are written, so an
    overlay to look into is made of them when somebody reads.

    Invariants: what is read here is what will be read from the store once `write` succeeded. `_puts` and
    `_ranges` are the first `_folded` of `_changes`.
    """

    __slots__ = (
        "_changes",
        "_folded",
        "_has_range_deletes",
        "_puts",
        "_ranges",
        "_sorted_keys",
        "_store",
        "change",
        "savepoint",
    )

    def __init__(self, store: RowStore) -> None:
        self._store = store
        self._changes: list[tuple[bytes, bytes | _RangeDelete | None]] = []
        #: Put or (None) delete one row. This and `savepoint` are bound methods of the list's own, since
        #: they are called for every command: a third of the cost of a method around them.
        self.change: Callable[[tuple[bytes, bytes | None]], None] = self._changes.append
        #: Begin a command: what it gives, `rollback` takes.
        self.savepoint: Callable[[], int] = self._changes.__len__
        self._folded = 0
        #: Among the changes that are not folded yet.
        self._has_range_deletes = False
        self._puts: dict[bytes, bytes | None] = {}
        #: Deleted before `_puts` are put.
        self._ranges: list[tuple[bytes, bytes]] = []
        #: The keys of `_puts` in order. Invariant: they are all of them when there are as many, for a
        #: key leaves `_puts` only where this is emptied.
        self._sorted_keys: list[bytes] = []

    def get(self, row_key: bytes) -> bytes | None:
        """One row's value."""
        self._fold()
        found = self._puts.get(row_key, _ABSENT)
        if found is not _ABSENT:
            return found  # type: ignore[return-value]  # the sentinel was ruled out
        if self._ranges and _is_covered(row_key, self._ranges):
            return None
        return self._store.get(row_key)

    def get_many(self, row_keys: list[bytes]) -> list[bytes | None]:
        """The rows' values, in the order of the keys."""
        self._fold()
        if self._puts or self._ranges:
            return [self.get(row_key) for row_key in row_keys]
        return self._store.get_many(row_keys)

    def put(self, row_key: bytes, value: bytes) -> None:
        """Set one row."""
        self.change((row_key, value))

    def delete(self, row_key: bytes) -> None:
        """Delete one row, there or not."""
        self.change((row_key, None))

    def delete_range(self, first: bytes, end: bytes) -> None:
        """Delete the rows of [first, end)."""
        doomed = []
        for row_key, _ in self.scan(first, end):
            doomed.append(row_key)
            if len(doomed) > POINT_DELETES_MAX:
                break
        if len(doomed) <= POINT_DELETES_MAX:
            for row_key in doomed:
                self.delete(row_key)
            return
        self._changes.append((first, _RangeDelete(end)))
        self._has_range_deletes = True

    def scan(self, first: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """The rows of [first, end) as they are at the moment of this call."""
        self._fold()
        stored = self._store.scan(first, end)
        if not self._puts and not self._ranges:
            return stored
        return _merge(stored, self._changed(first, end), tuple(self._ranges))

    def _changed(self, first: bytes, end: bytes | None) -> list[tuple[bytes, bytes | None]]:
        """The changed rows of a range, in order."""
        puts = self._puts
        if len(self._sorted_keys) != len(puts):
            self._sorted_keys = sorted(puts)
        keys = self._sorted_keys
        end_position = len(keys) if end is None else bisect_left(keys, end)
        return [(key, puts[key]) for key in keys[bisect_left(keys, first) : end_position]]

    def rollback(self, savepoint: int) -> list[bytes]:
        """Take back every change since `savepoint`; give the keys of the rows that were changed.

        Of a deleted range that is its first row key, whether there is such a row or not.
        """
        undone = [row_key for row_key, _ in self._changes[savepoint:]]
        del self._changes[savepoint:]
        if self._folded > savepoint:
            self._forget_folded()
            self._has_range_deletes = any(type(change) is _RangeDelete for _, change in self._changes)
        return undone

    def write(self, applied: AppliedState) -> None:
        """Store all changes together with `applied`. Raises `WriteStalled`: everything stays as it is."""
        self._fold()
        self._store.write(self._puts, self._ranges, applied)
        self._changes.clear()
        self._forget_folded()

    def _fold(self) -> None:
        """Bring the overlay up to date."""
        changes = self._changes
        if self._folded == len(changes):
            return
        new = changes[self._folded :]
        if self._has_range_deletes:
            for row_key, change in new:
                self._fold_one(row_key, change)
            self._has_range_deletes = False
        else:
            self._puts.update(new)  # type: ignore[arg-type]  # there are puts and deletes alone
        self._folded = len(changes)

    def _fold_one(self, row_key: bytes, change: bytes | _RangeDelete | None) -> None:
        if not isinstance(change, _RangeDelete):
            self._puts[row_key] = change
            return
        doomed = row_key, change.end
        self._puts = {key: value for key, value in self._puts.items() if not row_key <= key < change.end}
        if doomed not in self._ranges:
            self._ranges.append(doomed)
        self._sorted_keys = []

    def _forget_folded(self) -> None:
        self._puts = {}
        self._ranges = []
        self._sorted_keys = []
        self._folded = 0


def _is_covered(row_key: bytes, ranges: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(first <= row_key < end for first, end in ranges)


def _merge(
    stored: Iterator[tuple[bytes, bytes]],
    changed: list[tuple[bytes, bytes | None]],
    ranges: Sequence[tuple[bytes, bytes]],
) -> Iterator[tuple[bytes, bytes]]:
    """Lay changed rows over the stored ones; both ascend."""
    position = 0
    for row_key, value in stored:
        while position < len(changed) and changed[position][0] < row_key:
            changed_key, changed_value = changed[position]
            position += 1
            if changed_value is not None:
                yield changed_key, changed_value
        if position < len(changed) and changed[position][0] == row_key:
            continue  # the changed row comes next, by the loop above or the one below
        if not _is_covered(row_key, ranges):
            yield row_key, value
    for changed_key, changed_value in changed[position:]:
        if changed_value is not None:
            yield changed_key, changed_value
