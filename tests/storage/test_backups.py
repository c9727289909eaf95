"""Backups on a disk: made whole or not at all, verified byte by byte, restored into an empty directory."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import tarfile
from itertools import groupby
from pathlib import Path

import pytest

from raftkv.raft.types import NOBODY, EntryId, HardState
from raftkv.storage import DataDir, DataDirRefused, KvStore, LogStore, data_dir
from raftkv.storage.backups import (
    BackupDamaged,
    BackupInfo,
    BackupWriter,
    opened_backup,
    part_of,
    verify_backup,
)
from raftkv.storage.data_dir import RESTORING
from raftkv.storage.restore import restore
from tests.storage.durable_calls import recorded, replaced
from tests.storage.installing import end_after
from tests.storage.states import holds, send, snapshot_at

INFO = BackupInfo("ab" * 16, 2, 1_700_000_000_000, "0.1.0")
INDEX = 20
MEMBERS = ((1, "a:1"), (2, "b:1"))


class _Crash(BaseException):
    """The process ends here."""


def crash() -> None:
    raise _Crash


def nobody(*_: object) -> None:
    """Show no progress."""


@pytest.fixture(scope="module", params=["backup", "backup.tar"])
def backup(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole one, as a directory and as a file; tests work on copies."""
    folder = tmp_path_factory.mktemp("backup")
    snapshot = snapshot_at(folder, 10, INDEX)
    target = folder / str(request.param)
    writer = BackupWriter(target, snapshot.manifest)
    send(snapshot, writer.incoming)
    assert not target.exists()
    assert writer.finish(INFO) == []
    assert not part_of(target).exists()
    return target


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_backup_gets_its_name_when_no_loss_of_power_can_undo_it(tmp_path: Path, name: str) -> None:
    """And has that durably before anybody is told."""
    snapshot = snapshot_at(tmp_path / "node", 10, INDEX)
    writer = BackupWriter(tmp_path / name, snapshot.manifest)
    send(snapshot, writer.incoming)
    folder = f"{name}.part/{snapshot.manifest.snapshot_id.hex()}"
    with recorded(tmp_path) as calls:
        writer.finish(INFO)
    whole = f"{name}.part/backup.tar" if name.endswith(".tar") else folder
    synced = [f"fsync {whole}"] if name.endswith(".tar") else []
    named = [f"rename {whole} {name}", "fsync ."]
    files = [f"fsync {folder}/files/{file.name}" for file in snapshot.manifest.files]
    assert calls[: len(files)] == files
    assert calls[-len(replaced("x") + synced + named) :] == [*replaced(f"{folder}/BACKUP"), *synced, *named]


def copied(path: Path, target: Path) -> Path:
    """Copy a directory or a file."""
    return Path(shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target))


def test_backup_says_what_it_is(backup: Path) -> None:
    """From where, and up to which entry."""
    with opened_backup(backup) as opened:
        assert opened.info == INFO
        assert opened.manifest.entry_id == EntryId(2, INDEX)
        assert verify_backup(opened, nobody) == []


def test_flipped_bit_is_found(backup: Path, tmp_path: Path) -> None:
    """Wherever it is, but between a tar file's members."""
    source = random.Random(1)
    for attempt in range(30):
        copy = copied(backup, tmp_path / f"{attempt}.tar")
        files = [file for file in sorted(copy.rglob("*")) if file.is_file()] or [copy]
        file = files[attempt % len(files)]
        content = bytearray(file.read_bytes())
        pos = source.randrange(len(content))
        if copy.is_file():
            with tarfile.open(copy) as tar:
                member = source.choice(tar.getmembers())
                pos = member.offset_data + source.randrange(member.size)
        content[pos] ^= 1 << source.randrange(8)
        file.write_bytes(content)
        try:
            with opened_backup(copy) as opened:
                assert verify_backup(opened, nobody), f"bit at {pos} of {file.name}"
        except BackupDamaged:
            pass


@pytest.mark.parametrize("what", ["nothing", "empty file", "empty directory", "rubbish", "cut off"])
def test_what_is_no_backup_is_refused(backup: Path, tmp_path: Path, what: str) -> None:
    """By one exception, whatever is wrong."""
    path = tmp_path / "x"
    if what == "empty file":
        path.write_bytes(b"")
    elif what == "empty directory":
        path.mkdir()
    elif what == "rubbish":
        path.write_bytes(random.Random(1).randbytes(5000))
    elif what == "cut off" and backup.is_file():
        path.write_bytes(backup.read_bytes()[:2000])
    with pytest.raises(BackupDamaged), opened_backup(path) as opened:
        restore(opened, tmp_path / "data", 1, MEMBERS, nobody)


