"""The Raft logs and hard states of all groups of a process, in one RocksDB with one fsync for all.

Writes are not durable until a `sync` that began after them has ended. What each group's rows are is
`group_log`'s matter.

Invariant: what was synced is read back, or opening or reading raises LogCorrupted. Only a torn end of
the write-ahead log is dropped silently: bytes that a crash cut off before a sync of them had ended.
"""

from __future__ import annotations

import os
from pathlib import Path

from rocksdict import DBRecoveryMode, Options, Rdict

from raftkv.storage.errors import LogCorrupted, StorageFailure
from raftkv.storage.group_log import GroupLog
from raftkv.storage.log_writes import LogWrites, log_failures
from raftkv.storage.rocks import directory_bytes, is_corruption, open_database, shared_options
from raftkv.storage.wal_tail import damaged_offset

#: One write-ahead log file per write buffer; a file goes once its buffer is in a table. So at most four
#: buffers' worth is replayed at start, as a rule one or two. Tables are no larger either: what is kept of one
#: that was dropped in part has to be written anew.
WRITE_BUFFER_BYTES = 16 << 20
#: Old entries are read by followers that lag, in order and once: little is worth keeping.
_BLOCK_CACHE_BYTES = 16 << 20
_OPEN_FILES_MAX = 128
#: Entries come in the order of their keys and go by ranges: compaction moves bytes for little, and many
#: tables in level 0 hurt nobody who reads a few rows. It may begin late and need not keep up.
_LEVEL_0_COMPACTION_FILES = 4
_LEVEL_0_STOP_FILES = 1 << 20


class LogStore:
    """The database, shared by the process's groups. All but `sync` belongs to one thread."""

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open it, or make it where there is none and `create` says so.

        Raises LogCorrupted when the write-ahead log is damaged before its end, and StorageFailure.
        """
        self._path = path
        self._database = _open(path, create=create)
        self._writes = LogWrites(self._database)
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

    def reclaim(self) -> None:
        """Give back the space of entries that were dropped; for a thread, it releases the GIL.

        RocksDB would do it by itself, when several times as much has been written as the log holds. Raises
        StorageFailure.
        """
        for log in list(self._groups.values()):
            log.reclaim()

    def size_bytes(self) -> int:
        """Give the space that the database takes on the disk."""
        return directory_bytes(self._path)

    def close(self) -> None:
        """Sync and close. No other thread may be in `sync`. Raises StorageFailure."""
        try:
            if self._writes.failure is None:
                self.sync()
        finally:
            with log_failures("closing the Raft log"):
                self._database.close()


def log_options() -> Options:
    """Give the options of the log's database."""
    options = shared_options(block_cache_bytes=_BLOCK_CACHE_BYTES, open_files_max=_OPEN_FILES_MAX)
    _set_up_writes(options)
    return options


def _open(path: Path, *, create: bool) -> Rdict:
    options = log_options()
    if not create and (path / "CURRENT").exists():
        check_write_ahead_log(path)
    try:
        return open_database(path, options, create=create, what="the Raft log")
    except StorageFailure as failure:
        if is_corruption(failure):
            raise LogCorrupted(None, str(failure.cause)) from failure
        raise


def check_write_ahead_log(path: Path) -> None:
    """Refuse what RocksDB would take for the end of the log; see `wal_tail`.

    Raises LogCorrupted, StorageFailure.
    """
    try:
        # Not by glob, which finds nothing where it may not look.
        files = sorted(path / name for name in os.listdir(path) if name.endswith(".log"))
        if not files:
            raise LogCorrupted(None, f"there is no write-ahead log at {path}")
        for file in files:
            offset = damaged_offset(file)
            if offset is not None:
                raise LogCorrupted(None, f"a record's header is damaged at byte {offset} of {file}")
    except FileNotFoundError as error:
        raise LogCorrupted(None, f"there is no write-ahead log at {path}") from error
    except OSError as error:
        raise StorageFailure(f"reading the write-ahead log at {path}", error) from error


def _set_up_writes(options: Options) -> None:
    # RocksDB's default, point in time, drops everything behind the first damaged record without a word:
    # 500 of 1,000 synced entries after one flipped byte. This one accepts a record that is cut off by the
    # end of the file, and refuses to open otherwise. (It also rules out `recycle_log_file_num`.)
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_target_file_size_base(WRITE_BUFFER_BYTES)
    options.set_level_zero_file_num_compaction_trigger(_LEVEL_0_COMPACTION_FILES)
    options.set_level_zero_slowdown_writes_trigger(_LEVEL_0_STOP_FILES)
    options.set_level_zero_stop_writes_trigger(_LEVEL_0_STOP_FILES)
