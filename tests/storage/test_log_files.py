"""What the Raft log's database leaves on the disk: bounded, whatever was written and however often opened."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest

from raftkv.raft import COMMAND, Entry
from raftkv.storage import LogStore, log_store

BUFFER_BYTES = 1 << 20


def sizes_of(path: Path) -> list[int]:
    """Give the sizes of the write-ahead logs that are there, of which one may go at any moment."""
    sizes = []
    for file in path.glob("*.log"):
        with suppress(FileNotFoundError):
            sizes.append(file.stat().st_size)
    return sizes


def test_write_ahead_logs_go_with_their_write_buffers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty buffers' worth is written; at most four, of which each has a file, are not in tables yet."""
    monkeypatch.setattr(log_store, "WRITE_BUFFER_BYTES", BUFFER_BYTES)
    store = LogStore(tmp_path, create=True)
    log = store.group(0)
    entry_bytes = BUFFER_BYTES // 8
    for index in range(1, 321):
        log.append(None, [Entry(1, index, COMMAND, bytes(entry_bytes))])
    # RocksDB deletes files on a thread of its own, which cannot be waited for in another way.
    deadline = time.monotonic() + 30
    while sum(sizes_of(tmp_path)) > 4 * (BUFFER_BYTES + entry_bytes):
        assert time.monotonic() < deadline, f"write-ahead logs of {sizes_of(tmp_path)} bytes stay"
        time.sleep(0.01)
    assert store.group(0).last_index == 320
    assert len(store.group(0).read(1, 321, 1 << 30)) == 320
    store.close()


def test_diaries_of_rocksdb_do_not_pile_up(tmp_path: Path) -> None:
    """Each start begins a new LOG and renames the one before."""
    for _ in range(8):
        LogStore(tmp_path, create=True).close()
    assert len(list(tmp_path.glob("LOG*"))) <= 4
    assert len(list(tmp_path.glob("OPTIONS-*"))) <= 2
