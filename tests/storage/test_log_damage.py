"""What the Raft log makes of a write-ahead log that was torn by a crash, or damaged afterwards."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from raftkv.raft.types import COMMAND, Entry, HardState
from raftkv.storage.errors import LogCorrupted, StorageFailure
from raftkv.storage.log_store import LogStore, check_write_ahead_log

ENTRY_COUNT = 1000
HARD_STATE = HardState(3, 2)
#: Appends and syncs each entry by itself, then dies without closing: all is in the write-ahead log.
WRITER = f"""
import os, sys
from pathlib import Path
from raftkv.raft.types import COMMAND, Entry, HardState
from raftkv.storage.log_store import LogStore
store = LogStore(Path(sys.argv[1]), create=True)
group = store.group(0)
for index in range(1, {ENTRY_COUNT} + 1):
    group.append(HardState(3, 2), [Entry(3, index, COMMAND, b"payload %d" % index * 4)])
    if index % 20 == 0:
        store.sync()
os._exit(0)
"""


@pytest.fixture(scope="module")
def killed_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of synced entries whose process died; tests work on copies."""
    path = tmp_path_factory.mktemp("killed") / "log"
    subprocess.run([sys.executable, "-c", WRITER, str(path)], check=True)
    return path


@pytest.fixture
def copy(killed_log: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(killed_log, tmp_path / "log"))


def wal_of(path: Path) -> Path:
    """The only write-ahead log file."""
    (wal,) = path.glob("*.log")
    return wal


def records_of(wal: Path) -> list[int]:
    """The offsets of the records of the last block, by their headers: length at 4, type at 6."""
    content = wal.read_bytes()
    pos = len(content) - len(content) % 32768
    offsets = []
    while pos + 7 <= len(content):
        offsets.append(pos)
        pos += 7 + int.from_bytes(content[pos + 4 : pos + 6], "little")
    return offsets


def flip(wal: Path, pos: int, mask: int = 0xFF) -> None:
    """Change one byte."""
    content = bytearray(wal.read_bytes())
    content[pos] ^= mask
    wal.write_bytes(content)


def entries_of(path: Path) -> list[Entry]:
    """Open the log and read all of it."""
    store = LogStore(path, create=False)
    try:
        group = store.group(0)
        assert group.hard_state == HARD_STATE
        return group.read(1, group.last_index + 1, 1 << 30)
    finally:
        store.close()


def expected(count: int) -> list[Entry]:
    """The first `count` entries as they were written."""
    return [Entry(3, index, COMMAND, b"payload %d" % index * 4) for index in range(1, count + 1)]


def test_log_of_a_killed_process_is_whole(copy: Path) -> None:
    """The base line of what follows."""
    assert entries_of(copy) == expected(ENTRY_COUNT)


