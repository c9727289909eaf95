"""The desk where a backup is made and read: one at a time, read ahead, and gone when nobody reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raftkv.commands.backup_desk import BackupRefused, OpenBackup
from raftkv.node.backups import Backups
from raftkv.storage import DataDir, Identity, KvStore, Manifest, StorageFailure
from tests.node.driven_parts import DrivenClock
from tests.storage.states import fill


class Jobs:
    """A worker that does a job when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Callable[[Any], object]]] = []

    def submit(self, job: Callable[[], Any], on_done: Callable[[Any], object]) -> None:
        self.waiting.append((job, on_done))

    def run(self) -> None:
        while self.waiting:
            job, on_done = self.waiting.pop(0)
            on_done(job())


class Bench:
    """A desk over a small state."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = DataDir.open(folder, 1)
        self.data_dir.save_identity(Identity(1, ((1, "a:1"),), bytes(16)))
        self.kv_store = KvStore(self.data_dir.state_path, create=True)
        self.clock = DrivenClock()
        self.jobs = Jobs()
        self.desk = Backups(
            data_dir=self.data_dir,
            kv_store=self.kv_store,
            clock=self.clock,  # type: ignore[arg-type]  # it is driven
            worker=self.jobs,  # type: ignore[arg-type]  # it is driven
            tell=lambda callback: callback(),
        )

    def begun(self) -> OpenBackup:
        look = self.desk.begin()
        self.jobs.run()
        opened = look()
        assert isinstance(opened, OpenBackup)
        return opened

    def snapshots(self) -> list[str]:
        return sorted(path.name for path in self.data_dir.snapshots_path.iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A node with some rows."""
    bench = Bench(tmp_path / "data")
    fill(bench.kv_store, 5)
    yield bench
    bench.kv_store.close()
    bench.data_dir.close()


def test_nothing_waits_for_the_disk(bench: Bench) -> None:
    """All that the event loop does is to look whether it is there."""
    look = bench.desk.begin()
    assert look() is None
    with pytest.raises(BackupRefused, match="being made already"):
        bench.desk.begin()
    bench.jobs.run()
    opened = look()
    assert isinstance(opened, OpenBackup)
    read = bench.desk.read(opened.backup_id, "CURRENT", offset=0, length=8)
    assert read() is None
    bench.jobs.run()
    assert read() == b"MANIFEST"


def test_what_comes_next_is_read_ahead(bench: Bench) -> None:
    """So that the next request finds it; and no more than that."""
    opened = bench.begun()
    table = next(file for file in Manifest.decode(opened.manifest).files if file.is_table)
    bench.desk.read(opened.backup_id, table.name, offset=0, length=100)
    assert len(bench.jobs.waiting) == 2
    bench.jobs.run()
    second = bench.desk.read(opened.backup_id, table.name, offset=100, length=100)
    assert isinstance(second(), bytes)
    assert len(bench.jobs.waiting) == 1
    bench.jobs.run()
    last = bench.desk.read(opened.backup_id, table.name, offset=table.size_bytes - 7, length=7)
    assert len(bench.jobs.waiting) == 1
    bench.jobs.run()
    assert len(last()) == 7


@pytest.mark.parametrize(
    ("name", "offset"), [("../IDENTITY", 0), ("LOCK", 0), ("CURRENT", 100), ("CURRENT", -1)]
)
def test_only_the_files_of_the_snapshot_are_read(bench: Bench, name: str, offset: int) -> None:
    """Whatever the name says."""
    opened = bench.begun()
    read = bench.desk.read(opened.backup_id, name, offset=offset, length=8)
    bench.jobs.run()
    assert isinstance(read(), BackupRefused)


def test_backup_that_nobody_reads_is_removed(bench: Bench) -> None:
    """It keeps files that would be gone otherwise."""
    opened = bench.begun()
    bench.clock.ns += 50_000_000_000
    bench.desk.read(opened.backup_id, "CURRENT", offset=0, length=8)
    bench.clock.ns += 50_000_000_000
    bench.desk.on_tick()
    bench.jobs.run()
    assert bench.snapshots() == ["1"]
    bench.clock.ns += 11_000_000_000
    bench.desk.on_tick()
    bench.jobs.run()
    assert bench.snapshots() == []
    with pytest.raises(BackupRefused, match="no such backup"):
        bench.desk.read(opened.backup_id, "CURRENT", offset=0, length=8)
    bench.begun()


def test_backup_is_one_at_a_time(bench: Bench) -> None:
    """Until it is ended, by its own id."""
    opened = bench.begun()
    with pytest.raises(BackupRefused, match="there is a backup already"):
        bench.desk.begin()
    with pytest.raises(BackupRefused, match="no such backup"):
        bench.desk.end(b"other")
    bench.desk.end(opened.backup_id)
    bench.jobs.run()
    assert bench.snapshots() == []
    bench.begun()


def test_who_was_refused_is_not_given_the_backup_of_who_came_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each learns what came of its own attempt, however late it looks."""

    def fail(path: Path) -> None:
        raise StorageFailure("making a checkpoint", str(path))

    first = bench.desk.begin()
    with monkeypatch.context() as patch:
        patch.setattr(bench.kv_store, "checkpoint", fail)
        bench.jobs.run()
    bench.begun()
    assert isinstance(first(), BackupRefused)


def test_empty_node_has_nothing_to_back_up(tmp_path: Path) -> None:
    """A snapshot stands for an entry of the log."""
    bench = Bench(tmp_path / "data")
    with pytest.raises(BackupRefused, match="nothing to back up"):
        bench.desk.begin()
    bench.kv_store.close()
    bench.data_dir.close()
