"""The rows on disk: what rocksdict does that would break them, and that the store doesn't."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rocksdict import Options, Rdict, WriteBatch, WriteOptions

from raftkv.applied import AppliedState
from raftkv.storage.errors import StorageFailure, WriteStalled
from raftkv.storage.kv_store import KvStore, Scan, state_options

ROWS = [(b"\x01%03d" % number, b"value %d" % number) for number in range(300)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is to be."""
    return tmp_path / "state"


@pytest.fixture
def store(path: Path) -> Iterator[KvStore]:
    """A store with rows."""
    store = KvStore(path, create=True)
    store.write(dict(ROWS), [], AppliedState(1, 1))
    yield store
    store.close()


def open_plain(path: Path) -> Rdict:
    """The database as rocksdict has it."""
    return Rdict(str(path), Options(raw_mode=True))


# -- the view of a scan --------------------------------------------------------------------------------


def test_snapshot_of_rocksdict_shows_later_writes(path: Path) -> None:
    """DESIGN: why a scan is made of an iterator. When this fails, snapshots have become usable."""
    database = open_plain(path)
    database[b"a"] = b"old"
    snapshot = database.snapshot()
    database[b"a"] = b"new"
    database[b"b"] = b"new"
    assert list(snapshot.items()) == [(b"a", b"new"), (b"b", b"new")]
    del snapshot
    database.close()


def test_scan_shows_the_moment_of_its_call(store: KvStore) -> None:
    """Contract of scan: not of its first row, and through a flush and a compaction as well."""
    untouched, begun = store.scan(b"\x01", None), store.scan(b"\x01", None)
    assert next(begun) == ROWS[0]
    store.write({key: None for key, _ in ROWS}, [(b"\x01", b"\x02")], AppliedState(2, 1))
    store.flush()
    store._database.compact_range(None, None)
    store.write({ROWS[5][0]: b"again"}, [], AppliedState(3, 1))
    assert list(untouched) == ROWS
    assert list(begun) == ROWS[1:]
    assert list(store.scan(b"\x01", None)) == [(ROWS[5][0], b"again")]


def test_scan_never_shows_the_rows_of_the_store_itself(store: KvStore) -> None:
    """The table 0x00 is in no digest and belongs to no key."""
    assert list(store.scan(b"", None)) == ROWS
    assert list(store.scan(b"", b"\x00\xff")) == []


@pytest.mark.parametrize("end", [b"\x01100", b"\x01050", b"\x01"])
def test_scan_that_ends_before_it_begins_is_empty(store: KvStore, end: bytes) -> None:
    """Half-open ranges: an empty one is no error of RocksDB's."""
    assert list(store.scan(b"\x01100", end)) == []


def test_scan_that_was_closed_is_at_its_end(store: KvStore) -> None:
    """Contract of close, also twice."""
    scan = store.scan(b"\x01", None)
    next(scan)
    scan.close()
    scan.close()
    assert list(scan) == []


def test_store_closes_and_opens_again_while_scans_are_alive(path: Path) -> None:
    """DESIGN: a database stays locked while any iterator lives; close has to end them."""
    store = KvStore(path, create=True)
    store.write(dict(ROWS), [], AppliedState(1, 1))
    untouched, begun, done = (store.scan(b"\x01", None) for _ in range(3))
    next(begun)
    assert list(done) == ROWS
    store.close()
    again = KvStore(path, create=False)
    for lingering in (untouched, begun):
        for _ in range(2):
            with pytest.raises(StorageFailure, match="the store was closed"):
                next(lingering)
    assert list(done) == []
    assert list(again.scan(b"\x01", None)) == ROWS
    again.close()


def test_iterator_of_rocksdict_keeps_the_database_locked(path: Path) -> None:
    """DESIGN: why close ends the scans. When this fails, it need not any more."""
    database = open_plain(path)
    database[b"a"] = b"1"
    iterator = database.iter()
    iterator.seek_to_first()
    database.close()
    with pytest.raises(Exception, match="lock"):
        open_plain(path)
    del iterator
    gc.collect()
    open_plain(path).close()


