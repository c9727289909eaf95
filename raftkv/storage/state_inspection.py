"""Reads every row of a closed state and says what is wrong: with a row, or with rows that must agree.

Leaves the state as it is. Knows the layout in `rows`; nothing of what values mean, or of the log.
Reading a row checks RocksDB's checksum of the block that it is in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rocksdict import Rdict, ReadOptions

from raftkv import rows
from raftkv.applied import AppliedState
from raftkv.commands.kinds import TYPE_NAMES
from raftkv.places import DATABASE_COUNT
from raftkv.raft import decode_membership
from raftkv.raft.types import ProtocolError
from raftkv.storage.errors import StorageFailure
from raftkv.storage.findings import Findings, OnProgress
from raftkv.storage.kv_store import APPLIED_KEY, applied_of, state_options
from raftkv.storage.rocks import opened_to_read

PART: Final = "state"
_CACHE_BYTES: Final = 8 << 20
#: Rows whose counterparts are looked up at once.
_LOOKUPS_PER_TURN: Final = 1000
_KEYS_VALUE_BYTES: Final = rows.VALUE_OFFSET
_EXPIRES_KEY_BYTES_MIN: Final = 16
_COUNTS_VALUE_BYTES: Final = 16
_TIME_MS_MAX: Final = (1 << 63) - 1


@contextmanager
def closed_state(path: Path) -> Iterator[Rdict]:
    """Open the state at `path` to read it. Raises StorageFailure, as does what is read in the block."""
    options = state_options(_CACHE_BYTES)
    # Every table is opened at once: one that is missing is found.
    options.set_max_open_files(-1)
    with opened_to_read(path, options, what="the state") as database:
        yield database


def inspect_applied(path: Path, findings: Findings) -> AppliedState | None:
    """Read how far the state at `path` has come; None: that can't be told."""
    try:
        with closed_state(path) as database:
            applied = applied_of(database.get(APPLIED_KEY))
        if applied.membership:
            decode_membership(applied.membership)
    except StorageFailure as failure:
        findings.add(PART, f"it can't be read: {failure.cause}")
    except ProtocolError as fault:
        findings.add(PART, f"its members: {fault}")
    else:
        return applied
    return None


def inspect_rows(path: Path, findings: Findings, on_progress: OnProgress) -> dict[int, int]:
    """Read every row of the state at `path`; give the number of keys of each place that has some."""
    try:
        with closed_state(path) as database:
            inspection = _Inspection(database, findings)
            total = int(database.property_int_value("rocksdb.estimate-num-keys") or 0)
            inspection.run(lambda done: on_progress(PART, done, total))
            return dict(inspection.keys)
    except StorageFailure as failure:
        findings.add(PART, f"it can't be read any further: {failure.cause}")
    return {}


