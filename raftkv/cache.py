"""A bounded cache of live values by key, apart for each database.

Knows rows by name only: what it forgets is in the rows, and is read from there again. Old values are
forgotten first, those read since the last look get a second chance: a hit costs one assignment, where
keeping the exact order of use would cost a move. OrderedDicts, for the first key of a plain dict whose
first keys were removed is found by walking over their remains; and many of them, for one that outgrows its
table moves all it holds to a larger one: 130 ms with 700,000 records.

Invariants: `size_bytes` is the sum of `cost_bytes` over all records held; a record is in the shard that its
key's hash says.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

#: What a cached record costs in memory on top of its key (held twice) and its value, about.
_OVERHEAD_BYTES: Final = 300

#: The bits of a key's hash that say in which shard its record is.
SHARD_MASK: Final = 63

#: Second chances that making room once gives: with all keys in use, a look at each would stop the node.
CHANCES_MAX: Final = 16


@dataclass(slots=True)
class Record:
    """A key as it stands in the rows, or its absence. The keyspace changes it; others only read."""

    row_key: bytes
    #: The type byte of its row; `rows.ABSENT`: there is no row, and no other field counts.
    kind: int
    #: Milliseconds of the Unix epoch, log time; 0: never.
    expires_ms: int
    #: Log index of the last change.
    version: int
    value: bytes
    #: When this node last used it, by the log clock. Used anew, it is worth keeping.
    used_ms: int = 0
    #: Its `used_ms` when the cache last looked for something to forget and came by, or at first.
    spared_ms: int = 0


class _Shelf:
    """One database's records."""

    __slots__ = ("count", "hand", "shards")

    def __init__(self) -> None:
        self.shards: list[OrderedDict[bytes, Record]] = [OrderedDict() for _ in range(SHARD_MASK + 1)]
        #: Records in all of them.
        self.count = 0
        #: The shard where something was forgotten last.
        self.hand = 0


class RecordCache:
    """Records of all databases."""

    __slots__ = ("_bytes_max", "_shelf", "_shelves", "shards", "size_bytes")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.size_bytes = 0
        self._shelves: dict[int, _Shelf] = {}
        self._shelf: _Shelf
        #: The selected database's records, for look-ups alone: that of a key is in
        #: `shards[hash(key) & SHARD_MASK]`, if it is held. A hit sets its `used_ms`.
        self.shards: list[OrderedDict[bytes, Record]]
        self.select(0)

    def __len__(self) -> int:
        """Records held of the selected database."""
        return self._shelf.count

    def select(self, db: int) -> None:
        """Let `shards` be those of a database."""
        shelf = self._shelves.get(db)
        if shelf is None:
            shelf = self._shelves[db] = _Shelf()
        self._shelf = shelf
        self.shards = shelf.shards

    def get(self, key: bytes) -> Record | None:
        """The record of the selected database's key, if it is held."""
        return self.shards[hash(key) & SHARD_MASK].get(key)

    def add(self, key: bytes, record: Record) -> None:
        """Take a record of the selected database that is not held yet."""
        self.shards[hash(key) & SHARD_MASK][key] = record
        self._shelf.count += 1
        self.size_bytes += cost_bytes(key, record)
        if self.size_bytes > self._bytes_max:
            self._trim(key)

    def resize(self, key: bytes, grown_bytes: int) -> None:
        """Note that the value of the selected database's `key` has grown; a record not held may be named."""
        if key in self.shards[hash(key) & SHARD_MASK]:
            self.size_bytes += grown_bytes
            if self.size_bytes > self._bytes_max:
                self._trim(key)

    def drop(self, db: int, key: bytes) -> None:
        """Forget one record, held or not."""
        shelf = self._shelves.get(db)
        if shelf is not None:
            record = shelf.shards[hash(key) & SHARD_MASK].pop(key, None)
            if record is not None:
                shelf.count -= 1
                self.size_bytes -= cost_bytes(key, record)

    def clear(self) -> None:
        """Forget everything."""
        for shelf in self._shelves.values():
            shelf.count = 0
            for records in shelf.shards:
                records.clear()
        self.size_bytes = 0

    def _trim(self, newest: bytes) -> None:
        """Forget until the rest fits; the selected database's `newest` stays, however large it is."""
        chances_left = CHANCES_MAX
        while self.size_bytes > self._bytes_max:
            # One database is not starved by another that was there first.
            shelf = max(self._shelves.values(), key=self._others_count)
            if not self._others_count(shelf):
                return
            shelf.hand = hand = (shelf.hand + 1) & SHARD_MASK
            records = shelf.shards[hand]
            if not records:
                continue
            key, record = records.popitem(last=False)
            if shelf is self._shelf and key == newest:
                records[key] = record
            elif record.used_ms != record.spared_ms and chances_left:
                chances_left -= 1
                record.spared_ms = record.used_ms
                records[key] = record
            else:
                shelf.count -= 1
                self.size_bytes -= cost_bytes(key, record)

    def _others_count(self, shelf: _Shelf) -> int:
        """How many of a database's records are not the newest one, which the selected database holds."""
        return shelf.count - (shelf is self._shelf)


def cost_bytes(key: bytes, record: Record) -> int:
    """What a record costs in memory, about."""
    return 2 * len(key) + len(record.value) + _OVERHEAD_BYTES