def test_tar_file_that_is_compressed_is_refused(tmp_path: Path) -> None:
    """A backup never is: a few KB could unpack to any size, and what is cut off fails in ways of its own."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(__file__, "BACKUP")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BackupDamaged, match="neither a directory nor a tar file"), opened_backup(path):
        pass


def test_link_in_a_tar_file_is_refused(tmp_path: Path) -> None:
    """It may lead to itself."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("BACKUP")
        link.type, link.linkname = tarfile.SYMTYPE, "BACKUP"
        tar.addfile(link)
    with pytest.raises(BackupDamaged, match="BACKUP is no file"), opened_backup(path):
        pass


@pytest.mark.parametrize("size", [1 << 50, 1 << 64, -(1 << 64)])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_size_in_a_tar_file_that_none_can_have_is_refused(tmp_path: Path, kind: bytes, size: int) -> None:
    """The format has room for more than a file system and a memory have."""
    path = tmp_path / "x.tar"
    entry = tarfile.TarInfo("BACKUP")
    entry.type, entry.size = kind, size
    path.write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(5000))
    with pytest.raises(BackupDamaged), opened_backup(path):
        pass


def test_file_that_is_too_long_is_read_no_further(backup: Path, tmp_path: Path) -> None:
    """A restore would fill the disk with it."""
    if backup.is_file():
        return
    copy = copied(backup, tmp_path / "copy")
    (table, *_) = sorted((copy / "files").glob("*.sst"))
    os.truncate(table, 1 << 22)
    with opened_backup(copy) as opened:
        (file,) = (each for each in opened.manifest.files if each.name == table.name)
        given: list[int] = []
        with pytest.raises(BackupDamaged, match=f"expected {file.size_bytes}"):
            given.extend(map(len, opened.pieces(file)))
    assert sum(given) <= file.size_bytes


