"""The Raft log on disk against a list, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rocksdict import Options, Rdict

from raftkv.raft.types import COMMAND, EMPTY, Entry, EntryId, HardState
from raftkv.storage.errors import LogCorrupted, StorageFailure
from raftkv.storage.group_log import VERIFIED_ENTRIES_MAX, GroupLog
from raftkv.storage.log_store import LogStore

GROUP = 0


def entry(index: int, term: int = 1, payload: bytes = b"x") -> Entry:
    """An entry of a client's command."""
    return Entry(term, index, COMMAND, payload)


def write_log(path: Path, entries: list[Entry], group_id: int = GROUP) -> None:
    """Make a log of `entries`, and close it."""
    store = LogStore(path, create=True)
    store.group(group_id).append(HardState(entries[-1].term, 1), entries)
    store.close()


def change_rows(path: Path, changes: dict[bytes, bytes | None]) -> None:
    """Change the database behind the log's back."""
    database = Rdict(str(path), Options(raw_mode=True))
    for key, row in changes.items():
        if row is None:
            database.delete(key)
        else:
            database[key] = row
    database.close()


def row_of(path: Path, key: bytes) -> bytes:
    """Read one row behind the log's back."""
    database = Rdict(str(path), Options(raw_mode=True))
    row = database[key]
    database.close()
    assert isinstance(row, bytes)
    return row


def entry_key(index: int, group_id: int = GROUP) -> bytes:
    """The key of an entry's row, as the module's diagram has it."""
    return group_id.to_bytes(4, "big") + b"\x01" + index.to_bytes(8, "big")


HARD_STATE_KEY = GROUP.to_bytes(4, "big") + b"\x00"


@dataclass
class Step:
    """Changes of the log: what is appended `back` places before its end, dropped, and done then."""

    back: int
    terms: list[int]
    payload: bytes
    hard_state: HardState | None
    #: How many entries are dropped from the front, of those that are there.
    dropped: int
    #: How far behind the end the log begins anew, and by how much the term rises; None: it does not.
    reset: tuple[int, int] | None
    is_reopened: bool
    bytes_max: int = field(default=1 << 30)


@dataclass
class Model:
    """What the log should be."""

    boundary: EntryId = field(default_factory=lambda: EntryId(0, 0))
    entries: list[Entry] = field(default_factory=list)

    @property
    def last(self) -> EntryId:
        return EntryId(self.entries[-1].term, self.entries[-1].index) if self.entries else self.boundary

    def append(self, entries: list[Entry]) -> None:
        self.entries[entries[0].index - self.boundary.index - 1 :] = entries

    def compact(self, count: int) -> None:
        if count:
            dropped = self.entries[count - 1]
            self.boundary = EntryId(dropped.term, dropped.index)
            del self.entries[:count]

    def reset(self, boundary: EntryId) -> None:
        self.boundary = boundary
        self.entries = []


