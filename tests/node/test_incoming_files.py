"""The disk work of a snapshot that comes in: every order is answered once, and chunks may come in any order.

Source: `raftkv.node.snapshot_receiver.IncomingFiles`, the contract.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from raftkv.node.incoming_files import IncomingFiles
from raftkv.node.snapshot_messages import Offer
from raftkv.node.snapshot_transfer import FileRange
from raftkv.storage import Manifest, Snapshot
from raftkv.storage.worker import Worker
from tests.storage.states import snapshot_at

CHUNK = 512


class Answers:
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, object]] = []

    def on_opened(
        self, snapshot_id: bytes, missing: Sequence[FileRange], *, bytes_total: int, now_ns: int
    ) -> None:
        del snapshot_id, now_ns
        self.heard.append(("opened", (list(missing), bytes_total)))

    def on_unusable(self, snapshot_id: bytes, reason: str, now_ns: int) -> None:
        del snapshot_id, now_ns
        self.heard.append(("unusable", reason))

    def on_written(self, snapshot_id: bytes, chunk: FileRange, now_ns: int) -> None:
        del snapshot_id, now_ns
        self.heard.append(("written", (chunk.name, chunk.offset)))

    def on_finished(self, snapshot_id: bytes, missing: Sequence[FileRange], now_ns: int) -> None:
        del snapshot_id, now_ns
        self.heard.append(("finished", list(missing)))


class Disk:
    """The files on a thread, whose answers come when the test says so."""

    def __init__(self, path: Path, *, is_news: Callable[[int], bool] = lambda _: True) -> None:
        failures: list[BaseException] = []
        self._failures = failures
        self._worker = Worker(on_failure=failures.append, name="incoming")
        self._told: list[Callable[[], None]] = []
        self.answers = Answers()
        self.files = IncomingFiles(
            worker=self._worker,
            tell=self._told.append,
            now_ns=lambda: 0,
            incoming_path=path / "incoming",
            state_path=lambda: path / "state",
            is_news=is_news,
        )
        self.files.answers = self.answers
        (path / "incoming").mkdir(parents=True)
        (path / "state").mkdir()

    def end(self) -> list[tuple[str, object]]:
        """Let everything be done, and return what was answered."""
        self._worker.close()
        assert self._failures == []
        for answer in self._told:
            answer()
        return self.answers.heard


def offer_of(manifest: Manifest, *, content: bytes | None = None) -> Offer:
    encoded = manifest.encode() if content is None else content
    return Offer(manifest.snapshot_id, 1, 1, 1, 0, 16, CHUNK, encoded)


def chunks_of(snapshot: Snapshot) -> list[tuple[FileRange, bytes]]:
    """Cut a snapshot into chunks, in order."""
    return [
        (FileRange(file.name, offset, length), snapshot.read(file.name, offset, length))
        for file in snapshot.manifest.files
        for offset in range(0, file.size_bytes, CHUNK)
        for length in [min(CHUNK, file.size_bytes - offset)]
    ]


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    (tmp_path / "source").mkdir()
    return snapshot_at(tmp_path / "source", 1)


@pytest.mark.parametrize("is_reversed", [False, True])
def test_chunks_may_come_in_any_order(tmp_path: Path, snapshot: Snapshot, is_reversed: bool) -> None:
    """A chunk that was asked for again comes behind those that were asked for after it."""
    disk = Disk(tmp_path / "target")
    disk.files.open(offer_of(snapshot.manifest))
    chunks = chunks_of(snapshot)
    for place, data in reversed(chunks) if is_reversed else chunks:
        disk.files.write(snapshot.manifest.snapshot_id, place, data)
    disk.files.finish(snapshot.manifest.snapshot_id)
    heard = disk.end()
    assert [kind for kind, _ in heard] == ["opened", *["written"] * len(chunks), "finished"]
    assert sorted(what for kind, what in heard if kind == "written") == sorted(
        (place.name, place.offset) for place, _ in chunks
    )
    assert heard[-1] == ("finished", [])
    assert disk.files.take().is_finished


def test_a_chunk_that_is_held_is_answered_when_the_transfer_is_given_up(
    tmp_path: Path, snapshot: Snapshot
) -> None:
    """The next transfer begins only once every order of the last one was answered."""
    disk = Disk(tmp_path / "target")
    disk.files.open(offer_of(snapshot.manifest))
    place, data = next(each for each in chunks_of(snapshot) if each[0].offset > 0)
    disk.files.write(snapshot.manifest.snapshot_id, place, data)
    disk.files.close(snapshot.manifest.snapshot_id)
    assert [kind for kind, _ in disk.end()] == ["opened", "written"]


def test_a_damaged_file_is_missing_again(tmp_path: Path, snapshot: Snapshot) -> None:
    disk = Disk(tmp_path / "target")
    disk.files.open(offer_of(snapshot.manifest))
    chunks = chunks_of(snapshot)
    victim = max(chunks, key=lambda each: len(each[1]))[0]
    for place, data in chunks:
        disk.files.write(snapshot.manifest.snapshot_id, place, bytes(len(data)) if place is victim else data)
    disk.files.finish(snapshot.manifest.snapshot_id)
    kind, missing = disk.end()[-1]
    assert kind == "finished"
    assert isinstance(missing, list)
    assert [(each.name, each.offset) for each in missing] == [(victim.name, 0)]


def test_files_of_another_state_are_all_missing_again(tmp_path: Path, snapshot: Snapshot) -> None:
    """Whole as they are, they are of no use."""
    disk = Disk(tmp_path / "target")
    wrong = replace(snapshot.manifest, index=snapshot.manifest.index + 1)
    disk.files.open(offer_of(wrong))
    for place, data in chunks_of(snapshot):
        disk.files.write(wrong.snapshot_id, place, data)
    disk.files.finish(wrong.snapshot_id)
    heard = disk.end()
    assert [kind for kind, _ in heard][:: len(heard) - 1] == ["opened", "finished"]
    assert heard[0][1] == (heard[-1][1], wrong.size_bytes)
    assert sum(path.stat().st_size for path in (tmp_path / "target" / "incoming").rglob("*.sst")) == 0


def test_files_of_another_state_are_declined_if_the_disk_has_no_room_for_them_again(
    tmp_path: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there already, as links, took no room the first time."""
    usages = [namedtuple("Usage", "free")(free_bytes) for free_bytes in (1 << 40, 0)]
    monkeypatch.setattr("shutil.disk_usage", lambda _: usages.pop(0))
    disk = Disk(tmp_path / "target")
    wrong = replace(snapshot.manifest, index=snapshot.manifest.index + 1)
    disk.files.open(offer_of(wrong))
    for place, data in chunks_of(snapshot):
        disk.files.write(wrong.snapshot_id, place, data)
    disk.files.finish(wrong.snapshot_id)
    disk.files.close(wrong.snapshot_id)
    kind, reason = disk.end()[-1]
    assert kind == "unusable"
    assert "the disk has 0 free" in str(reason)


def test_what_is_not_wanted_is_not_begun(tmp_path: Path, snapshot: Snapshot) -> None:
    """Garbage, another snapshot's manifest, a state that this node has already, or one without members."""
    disk = Disk(tmp_path / "target", is_news=lambda _: False)
    disk.files.open(offer_of(snapshot.manifest, content=b"garbage"))
    disk.files.open(offer_of(snapshot.manifest))
    other = offer_of(snapshot.manifest)
    other.snapshot_id = b"?" * 16
    disk.files.open(other)
    disk.files.open(offer_of(replace(snapshot.manifest, membership=b"garbage")))
    heard = disk.end()
    assert [kind for kind, _ in heard] == ["unusable"] * 4
    assert "checksum" in str(heard[0][1])
    assert "is committed here already" in str(heard[1][1])
    assert "of another snapshot" in str(heard[2][1])
    assert "no membership" in str(heard[3][1])
    assert list((tmp_path / "target" / "incoming").iterdir()) == []
