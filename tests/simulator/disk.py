"""A node's virtual disk: the log, of which a crash loses the unsynced tail, and `state/`, which has no log.

Knows nothing of Raft's rules. What a crash keeps of the log is a prefix of its writes that holds at
least every synced one. What it keeps of `state/` is the state at some index between the last flush and
the moment of the crash (RocksDB flushes by itself whenever it likes), independent of what the log kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raftkv.raft.types import Compacted, Entry, EntryId, HardState
from tests.simulator.clock import Timeline


@dataclass(slots=True)
class LogWrite:
    """One atomic write: the log is cut from `entries[0].index` on, then `entries` are appended."""

    hard_state: HardState | None
    entries: Sequence[Entry]


class _Image:
    """A hard state and a log as some sequence of writes left them."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.entries: list[Entry] = []

    def apply(self, write: LogWrite) -> None:
        if write.hard_state is not None:
            self.hard_state = HardState(write.hard_state.current_term, write.hard_state.voted_for)
        if write.entries:
            first = write.entries[0].index
            assert 1 <= first <= len(self.entries) + 1, f"a gap in the log before index {first}"
            del self.entries[first - 1 :]
            self.entries.extend(write.entries)

    def copy(self) -> _Image:
        image = _Image()
        image.hard_state = HardState(self.hard_state.current_term, self.hard_state.voted_for)
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
    def first_index(self) -> int:
        return 1

    @property
    def last_index(self) -> int:
        return len(self._written.entries)

    def term_at(self, index: int) -> int:
        if index == 0:
            return 0
        if not 1 <= index <= len(self._written.entries):
            raise Compacted(1)
        return self._written.entries[index - 1].term

    def read(self, first: int, end: int, bytes_max: int) -> list[Entry]:
        found: list[Entry] = []
        size_bytes = 0
        for entry in self._written.entries[first - 1 : end - 1]:
            size_bytes += len(entry.payload)
            if found and size_bytes > bytes_max:
                break
            found.append(entry)
        return found

    def entry_at(self, index: int) -> Entry:
        """The entry written at `index`."""
        return self._written.entries[index - 1]

    @property
    def durable_last_index(self) -> int:
        """The last index whose entry no crash now could take away or exchange."""
        first_unsure = min(
            (write.entries[0].index for write in self._unsynced if write.entries), default=None
        )
        last = len(self._durable.entries)
        return last if first_unsure is None else min(last, first_unsure - 1)

    def durable_term_at(self, index: int) -> int:
        """The term that any crash would leave at `index`; 0 when none is sure."""
        return self._durable.entries[index - 1].term if 1 <= index <= self.durable_last_index else 0

    def append(self, write: LogWrite) -> None:
        """Write without syncing."""
        self._written.apply(write)
        self._unsynced.append(write)

    @property
    def write_count(self) -> int:
        """How many writes there ever were: what a sync that begins now will make durable."""
        return self._durable_write_count + len(self._unsynced)

    def make_durable(self, write_count: int) -> None:
        """End a sync that began when there were `write_count` writes."""
        count = write_count - self._durable_write_count
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


class VirtualState:
    """`state/`: nothing but which entry was applied last; the rows follow from it."""

    def __init__(self) -> None:
        #: Applied since the last flush, the flushed one first.
        self._since_flush = [EntryId(0, 0)]

    @property
    def applied(self) -> EntryId:
        return self._since_flush[-1]

    def apply(self, entry_id: EntryId) -> None:
        """Write one entry's rows and its id, without any log."""
        self._since_flush.append(entry_id)

    def flush(self) -> None:
        """Make what is applied durable."""
        del self._since_flush[:-1]

    def lose_unflushed(self, rng: random.Random) -> None:
        """Crash: fall back to the last flush, or to anything that was applied since."""
        last = len(self._since_flush) - 1
        kept = rng.choice((0, last, rng.randint(0, last)))
        self._since_flush = [self._since_flush[kept]]


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
