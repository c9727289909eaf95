"""The Raft logs and hard states of all groups of a process, in one RocksDB with one fsync for all.

Writes are not durable until a `sync` that began after them has ended. Knows nothing of Raft's rules:
it stores what the core accepted and gives it back. Every key starts with its group:

    +----------+------+----------+        +-------+---------------------- ... -+
    | group id | 0x01 | index    |   ->   | crc32 | entry, as raft.codec has it |
    | 4        | 1    | 8        |        | 4     |                            |
    +----------+------+----------+        +-------+---------------------- ... -+
    | group id | 0x00 |                   | crc32 | current_term | voted_for   |
    | 4        | 1    |                   | 4     | 8            | 8           |
    +----------+------+                   +-------+--------------+-------------+

RocksDB checks its blocks and its write-ahead log by itself. The row's own checksum covers the way
through memory in between.

Invariants:
* The indexes of a group's entries have no gap, and their terms never fall (Raft §5.3, log matching).
* What was synced is read back, or opening or reading raises LogCorrupted. Only a torn end of the
  write-ahead log is dropped silently: bytes that a crash cut off before a sync of them had ended.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rocksdict import DBRecoveryMode, Options, Rdict, ReadOptions, WriteBatch, WriteOptions

from raftkv.raft.codec import decode_entry, encode_entry
from raftkv.raft.types import Compacted, Entry, HardState, ProtocolError
from raftkv.storage.errors import LogCorrupted, StorageFailure
from raftkv.storage.rocks import directory_bytes, failure_of, is_corruption, open_database, shared_options
from raftkv.storage.wal_tail import damaged_offset

#: One write-ahead log file per write buffer; a file goes once its buffer is in a table. So at most four
#: buffers' worth is replayed at start, as a rule one or two.
WRITE_BUFFER_BYTES = 64 << 20
#: Old entries are read by followers that lag, in order and once: little is worth keeping.
_BLOCK_CACHE_BYTES = 16 << 20
_OPEN_FILES_MAX = 128
#: Entries come in the order of their keys and go by ranges: compaction moves bytes for little, and many
#: tables in level 0 hurt nobody who reads a few rows. It may begin late and need not keep up.
_LEVEL_0_COMPACTION_FILES = 8
_LEVEL_0_STOP_FILES = 1 << 20

#: How much of the newest end is read and checked at start.
VERIFIED_ENTRIES_MAX = 10_000
VERIFIED_BYTES_MAX = 64 << 20
#: Above this many rows a cut is one range tombstone, which slows every later read a little.
_POINT_DELETES_MAX = 256

_HARD_STATE_TABLE = b"\x00"
_ENTRY_TABLE = b"\x01"
_ENTRY_TABLE_END = b"\x02"
_CHECKSUM = struct.Struct(">I")
_HARD_STATE = struct.Struct(">QQ")


class LogStore:
    """The database, shared by the process's groups. All but `sync` belongs to one thread."""

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open it, or make it where there is none and `create` says so.

        Raises LogCorrupted when the write-ahead log is damaged before its end, and StorageFailure.
        """
        self._path = path
        self._database = _open(path, create=create)
        self._writes = _Writes(self._database)
        self._groups: dict[int, GroupLog] = {}

    def group(self, group_id: int) -> GroupLog:
        """Give a group's log, always the same object. Raises LogCorrupted when its end is damaged."""
        log = self._groups.get(group_id)
        if log is None:
            log = self._groups[group_id] = GroupLog(self._database, self._writes, group_id)
        return log

    def sync(self) -> None:
        """Make durable whatever was appended before the call; for a thread, it releases the GIL.

        Raises StorageFailure, after a failed `append` too, and from then on always the same one.
        """
        self._writes.sync()

    def size_bytes(self) -> int:
        """Give the space that the database takes on the disk."""
        return directory_bytes(self._path)

    def close(self) -> None:
        """Sync and close. No other thread may be in `sync`. Raises StorageFailure."""
        try:
            if self._writes.failure is None:
                self.sync()
        finally:
            with _translated("closing the Raft log"):
                self._database.close()


class _Writes:
    """The way to the write-ahead log, which ends at the first failure.

    What a failed write or fsync left on the disk is unknown, and a second one would only seem to succeed.
    """

    def __init__(self, database: Rdict) -> None:
        self._database = database
        self._options = WriteOptions()
        #: Set once, by whichever thread failed first.
        self.failure: StorageFailure | None = None

    def write(self, batch: WriteBatch) -> None:
        """Write a batch, unsynced. Raises StorageFailure."""
        self._raise_failure()
        try:
            self._database.write(batch, self._options)
        except Exception as error:
            raise self._failed("writing the Raft log", error) from error

    def sync(self) -> None:
        """Make durable whatever was written before. Raises StorageFailure."""
        self._raise_failure()
        try:
            self._database.flush_wal(True)
        except Exception as error:
            raise self._failed("fsync of the Raft log", error) from error

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _failed(self, action: str, error: Exception) -> StorageFailure:
        """Remember the first failure, and give it."""
        failure = failure_of(action, error)
        assert isinstance(failure, StorageFailure), f"{action}: refused for a stall, where writes wait"
        self.failure = self.failure or failure
        return self.failure


