"""What a client says to its connection."""

from __future__ import annotations

import pytest

from raftkv.resp.replies import NOT_AN_INTEGER, OK, PONG, SYNTAX_ERROR, Error, Simple
from tests.commands.fake_node import FakeNode, ask, node_status, open_session


def test_ping_answers_pong_or_the_message() -> None:
    """redis PING."""
    session = open_session()
    assert ask(session, "PING") is PONG
    assert ask(session, "ping", b"\xff") == b"\xff"
    assert ask(session, "PING", "a", "b") == Error("ERR wrong number of arguments for 'ping' command")
    assert ask(session, "ECHO", "hi") == b"hi"


def test_hello_agrees_on_a_protocol() -> None:
    """redis HELLO."""
    session = open_session()
    greeting = {
        b"server": b"redis",
        b"version": b"7.2.4",
        b"proto": 2,
        b"id": 1,
        b"mode": b"cluster",
        b"role": b"master",
        b"modules": [],
    }
    assert ask(session, "HELLO") == greeting
    assert ask(session, "hello", "3", "setname", "me", "AUTH", "default", "any") == {**greeting, b"proto": 3}
    assert (session.protocol, session.name) == (3, b"me")
    assert ask(session, "HELLO", "2") == greeting
    assert session.protocol == 2


def test_hello_at_a_follower_says_replica() -> None:
    """redis HELLO: role."""
    reply = ask(open_session(FakeNode(node_status(2))), "HELLO", "3")
    assert isinstance(reply, dict)
    assert reply[b"role"] == b"replica"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ("4", "NOPROTO unsupported protocol version"),
        ("1", "NOPROTO unsupported protocol version"),
        ("abc", "ERR Protocol version is not an integer or out of range"),
        ("3 foo", "ERR Syntax error in HELLO option 'foo'"),
        ("3 auth a", "ERR Syntax error in HELLO option 'auth'"),
        ("3 AUTH a b", "WRONGPASS invalid username-password pair or user is disabled."),
        ("3 setname", "ERR Syntax error in HELLO option 'setname'"),
        ("3 auth a b foo", "ERR Syntax error in HELLO option 'foo'"),
        ("3 auth a b setname \t", "ERR Client names cannot contain spaces, newlines or special characters."),
        ("3 setname \t foo", "ERR Client names cannot contain spaces, newlines or special characters."),
        ("3 setname x auth a b", "WRONGPASS invalid username-password pair or user is disabled."),
        ("3 setname \t", "ERR Client names cannot contain spaces, newlines or special characters."),
    ],
)
def test_hello_refuses_in_rediss_words_and_changes_nothing(args: str, text: str) -> None:
    """redis HELLO."""
    session = open_session()
    assert ask(session, "HELLO", *args.split(" ")) == Error(text)
    assert (session.protocol, session.name) == (2, b"")


def test_auth_without_a_password_set() -> None:
    """redis AUTH."""
    session = open_session()
    assert ask(session, "AUTH", "x") == Error(
        "ERR AUTH <password> called without any password configured for the default user. "
        "Are you sure your configuration is correct?"
    )
    assert ask(session, "AUTH", "default", "x") is OK
    assert ask(session, "AUTH", "a", "x") == Error(
        "WRONGPASS invalid username-password pair or user is disabled."
    )
    assert ask(session, "AUTH", "a", "b", "c") is SYNTAX_ERROR


def test_there_is_one_database() -> None:
    """redis SELECT in cluster mode."""
    session = open_session()
    assert ask(session, "SELECT", "0") is OK
    assert ask(session, "SELECT", "1") == Error("ERR SELECT is not allowed in cluster mode")
    for word in ("x", "9223372036854775808", "01"):
        assert ask(session, "SELECT", word) is NOT_AN_INTEGER
    for word in ("2147483648", "-2147483649"):
        assert ask(session, "SELECT", word) == Error(
            "ERR value is out of range, value must between -2147483648 and 2147483647"
        )


def test_quit_closes_behind_its_reply() -> None:
    """redis QUIT."""
    session = open_session()
    assert ask(session, "QUIT", "anything") is OK
    assert session.is_closing


def test_readonly_and_asking_are_noted_and_reset() -> None:
    """redis READONLY, READWRITE, ASKING, RESET."""
    session = open_session()
    assert ask(session, "READONLY") is OK
    assert session.is_readonly
    assert ask(session, "READWRITE") is OK
    assert not session.is_readonly
    assert ask(session, "ASKING") is OK
    assert session.is_asking
    ask(session, "HELLO", "3", "SETNAME", "x")
    ask(session, "READONLY")
    assert ask(session, "RESET") == Simple("RESET")
    assert (session.protocol, session.name, session.is_readonly, session.is_asking) == (2, b"", False, False)