def test_dropped_scan_is_forgotten(store: KvStore) -> None:
    """A view that nobody holds must not keep deleted files on the disk."""
    scans = [store.scan(b"\x01", None) for _ in range(10)]
    next(scans[0])
    assert len(store._scans) == 10
    del scans
    gc.collect()
    assert len(store._scans) == 0


def test_scan_that_meets_a_damaged_block_raises(path: Path) -> None:
    """rocksdict's `items()` ends there as if at the end of the rows: data would be missing silently."""
    store = KvStore(path, create=True)
    store.write({b"\x01%06d" % n: bytes([n % 251]) * 100 for n in range(5000)}, [], AppliedState(1, 1))
    store.close()
    (table,) = path.glob("*.sst")
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 0xFF
    table.write_bytes(content)
    database = open_plain(path)
    assert 0 < len(list(database.keys())) < 5000
    database.close()
    store = KvStore(path, create=False)
    with pytest.raises(StorageFailure, match="Corruption"):
        list(store.scan(b"\x01", None))
    with pytest.raises(StorageFailure, match="Corruption"):
        [store.get(b"\x01%06d" % n) for n in range(5000)]
    store.close()


# -- refused writes ------------------------------------------------------------------------------------


def stop_writes(database: Rdict) -> None:
    """Have two tables in level 0 stop all writes, and too few of them to be compacted away."""
    database.set_options({"level0_slowdown_writes_trigger": "2", "level0_stop_writes_trigger": "2"})


def let_through(database: Rdict) -> None:
    """Accept writes again."""
    database.set_options({"level0_slowdown_writes_trigger": "48", "level0_stop_writes_trigger": "48"})


def stall(store: KvStore) -> None:
    """Have two tables in level 0. The rows: 0 -> 1, 1 -> 1; the index: 2."""
    for number in range(2):
        store.write({b"\x01%d" % number: b"1"}, [], AppliedState(number + 1, 1))
        store.flush()
    stop_writes(store._database)


def test_refused_write_of_rocksdict_has_consumed_its_batch(path: Path) -> None:
    """DESIGN: why the store makes a batch per attempt. Written again, the batch writes nothing."""
    database = Rdict(str(path), state_options())
    options = WriteOptions()
    options.disable_wal = True  # type: ignore[method-assign, assignment]
    options.no_slowdown = True
    for number in range(2):
        database.put(b"%d" % number, b"1", options)
        database.flush()
    stop_writes(database)
    batch = WriteBatch(raw_mode=True)
    batch.put(b"refused", b"1")
    with pytest.raises(Exception, match="Write stall"):
        database.write(batch, options)
    let_through(database)
    with pytest.raises(Exception, match="already consumed"):
        database.write(batch, options)
    assert database.get(b"refused") is None
    database.close()


def test_refused_write_changes_nothing_and_may_be_made_again(path: Path) -> None:
    """DESIGN: a refused write loses nothing; what was refused is there once in the end."""
    store = KvStore(path, create=True)
    stall(store)
    assert store.is_write_stopped()
    puts: dict[bytes, bytes | None] = {b"\x010": None, b"\x015": b"new"}
    ranges = [(b"\x011", b"\x013")]
    after = AppliedState(3, 2, 77, b"members")
    for _ in range(3):
        with pytest.raises(WriteStalled):
            store.write(puts, ranges, after)
        assert store.applied == AppliedState(2, 1)
        assert list(store.scan(b"\x01", None)) == [(b"\x010", b"1"), (b"\x011", b"1")]
    let_through(store._database)
    assert not store.is_write_stopped()
    store.write(puts, ranges, after)
    assert list(store.scan(b"\x01", None)) == [(b"\x015", b"new")]
    assert store.applied == after
    store.close()
    store = KvStore(path, create=False)
    assert list(store.scan(b"\x01", None)) == [(b"\x015", b"new")]
    assert store.applied == after
    store.close()