def test_backup_of_a_later_format_is_refused(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checksum is right, and what it means isn't known."""
    if backup.is_file():
        return
    copy = copied(backup, tmp_path / "copy")
    with monkeypatch.context() as patch:
        patch.setattr("raftkv.storage.backups._FORMAT", 2)
        (copy / "BACKUP").write_bytes(INFO.encode())
    with pytest.raises(BackupDamaged, match="it has format 2"), opened_backup(copy):
        pass


def test_missing_file_is_found(backup: Path, tmp_path: Path) -> None:
    """And told by its name."""
    if backup.is_file():
        return
    copy = copied(backup, tmp_path / "copy")
    (copy / "files" / "CURRENT").unlink()
    with opened_backup(copy) as opened:
        (fault,) = verify_backup(opened, nobody)
    assert fault.startswith("CURRENT can't be read")


def assert_is_restored(path: Path) -> None:
    """All rows are there, of no members; the log begins behind them, empty."""
    data_dir = DataDir.open(path, 1)
    identity = data_dir.identity
    assert identity is not None
    assert (identity.members, identity.cluster_id, len(identity.restored)) == (MEMBERS, None, 16)
    store = KvStore(data_dir.state_path, create=False)
    assert holds(store, INDEX)
    assert store.applied.membership == b""
    assert store.applied.log_time_ms == INDEX * 10
    store.close()
    log_store = LogStore(data_dir.log_path, create=False)
    log = log_store.group(0)
    assert (log.boundary, log.last_index, log.hard_state) == (EntryId(2, INDEX), INDEX, HardState(2, NOBODY))
    log_store.close()
    data_dir.close()


def test_restored_directory_begins_behind_the_backup(backup: Path, tmp_path: Path) -> None:
    """Where there is none, and in an empty one."""
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with opened_backup(backup) as opened:
            restore(opened, tmp_path / name, 1, MEMBERS, nobody)
        assert_is_restored(tmp_path / name)


def test_each_step_of_a_restore_outlives_a_loss_of_power_before_the_next(
    backup: Path, tmp_path: Path
) -> None:
    """Nobody can use the directory before all of it is durable."""
    with opened_backup(backup) as opened, recorded(tmp_path / "new") as calls:
        restore(opened, tmp_path / "new", 1, MEMBERS, nobody)
        names = [file.name for file in opened.manifest.files]
    begun = calls.index(f"fsync state/{names[0]}")
    assert [call for call, _ in groupby(calls[begun:])] == [
        *(f"fsync state/{name}" for name in names),
        "fsync state",
        "fsync .",
        "KvStore.flush",
        "fsync .",  # for the log's directory
        "LogStore.sync",
        "fsync ..",  # for the new directory itself
        *replaced("IDENTITY"),
        "unlink RESTORING",
        "fsync .",
    ]
    assert "unlink RESTORING" not in calls[:begun]


def test_directories_of_one_backup_are_told_apart_by_nonces_alone(backup: Path, tmp_path: Path) -> None:
    """Formation compares what they were restored from."""
    found = []
    for name in ("a", "b"):
        with opened_backup(backup) as opened:
            restore(opened, tmp_path / name, 1, MEMBERS, nobody)
        data_dir = DataDir.open(tmp_path / name, 1)
        assert data_dir.identity is not None
        found.append(data_dir.identity)
        data_dir.close()
    assert found[0].restored == found[1].restored
    assert found[0].nonce != found[1].nonce


def test_directory_that_holds_anything_is_left_alone(backup: Path, tmp_path: Path) -> None:
    """A node's data above all."""
    held = tmp_path / "held"
    held.mkdir()
    (held / "notes").write_text("mine")
    with opened_backup(backup) as opened, pytest.raises(DataDirRefused, match="it holds 'notes'"):
        restore(opened, held, 1, MEMBERS, nobody)
    assert [path.name for path in held.iterdir()] == ["notes"]
    with opened_backup(backup) as opened:
        restore(opened, tmp_path / "node", 1, MEMBERS, nobody)
        with pytest.raises(DataDirRefused, match="into an empty directory only"):
            restore(opened, tmp_path / "node", 1, MEMBERS, nobody)


@pytest.mark.parametrize("is_under_way", [False, True])
def test_directory_that_another_restore_has_just_finished_is_left_alone(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_under_way: bool
) -> None:
    """Between the look at it and the lock."""
    path = tmp_path / "data"
    path.mkdir()
    if is_under_way:
        (path / RESTORING).write_bytes(b"")

    def restore_before(*args: int) -> None:
        monkeypatch.undo()
        restore(opened, path, 1, MEMBERS, nobody)
        fcntl.flock(*args)

    with opened_backup(backup) as opened:
        monkeypatch.setattr(data_dir.fcntl, "flock", restore_before)
        with pytest.raises(DataDirRefused, match="empty directory only"):
            restore(opened, path, 1, MEMBERS, nobody)
    assert_is_restored(path)


def test_restore_that_was_cut_off_is_no_node_and_begins_anew(backup: Path, tmp_path: Path) -> None:
    """At every call that changes a directory or makes something durable."""
    if backup.is_file():
        return
    unfinished = 0
    for calls_before in range(100):
        path = tmp_path / str(calls_before)
        with opened_backup(backup) as opened, end_after(calls_before, crash):
            try:
                restore(opened, path, 1, MEMBERS, nobody)
            except _Crash:
                pass
            else:
                break
        if (path / "RESTORING").exists():
            unfinished += 1
            with pytest.raises(DataDirRefused, match="raftkv restore"):
                DataDir.open(path, 1)
        if not (path / "IDENTITY").exists() or (path / "RESTORING").exists():
            with opened_backup(backup) as opened:
                restore(opened, path, 1, MEMBERS, nobody)
        assert_is_restored(path)
    assert unfinished > 5


def test_damaged_backup_leaves_no_node_behind(backup: Path, tmp_path: Path) -> None:
    """The damage may be in the last byte."""
    if backup.is_file():
        return
    copy = copied(backup, tmp_path / "copy")
    table = max((copy / "files").glob("*.sst"))
    content = bytearray(table.read_bytes())
    content[-1] ^= 1
    table.write_bytes(content)
    with opened_backup(copy) as opened, pytest.raises(BackupDamaged, match=table.name):
        restore(opened, tmp_path / "data", 1, MEMBERS, nobody)
    with pytest.raises(DataDirRefused, match="has not ended"):
        DataDir.open(tmp_path / "data", 1)
    with opened_backup(backup) as opened:
        restore(opened, tmp_path / "data", 1, MEMBERS, nobody)
    assert_is_restored(tmp_path / "data")
