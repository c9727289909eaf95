"""One group's Raft log and hard state in the database that all groups share.

Knows nothing of Raft's rules: it stores what the core accepted and gives it back, and drops from the
front what it is told to (Raft §7, compaction) while it remembers the last entry dropped, the boundary:

    dropped ... boundary | first_index ... last_index        first_index == boundary.index + 1, always;
                                                             empty: last_index == boundary.index

Invariants:
* The indexes of a group's entries have no gap, and their terms never fall (Raft §5.3, log matching).
* The boundary moves in the same batch as the entries go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rocksdict import Rdict, ReadOptions, WriteBatch

from raftkv.raft.codec import ENTRY_HEADER_BYTES
from raftkv.raft.types import Compacted, Entry, EntryId, HardState
from raftkv.storage.errors import LogCorrupted
from raftkv.storage.log_rows import (
    LogKeys,
    boundary_of,
    boundary_row,
    entry_of,
    entry_row,
    hard_state_of,
    hard_state_row,
    index_of,
)
from raftkv.storage.log_writes import LogWrites, log_failures
from raftkv.storage.term_runs import TermRuns

#: How much of the newest end is read and checked at start.
VERIFIED_ENTRIES_MAX = 10_000
VERIFIED_BYTES_MAX = 64 << 20
#: Above this many rows a deletion is one range tombstone, which slows every later read a little.
_POINT_DELETES_MAX = 256


class GroupLog:
    """One group's log and hard state: the core's `LogReader`, and where its Readys are written."""

    def __init__(self, database: Rdict, writes: LogWrites, group_id: int) -> None:
        """Find the ends of the log and check the newest part. Raises LogCorrupted, StorageFailure."""
        self._database = database
        self._appended_bytes = 0
        #: What was dropped before this index takes no space any more. Written by `reclaim`'s thread alone.
        self._reclaimed_index = 0
        self._writes = writes
        self._keys = LogKeys(group_id)
        #: Confine an iterator to this group's entries.
        self._bounds = ReadOptions()
        self._bounds.set_iterate_lower_bound(self._keys.entries_first)
        self._bounds.set_iterate_upper_bound(self._keys.entries_end)
        with log_failures("reading the Raft log"):
            self._hard_state = hard_state_of(database.get(self._keys.hard_state))
            self._boundary = boundary_of(database.get(self._keys.boundary))
            self._first_index = self._boundary.index + 1
            self._last_index = self._find_last_index()
            self._verify_newest()
            self._runs = TermRuns(self._first_index, self._last_index + 1, self._stored_term)
        self._check_boundary_term()

    @property
    def appended_bytes(self) -> int:
        """Bytes of all entries written since the log was opened."""
        return self._appended_bytes

    @property
    def hard_state(self) -> HardState:
        """What was written last."""
        return self._hard_state

    @property
    def boundary(self) -> EntryId:
        """The last entry that was dropped; index 0 and term 0: none ever was."""
        return self._boundary

    @property
    def first_index(self) -> int:
        """The oldest entry held; `last_index + 1` when there is none."""
        return self._first_index

    @property
    def last_index(self) -> int:
        """The newest entry held; when there is none the boundary's index."""
        return self._last_index

    def term_at(self, index: int) -> int:
        """Give the term of the entry at `index`, of the boundary too, without reading. Raises Compacted."""
        assert index <= self._last_index, f"term of entry {index} beyond the last one, {self._last_index}"
        if index >= self._first_index:
            return self._runs.term_at(index)
        if index == self._boundary.index:
            return self._boundary.term
        raise Compacted(self._first_index)

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Write the hard state, if given, and `entries`, of which the first takes its place in the log.

        Whatever was at that index and after it is gone; both happen or neither. Durable after the next
        `sync`. Waits while RocksDB has three full write buffers yet to flush.
        Raises StorageFailure, and from then on always: what failed once is not tried again.
        """
        batch = WriteBatch(raw_mode=True)
        if hard_state is not None:
            batch.put(self._keys.hard_state, hard_state_row(hard_state))
        if entries:
            self._check_fits(entries)
            prefix = self._keys.entries_first
            for entry in entries:
                batch.put(prefix + entry.index.to_bytes(8, "big"), entry_row(entry))
                self._appended_bytes += len(entry.payload) + ENTRY_HEADER_BYTES
            self._delete(batch, first=entries[-1].index + 1, end=self._last_index + 1)
        self._writes.write(batch)
        if hard_state is not None:
            self._hard_state = hard_state
        if entries:
            self._runs.replace_from(entries)
            self._last_index = entries[-1].index

    def compact(self, to_index: int) -> None:
        """Drop the entries up to `to_index`, which the log has; less than was dropped before is no news.

        They must never be needed again, also after a loss of power: what was made of them is durable. The
        space comes back some time later. Raises StorageFailure, as `append`.
        """
        assert to_index <= self._last_index, f"compaction to {to_index}, the last entry is {self._last_index}"
        if to_index < self._first_index:
            return
        boundary = EntryId(self.term_at(to_index), to_index)
        batch = WriteBatch(raw_mode=True)
        self._delete(batch, first=self._first_index, end=to_index + 1)
        batch.put(self._keys.boundary, boundary_row(boundary))
        self._writes.write(batch)
        self._boundary, self._first_index = boundary, to_index + 1
        if to_index < self._last_index:
            self._runs.drop_below(self._first_index)
        else:
            self._runs.clear()

    def reclaim(self) -> None:
        """Give back the space of what was dropped so far; see `LogStore.reclaim`."""
        first_index = self._first_index
        if first_index == self._reclaimed_index:
            return
        with log_failures("compacting the Raft log"):
            self._database.compact_range(self._keys.entries_first, self._keys.entry(first_index))
        self._reclaimed_index = first_index

    def reset(self, boundary: EntryId) -> None:
        """Drop every entry, and begin behind `boundary`; the hard state stays.

        For a state that was installed from elsewhere and is durable. Raises StorageFailure, as `append`.
        """
        assert boundary.index >= self._boundary.index, (
            f"reset to {boundary.index} below what was dropped, {self._boundary.index}"
        )
        batch = WriteBatch(raw_mode=True)
        self._delete(batch, first=self._first_index, end=self._last_index + 1)
        batch.put(self._keys.boundary, boundary_row(boundary))
        self._writes.write(batch)
        self._boundary = boundary
        self._first_index, self._last_index = boundary.index + 1, boundary.index
        self._runs.clear()

    def read(self, first: int, end: int, bytes_max: int) -> list[Entry]:
        """Give the entries of [first, end), cut at `bytes_max` payload bytes but never empty.

        Raises Compacted, LogCorrupted and StorageFailure.
        """
        if first < self._first_index:
            raise Compacted(self._first_index)
        assert first < end <= self._last_index + 1, f"entries [{first}, {end}) of {self._last_index}"
        entries: list[Entry] = []
        size = 0
        with log_failures("reading the Raft log"):
            for entry in self._iterate(first, end):
                size += len(entry.payload)
                if entries and size > bytes_max:
                    break
                entries.append(entry)
        return entries

    def _check_fits(self, entries: Sequence[Entry]) -> None:
        first = entries[0].index
        assert self._first_index <= first <= self._last_index + 1, (
            f"entry {first} does not fit a log of [{self._first_index}, {self._last_index + 1})"
        )
        term = self.term_at(first - 1)
        for index, entry in enumerate(entries, first):
            assert entry.index == index, f"entry {entry.index} at the place of entry {index}"
            assert entry.term >= term, f"entry {index} of term {entry.term} after term {term}"
            term = entry.term

    def _delete(self, batch: WriteBatch, *, first: int, end: int) -> None:
        """Have the batch delete the rows of [first, end)."""
        if end - first > _POINT_DELETES_MAX:
            batch.delete_range(self._keys.entry(first), self._keys.entry(end))
        else:
            for index in range(first, end):
                batch.delete(self._keys.entry(index))

    def _find_last_index(self) -> int:
        """Find the last entry, and see that the first one is where the boundary says; by one seek each."""
        iterator = self._database.iter(self._bounds)
        iterator.seek(self._keys.entries_first)
        if not iterator.valid():
            iterator.status()
            return self._boundary.index
        found = index_of(iterator.key())
        if found < self._first_index:
            raise LogCorrupted(
                found, f"its row is there, though all up to {self._boundary.index} were dropped"
            )
        if found > self._first_index:
            raise LogCorrupted(self._first_index, "its row is missing")
        iterator.seek_to_last()
        if not iterator.valid():
            iterator.status()
            raise LogCorrupted(found, "the last entry can't be found")
        return index_of(iterator.key())

    def _verify_newest(self) -> None:
        """Read the newest entries: each must be there, whole, and of no lower term than the one before."""
        first = max(self._first_index, self._last_index + 1 - VERIFIED_ENTRIES_MAX)
        iterator = self._database.iter(self._bounds)
        iterator.seek_to_last()
        term, size = 0, 0
        for index in range(self._last_index, first - 1, -1):
            if not iterator.valid():
                iterator.status()
            entry = entry_of(index, iterator.key(), iterator.value())
            if term and entry.term > term:
                raise LogCorrupted(index, f"its term {entry.term} is above the next entry's, {term}")
            term, size = entry.term, size + len(entry.payload)
            if size > VERIFIED_BYTES_MAX:
                return
            iterator.prev()

    def _check_boundary_term(self) -> None:
        first = self._first_index
        if first <= self._last_index and self.term_at(first) < self._boundary.term:
            raise LogCorrupted(
                first,
                f"its term {self.term_at(first)} is below the last dropped entry's, {self._boundary.term}",
            )

    def _stored_term(self, index: int) -> int:
        key = self._keys.entry(index)
        return entry_of(index, key, self._database.get(key)).term

    def _iterate(self, first: int, end: int) -> Iterator[Entry]:
        iterator = self._database.iter(self._bounds)
        iterator.seek(self._keys.entry(first))
        for index in range(first, end):
            if not iterator.valid():
                iterator.status()
            yield entry_of(index, iterator.key(), iterator.value())
            iterator.next()
