"""CLIENT."""

from __future__ import annotations

import pytest

from raftkv.resp.replies import OK, SYNTAX_ERROR, Error, Verbatim
from tests.commands.fake_node import FakeNode, ask, open_session


def test_a_connection_has_a_number_and_may_have_a_name() -> None:
    """redis CLIENT ID, SETNAME, GETNAME."""
    session = open_session()
    assert ask(session, "CLIENT", "ID") == 1
    assert ask(session, "CLIENT", "GETNAME") is None
    assert ask(session, "client", "setname", "me") is OK
    assert ask(session, "CLIENT", "GETNAME") == b"me"
    assert ask(session, "CLIENT", "SETNAME", "a b") == Error(
        "ERR Client names cannot contain spaces, newlines or special characters."
    )
    assert ask(session, "CLIENT", "SETNAME", "") is OK
    assert ask(session, "CLIENT", "GETNAME") is None


def test_a_library_says_what_it_is() -> None:
    """redis 7.2 CLIENT SETINFO."""
    session = open_session()
    assert ask(session, "CLIENT", "SETINFO", "lib-name", "redis-py") is OK
    assert ask(session, "CLIENT", "SETINFO", "LIB-VER", "8") is OK
    assert (session.lib_name, session.lib_ver) == (b"redis-py", b"8")
    assert ask(session, "CLIENT", "SETINFO", "x", "y") == Error("ERR Unrecognized option 'x'")
    assert ask(session, "CLIENT", "SETINFO", "LIB-NAME", "a b") == Error(
        "ERR LIB-NAME cannot contain spaces, newlines or special characters."
    )


def test_info_describes_this_connection() -> None:
    """redis 7.2 CLIENT INFO: the fields and their order."""
    session = open_session()
    ask(session, "HELLO", "3", "SETNAME", "me")
    assert ask(session, "CLIENT", "INFO") == Verbatim(
        b"id=1 addr=127.0.0.1:50000 laddr=127.0.0.1:7001 fd=-1 name=me age=5 idle=2 flags=N db=0 sub=0 "
        b"psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 "
        b"tot-mem=0 events=r cmd=client|info user=default redir=-1 resp=3 lib-name= lib-ver=\n"
    )


def ids_of(reply: object) -> list[int]:
    """The numbers of the connections that CLIENT LIST shows."""
    assert isinstance(reply, Verbatim)
    return [int(line.split(b" ")[0].removeprefix(b"id=")) for line in reply.text.splitlines()]


def test_list_describes_all_connections_or_some() -> None:
    """redis CLIENT LIST."""
    node = FakeNode()
    session, _, _ = (open_session(node) for _ in range(3))
    assert ids_of(ask(session, "CLIENT", "LIST")) == [1, 2, 3]
    assert ids_of(ask(session, "CLIENT", "LIST", "TYPE", "normal")) == [1, 2, 3]
    assert ids_of(ask(session, "CLIENT", "LIST", "TYPE", "pubsub")) == []
    assert ids_of(ask(session, "CLIENT", "LIST", "ID", "3", "9", "1", "3")) == [3, 1, 3]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("TYPE foo", Error("ERR Unknown client type 'foo'")),
        ("ID 3 abc", Error("ERR Invalid client ID")),
        ("TYPE", SYNTAX_ERROR),
        ("ID", SYNTAX_ERROR),
        ("foo", SYNTAX_ERROR),
    ],
)
def test_list_refuses_in_rediss_words(options: str, error: Error) -> None:
    """redis CLIENT LIST."""
    assert ask(open_session(), "CLIENT", "LIST", *options.split()) == error
