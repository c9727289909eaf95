"""A snapshot on its way: what is kept over restarts, shared with what is there, and asked for again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftkv.raft.types import ProtocolError
from raftkv.storage import (
    IncomingSnapshot,
    KvStore,
    Manifest,
    MissingRange,
    Snapshot,
    SnapshotFile,
    SnapshotRefused,
)
from raftkv.storage.incoming import manifest_in
from raftkv.storage.manifest import FILE_BYTES_MAX
from tests.storage.durable_calls import recorded
from tests.storage.states import holds, send, snapshot_at


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A snapshot of two tables; tests only read it."""
    return snapshot_at(tmp_path_factory.mktemp("leader"), 3, 8)


def table_of(manifest: Manifest) -> str:
    """The first table's name."""
    return next(file.name for file in manifest.files if file.is_table)


def assert_is_state(path: Path, index: int) -> None:
    """Open a copy of a finished snapshot's files, and read all rows."""
    copy = Path(shutil.copytree(path, path.parent / "copy"))
    store = KvStore(copy, create=False)
    assert holds(store, index)
    store.close()
    shutil.rmtree(copy)


def test_what_is_sent_is_the_state(tmp_path: Path, snapshot: Snapshot) -> None:
    """Raft §7: the follower's state is the leader's at that entry."""
    incoming = IncomingSnapshot(tmp_path / "incoming", snapshot.manifest)
    assert incoming.missing_bytes == snapshot.manifest.size_bytes
    assert [part.offset for part in incoming.missing()] == [0] * len(snapshot.manifest.files)
    assert send(snapshot, incoming) > 5
    assert not incoming.is_finished
    assert (incoming.finish(), incoming.missing_bytes) == ([], 0)
    assert incoming.is_finished
    assert_is_state(incoming.files_path, 8)
    assert manifest_in(incoming.path) == snapshot.manifest


def test_a_restart_goes_on_where_the_bytes_end(tmp_path: Path, snapshot: Snapshot) -> None:
    """A new object finds what an old one wrote, and asks for the rest alone."""
    manifest = snapshot.manifest
    name = table_of(manifest)
    size_bytes = next(file.size_bytes for file in manifest.files if file.name == name)
    incoming = IncomingSnapshot(tmp_path, manifest)
    assert incoming.write(name, 0, snapshot.read(name, 0, 700))
    assert incoming.write("CURRENT", 0, snapshot.read("CURRENT", 0, 16))
    again = IncomingSnapshot(tmp_path, manifest)
    assert again.missing_bytes == manifest.size_bytes - 716
    assert again.missing()[0] == MissingRange(name, 700, size_bytes - 700)
    assert "CURRENT" not in [part.name for part in again.missing()]
    send(snapshot, again)
    assert again.finish() == []
    assert_is_state(again.files_path, 8)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_files_come_in_turns_and_each_in_order(
    tmp_path_factory: pytest.TempPathFactory, snapshot: Snapshot, data: st.DataObject
) -> None:
    """Chunks that are lost, doubled, late or early change nothing; restarts lose nothing."""
    folder = tmp_path_factory.mktemp("follower")
    manifest = snapshot.manifest
    incoming = IncomingSnapshot(folder, manifest)
    sizes = {file.name: file.size_bytes for file in manifest.files}
    written = dict.fromkeys(sizes, 0)
    for _ in range(data.draw(st.integers(0, 25))):
        name = data.draw(st.sampled_from(sorted(sizes)))
        offset = data.draw(st.just(written[name]) | st.integers(0, sizes[name]))
        length = data.draw(st.integers(1, 3000))
        if offset + length > sizes[name]:
            with pytest.raises(ProtocolError):
                incoming.write(name, offset, bytes(length))
            continue
        taken = incoming.write(name, offset, snapshot.read(name, offset, length))
        assert taken == (offset == written[name])
        written[name] += length if taken else 0
        if data.draw(st.integers(0, 5)) == 0:
            incoming = IncomingSnapshot(folder, manifest)
        assert {part.name: part.offset for part in incoming.missing()} == {
            each: written[each] for each in sizes if written[each] < sizes[each]
        }
    send(snapshot, incoming)
    assert incoming.finish() == []