def test_refused_write_is_not_counted_as_durable(path: Path) -> None:
    """Invariant of durable_index: a flush after the refusal has flushed what came before it."""
    store = KvStore(path, create=True)
    stall(store)
    with pytest.raises(WriteStalled):
        store.write({b"\x019": b"1"}, [], AppliedState(3, 1))
    store.flush()
    assert store.durable_index == 2
    let_through(store._database)
    store.close()


# -- durability ----------------------------------------------------------------------------------------


def test_durable_index_moves_with_flushes_only(path: Path) -> None:
    """Contract: a write is in memory until a flush."""
    store = KvStore(path, create=True)
    seen = [store.durable_index]
    for index in range(1, 4):
        store.write({b"\x01a": b"%d" % index}, [], AppliedState(index, 1))
        seen.append(store.durable_index)
        store.flush()
        seen.append(store.durable_index)
    assert seen == [0, 0, 1, 1, 2, 2, 3]
    store.close()
    store = KvStore(path, create=False)
    assert store.durable_index == 3
    store.close()


class SteppedDatabase:
    """Rocksdict's database, except that a flush waits at its beginning and its end."""

    def __init__(self, database: Rdict) -> None:
        self._database = database
        self.step = threading.Barrier(2, timeout=30)

    def flush(self) -> None:
        """Flush between two waits."""
        self.step.wait()
        self.step.wait()
        self._database.flush()
        self.step.wait()

    def __getattr__(self, name: str) -> object:
        """Everything else is the database's."""
        return getattr(self._database, name)


