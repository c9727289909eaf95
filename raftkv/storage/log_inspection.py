"""Reads all of a closed Raft log, entry by entry, and says what is wrong with it.

Leaves the log as it is, and goes on behind what is damaged, which a node at its start doesn't. Knows the
rows and Raft's rules for a log's terms; not the state that was made of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rocksdict import Rdict, ReadOptions

from raftkv.machine import CorruptEntry, decode_batch
from raftkv.raft import decode_membership
from raftkv.raft.types import COMMAND, MEMBERSHIP, Entry, EntryId, HardState, ProtocolError
from raftkv.storage.errors import LogCorrupted, StorageFailure
from raftkv.storage.findings import Findings, OnProgress
from raftkv.storage.log_rows import LogKeys, boundary_of, entry_of, hard_state_of, index_of
from raftkv.storage.log_store import check_write_ahead_log, log_options
from raftkv.storage.rocks import opened_to_read

PART: Final = "log"
_ENTRIES_PER_PROGRESS: Final = 5000


@dataclass(slots=True)
class LogSummary:
    """What a log that is whole holds: a `settle.LogToSettle` that only notes its reset."""

    hard_state: HardState
    boundary: EntryId
    last_index: int
    #: Index and term of the first entry of each term.
    runs: list[tuple[int, int]] = field(default_factory=list)
    #: By the leader's clock, of the newest entry that has commands; 0: there is none.
    last_time_ms: int = 0
    #: The newest membership in the log, which is in force; empty: there is none.
    membership: bytes = b""
    commands_count: int = 0
    is_reset: bool = False

    @property
    def first_index(self) -> int:
        """The oldest entry held; `last_index + 1` when there is none."""
        return self.boundary.index + 1

    @property
    def last_id(self) -> EntryId:
        """The newest entry, or the boundary."""
        return EntryId(self.term_at(self.last_index), self.last_index)

    def term_at(self, index: int) -> int:
        """Give the term of an entry that is held, or of the boundary."""
        if index == self.boundary.index:
            return self.boundary.term
        return self.runs[bisect_right(self.runs, index, key=lambda run: run[0]) - 1][1]

    def reset(self, boundary: EntryId) -> None:
        """Note that a node would, at its start, let the log begin behind `boundary`."""
        self.boundary, self.last_index = boundary, boundary.index
        self.is_reset = True


class ClosedLog:
    """One group's rows in a database that was opened to be read."""

    def __init__(self, database: Rdict, group_id: int) -> None:
        """Look at it; `closed_log` opens one."""
        self._database = database
        self._keys = LogKeys(group_id)

    def hard_state(self) -> HardState:
        """Give what was written last. Raises LogCorrupted."""
        return hard_state_of(self._database.get(self._keys.hard_state))

    def boundary(self) -> EntryId:
        """Give the last entry that was dropped. Raises LogCorrupted."""
        return boundary_of(self._database.get(self._keys.boundary))

    def entries(self, first: int = 0, end: int | None = None) -> Iterator[Entry | LogCorrupted]:
        """Give every entry that is there of [first, end), or in its place what is wrong with it."""
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(self._keys.entries_end if end is None else self._keys.entry(end))
        iterator = self._database.iter(bounds)
        iterator.seek(self._keys.entry(first))
        while iterator.valid():
            key = iterator.key()
            index = index_of(key)
            try:
                yield entry_of(index, key, iterator.value())
            except LogCorrupted as fault:
                yield fault
            iterator.next()
        iterator.status()

    def foreign_rows(self) -> Iterator[bytes]:
        """Give the keys of rows that are none of this group's."""
        known = {self._keys.hard_state, self._keys.boundary}
        iterator = self._database.iter(ReadOptions())
        iterator.seek_to_first()
        while iterator.valid():
            key = iterator.key()
            if self._keys.entries_first <= key < self._keys.entries_end:
                iterator.seek(self._keys.entries_end)
            else:
                if key not in known:
                    yield key
                iterator.next()
        iterator.status()


