"""Files that are replaced in one step (`raftkv.storage.durable_file`)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raftkv.storage.durable_file import make_directory, replace_file


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    """The old content is gone, and nothing lies beside the file."""
    path = tmp_path / "file"
    replace_file(path, b"old, and longer")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_made_with_all_above_it_durably(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of each is in the one above: a loss of power may take any that was not synced."""
    synced: list[str] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    make_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert synced == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]


def test_what_replaces_a_secret_is_never_open_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password's file keeps its mode, and the one that takes its place has it before it has content."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o600)
    seen: list[tuple[int, int]] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        seen.append((os.fstat(descriptor).st_mode & 0o777, os.fstat(descriptor).st_size))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    replace_file(path, b"secret")
    assert seen[0] == (0o600, 6)
    assert path.stat().st_mode & 0o777 == 0o600
