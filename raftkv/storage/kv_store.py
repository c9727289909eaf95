"""The rows of one group's state machine in RocksDB, together with how far it has applied the log.

There is no write-ahead log here: the Raft log is one. A write is in memory until RocksDB flushes its
memtable, by itself or when told, and a crash throws the store back to a flush. What then is read back
is exactly the state at some applied index, because each write carries its `AppliedState`, and because
there is one column family: several are flushed one by one, and rows and index would disagree after a
crash in between. Knows nothing of what the rows mean; the tables 0x01 and up are their owner's. Its own:

    +------+-----------+        +-------+------+-------------+------------- ... -+
    | 0x00 | "applied" |   ->   | index | term | log_time_ms | membership        |
    | 1    | 7         |        | 8     | 8    | 8           |                   |
    +------+-----------+        +-------+------+-------------+------------- ... -+

Invariants:
* `durable_index` <= the applied index that survives a crash at this moment.
* A write that raises has changed nothing, and the store keeps nothing of it: the caller still has it.
"""

from __future__ import annotations

import struct
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rocksdict import Checkpoint, Options, Rdict, RdictIter, ReadOptions, WriteBatch, WriteOptions

from raftkv.applied import AppliedState
from raftkv.storage.errors import StorageFailure
from raftkv.storage.rocks import directory_bytes, failure_of, open_database, opened_to_read, shared_options

#: The memory for rows not yet flushed is at most four of these: one being filled, three being flushed.
WRITE_BUFFER_BYTES = 64 << 20
#: Of a write buffer's size: what the filter takes that tells which rows it does not hold.
_MEMTABLE_BLOOM_RATIO = 0.1
BLOCK_CACHE_BYTES = 64 << 20
_OPEN_FILES_MAX = 512
#: Compaction begins early, since reads look into every table of level 0, and writes stop late. The two
#: triggers for stopping and for slowing down are equal, so that nothing is ever slowed down.
_LEVEL_0_COMPACTION_FILES = 4
_LEVEL_0_STOP_FILES = 48
_LEVEL_1_BYTES = 256 << 20

_OWN_TABLE = b"\x00"
_OWN_TABLE_END = b"\x01"
#: The one row of the store's own.
APPLIED_KEY = _OWN_TABLE + b"applied"
_APPLIED = struct.Struct(">QQQ")


