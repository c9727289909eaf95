"""What an inspection finds in whole and in damaged directories, and that it changes neither."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rocksdict import Rdict, WriteBatch

from raftkv import rows
from raftkv.applied import AppliedState
from raftkv.raft import COMMAND, Entry, EntryId, HardState
from raftkv.storage import DataDir, DataDirRefused, KvStore, LogStore
from raftkv.storage.findings import FINDINGS_MAX
from raftkv.storage.inspection import Report, inspect_fully, inspect_quickly, unused
from raftkv.storage.log_rows import LogKeys, boundary_row, entry_row, hard_state_row
from raftkv.storage.log_store import log_options
from tests.storage.closed_node import (
    APPLIED_INDEX,
    IDENTITY,
    KEY_COUNT,
    LAST_INDEX,
    TERM,
    TIME_MS,
    fingerprint,
    make_closed_node,
)

KEYS = LogKeys(0)
SEED = 20


def nobody(*_: object) -> None:
    """Show no progress."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which nothing is wrong; tests work on copies."""
    return make_closed_node(tmp_path_factory.mktemp("closed") / "data")


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "data"))


def found_in(path: Path) -> list[tuple[str, str]]:
    """Inspect everything."""
    return [(finding.part, finding.text) for finding in inspect_fully(path, nobody).findings]


def change_log(path: Path, **puts: bytes | None) -> None:
    """Change rows behind the log's back; names are those of `LogKeys`, or e<index>."""
    database = Rdict(str(path / "log"), log_options())
    batch = WriteBatch(raw_mode=True)
    for name, row in puts.items():
        key = KEYS.entry(int(name[1:])) if name[1:].isdigit() else getattr(KEYS, name)
        if row is None:
            batch.delete(key)
        else:
            batch.put(key, row)
    database.write(batch)
    database.close()


def change_state(path: Path, puts: dict[bytes, bytes | None], *, applied: AppliedState | None = None) -> None:
    """Change rows behind the machine's back."""
    store = KvStore(path / "state", create=False)
    store.write(puts, [], applied or store.applied)
    store.close()


def key_of_place(path: Path, table: int) -> tuple[bytes, bytes]:
    """Give the first row of a table."""
    store = KvStore(path / "state", create=False)
    row = next(store.scan(bytes((table,)), bytes((table + 1,))))
    store.close()
    return row


def test_whole_directory_has_no_findings(whole: Path) -> None:
    """And the report says what is in it."""
    report = inspect_fully(whole, nobody)
    assert report.findings == []
    assert report.notes == []
    assert report.identity == IDENTITY
    assert report.log is not None
    assert report.applied is not None
    assert report.keys is not None
    assert report.log.hard_state == HardState(TERM, 3)
    assert report.log.boundary == EntryId(2, 20)
    assert report.log.last_id == EntryId(TERM, LAST_INDEX)
    assert report.log.last_time_ms == TIME_MS + 2 * KEY_COUNT - 1
    assert report.log.commands_count == LAST_INDEX - 20 - 1
    assert report.applied.index == APPLIED_INDEX
    # A key's number and its database never meet twice; the last two commands were not applied.
    assert sum(report.keys.values()) == 2 * KEY_COUNT - 2


def test_inspection_changes_nothing(copy: Path) -> None:
    """Neither a byte nor a name nor a time, in a directory that holds evidence."""
    before = fingerprint(copy)
    inspect_fully(copy, nobody)
    assert fingerprint(copy) == before


def test_directory_in_use_is_refused(copy: Path) -> None:
    """Its files change while they are read."""
    data_dir = DataDir.open(copy, IDENTITY.node_id)
    with pytest.raises(DataDirRefused, match=r"in use by the process \d+"), unused(copy):
        pass
    data_dir.close()
    with unused(copy), pytest.raises(DataDirRefused, match="in use"):
        DataDir.open(copy, IDENTITY.node_id)


def test_copy_without_a_lock_file_is_inspected(copy: Path) -> None:
    """It is evidence as well."""
    (copy / "LOCK").unlink()
    with unused(copy):
        assert found_in(copy) == []
    assert not (copy / "LOCK").exists()


@pytest.mark.parametrize(
    ("name", "part"),
    [("FORMAT", "FORMAT"), ("IDENTITY", "IDENTITY"), ("log/CURRENT", "log"), ("state/CURRENT", "state")],
)
def test_missing_file_is_found(copy: Path, name: str, part: str) -> None:
    """Each is known by its name."""
    (copy / name).unlink()
    assert part in {found[0] for found in found_in(copy)}


@pytest.mark.parametrize("pattern", ["log/*.sst", "state/*.sst"])
def test_missing_table_is_found(copy: Path, pattern: str) -> None:
    """Even if no row that is looked up lies in it."""
    tables = sorted(copy.glob(pattern))
    tables[0].unlink()
    assert found_in(copy)


