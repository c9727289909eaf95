"""What a node without a process stands on: a clock, a loop, a disk and rows that the test drives."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from raftkv.applied import AppliedState
from raftkv.raft import Entry, EntryId, HardState
from tests.memory_rows import MemoryRows

NS_PER_MS = 1_000_000
START_MS = 1_700_000_000_000


class DrivenClock:
    """Satisfies `raftkv.node.clock.Clock`; stands still until it is told to go on."""

    def __init__(self) -> None:
        self.ns = 1_000 * NS_PER_MS
        #: Another clock, which is always right.
        self.reference_ns = 0
        #: What the wall clock is wrong by.
        self.wall_offset_ms = START_MS

    def now_ns(self) -> int:
        return self.ns

    def wall_ms(self) -> int:
        return self.ns // NS_PER_MS + self.wall_offset_ms

    def wall_us(self) -> int:
        return self.ns // 1000 + self.wall_offset_ms * 1000

    def advance(self, ms: float) -> None:
        """Let time pass."""
        self.ns += int(ms * NS_PER_MS)
        self.reference_ns += int(ms * NS_PER_MS)


class DrivenLoop:
    """`call_soon` and `call_later` of an event loop."""

    def __init__(self, clock: DrivenClock) -> None:
        self._clock = clock
        self._soon: deque[Callable[[], None]] = deque()
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        due_ns = self._clock.ns + int(seconds * 1e9)
        heapq.heappush(self._later, (due_ns, next(self._numbers), callback))

    def run_once(self) -> bool:
        """Run what is due, but not what that asks for; say whether there was anything."""
        while self._later and self._later[0][0] <= self._clock.ns:
            self._soon.append(heapq.heappop(self._later)[2])
        callbacks, self._soon = self._soon, deque()
        for callback in callbacks:
            callback()
        return bool(callbacks)


class DrivenDisk:
    """The group's log and its group commit: one fsync in flight, which ends when the test says so."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.entries: list[Entry] = []
        #: The last entry that was dropped.
        self.boundary = EntryId(0, 0)
        self.appended_bytes = 0
        self.on_synced: Callable[[int], None] = lambda _: None
        #: An fsync begins, and ends.
        self.on_begun: Callable[[], None] = lambda: None
        self.on_ended: Callable[[], None] = lambda: None
        #: Fsyncs wait for `finish_sync`; otherwise they end as everything settles.
        self.is_slow = False
        self._in_flight: int | None = None
        self._requested = 0

    @property
    def first_index(self) -> int:
        return self.boundary.index + 1

    @property
    def last_index(self) -> int:
        return self.boundary.index + len(self.entries)

    def term_at(self, index: int) -> int:
        assert index >= self.boundary.index, f"entry {index} was dropped"
        return (
            self.boundary.term
            if index == self.boundary.index
            else self.entries[index - self.first_index].term
        )

    def compact(self, to_index: int) -> None:
        """Drop entries, as `GroupLog.compact` does."""
        self.boundary = EntryId(self.term_at(to_index), to_index)
        self.entries = [entry for entry in self.entries if entry.index > to_index]

    def read(self, first: int, end: int, bytes_max: int) -> list[Entry]:
        chosen: list[Entry] = []
        size_bytes = 0
        for entry in self.entries[first - self.first_index : end - self.first_index]:
            size_bytes += len(entry.payload)
            if chosen and size_bytes > bytes_max:
                break
            chosen.append(entry)
        return chosen

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self.hard_state = hard_state or self.hard_state
        if entries:
            assert entries[0].index <= self.last_index + 1, "a gap in the log"
            del self.entries[entries[0].index - self.first_index :]
            self.entries.extend(entries)
            self.appended_bytes += sum(len(entry.payload) for entry in entries)

    def request(self, ticket: int) -> None:
        """Take a ticket, as `SyncWriter.request` does."""
        assert ticket > self._requested, "tickets rise"
        self._requested = ticket
        if self._in_flight is None:
            self._in_flight = ticket
            self.on_begun()

    def finish_sync(self) -> bool:
        """End the fsync in flight, if there is one."""
        done = self._in_flight
        if done is None:
            return False
        self._in_flight = self._requested if self._requested > done else None
        self.on_ended()
        if self._in_flight is not None:
            self.on_begun()
        self.on_synced(done)
        return True


class StallingRows(MemoryRows):
    """Rows that may stall between the look at them and the write, which may take its time."""

    def __init__(self) -> None:
        super().__init__()
        self.will_stall = False
        self.on_write: Callable[[], object] = lambda: None

    def write(
        self,
        puts: Mapping[bytes, bytes | None],
        range_deletes: Sequence[tuple[bytes, bytes]],
        applied: AppliedState,
    ) -> None:
        self.is_stalled = self.is_stalled or self.will_stall
        self.will_stall = False
        self.on_write()
        super().write(puts, range_deletes, applied)
