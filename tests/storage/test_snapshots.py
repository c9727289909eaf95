"""Snapshots of the own state: which state they hold, and that they stay as they are."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from raftkv.applied import AppliedState
from raftkv.raft.types import ProtocolError
from raftkv.storage import KvStore, Snapshot, StorageFailure, make_snapshot
from raftkv.storage.kv_store import read_applied
from tests.storage.states import MEMBERSHIP, fill, holds, snapshot_at


def test_a_snapshot_names_its_place_and_its_files(tmp_path: Path) -> None:
    """Raft Figure 13: lastIncludedIndex and lastIncludedTerm, and the membership (thesis 5.1)."""
    manifest = snapshot_at(tmp_path, 3, 8).manifest
    assert (manifest.index, manifest.term, manifest.log_time_ms) == (8, 2, 80)
    assert manifest.membership == MEMBERSHIP
    path = tmp_path / "snapshots" / "1"
    kinds = [file.name.rstrip("0123456789").lstrip("0123456789") for file in manifest.files]
    assert kinds == [".sst", ".sst", "CURRENT", "MANIFEST-"]
    for file in manifest.files:
        content = (path / file.name).read_bytes()
        assert file.size_bytes == len(content)
        assert file.digest == hashlib.blake2b(content, digest_size=16).digest()
    assert type(manifest).decode(manifest.encode()) == manifest


def test_a_snapshot_stays_while_the_state_moves_on(tmp_path: Path) -> None:
    """Tables are shared, and never change; the state's own copy may be compacted away."""
    store = KvStore(tmp_path / "state", create=True)
    fill(store, 1)
    snapshot = make_snapshot(store, tmp_path / "snapshots")
    for index in range(2, 8):
        fill(store, index)
    other = make_snapshot(store, tmp_path / "snapshots")
    store.close()
    assert (snapshot.manifest.index, other.manifest.index) == (1, 7)
    for number, each in ((1, snapshot), (2, other)):
        path = tmp_path / "snapshots" / str(number)
        assert read_applied(path).index == each.manifest.index
        for file in each.manifest.files:
            assert each.read(file.name, 0, file.size_bytes) == (path / file.name).read_bytes()
    snapshot.remove()
    assert os.listdir(tmp_path / "snapshots") == ["2"]
    store = KvStore(tmp_path / "snapshots" / "2", create=False)
    assert holds(store, 7)
    store.close()


def test_the_checkpoint_itself_says_how_far_it_has_come(tmp_path: Path) -> None:
    """What the store says before and after is older and newer: rows come in all the time."""
    store = KvStore(tmp_path / "state", create=True)
    fill(store, 1)
    made: list[Snapshot] = []

    def make() -> None:
        made.extend(make_snapshot(store, tmp_path / "snapshots") for _ in range(5))

    thread = threading.Thread(target=make)
    thread.start()
    index = 1
    while thread.is_alive():
        index += 1
        store.write({b"\x01row": b"%d" % index}, [], AppliedState(index, 2))
    thread.join()
    store.close()
    assert len(made) == 5
    for number, snapshot in enumerate(made, 1):
        copy = KvStore(tmp_path / "snapshots" / str(number), create=False)
        assert copy.applied.index == snapshot.manifest.index
        assert copy.get(b"\x01row") == (b"%d" % copy.applied.index if copy.applied.index > 1 else None)
        copy.close()
    assert len({snapshot.manifest.index for snapshot in made}) > 1, "the store moved on meanwhile"


def test_reading_the_applied_index_changes_nothing(tmp_path: Path) -> None:
    """It is read after the files got their digests, and before they are installed."""
    snapshot_at(tmp_path, 5)
    path = tmp_path / "snapshots" / "1"
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    assert read_applied(path) == AppliedState(5, 2, 50, MEMBERSHIP)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "offset", "length"),
    [
        ("../state/CURRENT", 0, 1),
        ("LOCK", 0, 1),
        ("000004.log", 0, 1),
        ("", 0, 1),
        ("CURRENT", 0, 17),
        ("CURRENT", 16, 1),
        ("CURRENT", -1, 1),
        ("CURRENT", 0, 0),
        ("CURRENT", 5, -1),
    ],
)
def test_ranges_that_are_not_there_are_refused(tmp_path: Path, name: str, offset: int, length: int) -> None:
    """A peer asks by name and range."""
    snapshot = snapshot_at(tmp_path, 5)
    with pytest.raises(ProtocolError):
        snapshot.read(name, offset, length)
    assert snapshot.read("CURRENT", 0, 9) == b"MANIFEST-"


def test_a_file_that_shrinks_or_goes_is_a_storage_failure(tmp_path: Path) -> None:
    snapshot = snapshot_at(tmp_path, 5)
    current = tmp_path / "snapshots" / "1" / "CURRENT"
    current.write_bytes(b"M")
    with pytest.raises(StorageFailure, match="shorter"):
        snapshot.read("CURRENT", 0, 16)
    current.unlink()
    with pytest.raises(StorageFailure, match="reading the snapshot"):
        snapshot.read("CURRENT", 0, 16)


def test_an_empty_state_has_no_snapshot(tmp_path: Path) -> None:
    store = KvStore(tmp_path / "state", create=True)
    with pytest.raises(AssertionError, match="nothing"):
        make_snapshot(store, tmp_path / "snapshots")
    store.close()


def test_a_checkpoint_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """Its place is taken, say: no row is in danger."""
    store = KvStore(tmp_path / "state", create=True)
    fill(store, 1)
    (tmp_path / "taken").mkdir()
    with pytest.raises(StorageFailure, match="making a checkpoint"):
        store.checkpoint(tmp_path / "taken")
    fill(store, 2)
    assert store.durable_index == 2
    store.close()
