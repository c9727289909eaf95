"""The log as Raft sees it: a tail in memory over the durable log, and the cursors along it.

Knows no terms' meaning, no roles, no peers; it writes nothing, but hands out what is to be written.

Invariants, checked whenever a cursor moves::

    last_applied <= applying_index <= min(commit_index, persisted_index)
    persisted_index <= accepted_index <= last_index
    commit_index <= last_index

Entries up to `accepted_index` were handed to the driver and can be read back through the
LogReader; everything above is in memory alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass

from raftkv.raft.types import Compacted, Entry, EntryId, LogReader

#: What an entry costs in memory on top of its payload, about.
ENTRY_OVERHEAD_BYTES = 128


@dataclass(slots=True)
class _Write:
    """One Ready's entries on their way to the disk."""

    #: The last entry, by which the driver reports the write.
    term: int
    index: int
    #: Once the write is durable so is the present log up to here. Falls when the log is cut.
    durable_index: int


class RaftLog:
    """One node's log; see the module's docstring for the order of its cursors."""

    __slots__ = (
        "_boundary",
        "_cache",
        "_cache_bytes",
        "_cache_bytes_max",
        "_cache_first",
        "_reader",
        "_writes",
        "accepted_index",
        "applying_index",
        "commit_index",
        "last_applied",
        "last_index",
        "last_term",
        "persisted_index",
    )

    def __init__(self, reader: LogReader, *, applied: EntryId, cache_bytes_max: int) -> None:
        """Start from a durable log, of which everything up to `applied` is known to be committed."""
        self._reader = reader
        #: The snapshot that the log begins behind since this node got one: until the driver has carried it
        #: out, the reader still holds what was before it.
        self._boundary = EntryId(0, 0)
        #: The newest entries, those above `accepted_index` always among them.
        self._cache: list[Entry] = []
        #: Index of `_cache[0]`, or of the next entry while it is empty.
        self._cache_first = reader.last_index + 1
        self._cache_bytes = 0
        self._cache_bytes_max = cache_bytes_max
        self._writes: deque[_Write] = deque()
        self.last_index = reader.last_index
        self.last_term = reader.term_at(reader.last_index)
        #: Handed to the driver up to here.
        self.accepted_index = self.last_index
        #: Durable up to here.
        self.persisted_index = self.last_index
        self.commit_index = applied.index
        #: Handed out for applying up to here.
        self.applying_index = applied.index
        self.last_applied = applied.index
        self._check_cursors()

    @property
    def first_index(self) -> int:
        """The oldest entry that can still be read; `last_index + 1` when there is none."""
        return max(self._boundary.index + 1, min(self._reader.first_index, self._cache_first))

    @property
    def boundary_index(self) -> int:
        """From here on every entry's term is known; what is before was dropped."""
        return max(self._boundary.index, self._reader.first_index - 1)

    @property
    def has_unaccepted(self) -> bool:
        """Whether `take_unaccepted` would hand out anything."""
        return self.accepted_index < self.last_index

    @property
    def has_committed(self) -> bool:
        """Whether `take_committed` would hand out anything."""
        return self.applying_index < self.commit_index and self.applying_index < self.persisted_index

    def term_at(self, index: int) -> int:
        """Return the term of the entry at `index`, 0 for index 0. Raises Compacted."""
        assert index <= self.last_index, f"term of entry {index} beyond the last one, {self.last_index}"
        position = index - self._cache_first
        if position >= 0:
            return self._cache[position].term
        if index <= self._boundary.index:
            if index == self._boundary.index:
                return self._boundary.term
            if index > 0:
                raise Compacted(self._boundary.index + 1)
        return self._reader.term_at(index)

    def has_entry(self, *, index: int, term: int) -> bool:
        """Tell whether the log holds exactly this entry (Raft §5.3, the consistency check)."""
        return index <= self.last_index and self.term_at(index) == term

    def is_up_to_date(self, *, last_log_index: int, last_log_term: int) -> bool:
        """Tell whether a log that ends so is at least as up to date as this one (Raft §5.4.1)."""
        if last_log_term != self.last_term:
            return last_log_term > self.last_term
        return last_log_index >= self.last_index

    def first_index_of_term_at(self, index: int) -> int:
        """Return the first uncommitted index with the same term as the one at `index`."""
        assert index > self.commit_index, f"entry {index} is committed, yet the leader has another one"
        uncommitted = range(self.commit_index + 1, index + 1)
        return uncommitted[0] + bisect_left(uncommitted, self.term_at(index), key=self.term_at)

    def last_index_of_term(self, term: int, first: int, end: int) -> int:
        """Return the last index of [first, end) whose term is `term`; 0 when there is none."""
        position = bisect_right(range(first, end), term, key=self.term_at)
        index = first + position - 1
        return index if position > 0 and self.term_at(index) == term else 0

    def entries(self, first: int, end: int, bytes_max: int) -> list[Entry]:
        """Return entries from `first` on, at least one, short of `end` and within `bytes_max`.

        They may also end where memory begins. Raises Compacted.
        """
        assert first < end <= self.last_index + 1, f"entries [{first}, {end}) of {self.last_index}"
        if first <= self._boundary.index:
            raise Compacted(self._boundary.index + 1)
        if first < self._cache_first:
            return self._reader.read(first, min(end, self._cache_first), bytes_max)
        cache = self._cache
        start = first - self._cache_first
        stop = end - self._cache_first
        size = len(cache[start].payload)
        position = start + 1
        while position < stop:
            size += len(cache[position].payload)
            if size > bytes_max:
                break
            position += 1
        return cache[start:position]

    def append(self, entry: Entry) -> None:
        """Append the next entry of a leader."""
        assert entry.index == self.last_index + 1, f"entry {entry.index} after {self.last_index}"
        assert entry.term >= self.last_term, f"term {entry.term} after {self.last_term}"
        self._cache.append(entry)
        self._cache_bytes += len(entry.payload) + ENTRY_OVERHEAD_BYTES
        self.last_index = entry.index
        self.last_term = entry.term

    def append_from_leader(self, entries: list[Entry]) -> list[Entry]:
        """Append what is new of a leader's entries and return it; the entry before them is known to match.

        What already matches stays, and so does what follows it: an AppendEntries may be old
        (Raft Figure 2, AppendEntries 3: only a conflict cuts).
        """
        if entries and entries[0].index <= self.last_index:
            entries = self._cut_at_conflict(entries)
        for entry in entries:
            self.append(entry)
        return entries

    def restore(self, snapshot: EntryId) -> None:
        """Begin anew behind a snapshot, which is durable and applied as soon as the driver hears of it."""
        assert snapshot.index > self.commit_index, f"snapshot {snapshot}, committed up to {self.commit_index}"
        self._boundary = snapshot
        self._cache = []
        self._cache_first = snapshot.index + 1
        self._cache_bytes = 0
        self._writes.clear()
        self.last_index = self.accepted_index = self.persisted_index = snapshot.index
        self.last_term = snapshot.term
        self.commit_index = self.applying_index = self.last_applied = snapshot.index

    def take_unaccepted(self) -> list[Entry]:
        """Return the entries to be written next; they count as accepted from now on."""
        if self.accepted_index == self.last_index:
            return []
        entries = self._cache[self.accepted_index + 1 - self._cache_first :]
        self.accepted_index = self.last_index
        self._writes.append(_Write(self.last_term, self.last_index, self.last_index))
        return entries

    def take_committed(self, bytes_max: int) -> list[Entry]:
        """Return the entries to be applied next; they count as being applied from now on."""
        end = min(self.commit_index, self.persisted_index) + 1
        if self.applying_index + 1 >= end:
            return []
        entries = self.entries(self.applying_index + 1, end, bytes_max)
        self.applying_index = entries[-1].index
        return entries

    def persist_to(self, entry_id: EntryId) -> bool:
        """Note that the write that ended with `entry_id` is durable; tell whether that moved anything.

        The report names a write, not a place of the log. Were it taken for a place, then:

        1. term 1's entry 5 is written; 2. a leader of term 2 replaces it; 3. a leader of term 3,
        which has term 1's entry 5, replaces it back; 4. the report of the first write arrives.

        It would count the third write as durable, while a crash may yet bring back the second.
        """
        writes = self._writes
        if not any(write.index == entry_id.index and write.term == entry_id.term for write in writes):
            return False
        write = writes.popleft()
        while write.index != entry_id.index or write.term != entry_id.term:
            write = writes.popleft()
        if write.durable_index <= self.persisted_index:
            return False
        self.persisted_index = write.durable_index
        self._check_cursors()
        return True

    def commit_to(self, index: int) -> None:
        """Raise the commit index to `index`; a lower one is old news."""
        if index > self.commit_index:
            self.commit_index = index
            self._check_cursors()

    def apply_to(self, index: int) -> None:
        """Note that the state machine has applied everything up to `index`."""
        assert index >= self.last_applied, f"applied {index} after {self.last_applied}"
        self.last_applied = index
        self._check_cursors()
        if self._cache_bytes > self._cache_bytes_max:
            self._trim()

    def _cut_at_conflict(self, entries: list[Entry]) -> list[Entry]:
        """Cut the log where it first differs from `entries`; return those that are missing here."""
        for position, entry in enumerate(entries):
            if entry.index > self.last_index:
                return entries[position:]
            if self.term_at(entry.index) != entry.term:
                self._cut(entry.index)
                return entries[position:]
        return []

    def _cut(self, index: int) -> None:
        """Drop the entry at `index` and everything behind it."""
        assert index > self.commit_index, f"cut at {index}, committed up to {self.commit_index}"
        kept = max(0, index - self._cache_first)
        self._cache_bytes -= _memory_bytes(self._cache[kept:])
        del self._cache[kept:]
        self._cache_first = min(self._cache_first, index)
        self.last_index = index - 1
        self.last_term = self.term_at(self.last_index)
        self.accepted_index = min(self.accepted_index, self.last_index)
        self.persisted_index = min(self.persisted_index, self.last_index)
        for write in self._writes:
            write.durable_index = min(write.durable_index, self.last_index)
        self._check_cursors()

    def _trim(self) -> None:
        """Forget old entries that are applied, down to 7/8 of the limit: not a few at each call."""
        wanted_bytes = self._cache_bytes_max * 7 // 8
        droppable = min(self.last_applied, self.accepted_index) + 1 - self._cache_first
        count = 0
        while count < droppable and self._cache_bytes > wanted_bytes:
            self._cache_bytes -= len(self._cache[count].payload) + ENTRY_OVERHEAD_BYTES
            count += 1
        del self._cache[:count]
        self._cache_first += count

    def _check_cursors(self) -> None:
        is_in_order = (
            self.last_applied <= self.applying_index <= self.commit_index <= self.last_index
            and self.applying_index <= self.persisted_index <= self.accepted_index <= self.last_index
        )
        assert is_in_order, (
            f"cursors out of order: applied {self.last_applied}, applying {self.applying_index},"
            f" committed {self.commit_index}, persisted {self.persisted_index},"
            f" accepted {self.accepted_index}, last {self.last_index}"
        )


def _memory_bytes(entries: list[Entry]) -> int:
    return sum(len(entry.payload) + ENTRY_OVERHEAD_BYTES for entry in entries)