steps = st.builds(
    Step,
    back=st.integers(0, 6),
    terms=st.lists(st.integers(0, 2), max_size=5),
    payload=st.binary(max_size=40),
    hard_state=st.none() | st.builds(HardState, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
    dropped=st.integers(0, 6),
    reset=st.none() | st.none() | st.tuples(st.integers(0, 4), st.integers(0, 2)),
    is_reopened=st.booleans(),
    bytes_max=st.integers(0, 120),
)


def entries_of_step(step: Step, model: Model) -> list[Entry]:
    """Give what the step appends: terms rise by what `terms` says, from the entry before."""
    first = max(model.boundary.index + 1, model.last.index + 1 - step.back)
    kept = model.entries[: first - model.boundary.index - 1]
    term = kept[-1].term if kept else max(1, model.boundary.term)
    entries = []
    for offset, rise in enumerate(step.terms):
        term += rise
        payload = step.payload * offset
        entries.append(Entry(term, first + offset, COMMAND if payload else EMPTY, payload))
    return entries


def take_step(step: Step, group: GroupLog, model: Model) -> None:
    """Change the log and the model alike."""
    entries = entries_of_step(step, model)
    group.append(step.hard_state, entries)
    if entries:
        model.append(entries)
    dropped = min(step.dropped, len(model.entries))
    group.compact(model.boundary.index + dropped)
    model.compact(dropped)
    if step.reset is not None:
        beyond, rise = step.reset
        boundary = EntryId(max(1, model.last.term) + rise, model.last.index + beyond)
        group.reset(boundary)
        model.reset(boundary)


def check_against(group: GroupLog, model: Model, bytes_max: int) -> None:
    """Compare everything that a LogReader tells with the model."""
    first, end = model.boundary.index + 1, model.last.index + 1
    assert (group.boundary, group.first_index, group.last_index) == (model.boundary, first, end - 1)
    terms = [model.boundary.term, *(each.term for each in model.entries)]
    assert [group.term_at(index) for index in range(first - 1, end)] == terms
    for index in range(first, end):
        left = model.entries[index - first :]
        assert group.read(index, end, 1 << 30) == left
        expected: list[Entry] = []
        for each in left:
            if expected and sum(len(e.payload) for e in [*expected, each]) > bytes_max:
                break
            expected.append(each)
        assert group.read(index, end, bytes_max) == expected
    if len(model.entries) > 2:
        assert group.read(first + 1, first + 2, 0) == model.entries[1:2]


@settings(max_examples=40)
@given(script=st.lists(steps, max_size=8))
def test_log_is_the_list_that_was_written(script: list[Step]) -> None:
    """Raft Figure 2, receiver steps 3 and 4, and §7: a conflicting suffix goes, or what was compacted."""
    with tempfile.TemporaryDirectory() as folder:
        store = LogStore(Path(folder) / "log", create=True)
        model = Model()
        hard_state = HardState()
        for step in script:
            take_step(step, store.group(GROUP), model)
            hard_state = step.hard_state or hard_state
            if step.is_reopened:
                store.close()
                store = LogStore(Path(folder) / "log", create=False)
            assert store.group(GROUP).hard_state == hard_state
            check_against(store.group(GROUP), model, step.bytes_max)
        store.close()


def test_empty_log_begins_at_one(tmp_path: Path) -> None:
    """Raft Figure 2: the first index is 1, and before it lies term 0."""
    store = LogStore(tmp_path / "log", create=True)
    group = store.group(GROUP)
    assert (group.first_index, group.last_index, group.term_at(0)) == (1, 0, 0)
    assert group.hard_state == HardState()
    store.close()


@pytest.mark.parametrize("count", [2, 300])
def test_conflict_cuts_short_and_long_suffixes(tmp_path: Path, count: int) -> None:
    """Up to 256 rows go one by one, more by a range: either way none of them comes back."""
    path = tmp_path / "log"
    write_log(path, [entry(index) for index in range(1, count + 11)])
    store = LogStore(path, create=False)
    store.group(GROUP).append(None, [entry(10, term=2)])
    store.close()
    store = LogStore(path, create=False)
    group = store.group(GROUP)
    assert group.read(1, 11, 1 << 30) == [*(entry(index) for index in range(1, 10)), entry(10, term=2)]
    assert group.last_index == 10
    group.append(None, [entry(11, term=2)])
    store.close()
    store = LogStore(path, create=False)
    assert store.group(GROUP).last_index == 11
    store.close()


def test_groups_do_not_see_each_other(tmp_path: Path) -> None:
    """DESIGN: a process may host several groups; each has its own log and hard state."""
    store = LogStore(tmp_path / "log", create=True)
    ids = [0, 1, 255, 256, 2**32 - 1]
    for count, group_id in enumerate(ids, 1):
        group = store.group(group_id)
        assert store.group(group_id) is group
        entries = [entry(index, term=count, payload=b"%d" % group_id) for index in range(1, count + 1)]
        group.append(HardState(count, group_id), entries)
    store.close()
    store = LogStore(tmp_path / "log", create=False)
    for count, group_id in enumerate(ids, 1):
        group = store.group(group_id)
        assert group.hard_state == HardState(count, group_id)
        assert [each.payload for each in group.read(1, count + 1, 1 << 30)] == [b"%d" % group_id] * count
    store.group(1).append(None, [entry(1, term=9)])
    assert (store.group(0).last_index, store.group(1).last_index, store.group(255).last_index) == (1, 1, 3)
    store.close()


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([entry(7)], "does not fit"),
        ([entry(0)], "does not fit"),
        ([entry(6), entry(8)], "at the place of"),
        ([entry(6, term=3), entry(7, term=2)], "after term"),
        ([Entry(0, 6, EMPTY, b"")], "after term"),
    ],
)
def test_entries_that_do_not_fit_are_a_bug(tmp_path: Path, entries: list[Entry], text: str) -> None:
    """Invariant: no gap, and terms never fall. What is refused leaves the log as it was."""
    path = tmp_path / "log"
    write_log(path, [entry(index) for index in range(1, 6)])
    store = LogStore(path, create=False)
    with pytest.raises(AssertionError, match=text):
        store.group(GROUP).append(HardState(9, 9), entries)
    assert store.group(GROUP).last_index == 5
    assert store.group(GROUP).hard_state == HardState(1, 1)
    store.close()