class KvStore:
    """The rows. All but `flush` and `checkpoint` belongs to one thread."""

    def __init__(
        self,
        path: Path,
        *,
        create: bool,
        block_cache_bytes: int = BLOCK_CACHE_BYTES,
        options: Options | None = None,
    ) -> None:
        """Open it, or make it where there is none and `create` says so; `options` replace the usual ones.

        Raises StorageFailure.
        """
        self._path = path
        self._database = open_database(
            path, options or state_options(block_cache_bytes), create=create, what="the state"
        )
        self._write_options = WriteOptions()
        # A property, whatever rocksdict's stub says: called as a method it would set nothing.
        self._write_options.disable_wal = True  # type: ignore[method-assign, assignment]
        # A full store refuses at once instead of keeping the event loop, and the GIL, until it has room.
        self._write_options.no_slowdown = True
        #: Held by whoever is in a call that must not meet the closing of the database.
        self._flushing = threading.Lock()
        self._scans: weakref.WeakSet[Scan] = weakref.WeakSet()
        self._failure: StorageFailure | None = None
        self._applied = self._read_applied()
        self._durable_index = self._applied.index

    @property
    def applied(self) -> AppliedState:
        """How far the rows have come: what the newest write carried."""
        return self._applied

    @property
    def durable_index(self) -> int:
        """The applied index that a crash can't take back. From any thread."""
        return self._durable_index

    def get(self, row_key: bytes) -> bytes | None:
        """Give a row's value, None without one. Raises StorageFailure."""
        try:
            value: bytes | None = self._database.get(row_key)
        except Exception as error:
            raise failure_of("reading the state", error) from error
        return value

    def get_many(self, row_keys: list[bytes]) -> list[bytes | None]:
        """Give the rows' values, in order: for many, a third of the cost of `get`. Raises StorageFailure."""
        try:
            values: Any = self._database.get(row_keys)  # type: ignore[arg-type]  # it only reads the list
        except Exception as error:
            raise failure_of("reading the state", error) from error
        return list(values)

    def scan(self, first: bytes, end: bytes | None) -> Scan:
        """Iterate over the rows of [first, end) in the order of their keys; None: to the last one.

        They are the rows as they are now, whatever is written while the scan lives. It keeps files
        alive: close it, or drop it. Raises StorageFailure, as does the iterator.
        """
        try:
            scan = Scan(self._database, max(first, _OWN_TABLE_END), end)
        except Exception as error:
            raise failure_of("reading the state", error) from error
        self._scans.add(scan)
        return scan

    def write(
        self,
        puts: Mapping[bytes, bytes | None],
        range_deletes: Sequence[tuple[bytes, bytes]],
        applied: AppliedState,
    ) -> None:
        """Delete the ranges, then put the rows (None deletes one), and be at `applied`: all or nothing.

        Raises WriteStalled when RocksDB has to catch up first: the same call may be made again later.
        Raises StorageFailure, and from then on always: what failed once is not tried again.
        """
        if self._failure is not None:
            raise self._failure
        # rocksdict takes a batch's content away even when the write is refused: one batch per attempt.
        batch = WriteBatch(raw_mode=True)
        for first, end in range_deletes:
            batch.delete_range(first, end)
        put, delete = batch.put, batch.delete
        for row_key, value in puts.items():
            if value is None:
                delete(row_key)
            else:
                put(row_key, value)
        put(APPLIED_KEY, _APPLIED.pack(applied.index, applied.term, applied.log_time_ms) + applied.membership)
        try:
            self._database.write(batch, self._write_options)
        except Exception as error:
            failure = failure_of("writing the state", error)
            if isinstance(failure, StorageFailure):
                self._failure = failure
            raise failure from error
        self._applied = applied

    def is_write_stopped(self) -> bool:
        """Tell whether a write would be refused now; one may be refused all the same."""
        return bool(self._database.property_int_value("rocksdb.is-write-stopped"))

    def flush(self) -> None:
        """Make durable whatever was written before the call; for a thread, it releases the GIL.

        Raises StorageFailure, and from then on always.
        """
        if self._failure is not None:
            raise self._failure
        # Read before the flush begins: a write that comes later may miss the flushed memtable.
        applied_index = self._applied.index
        try:
            with self._flushing:
                self._database.flush()
        except Exception as error:
            self._failure = StorageFailure("flushing the state", error)
            raise self._failure from error
        # Flushes on two threads may end in either order.
        self._durable_index = max(self._durable_index, applied_index)

    def checkpoint(self, path: Path) -> None:
        """Make a copy of the store as it is at some moment of this call, by hard links; for a thread.

        `path` isn't there yet. `read_applied` tells how far the copy has come. Making it holds the GIL
        while what is in memory is flushed, so that is done before, twice: what came during the first flush
        is little. Raises StorageFailure.
        """
        self.flush()
        self.flush()
        try:
            with self._flushing:
                Checkpoint(self._database).create_checkpoint(str(path))
        except Exception as error:
            raise failure_of(f"making a checkpoint at {path}", error) from error

    def switch_to(self, path: Path) -> Callable[[], None]:
        """Go on with the store at `path`, which exists; give what closes the old one, for a thread.

        Scans of the old one end. Raises StorageFailure, with the old one still in place.
        """
        database = open_database(path, state_options(), create=False, what="the state")
        old, old_scans = self._database, list(self._scans)
        for scan in old_scans:
            scan.cut_off()
        self._scans.clear()
        self._path = path
        self._database = database
        self._applied = self._read_applied()
        self._durable_index = self._applied.index

        def close_old() -> None:
            with self._flushing:
                try:
                    old.close()
                except Exception as error:
                    raise failure_of("closing the old state", error) from error

        return close_old

    def size_bytes(self) -> int:
        """Give the space that the database takes on the disk."""
        return directory_bytes(self._path)

    def close(self) -> None:
        """End all scans, flush and close. No other thread may be in `flush`. Raises StorageFailure.

        A scan that is still referred to would keep the database open and locked; it raises from now on.
        """
        for scan in list(self._scans):
            scan.cut_off()
        try:
            self._database.close()
        except Exception as error:
            raise failure_of("closing the state", error) from error

    def _read_applied(self) -> AppliedState:
        return applied_of(self.get(APPLIED_KEY))


