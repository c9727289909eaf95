"""Whose directory it is: what is refused, in which words, and what a crash leaves behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.storage import DataDir, DataDirRefused, Identity, KvStore, LogStore, StorageFailure, durable_file
from tests.storage.durable_calls import recorded, replaced
from tests.storage.installing import IDENTITY

NONCE = bytes(range(16))
MEMBERS = ((1, "127.0.0.1:17001"), (2, "127.0.0.1:17002"))
NEW = Identity(1, MEMBERS, NONCE)
FORMED = Identity(1, MEMBERS, NONCE, ((1, NONCE), (2, bytes(16))), b"c" * 16)


def refusal_of(path: Path, node_id: int = 1) -> str:
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != "LOCK"}
    with pytest.raises(DataDirRefused) as refused:
        DataDir.open(path, node_id)
    assert refused.value.path == path
    assert str(refused.value) == f"data directory {path}: {refused.value.reason}"
    after = {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != "LOCK"}
    assert after == before, "a refused directory is left as it was"
    return refused.value.reason


def test_a_new_directory_has_no_identity_and_a_format(tmp_path: Path) -> None:
    path = tmp_path / "some" / "where"
    directory = DataDir.open(path, 1)
    assert directory.identity is None
    assert (path / "FORMAT").read_text() == "raftkv 3\n"
    assert (directory.log_path, directory.state_path) == (path / "log", path / "state")
    directory.close()


def test_the_identity_saved_last_is_found_again(tmp_path: Path) -> None:
    directory = DataDir.open(tmp_path, 1)
    directory.save_identity(NEW)
    directory.save_identity(FORMED)
    assert directory.identity == FORMED
    directory.close()
    directory = DataDir.open(tmp_path, 1)
    assert directory.identity == FORMED
    directory.close()


def test_a_directory_in_use_is_refused_until_it_is_closed(tmp_path: Path) -> None:
    directory = DataDir.open(tmp_path, 1)
    assert refusal_of(tmp_path) == f"it is in use by the process {os.getpid()}; expected it to be free"
    directory.close()
    DataDir.open(tmp_path, 1).close()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """flock goes with the process, unlike a file with a process id."""
    program = (
        "import os, pathlib, sys; from raftkv.storage import DataDir;"
        "DataDir.open(pathlib.Path(sys.argv[1]), 1); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -9
    DataDir.open(tmp_path, 1).close()


def test_another_nodes_directory_is_refused(tmp_path: Path) -> None:
    directory = DataDir.open(tmp_path, 1)
    directory.save_identity(NEW)
    directory.close()
    assert refusal_of(tmp_path, 2) == "it belongs to node 1, expected node 2's"
    DataDir.open(tmp_path, 1).close()


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "FORMAT").write_text("raftkv 4\n")
    (tmp_path / "something-new").write_text("x")
    reason = refusal_of(tmp_path)
    assert reason == (
        "it has format 4, and this version of raftkv knows format 3; run the version that wrote it"
    )
    assert not (tmp_path / "LOCK").exists()


@pytest.mark.parametrize("content", ["", "raftkv", "raftkv one", "other 1", "raftkv -1", "\xff\xfe"])
def test_a_format_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "FORMAT").write_text(content)
    assert refusal_of(tmp_path).endswith("expected 'raftkv 3'")


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert refusal_of(tmp_path) == (
        "it holds 'photos' but no FORMAT file; expected a directory of raftkv's or an empty one"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["photos"]


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    assert refusal_of(path) == "it is a file, and a directory was expected"


@pytest.mark.parametrize("data", ["log", "state", "state-3", "STATE", "incoming", "snapshots"])
def test_data_without_an_identity_is_refused(tmp_path: Path, data: str) -> None:
    """It would found another cluster, or join one as if it had never voted."""
    DataDir.open(tmp_path, 1).close()
    (tmp_path / data).mkdir()
    assert refusal_of(tmp_path) == (
        f"it holds {data} but no IDENTITY file; expected the one of node 1: put it back"
    )


@pytest.mark.parametrize("leftovers", [["LOCK"], ["LOCK", "FORMAT.new"]])
def test_a_crash_while_the_directory_is_made_is_no_obstacle(tmp_path: Path, leftovers: list[str]) -> None:
    for name in leftovers:
        (tmp_path / name).write_text("ra")
    directory = DataDir.open(tmp_path, 1)
    directory.save_identity(NEW)
    directory.close()


def test_a_directory_that_cannot_be_read_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / "FORMAT").mkdir()
    with pytest.raises(StorageFailure, match=r"^opening the data directory .* failed: .*FORMAT"):
        DataDir.open(tmp_path, 1)


@pytest.mark.parametrize(
    "other",
    [
        Identity(2, MEMBERS, NONCE, cluster_id=FORMED.cluster_id),
        Identity(1, MEMBERS, bytes(16), cluster_id=FORMED.cluster_id),
        Identity(1, MEMBERS, NONCE, cluster_id=b"d" * 16),
        NEW,
    ],
)
def test_a_directory_keeps_its_node_nonce_and_cluster(tmp_path: Path, other: Identity) -> None:
    directory = DataDir.open(tmp_path, 1)
    directory.save_identity(FORMED)
    with pytest.raises(AssertionError):
        directory.save_identity(other)
    assert directory.identity == FORMED
    directory.close()


class _Crash(BaseException):
    """The process ends here."""


def crash_after(calls_before: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the call after so many raise, of those by which a file is replaced; give those that were made."""
    calls: list[str] = []

    def crashing(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            if len(calls) == calls_before:
                raise _Crash
            calls.append(name)
            return real(*args)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(durable_file.os, name, crashing(name, getattr(os, name)))
    return calls


@pytest.mark.parametrize("calls_before", range(3))
def test_a_crash_anywhere_in_a_save_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls_before: int
) -> None:
    """The content is synced, then the name changes, then the name is synced."""
    directory = DataDir.open(tmp_path, 1)
    directory.save_identity(NEW)
    calls = crash_after(calls_before, monkeypatch)
    with pytest.raises(_Crash):
        directory.save_identity(FORMED)
    monkeypatch.undo()
    assert calls == ["fsync", "replace", "fsync"][:calls_before]
    directory.close()
    directory = DataDir.open(tmp_path, 1)
    assert directory.identity == (FORMED if "replace" in calls else NEW)
    directory.close()