# -- damage that RocksDB can't see ---------------------------------------------------------------------


def damaged_rows(path: Path) -> dict[str, tuple[dict[bytes, bytes | None], int | None]]:
    """Name ways in which rows may be wrong, with the entry that has to be named."""
    row = row_of(path, entry_key(5))
    other = row_of(path, entry_key(6))
    return {
        "missing": ({entry_key(5): None}, 5),
        "missing before the last": ({entry_key(9): None}, 9),
        "checksum": ({entry_key(5): row[:-1] + b"?"}, 5),
        "cut off": ({entry_key(5): row[:6]}, 5),
        "empty": ({entry_key(5): b""}, 5),
        "of another index": ({entry_key(5): other}, 5),
        "last": ({entry_key(10): row}, 10),
        "hard state": ({HARD_STATE_KEY: b"\x00" * 20}, None),
        "short hard state": ({HARD_STATE_KEY: b""}, None),
    }


NAMES = (
    "missing",
    "missing before the last",
    "checksum",
    "cut off",
    "empty",
    "of another index",
    "last",
    "hard state",
    "short hard state",
)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_row_is_refused_by_its_index(tmp_path: Path, name: str) -> None:
    """DESIGN: a node whose log is damaged refuses to vote and says why."""
    path = tmp_path / "log"
    write_log(path, [entry(index) for index in range(1, 11)])
    changes, index = damaged_rows(path)[name]
    change_rows(path, changes)
    store = LogStore(path, create=False)
    with pytest.raises(LogCorrupted, match="must not vote") as corrupted:
        store.group(GROUP)
    assert corrupted.value.index == index
    store.close()


def test_term_that_falls_is_refused(tmp_path: Path) -> None:
    """Invariant: terms never fall; a whole row may still be a wrong one."""
    path = tmp_path / "log"
    write_log(path, [entry(1, 1), entry(2, 5), entry(3, 5)])
    old = tmp_path / "old"
    write_log(old, [entry(1, 1), entry(2, 2), entry(3, 2)])
    change_rows(path, {entry_key(3): row_of(old, entry_key(3))})
    store = LogStore(path, create=False)
    with pytest.raises(LogCorrupted) as corrupted:
        store.group(GROUP)
    assert corrupted.value.index == 2
    store.close()