def test_default_recovery_mode_would_drop_synced_entries_without_a_word(copy: Path) -> None:
    """DESIGN: 500 of 1,000 synced entries were gone after one flipped byte, and opening succeeded."""
    wal = wal_of(copy)
    flip(wal, wal.stat().st_size // 2)
    database = Rdict(str(copy), Options(raw_mode=True))
    keys = list(database.keys())
    database.close()
    assert 0 < len(keys) < ENTRY_COUNT * 3 // 4


def test_flipped_byte_anywhere_is_refused_and_left_as_it_is(killed_log: Path, tmp_path: Path) -> None:
    """DESIGN: a checksum failure inside what was acknowledged; the node must not vote."""
    size = wal_of(killed_log).stat().st_size
    rng = random.Random(1)
    for number, pos in enumerate([size // 2, *(rng.randrange(size) for _ in range(25))]):
        damaged = Path(shutil.copytree(killed_log, tmp_path / str(number)))
        flip(wal_of(damaged), pos)
        before = wal_of(damaged).read_bytes()
        for _ in range(2):
            with pytest.raises(LogCorrupted, match="must not vote"):
                entries_of(damaged)
        assert wal_of(damaged).read_bytes() == before, f"byte {pos}"


@pytest.mark.parametrize("mask", [0x80, 0xFF, 0x40])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_record_whose_length_was_damaged_is_no_torn_one(copy: Path, place: float, mask: int) -> None:
    """A length beyond the file's end looks torn to RocksDB: it dropped all that followed, silently."""
    wal = wal_of(copy)
    records = records_of(wal)
    flip(wal, records[round(place * (len(records) - 1))] + 5, mask)
    with pytest.raises(LogCorrupted, match="must not vote"):
        entries_of(copy)


def test_header_of_zeros_is_no_end(copy: Path) -> None:
    """RocksDB takes it for space that was reserved and not yet written."""
    wal = wal_of(copy)
    content = bytearray(wal.read_bytes())
    records = records_of(wal)
    middle = records[len(records) // 2]
    content[middle : middle + 7] = bytes(7)
    wal.write_bytes(content)
    with pytest.raises(LogCorrupted, match="must not vote"):
        entries_of(copy)


def test_torn_last_record_is_dropped_and_all_before_it_is_there(killed_log: Path, tmp_path: Path) -> None:
    """A crash in the middle of a write: that entry's sync had not ended, so nobody was told of it."""
    wal = wal_of(killed_log)
    last_record_bytes = wal.stat().st_size - records_of(wal)[-1]
    for cut in range(1, last_record_bytes + 1, 9):
        torn = Path(shutil.copytree(killed_log, tmp_path / str(cut)))
        with open(wal_of(torn), "r+b") as file:
            file.truncate(wal.stat().st_size - cut)
        assert entries_of(torn) == expected(ENTRY_COUNT - 1)


def test_log_torn_anywhere_is_a_prefix_and_grows_again(killed_log: Path, tmp_path: Path) -> None:
    """Power loss: whatever part of the end is gone, what is left has no gap and can be appended to."""
    size = wal_of(killed_log).stat().st_size
    rng = random.Random(2)
    for cut in [0, *(rng.randrange(size - 200) for _ in range(12))]:
        torn = Path(shutil.copytree(killed_log, tmp_path / str(cut)))
        with open(wal_of(torn), "r+b") as file:
            file.truncate(size - cut)
        left = len(entries_of(torn))
        store = LogStore(torn, create=False)
        store.group(0).append(HARD_STATE, [Entry(3, left + 1, COMMAND, b"next")])
        store.close()
        assert entries_of(torn) == [*expected(left), Entry(3, left + 1, COMMAND, b"next")]


def test_missing_write_ahead_log_is_refused(copy: Path) -> None:
    """RocksDB opens without it as if nothing had been written since the last table."""
    wal_of(copy).unlink()
    with pytest.raises(LogCorrupted, match="write-ahead log"):
        entries_of(copy)


def test_missing_log_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    """A formed node whose log/ was deleted has forgotten its votes: it must not start as if new."""
    with pytest.raises(StorageFailure, match="no database"):
        LogStore(tmp_path / "log", create=False)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("lost", ["CURRENT", "MANIFEST-*"])
def test_missing_files_of_the_database_are_refused(copy: Path, lost: str) -> None:
    """What is left of a log is no new log."""
    for file in copy.glob(lost):
        file.unlink()
    with pytest.raises(StorageFailure):
        entries_of(copy)


def test_directory_that_can_not_be_listed_is_no_damage(tmp_path: Path) -> None:
    """Whoever lacks the permission to read a log must not be told that it is gone."""
    path = tmp_path / "log"
    path.write_bytes(b"")
    with pytest.raises(StorageFailure) as refused:
        check_write_ahead_log(path)
    assert not isinstance(refused.value, LogCorrupted)
    path.unlink()
    with pytest.raises(LogCorrupted, match="there is no write-ahead log"):
        check_write_ahead_log(path)