def test_a_damaged_file_is_dropped_and_asked_for_again(tmp_path: Path, snapshot: Snapshot) -> None:
    """On the way, or on the disk while the node was down: the digest tells."""
    manifest = snapshot.manifest
    name = table_of(manifest)
    incoming = IncomingSnapshot(tmp_path, manifest)
    send(snapshot, incoming)
    content = bytearray((incoming.files_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (incoming.files_path / name).write_bytes(content)
    assert incoming.finish() == [name]
    assert incoming.missing() == [MissingRange(name, 0, len(content))]
    send(snapshot, incoming)
    assert incoming.finish() == []
    assert_is_state(incoming.files_path, 8)


def test_what_is_too_long_is_dropped_at_a_restart(tmp_path: Path, snapshot: Snapshot) -> None:
    """No file of ours grows beyond its size."""
    incoming = IncomingSnapshot(tmp_path, snapshot.manifest)
    send(snapshot, incoming)
    with open(incoming.files_path / "CURRENT", "ab") as file:
        file.write(b"more")
    again = IncomingSnapshot(tmp_path, snapshot.manifest)
    assert again.missing() == [MissingRange("CURRENT", 0, 16)]
    send(snapshot, again)
    assert again.finish() == []


@pytest.mark.parametrize("shift", [1, 0])
def test_tables_that_are_there_are_linked(tmp_path: Path, shift: int) -> None:
    """A follower that has most of the data, from an earlier snapshot, is sent the rest; the names differ."""
    old = snapshot_at(tmp_path / "leader", 3)
    store = KvStore(tmp_path / "leader" / "state", create=False)
    store.close()
    new = snapshot_at(tmp_path / "leader", 8)
    own = Path(shutil.copytree(tmp_path / "leader" / "snapshots" / "1", tmp_path / "own"))
    (table,) = own.glob("*.sst")
    if shift:
        table = table.rename(table.with_name("000999.sst"))
    name = table_of(old.manifest)
    IncomingSnapshot(tmp_path / "incoming", new.manifest).write(name, 0, new.read(name, 0, 700))
    incoming = IncomingSnapshot(tmp_path / "incoming", new.manifest, have=[own])
    assert name not in [part.name for part in incoming.missing()]
    assert os.stat(incoming.files_path / name).st_ino == table.stat().st_ino
    send(new, incoming)
    assert incoming.finish() == []
    assert_is_state(incoming.files_path, 8)


def test_a_table_of_the_same_size_and_other_bytes_is_not_taken(tmp_path: Path, snapshot: Snapshot) -> None:
    """File numbers of two nodes have nothing to do with each other."""
    own = Path(shutil.copytree(tmp_path_of(snapshot), tmp_path / "own"))
    name = table_of(snapshot.manifest)
    content = (own / name).read_bytes()
    (own / name).write_bytes(bytes(len(content)))
    (own / "CURRENT").write_bytes(b"MANIFEST-000009\n")
    incoming = IncomingSnapshot(tmp_path / "incoming", snapshot.manifest, have=[own, tmp_path / "nowhere"])
    missing = [part.name for part in incoming.missing()]
    assert name in missing
    assert "CURRENT" in missing, "what changes is never shared"
    send(snapshot, incoming)
    assert incoming.finish() == []
    assert (own / name).read_bytes() == bytes(len(content)), "what is the other's stays as it is"


def tmp_path_of(snapshot: Snapshot) -> Path:
    """Where a snapshot's files are."""
    return snapshot._path


def test_a_damaged_link_leaves_the_other_name_alone(tmp_path: Path, snapshot: Snapshot) -> None:
    """The state that is in use may share its tables: it is never written to."""
    own = Path(shutil.copytree(tmp_path_of(snapshot), tmp_path / "own"))
    incoming = IncomingSnapshot(tmp_path / "incoming", snapshot.manifest, have=[own])
    name = table_of(snapshot.manifest)
    (own / name).write_bytes(bytes((own / name).stat().st_size))
    send(snapshot, incoming)
    again = IncomingSnapshot(tmp_path / "incoming", snapshot.manifest)
    assert again.finish() == [name]
    send(snapshot, again)
    assert again.finish() == []
    assert not any((own / name).read_bytes())


def test_what_came_of_another_snapshot_is_used_and_removed(tmp_path: Path) -> None:
    """The leader made a new one meanwhile: whole tables are kept, and one snapshot's space is taken."""
    old = snapshot_at(tmp_path / "leader", 3)
    new = snapshot_at(tmp_path / "leader", 8)
    before = IncomingSnapshot(tmp_path / "incoming", old.manifest)
    name = table_of(old.manifest)
    while name in [part.name for part in before.missing()]:
        part = before.missing()[0]
        before.write(part.name, part.offset, old.read(part.name, part.offset, part.length))
    (tmp_path / "incoming" / "stray").write_bytes(b"")
    incoming = IncomingSnapshot(tmp_path / "incoming", new.manifest)
    assert name not in [part.name for part in incoming.missing()]
    assert os.listdir(tmp_path / "incoming") == [new.manifest.snapshot_id.hex()]
    send(new, incoming)
    assert incoming.finish() == []
    incoming.discard()
    assert os.listdir(tmp_path / "incoming") == []


def test_a_snapshot_that_the_disk_has_no_room_for_is_refused(tmp_path: Path, snapshot: Snapshot) -> None:
    """Before a byte is sent: a full disk would stop the node, which needs its log."""
    tables = [SnapshotFile(f"1{number:06}.sst", FILE_BYTES_MAX, bytes(16)) for number in range(10_000)]
    files = sorted((*snapshot.manifest.files, *tables), key=lambda file: file.name)
    manifest = replace(snapshot.manifest, files=tuple(files))
    assert Manifest.decode(manifest.encode()) == manifest
    with pytest.raises(SnapshotRefused, match="free"):
        IncomingSnapshot(tmp_path, manifest)
    IncomingSnapshot(tmp_path, snapshot.manifest)
    assert os.listdir(tmp_path) == [snapshot.manifest.snapshot_id.hex()]


def test_a_snapshot_leaves_room_for_the_log(
    tmp_path: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte less than the snapshot and 256 MB is too little."""
    free_bytes = snapshot.manifest.size_bytes + (256 << 20)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free_bytes - 1))
    with pytest.raises(SnapshotRefused, match="free"):
        IncomingSnapshot(tmp_path, snapshot.manifest)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free_bytes))
    IncomingSnapshot(tmp_path, snapshot.manifest)


@pytest.mark.parametrize("name", ["../manifest", "/etc/passwd", "LOCK", "", "000001.sst", "CURRENT\0"])
def test_bytes_of_a_file_that_is_not_in_the_snapshot_are_refused(
    tmp_path: Path, snapshot: Snapshot, name: str
) -> None:
    """Whatever a chunk says, what is written is what the manifest names."""
    incoming = IncomingSnapshot(tmp_path / "incoming", snapshot.manifest)
    for offset, data in ((0, b"x"), (0, b""), (-1, b"xx"), (1 << 70, b"x")):
        with pytest.raises(ProtocolError):
            incoming.write(name, offset, data)
    for offset, data in ((17, b"x"), (0, b""), (-1, b"x"), (0, bytes(17)), (1 << 70, b"x")):
        with pytest.raises(ProtocolError):
            incoming.write("CURRENT", offset, data)
    assert [path.name for path in incoming.files_path.iterdir()] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["incoming"]


@pytest.mark.parametrize(
    "lie", [{"index": 9}, {"index": 7}, {"term": 3}, {"log_time_ms": 1}, {"membership": b"others"}]
)
def test_a_state_that_is_not_what_the_manifest_says_is_refused(
    tmp_path: Path, snapshot: Snapshot, lie: dict[str, int]
) -> None:
    """The log would begin behind another entry than the one that the rows end with."""
    manifest = replace(snapshot.manifest, **lie)  # type: ignore[arg-type]
    incoming = IncomingSnapshot(tmp_path, manifest)
    send(snapshot, incoming)
    with pytest.raises(SnapshotRefused, match="it says that it ends with entry"):
        incoming.finish()


def test_files_that_are_no_database_are_refused(tmp_path: Path, snapshot: Snapshot) -> None:
    """A manifest may leave out a table: each digest is right, and the whole is not."""
    files = tuple(file for file in snapshot.manifest.files if file.name != table_of(snapshot.manifest))
    incoming = IncomingSnapshot(tmp_path, replace(snapshot.manifest, files=files))
    send(snapshot, incoming)
    with pytest.raises(SnapshotRefused):
        incoming.finish()


def test_what_is_finished_outlives_a_loss_of_power(tmp_path: Path, snapshot: Snapshot) -> None:
    """What was linked, and what came before a restart, is synced too; and every name on the way to it."""
    own = Path(shutil.copytree(tmp_path_of(snapshot), tmp_path / "own"))
    incoming = IncomingSnapshot(tmp_path / "incoming", snapshot.manifest, have=[own])
    folder = f"incoming/{snapshot.manifest.snapshot_id.hex()}"
    names = [file.name for file in snapshot.manifest.files]
    with recorded(tmp_path) as calls:
        send(snapshot, incoming)
        sent = [name for name in names if not name.endswith(".sst")]
        assert calls == [f"fsync {folder}/files/{name}" for name in sent], "each as soon as it is whole"
        calls.clear()
        assert incoming.finish() == []
    assert calls == [
        *(f"fsync {folder}/files/{name}" for name in names),
        *(f"fsync {path}" for path in (f"{folder}/files", folder, "incoming", ".")),
    ]


#: Receives the snapshot of a manifest's directory in small pieces, and dies at the call that is told.
RECEIVER = """
import os, sys
from pathlib import Path
from raftkv.storage import IncomingSnapshot, Manifest, Snapshot
folder, source, manifest, last = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
snapshot = Snapshot(source, Manifest.decode(bytes.fromhex(manifest)))
incoming = IncomingSnapshot(folder, snapshot.manifest)
for _ in range(last):
    part = incoming.missing()[-1]
    length = min(part.length, 1000)
    assert incoming.write(part.name, part.offset, snapshot.read(part.name, part.offset, length))
    if not incoming.missing():
        print(incoming.finish())
        break
sys.stdout.flush()
os.kill(os.getpid(), 9)
"""


def test_what_was_written_survives_every_kill(tmp_path: Path, snapshot: Snapshot) -> None:
    """Eleven lives, each of which writes a little more."""
    encoded = snapshot.manifest.encode().hex()
    expected = snapshot.manifest.size_bytes
    outputs = []
    for _ in range(11):
        arguments = [str(tmp_path), str(tmp_path_of(snapshot)), encoded, "3"]
        done = subprocess.run(
            [sys.executable, "-c", RECEIVER, *arguments], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (-9, "")
        outputs.append(done.stdout)
        missing = IncomingSnapshot(tmp_path, snapshot.manifest).missing_bytes
        assert missing < expected
        expected = missing
        if not missing:
            break
    assert outputs[-1] == "[]\n"
    assert len(outputs) > 2
    assert_is_state(IncomingSnapshot(tmp_path, snapshot.manifest).files_path, 8)