@pytest.mark.parametrize("calls_before", range(4))
def test_a_crash_anywhere_while_a_directory_is_made_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls_before: int
) -> None:
    """One sync of the name of the directory, then FORMAT is put in place."""
    path = tmp_path / "node"
    calls = crash_after(calls_before, monkeypatch)
    with pytest.raises(_Crash):
        DataDir.open(path, 1)
    monkeypatch.undo()
    assert calls == ["fsync", "fsync", "replace", "fsync"][:calls_before]
    directory = DataDir.open(path, 1)
    assert directory.identity is None
    directory.close()


identities = st.builds(
    Identity,
    node_id=st.just(1),
    members=st.lists(st.tuples(st.integers(1, 99), st.text(max_size=20)), max_size=5).map(tuple),
    nonce=st.binary(min_size=16, max_size=16),
    agreed=st.lists(st.tuples(st.integers(1, 99), st.binary(min_size=16, max_size=16)), max_size=5).map(
        tuple
    ),
    cluster_id=st.none() | st.binary(min_size=16, max_size=16),
)


@given(identity=identities)
def test_any_identity_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, identity: Identity
) -> None:
    path = tmp_path_factory.mktemp("node")
    directory = DataDir.open(path, 1)
    directory.save_identity(identity)
    directory.close()
    directory = DataDir.open(path, 1)
    assert directory.identity == identity
    directory.close()


@given(data=st.data())
def test_a_damaged_identity_is_refused_or_unchanged(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A flipped bit, a cut: never another identity, never an unnamed exception."""
    path = tmp_path_factory.mktemp("node")
    directory = DataDir.open(path, 1)
    directory.save_identity(FORMED)
    directory.close()
    content = bytearray((path / "IDENTITY").read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[position:]
    (path / "IDENTITY").write_bytes(content)
    try:
        directory = DataDir.open(path, 1)
    except DataDirRefused as error:
        refused = error
    else:
        assert directory.identity == FORMED
        directory.close()
        return
    assert "IDENTITY" in refused.reason


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"checksum": 0}',
        b"[" * 100_000,
        b'{"node_id": 1e999, "members": [], "checksum": ""}',
    ],
)
def test_an_identity_of_another_shape_is_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever Python makes of it: a wrong type, a number without end, too deep a nesting."""
    DataDir.open(tmp_path, 1).close()
    (tmp_path / "IDENTITY").write_bytes(content)
    assert refusal_of(tmp_path).startswith("its IDENTITY file is damaged: ")


def test_names_that_a_killed_start_left_are_durable_before_anything_is_in_them(tmp_path: Path) -> None:
    """Its directories were made, and a loss of power may yet take their names."""
    path = tmp_path / "data"
    DataDir.open(path, 1).close()
    opened = DataDir.open(path, 1)
    with recorded(tmp_path) as calls:
        opened.save_identity(IDENTITY)
    assert calls == ["fsync .", *replaced("data/IDENTITY")]
    for open_store in (LogStore, KvStore):
        open_store(path / "store", create=True).close()
        with recorded(tmp_path) as calls:
            open_store(path / "store", create=True).close()
        assert "fsync data" in calls
        shutil.rmtree(path / "store")
    opened.close()
