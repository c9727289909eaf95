"""Complaints: one line at a time, however often a peer asks for it."""

from __future__ import annotations

import logging

import pytest

from raftkv.transport.complaints import Complaints


class Clock:
    def __init__(self) -> None:
        self.now_ms = 0

    def __call__(self) -> int:
        return self.now_ms * 1_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def complaints(clock: Clock) -> Complaints:
    return Complaints(logging.getLogger("complaints"), interval_ms=1000, clock_ns=clock)


def test_a_repeated_line_is_left_out_and_counted(
    complaints: Complaints, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A peer must not fill the disk."""
    for now_ms in (0, 1, 999, 1000, 2500):
        clock.now_ms = now_ms
        complaints.warn("key", "text")
    assert caplog.messages == ["text", "text (2 more like this)", "text"]


def test_lines_of_other_keys_are_written(complaints: Complaints, caplog: pytest.LogCaptureFixture) -> None:
    """Only the same trouble is repeated trouble."""
    complaints.warn("a", "one")
    complaints.warn("b", "two")
    assert caplog.messages == ["one", "two"]


def test_what_is_remembered_is_bounded(complaints: Complaints, caplog: pytest.LogCaptureFixture) -> None:
    """STYLE 8: the oldest key is forgotten, and then written again."""
    complaints.warn("first", "again")
    for count in range(256):
        complaints.warn(f"key {count}", "filler")
    complaints.warn("key 255", "left out")
    complaints.warn("first", "again")
    assert caplog.messages.count("again") == 2
    assert "left out" not in caplog.messages