@pytest.mark.parametrize("name", ["FORMAT", "IDENTITY", "log", "state"])
def test_flipped_bit_is_found_wherever_it_is(whole: Path, tmp_path: Path, name: str) -> None:
    """In any file that a node reads; never a crash.

    Filters are in no report: RocksDB reads on without one that is damaged, which only costs time.
    """
    source = random.Random(SEED)
    place = whole / name
    files = (
        [place]
        if place.is_file()
        else [
            file
            for file in sorted(place.iterdir())
            if file.stat().st_size
            and (file.suffix in (".sst", ".log") or file.name.startswith(("CURR", "MANI")))
        ]
    )
    for attempt in range(24):
        file = files[attempt % len(files)]
        content = bytearray(file.read_bytes())
        pos = source.randrange(len(content))
        if file.suffix == ".sst":
            pos = source.randrange(len(content) // 2)  # data blocks
        content[pos] ^= 1 << source.randrange(8)
        copy = Path(shutil.copytree(whole, tmp_path / str(attempt)))
        (copy / file.relative_to(whole)).write_bytes(content)
        assert found_in(copy), f"bit at {pos} of {file.name}, seed {SEED}"


@pytest.mark.parametrize("seed", range(6))
def test_many_damages_never_crash_an_inspection(whole: Path, tmp_path: Path, seed: int) -> None:
    """Files cut off, emptied, filled with rubbish, or gone."""
    source = random.Random(seed)
    copy = Path(shutil.copytree(whole, tmp_path / "data"))
    files = [file for file in sorted(copy.rglob("*")) if file.is_file()]
    for file in source.sample(files, 4):
        content = file.read_bytes()
        match source.randrange(4):
            case 0:
                file.unlink()
            case 1:
                file.write_bytes(content[: source.randrange(len(content) + 1)])
            case 2:
                file.write_bytes(source.randbytes(len(content)))
            case _:
                file.write_bytes(content + source.randbytes(100))
    assert isinstance(inspect_fully(copy, nobody), Report)


@pytest.mark.parametrize("content", [b"", b"{}", b"rubbish", b'{"directory": "state-1"}'])
def test_damaged_pointer_is_found(copy: Path, content: bytes) -> None:
    """Nobody can tell then which state counts."""
    (copy / "STATE").write_bytes(content)
    assert [part for part, _ in found_in(copy)] == ["STATE"]


def test_state_that_no_pointer_names_is_found(copy: Path) -> None:
    """An older one would be taken for the newest."""
    shutil.copytree(copy / "state", copy / "state-1")
    assert [part for part, _ in found_in(copy)] == ["STATE"]


def test_unfinished_restore_is_found(copy: Path) -> None:
    """It is no node's yet."""
    (copy / "RESTORING").touch()
    assert [part for part, _ in found_in(copy)] == ["FORMAT"]


def test_log_with_a_gap_is_found(copy: Path) -> None:
    """A node at its start reads the newest entries only."""
    change_log(copy, e100=None)
    assert found_in(copy) == [("log", "entries 100 to 100 are missing before entry 101")]


def test_entry_below_the_boundary_is_found(copy: Path) -> None:
    """All up to the boundary were dropped."""
    change_log(copy, e7=entry_row(Entry(2, 7, COMMAND, b"")))
    assert ("log", "entry 7 is there, though all up to 20 were dropped") in found_in(copy)


def test_falling_term_is_found(copy: Path) -> None:
    """Raft §5.3: the log matching property."""
    change_log(copy, e100=entry_row(Entry(1, 100, COMMAND, b"\x92\x00\x90")))
    assert found_in(copy) == [("log", "entry 100 has term 1, after an entry of term 2")]


def test_term_above_the_current_one_is_found(copy: Path) -> None:
    """The hard state is written together with the first entry of a term (Raft §5.1)."""
    change_log(copy, hard_state=hard_state_row(HardState(2, 1)))
    assert ("log", "entry 202 has term 3, above the current term, 2") in found_in(copy)


def test_boundary_of_a_term_above_the_current_one_is_found(copy: Path) -> None:
    """Raft Figure 2: what was dropped was of the log as well."""
    change_log(copy, hard_state=hard_state_row(HardState(1, 1)))
    assert ("log", "the current term is 1, and entry 20 of term 2 was dropped") in found_in(copy)


def test_entry_that_is_no_batch_is_found(copy: Path) -> None:
    """Its checksum is right, and no node could apply it."""
    change_log(copy, e100=entry_row(Entry(2, 100, COMMAND, b"\xc1")))
    ((part, text),) = found_in(copy)
    assert part == "log"
    assert text.startswith("entry 100: ")


def test_damaged_entry_is_found_and_passed_by(copy: Path) -> None:
    """What lies behind it is looked at as well."""
    change_log(copy, e100=b"rubbish", e200=b"rubbish")
    assert found_in(copy) == [
        ("log", "entry 100: its row has a wrong checksum"),
        ("log", "entry 200: its row has a wrong checksum"),
    ]


def test_state_ahead_of_the_log_is_found(copy: Path) -> None:
    """An entry is synced before it is applied: the log has lost its end."""
    store = LogStore(copy / "log", create=False)
    store.group(0).append(None, [Entry(TERM, APPLIED_INDEX - 10, COMMAND, b"\x92\x00\x90")])
    store.close()
    ((part, text),) = found_in(copy)
    assert part == "log"
    assert text.startswith(f"the state has applied entry {APPLIED_INDEX}")


def test_boundary_beyond_the_log_is_found(copy: Path) -> None:
    """The entries in front of the state are gone."""
    change_log(copy, boundary=boundary_row(EntryId(2, 150)))
    assert any("all up to 150 were dropped" in text for _, text in found_in(copy))


def test_key_in_a_wrong_slot_is_found(copy: Path) -> None:
    """It would not be found by its name."""
    row_key, row = key_of_place(copy, rows.KEYS)
    wrong = row_key[:2] + bytes((row_key[2] ^ 1,)) + row_key[3:]
    change_state(copy, {row_key: None, wrong: row})
    assert any("is not in the slot of its key" in text for _, text in found_in(copy))


def test_lost_key_is_found_by_the_counters(copy: Path) -> None:
    """Counts rows tell how many keys there are."""
    row_key, _ = key_of_place(copy, rows.KEYS)
    change_state(copy, {row_key: None})
    assert any("and its counters say" in text for _, text in found_in(copy))


def test_expiry_without_its_key_and_key_without_its_expiry_are_found(copy: Path) -> None:
    """Either would live for ever, or be removed for nothing."""
    row_key, _ = key_of_place(copy, rows.EXPIRES)
    expires_ms, place, key = rows.expiry_of(row_key)
    moved = rows.expires_row(expires_ms + 1, rows.key_row(place, key))
    change_state(copy, {row_key: None, moved: b""})
    texts = [text for _, text in found_in(copy)]
    assert any("lacks its expiry" in text for text in texts)
    assert any("is not its key's" in text for text in texts)


@pytest.mark.parametrize(
    ("row_key", "row", "text"),
    [
        (b"\x02\x00", b"", "no table has such a row"),
        (b"\x00other", b"", "no table has such a row"),
        (b"\x09", b"", "no table has such a row"),
        (b"\x01\x00", b"", "its key is too short"),
        (rows.key_row(9, b"k"), b"", "it has 0 bytes, at least 17 are expected"),
        (rows.key_row(9, b"k"), rows.pack_value(99, 0, 1, b""), "there is no type 99"),
        (rows.key_row(9, b"k"), rows.pack_value(1, 0, 10**6, b""), "it was written by entry 1000000"),
        (b"\x03\x00", b"", "its key is too short"),
        (b"\x04\x00", b"1", "it has a wrong length"),
        (b"\x05\x01", b"\x99", "there are 16 databases"),
        (b"\x05\x01", b"\x02", "databases share a place"),
    ],
)
def test_row_that_nobody_writes_is_found(copy: Path, row_key: bytes, row: bytes, text: str) -> None:
    """Whatever it is."""
    change_state(copy, {row_key: row})
    assert any(text in found for _, found in found_in(copy))


def test_report_of_very_much_damage_is_bounded(copy: Path) -> None:
    """10,000 lines help nobody."""
    change_log(copy, **{f"e{index}": b"rubbish" for index in range(50, 150)})
    findings = found_in(copy)
    assert len(findings) == FINDINGS_MAX + 1
    assert findings[-1] == ("log", f"and {100 - FINDINGS_MAX} more")


def test_quick_inspection_reads_no_rows(copy: Path) -> None:
    """It is for who goes on at once, and must not take hours."""
    change_state(copy, {b"\x09": b""})
    assert inspect_quickly(copy, nobody).is_whole


def test_leftovers_are_notes(copy: Path) -> None:
    """They are verified, or removed, before anybody uses them."""
    (copy / "incoming" / "ab").mkdir(parents=True)
    (copy / "snapshots" / "1").mkdir(parents=True)
    report = inspect_fully(copy, nobody)
    assert report.is_whole
    assert len(report.notes) == 2


def unformed(path: Path, *, restored: bytes) -> Path:
    """Make the directory of a founder whose cluster is not formed yet, with a log and without a state."""
    data_dir = DataDir.open(path, 2)
    data_dir.save_identity(replace(IDENTITY, agreed=(), cluster_id=None, restored=restored))
    LogStore(data_dir.log_path, create=True).close()
    data_dir.close()
    return path


def test_beginning_that_was_cut_off_is_no_damage(tmp_path: Path) -> None:
    """The log is made, then the state: nothing can be lost before a cluster is formed."""
    report = inspect_fully(unformed(tmp_path / "data", restored=b""), nobody)
    assert report.findings == []
    assert report.notes == ["its cluster is not formed yet"]


@pytest.mark.parametrize("lost", ["log", "state"])
def test_loss_of_what_was_restored_is_damage_before_a_cluster_is_formed(tmp_path: Path, lost: str) -> None:
    """As the node says, which makes neither anew."""
    path = unformed(tmp_path / "data", restored=b"r" * 16)
    KvStore(path / "state", create=True).close()
    shutil.rmtree(path / lost)
    report = inspect_fully(path, nobody)
    assert [finding.part for finding in report.findings] == [lost]