class _Inspection:
    """One walk over a state, in the order of the rows: all keys come before the expiries and the counts."""

    def __init__(self, database: Rdict, findings: Findings) -> None:
        self._database = database
        self._findings = findings
        self._version_max = applied_of(database.get(APPLIED_KEY)).index
        #: By place.
        self.keys: Counter[int] = Counter()
        self._expiring: Counter[int] = Counter()
        self._counts: dict[int, tuple[int, int]] = {}
        #: Which database is stored where.
        self._places = {database_number: database_number for database_number in range(DATABASE_COUNT)}
        #: Keys of rows to look up; each function says what is wrong with what is found there.
        self._expected: list[tuple[bytes, Callable[[bytes | None], str]]] = []
        self._looks: dict[int, Callable[[bytes, bytes], str]] = {
            rows.KEYS: self._look_at_key,
            rows.EXPIRES: self._look_at_expiry,
            rows.COUNTS: self._look_at_counts,
            rows.PLACES: self._look_at_place,
        }

    def run(self, on_progress: Callable[[int], None]) -> None:
        iterator = self._database.iter(ReadOptions())
        iterator.seek_to_first()
        count = 0
        while iterator.valid():
            self._look_at(iterator.key(), iterator.value())
            iterator.next()
            count += 1
            if count % _LOOKUPS_PER_TURN == 0:
                self._look_up()
                on_progress(count)
        iterator.status()
        self._look_up()
        self._compare_counts()
        if len(set(self._places.values())) != DATABASE_COUNT:
            self._add(f"databases share a place: {self._places}")

    def _look_at(self, row_key: bytes, row: bytes) -> None:
        if row_key == APPLIED_KEY:
            return
        look = self._looks.get(row_key[0]) if row_key else None
        fault = "no table has such a row" if look is None else look(row_key, row)
        if fault:
            self._add(f"the row {_shown(row_key)}: {fault}")

    def _look_at_key(self, row_key: bytes, row: bytes) -> str:
        if len(row_key) < rows.KEY_OFFSET:
            return "its key is too short"
        if row_key != rows.key_row(row_key[1], rows.key_of(row_key)):
            return "it is not in the slot of its key, or its key's hash is another one"
        self.keys[row_key[1]] += 1
        if len(row) < _KEYS_VALUE_BYTES:
            return f"it has {len(row)} bytes, at least {_KEYS_VALUE_BYTES} are expected"
        kind, expires_ms, version = rows.unpack_value(row)
        if expires_ms:
            self._expiring[row_key[1]] += 1
            if expires_ms <= _TIME_MS_MAX:
                expires_row = rows.expires_row(expires_ms, row_key)
                self._expected.append(
                    (
                        expires_row,
                        lambda found: "" if found is not None else f"{_shown(row_key)} lacks its expiry",
                    )
                )
        if kind not in TYPE_NAMES:
            return f"there is no type {kind}"
        if expires_ms > _TIME_MS_MAX:
            return f"it expires at {expires_ms}"
        if version > self._version_max:
            return f"it was written by entry {version}, and the state has come to {self._version_max}"
        return ""

    def _look_at_expiry(self, row_key: bytes, row: bytes) -> str:
        if len(row_key) < _EXPIRES_KEY_BYTES_MIN:
            return "its key is too short"
        if row:
            return f"it has {len(row)} bytes, none are expected"
        expires_ms, place, key = rows.expiry_of(row_key)

        def fault_of(found: bytes | None) -> str:
            if found is None or len(found) < _KEYS_VALUE_BYTES:
                return f"the expiry {_shown(row_key)} has no key"
            key_expires_ms = rows.unpack_value(found)[1]
            return "" if key_expires_ms == expires_ms else f"the expiry {_shown(row_key)} is not its key's"

        key_row = rows.key_row(place, key)
        if rows.expires_row(expires_ms, key_row) != row_key:
            return "it is not in the slot of its key, or its key's hash is another one"
        self._expected.append((key_row, fault_of))
        return ""

    def _look_at_counts(self, row_key: bytes, row: bytes) -> str:
        if len(row_key) != 2 or len(row) != _COUNTS_VALUE_BYTES:
            return "it has a wrong length"
        self._counts[row_key[1]] = rows.unpack_counts(row)
        return ""

    def _look_at_place(self, row_key: bytes, row: bytes) -> str:
        if len(row_key) != 2 or len(row) != 1:
            return "it has a wrong length"
        if row_key[1] >= DATABASE_COUNT or row[0] >= DATABASE_COUNT:
            return f"there are {DATABASE_COUNT} databases"
        self._places[row_key[1]] = row[0]
        return ""

    def _look_up(self) -> None:
        """Look for the rows that belong to those seen since the last time."""
        expected, self._expected = self._expected, []
        if not expected:
            return
        found: Any = self._database.get([row_key for row_key, _ in expected])
        for (_, fault_of), row in zip(expected, found, strict=True):
            fault = fault_of(row)
            if fault:
                self._add(fault)

    def _compare_counts(self) -> None:
        for place in sorted({*self.keys, *self._expiring, *self._counts}):
            found = self.keys[place], self._expiring[place]
            told = self._counts.get(place, (0, 0))
            if found != told:
                self._add(
                    f"place {place} has {found[0]} keys, {found[1]} of which expire,"
                    f" and its counters say {told[0]} and {told[1]}"
                )

    def _add(self, text: str) -> None:
        self._findings.add(PART, text)


def _shown(row_key: bytes) -> str:
    """A client's data stays out of reports but for the beginning of a key."""
    return row_key[:48].hex() + ("..." if len(row_key) > 48 else "")
