"""Applies what is committed: entries in, rows stored, replies out.

A slice of time at each turn, so that a long tail of entries doesn't hold up the loop. Knows no messages and
no disks but that rows can be refused for a while; who proposed what is `proposals`' business.

Invariants:
* Replies leave only after the rows of their entry are in the store.
* Entries are applied in order, each once.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import chain

from raftkv.commands.table import Sliced
from raftkv.config import Config
from raftkv.machine import Machine, PlacedRead, decode_batch
from raftkv.node.clock import Clock, LogClock
from raftkv.node.forwarding import Settled
from raftkv.node.pending import PendingBatch, WaitingRead
from raftkv.node.proposals import Proposals
from raftkv.raft import COMMAND, MEMBERSHIP, Entry, EntryId, RaftCore
from raftkv.resp.replies import Reply
from raftkv.storage.errors import WriteStalled

log = logging.getLogger(__name__)


class Applier:
    """One group's way from committed entries to replies."""

    def __init__(
        self,
        *,
        config: Config,
        core: RaftCore,
        machine: Machine,
        proposals: Proposals,
        clock: Clock,
        log_clock: LogClock,
        wake: Callable[[], None],
        request_flush: Callable[[], object],
    ) -> None:
        """`wake` asks for another turn, `request_flush` for a flush of the state to disk, off the loop."""
        #: Replaced as a whole when a setting changes.
        self.config = config
        self._core = core
        self._machine = machine
        self._proposals = proposals
        self._clock = clock
        self._log_clock = log_clock
        self._wake = wake
        self._request_flush = request_flush
        self._to_apply: deque[Entry] = deque()
        self._settlements: list[Settled] = []
        #: Replies of placed reads, held back until the rows of their entry are stored.
        self._placed: list[tuple[WaitingRead, Reply | Sliced]] = []
        #: index -> reads to run once that entry is applied.
        self._reads_at: dict[int, list[WaitingRead]] = {}
        self._on_next_entry: list[Callable[[], None]] = []
        #: Commands applied, ever, and how many it were at the last flush.
        self._commands_count = self._commands_at_flush = 0
        self._bytes_since_flush = 0
        #: The store refused rows and was not tried again since.
        self.is_stalled = False

    @property
    def has_unsettled(self) -> bool:
        """Whether somebody waits for rows that could not be stored yet."""
        return bool(self._settlements)

    def take(self, entries: list[Entry]) -> None:
        """Take committed entries, to be applied by `run`."""
        self._to_apply.extend(entries)

    def read_at(self, index: int, read: WaitingRead) -> None:
        """Run a read once the entry at `index`, which is committed, is applied."""
        self._reads_at.setdefault(index, []).append(read)

    def on_next_entry(self, callback: Callable[[], None]) -> None:
        """Call back once, after the next entries are applied."""
        self._on_next_entry.append(callback)

    def run(self) -> bool:
        """Apply for at most a slice of time, store the rows, then reply; False: the store has to recover."""
        if not self.is_stalled and not self._to_apply:
            return True
        if self.is_stalled or self._machine.is_write_stopped():
            self.is_stalled = True
            if not self._retry_store():
                return False
        begin_ns = self._clock.now_ns()
        commands_before = self._commands_count
        end_ns = begin_ns + self.config.slice_ms * 1_000_000
        while self._to_apply:
            self._apply_one(self._to_apply.popleft())
            if self._clock.now_ns() > end_ns:
                self._wake()
                break
        if not self._store():
            return False
        self._proposals.entry_size.note(
            self._commands_count - commands_before, self._clock.now_ns() - begin_ns
        )
        self._settle()
        return True

    def give_up_overdue(self, now_ns: int) -> None:
        """Answer whoever has waited too long. Those who hear may ask for more while this runs."""
        for settlement in self._settlements:  # there are some only while their rows can't be stored
            batch = settlement.batch
            if batch.deadline_ns > now_ns or batch.is_settled:
                continue
            if settlement.replies is None:
                batch.refuse()
            else:
                batch.lose_track()
        placed = [read for read, _ in self._placed]
        for read in chain(placed, *list(self._reads_at.values())):
            if read.deadline_ns <= now_ns:
                read.refuse()

    def begin_anew(self) -> None:
        """A snapshot took the place of the rows: forget what was to be applied, and tell who waited for it.

        What became of writes in between nobody knows here: the snapshot doesn't tell whose they were.
        """
        self._to_apply.clear()
        self.is_stalled = False
        self._note_flush()
        settlements, self._settlements = self._settlements, []
        placed, self._placed = self._placed, []
        reads_at, self._reads_at = self._reads_at, {}
        for read in chain((read for read, _ in placed), *reads_at.values()):
            read.refuse()
        for settlement in settlements:
            if settlement.batch.is_settled:
                continue
            if settlement.replies is None:
                settlement.batch.refuse()
            else:
                settlement.batch.lose_track()

    # -- one entry --------------------------------------------------------------------------

    def _apply_one(self, entry: Entry) -> None:
        entry_id = EntryId(entry.term, entry.index)
        applied = None
        for batch in self._proposals.pop(entry_id):
            if batch.entry_id == entry_id:
                applied = batch
            else:
                self._settlements.append(Settled(batch, None))
        if entry.kind is COMMAND:
            replies = self._apply_batch(entry_id, applied, entry.payload)
            if applied is not None:
                self._settlements.append(Settled(applied, replies))
        elif entry.kind is MEMBERSHIP:
            self._machine.apply_membership(entry_id, entry.payload)
        else:
            self._machine.apply_empty(entry_id)
        for read in self._reads_at.pop(entry.index, ()):
            self._run_placed(read)

    def _apply_batch(self, entry_id: EntryId, pending: PendingBatch | None, payload: bytes) -> list[Reply]:
        if pending is None or pending.batch is None:
            batch = decode_batch(payload)
            replies = self._machine.apply(entry_id, batch)
            self._settlements += self._proposals.on_applied(entry_id, batch, replies)
        else:
            batch = pending.batch
            reads = [PlacedRead(read.after, partial(self._run_placed, read)) for read in pending.placed_reads]
            replies = self._machine.apply(entry_id, batch, reads)
        self._commands_count += len(replies)
        self._bytes_since_flush += len(payload)
        return replies

    def _run_placed(self, read: WaitingRead) -> None:
        """Run a read between two writes, by the time of the entry that it stands in."""
        if not read.is_settled:
            reply = self._machine.read(read.spec, read.args, db=read.db, clock_ms=self._machine.log_time_ms)
            self._placed.append((read, reply))

    # -- rows and replies -------------------------------------------------------------------

    def _store(self) -> bool:
        """Store the rows of what was applied; False when the store must be let recover first."""
        try:
            self._machine.commit()
        except WriteStalled:
            log.warning("state: writes are stalled, applying is paused at index %d", self._core.last_applied)
            self.is_stalled = True
            return False
        self.is_stalled = False
        self._core.applied(self._machine.applied_index)
        self._log_clock.observe(self._machine.log_time_ms)
        config = self.config
        if (
            self._commands_count - self._commands_at_flush >= config.flush_commands_max
            or self._bytes_since_flush >= config.flush_bytes_max
        ):
            self._note_flush()
            self._request_flush()
        return True

    def _note_flush(self) -> None:
        self._commands_at_flush = self._commands_count
        self._bytes_since_flush = 0

    def _retry_store(self) -> bool:
        """Go on after a stall, if it is over; the next tick tries again otherwise."""
        if self._machine.is_write_stopped() or not self._store():
            return False
        self._settle()
        return True

    def _settle(self) -> None:
        """Hand out the replies of entries whose rows are stored."""
        settlements, self._settlements = self._settlements, []
        placed, self._placed = self._placed, []
        for read, reply in placed:
            read.settle(reply)
        for settlement in settlements:
            if settlement.batch.is_settled:
                continue  # it became overdue while the rows could not be stored
            if settlement.replies is None:
                settlement.batch.refuse()
            else:
                settlement.batch.settle(settlement.replies)
        callbacks, self._on_next_entry = self._on_next_entry, []
        for callback in callbacks:
            callback()
