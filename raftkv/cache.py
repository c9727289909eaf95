"""A bounded cache of live values by key, one dict per database.

Knows rows by name only: what it forgets is in the rows, and is read from there again. Old values are
forgotten first, those read since the last look get a second chance: a hit costs one assignment, where
keeping the exact order of use would cost a move. An OrderedDict, for the first key of a plain dict whose
first keys were removed is found by walking over their remains.

Invariant: `size_bytes` is the sum of `cost_bytes` over all records held.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

#: What a cached record costs in memory on top of its key (held twice) and its value, about.
_OVERHEAD_BYTES: Final = 300

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


class RecordCache:
    """Records of all databases; `records` are those of the selected one."""

    __slots__ = ("_by_db", "_bytes_max", "records", "size_bytes")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.size_bytes = 0
        #: For look-ups alone: a hit sets the record's `used_ms`.
        self.records: OrderedDict[bytes, Record] = OrderedDict()
        self._by_db: dict[int, OrderedDict[bytes, Record]] = {0: self.records}

    def select(self, db: int) -> None:
        """Let `records` be those of a database."""
        records = self._by_db.get(db)
        if records is None:
            records = self._by_db[db] = OrderedDict()
        self.records = records

    def add(self, key: bytes, record: Record) -> None:
        """Take a record of the selected database that is not held yet."""
        self.records[key] = record
        self.size_bytes += cost_bytes(key, record)
        if self.size_bytes > self._bytes_max:
            self._trim(key)

    def resize(self, key: bytes, grown_bytes: int) -> None:
        """Note that the value of the selected database's `key` has grown; a record not held may be named."""
        if key in self.records:
            self.size_bytes += grown_bytes
            if self.size_bytes > self._bytes_max:
                self._trim(key)

    def drop(self, db: int, key: bytes) -> None:
        """Forget one record, held or not."""
        records = self._by_db.get(db)
        if records is not None and key in records:
            self.size_bytes -= cost_bytes(key, records.pop(key))

    def clear(self) -> None:
        """Forget everything."""
        for records in self._by_db.values():
            records.clear()
        self.size_bytes = 0

    def _trim(self, newest: bytes) -> None:
        """Forget until the rest fits; the selected database's `newest` stays, however large it is."""
        chances_left = CHANCES_MAX
        while self.size_bytes > self._bytes_max:
            # One database is not starved by another that was there first.
            records = max(self._by_db.values(), key=self._others_count)
            if not self._others_count(records):
                return
            key, record = records.popitem(last=False)
            if records is self.records and key == newest:
                records[key] = record
            elif record.used_ms != record.spared_ms and chances_left:
                chances_left -= 1
                record.spared_ms = record.used_ms
                records[key] = record
            else:
                self.size_bytes -= cost_bytes(key, record)

    def _others_count(self, records: OrderedDict[bytes, Record]) -> int:
        """How many of a database's records are not the newest one, which the selected database holds."""
        return len(records) - (records is self.records)


def cost_bytes(key: bytes, record: Record) -> int:
    """What a record costs in memory, about."""
    return 2 * len(key) + len(record.value) + _OVERHEAD_BYTES