class Scan(Iterator[tuple[bytes, bytes]]):
    """Rows as they were when the scan was made.

    It is made of RocksDB's iterator, which shows the database as of its own making. The iterators of
    rocksdict's snapshots show later writes, and `items()` ends at a damaged block as if at the end.
    """

    __slots__ = ("__weakref__", "_is_cut_off", "_iterator", "_options")

    def __init__(self, database: Rdict, first: bytes, end: bytes | None) -> None:
        """Take the view. Raises rocksdict's exceptions."""
        self._options = ReadOptions()
        if end is not None:
            self._options.set_iterate_upper_bound(max(first, end))
        self._iterator: RdictIter | None = database.iter(self._options)
        self._is_cut_off = False
        self._iterator.seek(first)

    def __next__(self) -> tuple[bytes, bytes]:
        """Give the next row. Raises StorageFailure."""
        iterator = self._iterator
        if iterator is None:
            if self._is_cut_off:
                raise StorageFailure("reading the state", "the store was closed")
            raise StopIteration
        row_key = iterator.key()
        if row_key is None:
            self._end(iterator)
        row = row_key, iterator.value()
        iterator.next()
        return row

    def close(self) -> None:
        """Let go of the view; the scan is at its end."""
        self._iterator = None

    def cut_off(self) -> None:
        """Let go of the view; an unfinished scan raises StorageFailure from now on."""
        self._is_cut_off = self._iterator is not None
        self._iterator = None

    def _end(self, iterator: RdictIter) -> NoReturn:
        """Tell the end of the rows from a failure to read on."""
        self._iterator = None
        try:
            iterator.status()
        except Exception as error:
            raise failure_of("reading the state", error) from error
        raise StopIteration


def read_applied(path: Path) -> AppliedState:
    """Tell how far a closed store has come, leaving it as it is. Raises StorageFailure."""
    with opened_to_read(path, state_options(block_cache_bytes=1 << 20), what="the state") as database:
        row = database.get(APPLIED_KEY)
    return applied_of(row)


def applied_of(row: bytes | None) -> AppliedState:
    """Read the row at APPLIED_KEY; None: nothing was ever written. Raises StorageFailure."""
    if row is None:
        return AppliedState()
    if len(row) < _APPLIED.size:
        raise StorageFailure("reading the state", f"its applied index is a row of {len(row)} bytes")
    index, term, log_time_ms = _APPLIED.unpack_from(row)
    return AppliedState(index, term, log_time_ms, row[_APPLIED.size :])


def state_options(block_cache_bytes: int = BLOCK_CACHE_BYTES) -> Options:
    """Give the options of a state database; tests change a few."""
    options = shared_options(block_cache_bytes=block_cache_bytes, open_files_max=_OPEN_FILES_MAX)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    # Every write to a new key looks for its row first: 1.0 instead of 2.8-3.7 us with a million rows, for
    # 0.4 us more when it is written.
    options.set_memtable_prefix_bloom_ratio(_MEMTABLE_BLOOM_RATIO)
    options.set_memtable_whole_key_filtering(True)
    options.set_level_zero_file_num_compaction_trigger(_LEVEL_0_COMPACTION_FILES)
    options.set_level_zero_slowdown_writes_trigger(_LEVEL_0_STOP_FILES)
    options.set_level_zero_stop_writes_trigger(_LEVEL_0_STOP_FILES)
    options.set_max_bytes_for_level_base(_LEVEL_1_BYTES)
    return options
