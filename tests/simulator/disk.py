"""A node's virtual disk: the log, of which a crash loses the unsynced tail, and `state/`, which has no log.

Knows nothing of Raft's rules. What a crash keeps of the log is a prefix of its writes that holds at
least every synced one. What it keeps of `state/` is the state at some index between the last flush and
the moment of the crash (RocksDB flushes by itself whenever it likes), independent of what the log kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raftkv.raft.types import MEMBERSHIP, Compacted, Entry, EntryId, HardState
from tests.simulator.clock import Timeline


@dataclass(slots=True)
class LogWrite:
    """One atomic write: the log is cut from `entries[0].index` on, then `entries` are appended."""

    hard_state: HardState | None
    entries: Sequence[Entry]
    #: Before that: drop everything up to this entry.
    dropped_to: EntryId | None = None
    #: Before that: drop everything, and begin behind this entry.
    begin_behind: EntryId | None = None


class _Image:
    """A hard state and a log as some sequence of writes left them."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        #: The last entry that was dropped from the beginning.
        self.boundary = EntryId(0, 0)
        self.entries: list[Entry] = []

    @property
    def last_index(self) -> int:
        return self.boundary.index + len(self.entries)

    def apply(self, write: LogWrite) -> None:
        if write.begin_behind is not None:
            self.boundary = write.begin_behind
            self.entries = []
        if write.dropped_to is not None:
            del self.entries[: write.dropped_to.index - self.boundary.index]
            self.boundary = write.dropped_to
        if write.hard_state is not None:
            self.hard_state = HardState(write.hard_state.current_term, write.hard_state.voted_for)
        if write.entries:
            first = write.entries[0].index
            assert self.boundary.index < first <= self.last_index + 1, (
                f"a gap in the log before index {first}"
            )
            del self.entries[first - 1 - self.boundary.index :]
            self.entries.extend(write.entries)

    def term_at(self, index: int) -> int:
        """The term at `index`; 0 where nothing is known."""
        if index == self.boundary.index:
            return self.boundary.term
        if not self.boundary.index < index <= self.last_index:
            return 0
        return self.entries[index - 1 - self.boundary.index].term

    def copy(self) -> _Image:
        image = _Image()
        image.hard_state = HardState(self.hard_state.current_term, self.hard_state.voted_for)
        image.boundary = self.boundary
        image.entries = list(self.entries)
        return image


class VirtualLog:
    """The log store of one node; satisfies `raftkv.raft.types.LogReader`."""

    def __init__(self, on_durable: Callable[[LogWrite], None]) -> None:
        self._on_durable = on_durable
        self._written = _Image()
        self._durable = _Image()
        self._unsynced: list[LogWrite] = []
        self._durable_write_count = 0

    @property
    def hard_state(self) -> HardState:
        """The hard state last written."""
        return self._written.hard_state

    @property
    def boundary(self) -> EntryId:
        """The last entry that was dropped from the beginning."""
        return self._written.boundary

    @property
    def first_index(self) -> int:
        return self._written.boundary.index + 1

    @property
    def last_index(self) -> int:
        return self._written.last_index

    def term_at(self, index: int) -> int:
        if index == 0:
            return 0
        if not self.first_index - 1 <= index <= self.last_index:
            raise Compacted(self.first_index)
        return self._written.term_at(index)

    def read(self, first: int, end: int, bytes_max: int) -> list[Entry]:
        if first < self.first_index:
            raise Compacted(self.first_index)
        found: list[Entry] = []
        size_bytes = 0
        for index in range(first, end):
            entry = self.entry_at(index)
            size_bytes += len(entry.payload)
            if found and size_bytes > bytes_max:
                break
            found.append(entry)
        return found

    def entry_at(self, index: int) -> Entry:
        """The entry written at `index`, which must not be dropped."""
        assert index >= self.first_index, f"entry {index} was dropped, the first one is {self.first_index}"
        return self._written.entries[index - self.first_index]

    @property
    def durable_boundary(self) -> EntryId:
        """What any crash now would leave as the boundary, or an older one than that."""
        return self._durable.boundary

    @property
    def durable_last_index(self) -> int:
        """The last index whose entry no crash now could take away or exchange."""
        last = self._durable.last_index
        for write in self._unsynced:
            if write.begin_behind is not None:
                last = min(last, write.begin_behind.index)
            if write.entries:
                last = min(last, write.entries[0].index - 1)
        return last

    def durable_term_at(self, index: int) -> int:
        """The term that any crash would leave at `index`; 0 when none is sure."""
        return self._durable.term_at(index) if 1 <= index <= self.durable_last_index else 0

    def append(self, write: LogWrite) -> None:
        """Write without syncing."""
        self._written.apply(write)
        self._unsynced.append(write)

    def drop_to(self, index: int) -> None:
        """Drop every entry up to `index`, without syncing."""
        self.append(LogWrite(None, [], dropped_to=EntryId(self.term_at(index), index)))

    def begin_behind(self, entry_id: EntryId) -> None:
        """Drop every entry, and begin anew behind this one; durable at once."""
        self.append(LogWrite(None, [], begin_behind=entry_id))
        self.sync()

    def sync(self) -> None:
        """Make everything durable, while the process waits."""
        self.make_durable(self.write_count)

    @property
    def write_count(self) -> int:
        """How many writes there ever were: what a sync that begins now will make durable."""
        return self._durable_write_count + len(self._unsynced)

    def make_durable(self, write_count: int) -> None:
        """End a sync that began when there were `write_count` writes."""
        count = write_count - self._durable_write_count
        if count <= 0:
            return  # a later sync has ended before
        synced, self._unsynced = self._unsynced[:count], self._unsynced[count:]
        self._durable_write_count = write_count
        for write in synced:
            self._durable.apply(write)
            self._on_durable(write)

    @property
    def unsynced_count(self) -> int:
        """How many writes a crash may take."""
        return len(self._unsynced)

    def lose_unsynced(self, kept_count: int) -> None:
        """Crash: of the unsynced writes only the first `kept_count` were on the disk already."""
        self.make_durable(self._durable_write_count + kept_count)
        self._durable_write_count += len(self._unsynced)
        self._unsynced = []
        self._written = self._durable.copy()