class GroupLog:
    """One group's log and hard state: the core's `LogReader`, and where its Readys are written."""

    def __init__(self, database: Rdict, writes: _Writes, group_id: int) -> None:
        """Find the ends of the log and check the newest part. Raises LogCorrupted, StorageFailure."""
        prefix = group_id.to_bytes(4, "big")
        self._database = database
        self._writes = writes
        self._hard_state_key = prefix + _HARD_STATE_TABLE
        self._entry_prefix = prefix + _ENTRY_TABLE
        #: Confine an iterator to this group's entries.
        self._bounds = ReadOptions()
        self._bounds.set_iterate_lower_bound(self._entry_prefix)
        self._bounds.set_iterate_upper_bound(prefix + _ENTRY_TABLE_END)
        with _translated("reading the Raft log"):
            self._hard_state = self._read_hard_state()
            self._first_index, self._last_index = self._find_ends()
            self._verify_newest()
            #: The log as runs of one term: where each begins, and its term. One per leader that ever wrote.
            self._run_starts: list[int] = []
            self._run_terms: list[int] = []
            self._find_runs()

    @property
    def hard_state(self) -> HardState:
        """What was written last."""
        return self._hard_state

    @property
    def first_index(self) -> int:
        """The oldest entry held; `last_index + 1` when there is none."""
        return self._first_index

    @property
    def last_index(self) -> int:
        """The newest entry held; 0 when there never was one."""
        return self._last_index

    def term_at(self, index: int) -> int:
        """Give the term of the entry at `index`, 0 for index 0, without reading. Raises Compacted."""
        assert index <= self._last_index, f"term of entry {index} beyond the last one, {self._last_index}"
        if index < self._first_index:
            if index == 0:
                return 0
            raise Compacted(self._first_index)
        return self._run_terms[bisect_right(self._run_starts, index) - 1]

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Write the hard state, if given, and `entries`, of which the first takes its place in the log.

        Whatever was at that index and after it is gone; both happen or neither. Durable after the next
        `sync`. Waits while RocksDB has three full write buffers yet to flush.
        Raises StorageFailure, and from then on always: what failed once is not tried again.
        """
        batch = WriteBatch(raw_mode=True)
        if hard_state is not None:
            batch.put(
                self._hard_state_key,
                _with_checksum(_HARD_STATE.pack(hard_state.current_term, hard_state.voted_for)),
            )
        if entries:
            self._check_fits(entries)
            prefix = self._entry_prefix
            for entry in entries:
                batch.put(prefix + entry.index.to_bytes(8, "big"), _with_checksum(encode_entry(entry)))
            self._delete(batch, first=entries[-1].index + 1, end=self._last_index + 1)
        self._writes.write(batch)
        if hard_state is not None:
            self._hard_state = hard_state
        if entries:
            self._note_appended(entries)

    def read(self, first: int, end: int, bytes_max: int) -> list[Entry]:
        """Give the entries of [first, end), cut at `bytes_max` payload bytes but never empty.

        Raises Compacted, LogCorrupted and StorageFailure.
        """
        if first < self._first_index:
            raise Compacted(self._first_index)
        assert first < end <= self._last_index + 1, f"entries [{first}, {end}) of {self._last_index}"
        entries: list[Entry] = []
        size = 0
        with _translated("reading the Raft log"):
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
        term = self.term_at(first - 1) if first > self._first_index else 0
        for index, entry in enumerate(entries, first):
            assert entry.index == index, f"entry {entry.index} at the place of entry {index}"
            assert entry.term >= term, f"entry {index} of term {entry.term} after term {term}"
            term = entry.term

    def _delete(self, batch: WriteBatch, *, first: int, end: int) -> None:
        """Have the batch delete the rows of [first, end)."""
        if end - first > _POINT_DELETES_MAX:
            batch.delete_range(self._key(first), self._key(end))
        else:
            for index in range(first, end):
                batch.delete(self._key(index))

    def _note_appended(self, entries: Sequence[Entry]) -> None:
        kept = bisect_left(self._run_starts, entries[0].index)
        del self._run_starts[kept:], self._run_terms[kept:]
        for entry in entries:
            if not self._run_terms or self._run_terms[-1] != entry.term:
                self._run_starts.append(entry.index)
                self._run_terms.append(entry.term)
        self._last_index = entries[-1].index

    def _read_hard_state(self) -> HardState:
        row = self._database.get(self._hard_state_key)
        if row is None:
            return HardState()
        body = _checked(row)
        if body is None or len(body) != _HARD_STATE.size:
            raise LogCorrupted(None, "the row of current_term and voted_for is damaged")
        return HardState(*_HARD_STATE.unpack(body))

    def _find_ends(self) -> tuple[int, int]:
        """Give the first and the last index, by one seek each."""
        iterator = self._database.iter(self._bounds)
        iterator.seek(self._entry_prefix)
        if not iterator.valid():
            iterator.status()
            return 1, 0
        first = self._index_of(iterator.key())
        iterator.seek_to_last()
        if not iterator.valid():
            iterator.status()
            raise LogCorrupted(first, "the last entry can't be found")
        return first, self._index_of(iterator.key())

    def _verify_newest(self) -> None:
        """Read the newest entries: each must be there, whole, and of no lower term than the one before."""
        first = max(self._first_index, self._last_index + 1 - VERIFIED_ENTRIES_MAX)
        iterator = self._database.iter(self._bounds)
        iterator.seek_to_last()
        term, size = 0, 0
        for index in range(self._last_index, first - 1, -1):
            if not iterator.valid():
                iterator.status()
            entry = self._entry_of(index, iterator.key(), iterator.value())
            if term and entry.term > term:
                raise LogCorrupted(index, f"its term {entry.term} is above the next entry's, {term}")
            term, size = entry.term, size + len(entry.payload)
            if size > VERIFIED_BYTES_MAX:
                return
            iterator.prev()

    def _find_runs(self) -> None:
        """Find where each term begins by bisection, which a million entries of a few terms allow for."""
        start, end = self._first_index, self._last_index + 1
        while start < end:
            term = self._stored_term(start)
            self._run_starts.append(start)
            self._run_terms.append(term)
            if self._stored_term(end - 1) == term:
                return
            start += bisect_right(range(start, end), term, key=self._stored_term)

    def _stored_term(self, index: int) -> int:
        key = self._key(index)
        return self._entry_of(index, key, self._database.get(key)).term

    def _iterate(self, first: int, end: int) -> Iterator[Entry]:
        iterator = self._database.iter(self._bounds)
        iterator.seek(self._key(first))
        for index in range(first, end):
            if not iterator.valid():
                iterator.status()
            yield self._entry_of(index, iterator.key(), iterator.value())
            iterator.next()

    def _entry_of(self, index: int, key: bytes | None, row: bytes | None) -> Entry:
        """Give the entry of a row, which must be the one at `index`. None: there is no row."""
        if key is None or row is None or self._index_of(key) != index:
            raise LogCorrupted(index, "its row is missing")
        body = _checked(row)
        if body is None:
            raise LogCorrupted(index, "its row has a wrong checksum")
        try:
            entry = decode_entry(body)
        except ProtocolError as error:
            raise LogCorrupted(index, f"its row is {error}") from error
        if entry.index != index:
            raise LogCorrupted(index, f"its row holds entry {entry.index}")
        return entry

    def _key(self, index: int) -> bytes:
        return self._entry_prefix + index.to_bytes(8, "big")

    def _index_of(self, key: bytes) -> int:
        return int.from_bytes(key[len(self._entry_prefix) :], "big")


def _open(path: Path, *, create: bool) -> Rdict:
    options = shared_options(block_cache_bytes=_BLOCK_CACHE_BYTES, open_files_max=_OPEN_FILES_MAX)
    _set_up_writes(options)
    if not create and (path / "CURRENT").exists():
        _check_write_ahead_log(path)
    try:
        return open_database(path, options, create=create, what="the Raft log")
    except StorageFailure as failure:
        if is_corruption(failure):
            raise LogCorrupted(None, str(failure.cause)) from failure
        raise


def _check_write_ahead_log(path: Path) -> None:
    """Refuse what RocksDB would take for the end of the log; see `wal_tail`."""
    try:
        files = sorted(path.glob("*.log"))
        if not files:
            raise LogCorrupted(None, f"there is no write-ahead log at {path}")
        for file in files:
            offset = damaged_offset(file)
            if offset is not None:
                raise LogCorrupted(None, f"a record's header is damaged at byte {offset} of {file}")
    except OSError as error:
        raise StorageFailure(f"reading the write-ahead log at {path}", error) from error


def _set_up_writes(options: Options) -> None:
    # RocksDB's default, point in time, drops everything behind the first damaged record without a word:
    # 500 of 1,000 synced entries after one flipped byte. This one accepts a record that is cut off by the
    # end of the file, and refuses to open otherwise. (It also rules out `recycle_log_file_num`.)
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_level_zero_file_num_compaction_trigger(_LEVEL_0_COMPACTION_FILES)
    options.set_level_zero_slowdown_writes_trigger(_LEVEL_0_STOP_FILES)
    options.set_level_zero_stop_writes_trigger(_LEVEL_0_STOP_FILES)


def _with_checksum(body: bytes) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(body)) + body


def _checked(row: bytes) -> memoryview | None:
    """Give what follows the checksum; None when it isn't what was written."""
    body = memoryview(row)[_CHECKSUM.size :]
    return body if row[: _CHECKSUM.size] == _CHECKSUM.pack(zlib.crc32(body)) else None


@contextmanager
def _translated(action: str) -> Iterator[None]:
    """Raise rocksdict's exceptions as this module's."""
    try:
        yield
    except (StorageFailure, Compacted):
        raise
    except Exception as error:
        failure = failure_of(action, error)
        if is_corruption(failure):
            raise LogCorrupted(None, str(error)) from error
        raise failure from error
