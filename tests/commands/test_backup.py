"""RAFT BACKUP: what a client may ask for, and what it is answered."""

from __future__ import annotations

import pytest

from raftkv.commands.backup_desk import READ_BYTES_MAX
from raftkv.commands.table import Awaited
from raftkv.resp.replies import NOT_AN_INTEGER, OK, SYNTAX_ERROR, Error
from tests.commands.fake_node import CLUSTER_ID, FakeNode, ask, open_session


def test_begin_is_answered_once_the_snapshot_is_there() -> None:
    """Its id, its manifest, and whose it is."""
    node = FakeNode()
    awaited = ask(open_session(node), "RAFT", "BACKUP", "BEGIN")
    assert isinstance(awaited, Awaited)
    assert awaited.look() is None
    node.backups.is_there = True
    assert awaited.look() == [b"1234", b"manifest", CLUSTER_ID.hex().encode(), 1]


def test_read_is_answered_once_the_bytes_are_there() -> None:
    """Or with what is wrong."""
    node = FakeNode()
    awaited = ask(open_session(node), "RAFT", "backup", "read", "1234", "CURRENT", "2", "3")
    assert isinstance(awaited, Awaited)
    assert awaited.look() is None
    node.backups.is_there = True
    assert awaited.look() == b"234"
    awaited = ask(open_session(node), "RAFT", "BACKUP", "READ", "1234", "other", "2", "3")
    assert isinstance(awaited, Awaited)
    assert awaited.look() == Error("ERR there is no such file")
    assert ask(open_session(node), "RAFT", "BACKUP", "READ", "1", "CURRENT", "2", "3") == Error(
        "ERR there is no such backup"
    )


def test_end_ends_it() -> None:
    """Its files are removed."""
    node = FakeNode()
    assert ask(open_session(node), "RAFT", "BACKUP", "END", "1234") is OK
    assert node.backups.ended == [b"1234"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("x",), SYNTAX_ERROR),
        (("begin", "x"), SYNTAX_ERROR),
        (("read", "1234", "CURRENT", "0"), SYNTAX_ERROR),
        (("end",), SYNTAX_ERROR),
        (("read", "1234", "CURRENT", "x", "1"), NOT_AN_INTEGER),
        (("read", "1234", "CURRENT", "0", "0"), Error(f"ERR length must be between 1 and {READ_BYTES_MAX}")),
        (
            ("read", "1234", "CURRENT", "0", "5000000"),
            Error(f"ERR length must be between 1 and {READ_BYTES_MAX}"),
        ),
    ],
)
def test_what_it_does_not_understand_is_refused(words: tuple[str, ...], error: Error) -> None:
    """House style: every size has a maximum."""
    assert ask(open_session(), "RAFT", "BACKUP", *words) == error