def test_writes_during_a_flush_are_not_counted_as_durable(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN: durable is the applied index read before the flush began."""
    store = KvStore(path, create=True)
    store.write({b"\x01a": b"1"}, [], AppliedState(1, 1))
    stepped = SteppedDatabase(store._database)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_database", stepped)
        flusher = threading.Thread(target=store.flush)
        flusher.start()
        stepped.step.wait()
        store.write({b"\x01a": b"2"}, [], AppliedState(2, 1))
        assert store.durable_index == 0
        stepped.step.wait()
        stepped.step.wait()
        flusher.join()
    assert store.durable_index == 1
    store.close()


def test_close_makes_everything_durable(path: Path) -> None:
    """Contract of close: a clean stop leaves nothing to replay."""
    store = KvStore(path, create=True)
    applied = AppliedState(9, 4, 1234, b"members")
    store.write(dict(ROWS), [], applied)
    store.close()
    store = KvStore(path, create=False)
    assert (store.applied, store.durable_index) == (applied, 9)
    assert list(store.scan(b"\x01", None)) == ROWS
    store.close()


def test_writes_leave_the_write_ahead_log_empty(store: KvStore, path: Path) -> None:
    """DESIGN: the Raft log is the write-ahead log; `disable_wal` is a property, not a method."""
    for index in range(2, 50):
        store.write({b"\x01big": bytes(10_000)}, [], AppliedState(index, 1))
    assert [file.stat().st_size for file in path.glob("*.log")] == [0]


def test_state_has_one_column_family(store: KvStore, path: Path) -> None:
    """DESIGN: rocksdict flushes column families one by one, so that a crash would tear them apart."""
    assert store.get(ROWS[0][0]) == ROWS[0][1]
    assert Rdict.list_cf(str(path)) == ["default"]


LOSER = """
import os, sys
from pathlib import Path
from raftkv.applied import AppliedState
from raftkv.storage.kv_store import KvStore
store = KvStore(Path(sys.argv[1]), create=True)
for index in range(1, 11):
    store.write({b"\\x01a": b"%d" % index, b"\\x01b": b"%d" % index}, [], AppliedState(index, 1))
    if index == int(sys.argv[2]):
        store.flush()
os._exit(0)
"""


@pytest.mark.parametrize("flushed", [0, 1, 7, 10])
def test_crash_throws_the_state_back_to_its_flush(path: Path, flushed: int) -> None:
    """DESIGN: after a crash the state is exactly that of some applied index; replay goes on from there."""
    subprocess.run([sys.executable, "-c", LOSER, str(path), str(flushed)], check=True)
    store = KvStore(path, create=False)
    assert store.applied.index == store.durable_index == flushed
    value = b"%d" % flushed
    assert list(store.scan(b"\x01", None)) == ([(b"\x01a", value), (b"\x01b", value)] if flushed else [])
    store.close()


# -- failures ------------------------------------------------------------------------------------------


def test_missing_state_is_not_replaced_by_an_empty_one(path: Path) -> None:
    """A formed node whose state/ was deleted says so: its log may not reach back to the beginning."""
    with pytest.raises(StorageFailure, match="opening the state failed: there is no database"):
        KvStore(path, create=False)
    assert not path.exists()


def test_state_in_use_is_refused(store: KvStore, path: Path) -> None:
    """RocksDB locks its directory; the failure names what was opened."""
    assert store.applied.index == 1
    with pytest.raises(StorageFailure, match="opening the state"):
        KvStore(path, create=False)


@pytest.mark.parametrize("row", [b"", b"short"])
def test_damaged_applied_state_is_refused(path: Path, row: bytes) -> None:
    """Rows without their index are of no use: replay from the wrong place would apply twice."""
    KvStore(path, create=True).close()
    database = open_plain(path)
    database[b"\x00applied"] = row
    database.close()
    with pytest.raises(StorageFailure, match="applied index"):
        KvStore(path, create=False)


@pytest.mark.parametrize("key", ["text", 7, None])
def test_mistake_of_the_caller_is_no_failure_of_the_disk(store: KvStore, key: object) -> None:
    """Errors: a bug is an exception of its own; taken for a broken disk it would be hunted in hardware."""
    with pytest.raises((TypeError, ValueError, KeyError)):
        store.get(key)  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError, KeyError)):
        store.write({key: b""}, [], AppliedState(2, 1))  # type: ignore[dict-item]
    assert store.applied.index == 1
    store.write({}, [], AppliedState(2, 1))


#: Flushes into files that may not hold it, and prints what each attempt raised.
FULL = """
import resource, signal, sys
from pathlib import Path
from raftkv.applied import AppliedState
from raftkv.storage.errors import StorageFailure
from raftkv.storage.kv_store import KvStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = KvStore(Path(sys.argv[1]), create=True)
store.write({b"\\x01a": b"1"}, [], AppliedState(1, 1))
store.flush()
store.write({b"\\x01a": b"2", b"\\x01b": __import__("os").urandom(1 << 20)}, [], AppliedState(2, 1))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
failures = []
for action in (
    store.flush,
    lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)),
    store.flush,
    store.flush,
    lambda: store.write({b"\\x01c": b"3"}, [], AppliedState(3, 1)),
):
    try:
        action()
    except StorageFailure as failure:
        failures.append(failure)
print(failures[0])
print(len(failures), len(set(map(id, failures))), store.durable_index, store.applied.index)
"""


def test_store_that_failed_once_refuses_for_good(path: Path) -> None:
    """DESIGN: a failed write or fsync stops the node, also when the disk has room again."""
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    first, counts = done.stdout.splitlines()
    assert first.startswith("flushing the state failed: ")
    assert "File too large" in first
    assert counts == "4 1 1 2"
    store = KvStore(path, create=False)
    assert store.applied.index in (1, 2)
    assert store.get(b"\x01a") == b"%d" % store.applied.index
    store.close()


def test_scan_is_an_iterator_of_its_own_type(store: KvStore) -> None:
    """Contract: callers may hold and close it."""
    scan = store.scan(b"\x01", b"\x01001")
    assert isinstance(scan, Scan)
    assert iter(scan) is scan
    assert list(scan) == ROWS[:1]
