"""CLIENT's sub-commands that act on connections."""

from __future__ import annotations

import pytest

from raftkv.commands.session import ReplyMode
from raftkv.resp.replies import NOT_AN_INTEGER, OK, SYNTAX_ERROR, Error, ReplySet, Verbatim
from tests.commands.fake_node import NOW_US, FakeNode, ask, open_session


@pytest.mark.parametrize(
    ("words", "reply", "killed"),
    [
        ("ID 2", 1, [2]),
        ("id 1", 0, []),
        ("ID 9", 0, []),
        ("TYPE normal", 2, [2, 3]),
        ("TYPE pubsub", 0, []),
        ("TYPE pubsub ID 2", 0, []),
        ("ADDR 127.0.0.1:50000 ID 3", 1, [3]),
        ("LADDR 127.0.0.1:7001", 2, [2, 3]),
        ("LADDR 1:1", 0, []),
        ("USER default SKIPME yes", 2, [2, 3]),
        ("ID 2 ID 3", 1, [3]),
    ],
)
def test_kill_closes_what_all_filters_leave(words: str, reply: int, killed: list[int]) -> None:
    """redis CLIENT KILL: the asking connection is spared, of equal filters the last holds."""
    node = FakeNode()
    session, _, _ = (open_session(node) for _ in range(3))
    assert ask(session, "CLIENT", "KILL", *words.split()) == reply
    assert node.control == [("kill", client_id) for client_id in killed]
    assert not session.is_closing


def test_kill_may_mean_the_one_that_asks() -> None:
    """redis CLIENT KILL: it gets its reply first."""
    node = FakeNode()
    session = open_session(node)
    assert ask(session, "CLIENT", "KILL", "SKIPME", "no") == 1
    assert session.is_closing
    assert node.control == []


def test_kill_of_an_address_is_the_old_form() -> None:
    """redis CLIENT KILL addr:port"""
    node = FakeNode()
    session = open_session(node)
    assert ask(session, "CLIENT", "KILL", "1.2.3.4:5") == Error("ERR No such client")
    assert ask(session, "CLIENT", "KILL", "127.0.0.1:50000") is OK
    assert session.is_closing


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("KILL ID x", Error("ERR client-id should be greater than 0")),
        ("KILL ID 0", Error("ERR client-id should be greater than 0")),
        ("KILL ID 0 ID", Error("ERR client-id should be greater than 0")),
        ("KILL ID 1 ID", SYNTAX_ERROR),
        ("KILL TYPE foo", Error("ERR Unknown client type 'foo'")),
        ("KILL USER foo", Error("ERR No such user 'foo'")),
        ("KILL SKIPME foo", SYNTAX_ERROR),
        ("KILL MAXAGE 5", SYNTAX_ERROR),
        ("PAUSE x", Error("ERR timeout is not an integer or out of range")),
        ("PAUSE -1", Error("ERR timeout is negative")),
        (f"PAUSE {(1 << 63) - 1}", Error("ERR timeout is out of range")),
        ("PAUSE x foo", Error("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        (
            "PAUSE 1 WRITE x",
            Error("ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP."),
        ),
        ("UNBLOCK x", NOT_AN_INTEGER),
        ("UNBLOCK x foo", Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        (
            "unblock 1 ERROR x",
            Error("ERR unknown subcommand or wrong number of arguments for 'unblock'. Try CLIENT HELP."),
        ),
        ("REPLY foo", SYNTAX_ERROR),
        ("NO-EVICT foo", SYNTAX_ERROR),
        ("NO-TOUCH foo", SYNTAX_ERROR),
        ("NO-TOUCH", Error("ERR wrong number of arguments for 'client|no-touch' command")),
        ("NO-TOUCH on x", Error("ERR wrong number of arguments for 'client|no-touch' command")),
    ],
)
def test_what_is_wrong_is_refused_in_rediss_words(words: str, error: Error) -> None:
    """redis CLIENT: as redis-server 7.0.15 answers, and 7.2 where it says otherwise."""
    node = FakeNode()
    assert ask(open_session(node), "CLIENT", *words.split()) == error
    assert node.control == []


def test_pause_and_unblock_are_told_to_the_node() -> None:
    """redis CLIENT PAUSE, UNPAUSE, UNBLOCK."""
    node = FakeNode()
    session = open_session(node)
    for words in ("PAUSE 5", "PAUSE 6 write", "PAUSE 7 ALL", "UNPAUSE"):
        assert ask(session, "CLIENT", *words.split()) is OK
    assert ask(session, "CLIENT", "UNBLOCK", "7") == 1
    assert ask(session, "CLIENT", "UNBLOCK", "8", "ERROR") == 0
    assert node.control == [
        ("pause all", 5),
        ("pause writes", 6),
        ("pause all", 7),
        ("unpause", 0),
        ("time out", 7),
        ("fail", 8),
    ]
    longest_ms = (1 << 63) - 1 - NOW_US // 1000
    assert ask(session, "CLIENT", "PAUSE", str(longest_ms)) is OK


def test_reset_takes_back_what_client_changed() -> None:
    """redis RESET (clearClientConnectionState)"""
    session = open_session()
    ask(session, "CLIENT", "NO-EVICT", "on")
    ask(session, "CLIENT", "NO-TOUCH", "On")
    line = ask(session, "CLIENT", "INFO")
    assert isinstance(line, Verbatim)
    assert b" flags=eT " in line.text
    ask(session, "CLIENT", "REPLY", "OFF")
    ask(session, "RESET")
    assert (session.is_evictable, session.is_touching, session.is_silent) == (True, True, False)
    assert session.reply_change is ReplyMode.ON


def test_nothing_is_tracked() -> None:
    """redis CLIENT TRACKINGINFO, GETREDIR: as of a connection that did not ask for tracking."""
    session = open_session()
    assert ask(session, "CLIENT", "GETREDIR") == -1
    assert ask(session, "CLIENT", "TRACKINGINFO") == {
        b"flags": ReplySet([b"off"]),
        b"redirect": -1,
        b"prefixes": [],
    }