@dataclass(slots=True)
class StateAt:
    """The state after one entry: the rows follow from which entry it was, but for the membership."""

    entry_id: EntryId
    #: Of the newest MEMBERSHIP entry applied; empty: there was none.
    membership: bytes = b""


class VirtualState:
    """`state/`: which entry was applied last, and the membership."""

    def __init__(self) -> None:
        #: Applied since the last flush, the flushed one first: what a crash, or a snapshot, may find.
        self.since_flush = [StateAt(EntryId(0, 0))]
        #: The snapshot that was installed last.
        self.installed = EntryId(0, 0)

    @property
    def newest(self) -> StateAt:
        return self.since_flush[-1]

    @property
    def applied(self) -> EntryId:
        return self.since_flush[-1].entry_id

    @property
    def durable_index(self) -> int:
        """Of the last flush."""
        return self.since_flush[0].entry_id.index

    def apply(self, entry: Entry) -> None:
        """Write one entry's rows and its id, without any log."""
        membership = entry.payload if entry.kind is MEMBERSHIP else self.newest.membership
        self.since_flush.append(StateAt(EntryId(entry.term, entry.index), membership))

    def flush(self) -> None:
        """Make what is applied durable."""
        del self.since_flush[:-1]

    def install(self, snapshot: StateAt) -> None:
        """Take the place of everything by a snapshot: durable, all at once."""
        self.since_flush = [snapshot]
        self.installed = snapshot.entry_id

    def lose_unflushed(self, rng: random.Random) -> None:
        """Crash: fall back to the last flush, or to anything that was applied since."""
        last = len(self.since_flush) - 1
        kept = rng.choice((0, last, rng.randint(0, last)))
        self.since_flush = [self.since_flush[kept]]


def settle_log_with_state(log: VirtualLog, state: VirtualState) -> None:
    """Finish the installing of a snapshot that a crash has interrupted: `state/` decides."""
    installed = state.installed
    if installed.index > log.boundary.index and (
        installed.index > log.last_index or log.term_at(installed.index) != installed.term
    ):
        log.begin_behind(installed)


class SyncWriter:
    """Group commit: one fsync in flight, reporting the newest ticket requested before it began."""

    def __init__(
        self,
        timeline: Timeline,
        log: VirtualLog,
        *,
        draw_sync_ns: Callable[[], int],
        on_synced: Callable[[int], None],
    ) -> None:
        self._timeline = timeline
        self._log = log
        self._draw_sync_ns = draw_sync_ns
        self._on_synced = on_synced
        self._requested_ticket = 0
        self._begun_ticket = 0
        self._is_syncing = False
        self._is_closed = False
        self._is_stopped = False

    def request(self, ticket: int) -> None:
        """Ask for everything written so far to become durable."""
        self._requested_ticket = ticket
        self._maybe_begin()

    def close(self) -> None:
        """Crash: a sync in flight never ends."""
        self._is_closed = True

    def stop(self) -> None:
        """The process is stopped: a sync in flight ends in the kernel, no other begins."""
        self._is_stopped = True

    def go_on(self) -> None:
        """End a stop."""
        self._is_stopped = False
        self._maybe_begin()

    def _maybe_begin(self) -> None:
        if self._is_syncing or self._is_stopped or self._begun_ticket == self._requested_ticket:
            return
        self._is_syncing = True
        self._begun_ticket = ticket = self._requested_ticket
        write_count = self._log.write_count
        self._timeline.after(self._draw_sync_ns(), lambda: self._finish(ticket, write_count))

    def _finish(self, ticket: int, write_count: int) -> None:
        if self._is_closed:
            return
        self._log.make_durable(write_count)
        self._is_syncing = False
        self._on_synced(ticket)
        self._maybe_begin()