@contextmanager
def closed_log(path: Path, group_id: int = 0) -> Iterator[ClosedLog]:
    """Open the log at `path` to read it. Raises StorageFailure, as does what is read in the block."""
    with opened_to_read(path, log_options(), what="the Raft log") as database:
        yield ClosedLog(database, group_id)


def inspect_log(path: Path, findings: Findings, on_progress: OnProgress) -> LogSummary | None:
    """Read all of the log at `path`; None: it is too damaged to say what it holds."""
    try:
        check_write_ahead_log(path)
        with closed_log(path) as log:
            return _Inspection(log, findings, on_progress).run()
    except LogCorrupted as fault:
        findings.add(PART, _text_of(fault))
    except StorageFailure as failure:
        findings.add(PART, f"it can't be read: {failure.cause}")
    return None


class _Inspection:
    """One walk over a log."""

    def __init__(self, log: ClosedLog, findings: Findings, on_progress: OnProgress) -> None:
        self._log = log
        self._findings = findings
        self._on_progress = on_progress

    def run(self) -> LogSummary | None:
        for key in self._log.foreign_rows():
            self._findings.add(PART, f"a row of no entry, with the key {key[:40].hex()}")
        hard_state, boundary = self._log.hard_state(), self._log.boundary()
        self._summary = LogSummary(hard_state, boundary, boundary.index)
        if hard_state.current_term < boundary.term:
            self._findings.add(
                PART, f"the current term is {hard_state.current_term}, and entry {boundary.index} of term"
                f" {boundary.term} was dropped"
            )  # fmt: skip
        for count, entry in enumerate(self._log.entries(), 1):
            if isinstance(entry, LogCorrupted):
                self._findings.add(PART, _text_of(entry))
                if entry.index is not None:
                    self._take_place(entry.index)
            else:
                self._look_at(entry)
            if count % _ENTRIES_PER_PROGRESS == 0:
                self._on_progress(PART, count, 0)
        return None if self._findings.has(PART) else self._summary

    def _take_place(self, index: int) -> None:
        expected = self._summary.last_index + 1
        if index > expected:
            self._findings.add(PART, f"entries {expected} to {index - 1} are missing before entry {index}")
        elif index < expected:
            self._findings.add(
                PART, f"entry {index} is there, though all up to {self._summary.boundary.index} were dropped"
            )
        self._summary.last_index = max(index, self._summary.last_index)

    def _look_at(self, entry: Entry) -> None:
        self._take_place(entry.index)
        self._look_at_term(entry)
        summary = self._summary
        try:
            if entry.kind is COMMAND:
                batch = decode_batch(entry.payload)
                summary.last_time_ms = batch.time_ms
                summary.commands_count += sum(len(run.commands) for run in batch.runs)
            elif entry.kind is MEMBERSHIP:
                decode_membership(entry.payload)
                summary.membership = entry.payload
            elif entry.payload:
                self._findings.add(
                    PART, f"entry {entry.index} is an empty one with {len(entry.payload)} bytes"
                )
        except (CorruptEntry, ProtocolError) as fault:
            self._findings.add(PART, f"entry {entry.index}: {fault}")

    def _look_at_term(self, entry: Entry) -> None:
        summary = self._summary
        before = summary.runs[-1][1] if summary.runs else summary.boundary.term
        if entry.term < before:
            self._findings.add(
                PART, f"entry {entry.index} has term {entry.term}, after an entry of term {before}"
            )
        if entry.term > summary.hard_state.current_term:
            self._findings.add(
                PART,
                f"entry {entry.index} has term {entry.term}, above the current term,"
                f" {summary.hard_state.current_term}",
            )
        if entry.term != before or not summary.runs:
            summary.runs.append((entry.index, entry.term))


def _text_of(fault: LogCorrupted) -> str:
    return fault.detail if fault.index is None else f"entry {fault.index}: {fault.detail}"
