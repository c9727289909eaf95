"""An install, interrupted anywhere: the old state or the new one, never a mixture, and nothing is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.raft.types import EntryId
from raftkv.storage import DataDir, DataDirRefused, IncomingSnapshot
from raftkv.storage.state_pointer import StatePointer, read_pointer, save_pointer
from tests.storage.installing import (
    NEW,
    OLD,
    check,
    end_after,
    live,
    make_follower,
    make_leader,
    snapshot_of,
)
from tests.storage.states import send


class _Crash(BaseException):
    """The process ends here."""


def crash() -> None:
    raise _Crash


@pytest.fixture(scope="module")
def leader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leader")
    make_leader(folder)
    return folder


@pytest.fixture(scope="module")
def follower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node before the install; tests work on copies."""
    folder = tmp_path_factory.mktemp("follower")
    make_follower(folder)
    return folder


@pytest.fixture
def node(follower: Path, tmp_path: Path) -> Path:
    """A copy of the node."""
    return Path(shutil.copytree(follower, tmp_path / "node"))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_is_installed(folder: Path) -> None:
    """Nothing is left but the new state."""
    assert check(folder) == NEW
    assert names_in(folder) == ["FORMAT", "IDENTITY", "LOCK", "STATE", "incoming", "log", "state-1"]
    assert names_in(folder / "incoming") == []


def test_an_install_replaces_state_and_log(node: Path, leader: Path) -> None:
    """Raft Figure 13, receiver steps 6 to 8."""
    assert check(node) == OLD
    live(node, leader)
    assert_is_installed(node)
    live(node, leader)
    assert_is_installed(node)


@pytest.mark.parametrize("first", range(4))
def test_a_crash_at_any_call_leaves_the_old_or_the_new_state(
    follower: Path, leader: Path, tmp_path: Path, first: int
) -> None:
    """Every call that changes a directory or makes something durable is once the one that isn't made."""
    found: list[EntryId] = []
    for calls_before in range(first, 1000, 4):
        node = Path(shutil.copytree(follower, tmp_path / str(calls_before)))
        with end_after(calls_before, crash) as calls:
            try:
                live(node, leader)
            except _Crash:
                pass
            else:
                break
        assert len(calls) == calls_before
        found.append(check(node))
        live(node, leader)
        assert_is_installed(node)
        shutil.rmtree(node)
    assert found == sorted(found, key=lambda entry_id: entry_id.index), "once it is installed it stays so"
    assert set(map(str, found)) == {str(OLD), str(NEW)}


def test_a_crash_at_any_call_of_the_start_after_a_crash_is_no_other(
    follower: Path, leader: Path, tmp_path: Path
) -> None:
    """Clearing up can be interrupted as well, where there is most of it: in the middle of an install."""
    crashed = Path(shutil.copytree(follower, tmp_path / "crashed"))
    with end_after(1000, crash) as calls:
        live(crashed, leader)
    renamed = calls.index("rename")
    for calls_before in (renamed + 1, renamed + 3, renamed + 6):
        shutil.rmtree(crashed)
        shutil.copytree(follower, crashed)
        with end_after(calls_before, crash), pytest.raises(_Crash):
            live(crashed, leader)
        for again in range(1000):
            node = Path(shutil.copytree(crashed, tmp_path / "node"))
            try:
                with end_after(again, crash):
                    check(node)
            except _Crash:
                live(node, leader)
                assert_is_installed(node)
            else:
                break
            finally:
                shutil.rmtree(node)


