"""When a disk has too little room for writes."""

from __future__ import annotations

from pathlib import Path

from raftkv.config import Config
from raftkv.node.disk_space import DiskSpace, Room, room_of

MB = 1 << 20


def space(free_mb: int, *, disk_mb: int = 100_000, floor_mb: int = 256) -> tuple[DiskSpace, Room]:
    """A disk with so much left."""
    room = Room(free_mb * MB, disk_mb * MB)
    return DiskSpace(lambda: room, Config(disk_free_min=floor_mb * MB)), room


def test_a_disk_is_short_below_the_floor() -> None:
    """disk_free_min"""
    assert space(255)[0].is_short
    assert not space(256)[0].is_short


def test_the_floor_is_at_most_a_tenth_of_the_disk() -> None:
    """Else a small disk could never be used."""
    small, _ = space(50, disk_mb=400)
    assert (small.floor_bytes, small.is_short) == (40 * MB, False)
    assert space(39, disk_mb=400)[0].is_short


def test_a_short_disk_needs_a_quarter_more_to_be_well() -> None:
    """At the edge writes would be refused and taken by turns."""
    disk, room = space(200)
    room.free_bytes = 319 * MB
    disk.sample()
    assert disk.is_short
    room.free_bytes = 320 * MB
    disk.sample()
    assert not disk.is_short
    room.free_bytes = 257 * MB
    disk.sample()
    assert not disk.is_short


def test_no_floor_means_never_short() -> None:
    """disk_free_min 0"""
    assert not space(0, floor_mb=0)[0].is_short


def test_a_real_disk_can_be_looked_at(tmp_path: Path) -> None:
    """statvfs"""
    room = room_of(tmp_path)
    assert 0 < room.free_bytes <= room.disk_bytes
