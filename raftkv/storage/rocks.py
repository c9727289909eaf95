"""How this project opens RocksDB: what both databases share, and what rocksdict's exceptions mean.

Knows nothing of what the rows are. rocksdict raises bare `Exception`s with RocksDB's text, so the
text is all there is to tell a full write buffer from a broken disk; ValueError and KeyError are its
words for a caller's mistake.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rocksdict import (
    AccessType,
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
)

from raftkv.storage.durable_file import sync_directory
from raftkv.storage.errors import LogCorrupted, StorageFailure, WriteStalled

#: RocksDB's own diary, a file named LOG: a few small ones, not one per start for ever.
_INFO_LOG_BYTES_MAX = 1 << 20
_INFO_LOGS_KEPT = 4
#: One to flush and one to compact: the machine is shared with the event loop.
_BACKGROUND_JOBS = 2
_BLOCK_BYTES = 16 << 10
_STALL_TEXT = "Result incomplete: Write stall"
_CORRUPTION_TEXT = "Corruption: "
_NO_DATABASE_TEXT = "there is no database at "
_WRITTEN_BY_READERS = frozenset({"LOCK", "LOG", "rocksdict-config.json"})


def shared_options(*, block_cache_bytes: int, open_files_max: int) -> Options:
    """Give options with everything bounded: memory for blocks, open files, threads and diaries."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_max_open_files(open_files_max)
    options.set_max_background_jobs(_BACKGROUND_JOBS)
    options.set_keep_log_file_num(_INFO_LOGS_KEPT)
    options.set_max_log_file_size(_INFO_LOG_BYTES_MAX)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    # Files that an iterator kept alive are deleted by a background thread, not by the event loop.
    options.set_avoid_unnecessary_blocking_io(True)
    # LZ4 made the files of typical entries a quarter smaller at no measurable cost, writing 500 MB; ZSTD
    # makes them smaller still, but its CPU time is the event loop's on two cores.
    options.set_compression_type(DBCompressionType.lz4())
    # Writes are either accepted or stopped, never slowed down: a pause inside `write` holds the GIL, so
    # the stages in between are off (this one, and more than three write buffers, would switch them on).
    options.set_soft_pending_compaction_bytes_limit(0)
    options.set_hard_pending_compaction_bytes_limit(0)
    options.set_max_write_buffer_number(3)
    table = BlockBasedOptions()
    table.set_block_cache(Cache(block_cache_bytes))
    table.set_block_size(_BLOCK_BYTES)
    # Ten bits per key: one point get in a hundred reads a file that doesn't hold its key.
    table.set_bloom_filter(10, False)
    # Without this, filters and indexes of every open file are outside the cache's bound.
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    # In pieces: the cache is many small ones, and the filter of a table of a million keys fits into none of
    # them, so each look-up read all of it from the file again. SETs of 1.5 million random keys, pipeline 16,
    # three nodes on two cores: 20,000 a second instead of 6,400, and the loop late by 50 ms instead of 330.
    table.set_index_type(BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    options.set_block_based_table_factory(table)
    return options


def open_database(path: Path, options: Options, *, create: bool, what: str) -> Rdict:
    """Open the database at `path`; `what` names it in failures. Raises StorageFailure."""
    exists = (path / "CURRENT").exists()
    if not exists and not create:
        raise StorageFailure(f"opening {what}", f"{_NO_DATABASE_TEXT}{path}")
    try:
        path.mkdir(parents=True, exist_ok=True)
        database = Rdict(str(path), options)
        if create:  # also what an earlier run has made, which may have been killed before this
            sync_directory(path.parent)
    except Exception as error:
        raise failure_of(f"opening {what} at {path}", error) from error
    return database


@contextmanager
def opened_to_read(
    path: Path, options: Options, *, what: str, scratch: Path | None = None
) -> Iterator[Rdict]:
    """Open a closed database only to read it, leaving every byte and every name as it is.

    A directory of links to its files is made in `scratch`, with a name that begins with "0."; None: where
    the system has room for what passes, which a node may not count on.

    What the block gets from the database must be gone at its end. rocksdict's exceptions in it, and those
    of the opening, are raised as StorageFailure, the system's too; the block's own are let through.
    """
    is_open = False
    try:
        # rocksdict writes its own file into a database that it only reads, and RocksDB its diary.
        with TemporaryDirectory(prefix="0.", dir=scratch) as view:
            for name in os.listdir(path):
                if name not in _WRITTEN_BY_READERS:
                    os.symlink((path / name).absolute(), Path(view) / name)
            database = Rdict(view, options, access_type=AccessType.read_only())
            try:
                is_open = True
                yield database
                is_open = False
            finally:
                database.close()
    except Exception as error:
        # rocksdict raises bare ones.
        if type(error) is not Exception and (is_open or not isinstance(error, OSError)):
            raise
        raise failure_of(f"reading {what} at {path}", error) from error


def failure_of(action: str, error: Exception) -> StorageFailure | WriteStalled:
    """Give the exception that stands for one of rocksdict's; a caller's mistake is raised as it is."""
    if isinstance(error, (ValueError, KeyError, TypeError, AssertionError)):
        raise error
    if str(error) == _STALL_TEXT:
        return WriteStalled()
    return StorageFailure(action, error)


def is_corruption(failure: Exception) -> bool:
    """Tell whether RocksDB found damaged bytes, rather than failing to get at them."""
    return isinstance(failure, StorageFailure) and str(failure.cause).startswith(_CORRUPTION_TEXT)


def is_data_lost(failure: Exception) -> bool:
    """Tell whether bytes that were durable once are damaged or gone, rather than out of reach."""
    is_lost = isinstance(failure, StorageFailure) and (
        isinstance(failure, LogCorrupted) or str(failure.cause).startswith(_NO_DATABASE_TEXT)
    )
    return is_lost or is_corruption(failure)


def directory_bytes(path: Path) -> int:
    """Give the bytes of all files of a database's directory, which has no subdirectories."""
    total = 0
    with os.scandir(path) as files:
        for file in files:
            try:
                total += file.stat().st_size
            except FileNotFoundError:
                continue  # RocksDB has deleted it since it was listed.
    return total
