"""SLOWLOG."""

from __future__ import annotations

import pytest

from raftkv.resp.replies import OK, Error
from tests.commands.fake_node import FakeNode, ask, open_session

BAD_COUNT = Error("ERR count should be greater than or equal to -1")


def slow_node(count: int) -> FakeNode:
    """A node with so many slow commands."""
    node = FakeNode()
    for number in range(count):
        node.monitors.slowlog.note(
            [b"KEYS", b"%d*" % number],
            time_s=1000 + number,
            duration_us=20_000,
            address="a:1",
            client_name=b"c",
        )
    return node


def test_the_newest_come_first_and_ten_of_them() -> None:
    """redis SLOWLOG GET: number, time, microseconds, arguments, address and name of the client."""
    session = open_session(slow_node(12))
    newest = [11, 1011, 20_000, [b"KEYS", b"11*"], b"a:1", b"c"]
    entries = ask(session, "SLOWLOG", "GET")
    assert isinstance(entries, list)
    assert entries[0] == newest
    assert [entry[0] for entry in entries] == list(range(11, 1, -1))
    assert ask(session, "SLOWLOG", "GET", "1") == [newest]
    everything = ask(session, "SLOWLOG", "GET", "-1")
    assert isinstance(everything, list)
    assert len(everything) == 12
    assert ask(session, "SLOWLOG", "GET", "0") == []


def test_reset_forgets_all_but_the_numbers_go_on() -> None:
    """redis SLOWLOG LEN, RESET."""
    node = slow_node(3)
    session = open_session(node)
    assert ask(session, "SLOWLOG", "LEN") == 3
    assert ask(session, "SLOWLOG", "RESET") is OK
    assert ask(session, "SLOWLOG", "LEN") == 0
    node.monitors.slowlog.note([b"GET"], time_s=1, duration_us=1)
    assert ask(session, "SLOWLOG", "GET") == [[3, 1, 1, [b"GET"], b"", b""]]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("GET x", BAD_COUNT),
        ("GET -2", BAD_COUNT),
        (
            "GET 1 2",
            Error("ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP."),
        ),
        ("LEN x", Error("ERR wrong number of arguments for 'slowlog|len' command")),
    ],
)
def test_mistakes_are_refused_in_rediss_words(line: str, error: Error) -> None:
    """As redis 7.0.15 answers them."""
    assert ask(open_session(), "SLOWLOG", *line.split()) == error


def test_long_requests_are_cut() -> None:
    """redis slowlogCreateEntry: 32 arguments of 128 bytes."""
    node = FakeNode()
    node.monitors.slowlog.note([b"a"] * 32, time_s=0, duration_us=0)
    node.monitors.slowlog.note([b"a"] * 40, time_s=0, duration_us=0)
    node.monitors.slowlog.note([b"x" * 128, b"y" * 130], time_s=0, duration_us=0)
    entries = ask(open_session(node), "SLOWLOG", "GET")
    assert isinstance(entries, list)
    assert [entry[3] for entry in entries] == [
        [b"x" * 128, b"y" * 128 + b"... (2 more bytes)"],
        [b"a"] * 31 + [b"... (9 more arguments)"],
        [b"a"] * 32,
    ]


def test_the_oldest_make_room() -> None:
    """redis slowlog-max-len, which may change."""
    slowlog = slow_node(128 + 2).monitors.slowlog
    assert [entry.number for entry in slowlog.newest(-1)] == list(range(129, 1, -1))
    slowlog.resize(2)
    assert [entry.number for entry in slowlog.newest(-1)] == [129, 128]
    slowlog.resize(0)
    assert len(slowlog) == 0