def test_what_was_received_survives_a_crash_before_the_pointer(
    node: Path, leader: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are in the place of a state already: they go back, and nothing is sent twice."""
    with monkeypatch.context() as patch:
        patch.setattr("raftkv.storage.installs.save_pointer", lambda *_: crash())
        with pytest.raises(_Crash):
            live(node, leader)
    assert "state-1" in names_in(node)
    data_dir = DataDir.open(node, 1)
    assert "state-1" not in names_in(node)
    assert IncomingSnapshot(data_dir.incoming_path, snapshot_of(leader).manifest).missing_bytes == 0
    data_dir.close()


def test_what_counts_is_durable_before_the_pointer_names_it(node: Path, leader: Path) -> None:
    """A loss of power forgets what wasn't synced: files, their names, the directory's name, in this order."""
    data_dir = DataDir.open(node, 1)
    snapshot = snapshot_of(leader)
    incoming = IncomingSnapshot(data_dir.incoming_path, snapshot.manifest)
    send(snapshot, incoming)
    with pytest.raises(AssertionError, match="verified and durable"):
        data_dir.install_state(incoming)
    with end_after(1000, crash) as calls:
        assert incoming.finish() == []
    # What follows is the look at its applied index, through a directory of links elsewhere.
    assert calls[: calls.index("mkdir")] == ["fsync"] * (len(snapshot.manifest.files) + 4)
    with end_after(1000, crash) as calls:
        data_dir.install_state(incoming)
    assert calls == ["rename", "fsync", "fsync", "fsync", "replace", "fsync", "unlink", "rmdir"]
    data_dir.close()


@pytest.mark.parametrize("first", range(4))
def test_a_kill_at_any_call_leaves_the_old_or_the_new_state(
    follower: Path, leader: Path, tmp_path: Path, first: int
) -> None:
    """The same with processes that die: what RocksDB had in memory is gone as well."""
    for calls_before in range(first, 1000, 4):
        node = Path(shutil.copytree(follower, tmp_path / "node"))
        command = [sys.executable, "-m", "tests.storage.installing", str(node), str(leader)]
        done = subprocess.run([*command, str(calls_before)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            assert int(done.stdout) <= calls_before
            break
        assert (done.returncode, done.stderr) == (-9, "")
        check(node)
        live(node, leader)
        assert_is_installed(node)
        shutil.rmtree(node)


def test_a_second_install_replaces_the_first(node: Path, leader: Path) -> None:
    """Numbers rise; the state that is in use stays until it is closed."""
    live(node, leader)
    data_dir = DataDir.open(node, 1)
    snapshot = snapshot_of(leader)
    incoming = IncomingSnapshot(data_dir.incoming_path, snapshot.manifest, have=[data_dir.state_path])
    send(snapshot, incoming)
    assert incoming.finish() == []
    data_dir.install_state(incoming)
    assert data_dir.state_path == node / "state-2"
    assert {"state-1", "state-2"} <= set(names_in(node))
    data_dir.remove_old_states()
    assert "state-1" not in names_in(node)
    data_dir.close()
    assert check(node) == NEW


def test_a_lost_pointer_is_refused_and_nothing_deleted(node: Path, leader: Path) -> None:
    """Without it the node would believe in state/, and clear the state that counts away."""
    live(node, leader)
    (node / "STATE").unlink()
    before = sorted(str(path) for path in node.rglob("*"))
    with pytest.raises(DataDirRefused, match="it holds state-1/, which is newer than state/"):
        DataDir.open(node, 1)
    assert sorted(str(path) for path in node.rglob("*")) == before


def test_a_lost_state_is_not_replaced_by_an_older_one(node: Path, leader: Path) -> None:
    """What STATE names is what counts; what else is there stays for inspection."""
    live(node, leader)
    (node / "state-1").rename(node / "state")
    data_dir = DataDir.open(node, 1)
    assert data_dir.state_path == node / "state-1"
    assert "state" in names_in(node)
    data_dir.close()


def test_leftovers_of_another_process_go_at_the_start(node: Path, leader: Path) -> None:
    """Snapshots that were made, and what arrived and can't be gone on with."""
    snapshot = snapshot_of(leader)
    begun = IncomingSnapshot(node / "incoming", snapshot.manifest)
    shutil.copytree(leader / "snapshots", node / "snapshots")
    (node / "incoming" / "stray").write_bytes(b"")
    (node / "incoming" / ("0" * 32)).mkdir()
    wrong = Path(shutil.copytree(begun.path, node / "incoming" / ("1" * 32)))
    assert (wrong / "manifest").exists()
    DataDir.open(node, 1).close()
    assert "snapshots" not in names_in(node)
    assert names_in(node / "incoming") == [snapshot.manifest.snapshot_id.hex()]


@given(number=st.integers(1, 10**17), term=st.integers(1, 2**63), index=st.integers(1, 2**63))
def test_any_pointer_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, number: int, term: int, index: int
) -> None:
    path = tmp_path_factory.mktemp("node")
    assert read_pointer(path) == StatePointer()
    pointer = StatePointer(f"state-{number}", EntryId(term, index))
    save_pointer(path, pointer)
    assert read_pointer(path) == pointer
    assert pointer.next_directory() == f"state-{number + 1}"


@given(data=st.data())
def test_a_damaged_pointer_is_refused_or_unchanged(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A flipped bit, a cut: never another directory, never an unnamed exception."""
    path = tmp_path_factory.mktemp("node")
    pointer = StatePointer("state-3", EntryId(4, 500))
    save_pointer(path, pointer)
    content = bytearray((path / "STATE").read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[position:]
    (path / "STATE").write_bytes(content)
    try:
        found = read_pointer(path)
    except DataDirRefused as error:
        reason = error.reason
    else:
        assert found == pointer
        return
    assert "STATE file is damaged" in reason


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"7",
        b"null",
        b"[" * 100_000,
        b'{"directory": 3, "term": 1, "index": 1, "checksum": ""}',
        b'{"directory": "../x", "term": 1, "index": 1, "checksum": "00000000"}',
    ],
)
def test_a_pointer_of_another_shape_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "STATE").write_bytes(content)
    with pytest.raises(DataDirRefused, match="STATE file is damaged"):
        read_pointer(tmp_path)


def test_a_pointer_never_leads_out_of_the_directory(tmp_path: Path) -> None:
    """Also with a checksum that fits."""
    for directory in ("../x", "/tmp", "state-1/../..", "state", "state-0", "log", ""):
        save_pointer(tmp_path, StatePointer(directory, EntryId(1, 1)))
        with pytest.raises(DataDirRefused):
            read_pointer(tmp_path)
        os.unlink(tmp_path / "STATE")