def long_log(path: Path, damage: dict[bytes, bytes | None]) -> LogStore:
    """Make a log of which opening reads a part only, and open it with some rows changed."""
    entries = [entry(index, term=1 + index // 4000) for index in range(1, 2 * VERIFIED_ENTRIES_MAX + 1)]
    write_log(path, entries)
    change_rows(path, damage)
    return LogStore(path, create=False)


def test_opening_reads_the_newest_entries_and_bisects_for_the_rest(tmp_path: Path) -> None:
    """A log of any length opens quickly: damage far from the end is found when it is read, not before."""
    store = long_log(tmp_path / "log", {entry_key(1234): b"damaged"})
    group = store.group(GROUP)
    assert group.last_index == 2 * VERIFIED_ENTRIES_MAX
    assert [group.term_at(index) for index in (1, 3999, 4000, 7999, 8000, 20000)] == [1, 1, 2, 2, 3, 6]
    assert group.read(1, 1234, 1 << 30)[-1] == entry(1233)
    with pytest.raises(LogCorrupted) as corrupted:
        group.read(1, 1300, 1 << 30)
    assert corrupted.value.index == 1234
    store.close()


def test_bisection_believes_no_damaged_row(tmp_path: Path) -> None:
    """A wrong term in the wrong place would give the core a log that it never had."""
    path = tmp_path / "log"
    write_log(path, [entry(1, term=7)])
    row = bytearray(row_of(path, entry_key(1)))
    row[4 + 7] = 1
    store = long_log(tmp_path / "long", {entry_key(1): bytes(row)})
    with pytest.raises(LogCorrupted) as corrupted:
        store.group(GROUP)
    assert corrupted.value.index == 1
    store.close()


# -- failures of the disk ------------------------------------------------------------------------------

#: Runs out of what a file may hold, and prints what each attempt from the first failure on raised.
FULL = """
import resource, signal, sys
from pathlib import Path
from raftkv.raft.types import COMMAND, Entry, HardState
from raftkv.storage.errors import StorageFailure
from raftkv.storage.log_store import LogStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = LogStore(Path(sys.argv[1]), create=True)
group = store.group(0)
group.append(HardState(1, 1), [Entry(1, 1, COMMAND, b"whole")])
store.sync()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
synced = 1

def attempt():
    try:
        group.append(None, [Entry(1, group.last_index + 1, COMMAND, b"x" * 10_000)])
        store.sync()
    except StorageFailure as failure:
        return failure
    return None

while (failure := attempt()) is None:
    synced = group.last_index
    assert synced < 1000
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(synced)
print(failure)
for action in (attempt, attempt, store.sync, lambda: group.append(HardState(2, 2), []), store.close):
    try:
        again = action()
    except StorageFailure as error:
        again = error
    print(again is failure or (type(again) is StorageFailure and "close" in repr(action)) or again)
print(group.last_index, group.hard_state.current_term)
"""


def test_store_that_failed_once_refuses_for_good(tmp_path: Path) -> None:
    """DESIGN: a failed write or fsync stops the node, also when the disk has room again."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "log")], capture_output=True, text=True, check=True
    )
    synced, failure, *again = done.stdout.splitlines()
    assert "File too large" in failure
    assert again[:4] == ["True"] * 4, again
    assert again[5].endswith(" 1"), "a refused hard state was remembered"
    store = LogStore(tmp_path / "log", create=False)
    assert store.group(0).last_index >= int(synced)
    assert store.group(0).hard_state == HardState(1, 1)
    store.close()


def test_log_in_use_is_refused(tmp_path: Path) -> None:
    """RocksDB locks its directory; the failure names what was opened."""
    store = LogStore(tmp_path / "log", create=True)
    with pytest.raises(StorageFailure, match="opening the Raft log"):
        LogStore(tmp_path / "log", create=False)
    store.close()
    LogStore(tmp_path / "log", create=False).close()


def test_size_grows_with_what_is_written(tmp_path: Path) -> None:
    """The node warns by it."""
    store = LogStore(tmp_path / "log", create=True)
    before = store.size_bytes()
    store.group(GROUP).append(None, [entry(1, payload=bytes(1 << 20))])
    store.sync()
    assert store.size_bytes() - before >= 1 << 20
    store.close()
