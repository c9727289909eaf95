"""Cases, and replies read off bytes: what the comparison rests on."""

from __future__ import annotations

import pytest

from raftkv.commands import build_table
from tests.differential.by_hand import WRITERS, is_racy
from tests.differential.cases import Case, Step, case_of
from tests.differential.generator import Generator, weighted
from tests.differential.replies import NotAReply, Reply, ReplyReader
from tests.differential.silence import BARRIER, Silence

TABLE = build_table()


def test_a_case_is_read_back_from_its_text() -> None:
    """What is printed can be pasted."""
    case = Case(
        (
            Step(((b"SET", b"{t}a", b"\x00\xff\r\n \"'\\"), (b"GET", b"")), client=0),
            Step(((b"PING",),), client=2, is_inline=True),
            Step(client=2, raw=b"*1\r\n$-5\r\n"),
            Step(((b"PING",),), client=0),
        )
    )
    assert case_of(str(case)) == case


def test_a_seed_gives_the_same_case_again() -> None:
    """A failing seed is a command line."""
    assert Generator(TABLE, 7).case(30) == Generator(TABLE, 7).case(30)
    assert Generator(TABLE, 7).case(30) != Generator(TABLE, 8).case(30)


def test_every_writer_is_for_a_command_and_every_command_comes_up() -> None:
    """A command of the table takes part by itself."""
    names = {spec.name.decode() for spec in weighted(TABLE)}
    assert set(WRITERS) <= names
    seen = {
        request[0].decode("latin-1").lower()
        for seed in range(200)
        for step in Generator(TABLE, seed).case(20).steps
        for request in step.requests
    }
    assert {name.partition("|")[0] for name in names} <= seen


@pytest.mark.parametrize(
    ("line", "is_so"),
    [
        ("SET k v EX 5", True),
        ("SET k v px 5 NX", True),
        ("SET k 5", False),
        ("SET k v PX -5", False),
        ("EXPIRE k 10", True),
        ("EXPIRE k 800000000", False),
        ("WAIT 1 0", True),
        ("WAIT 0 0", False),
        ("WAIT 1 5", False),
    ],
)
def test_what_hangs_on_speed_is_left_out(line: str, is_so: bool) -> None:
    """Two servers need not be equally fast."""
    assert is_racy(tuple(line.encode().split())) is is_so


def test_replies_are_read_with_all_that_their_bytes_say() -> None:
    """RESP2 and RESP3 specifications: kinds that clients take for one are told apart here."""
    nested = b"%1\r\n+a\r\n~1\r\n:-5\r\n*2\r\n*0\r\n=5\r\ntxt:x\r\n"
    data = b"+OK\r\n$2\r\nOK\r\n$-1\r\n*-1\r\n_\r\n" + nested + b"-ERR x\r\n"
    whole = ReplyReader().feed(data)
    assert whole == [
        Reply("+", b"OK"),
        Reply("$", b"OK"),
        Reply("$"),
        Reply("*"),
        Reply("_", b""),
        Reply("%", None, (Reply("+", b"a"), Reply("~", None, (Reply(":", b"-5"),)))),
        Reply("*", None, (Reply("*", None, ()), Reply("=", b"txt:x"))),
        Reply("-", b"ERR x"),
    ]
    reader = ReplyReader()
    assert [reply for place in range(len(data)) for reply in reader.feed(data[place : place + 1])] == whole
    assert reader.rest == b""
    with pytest.raises(NotAReply):
        reader.feed(b"nonsense\r\n")


def answered(*lines: str) -> list[str]:
    """Of a connection's requests those that are answered."""
    silence = Silence()
    return [line for line in lines if silence.breaks(tuple(line.encode().split()))]


def test_only_what_is_answered_is_waited_for() -> None:
    """redis CLIENT REPLY: OFF until ON or RESET, SKIP for one request; a wrong one is answered."""
    skip, off, on = "client reply skip", "CLIENT REPLY OFF", "CLIENT REPLY on"
    assert answered(skip, "GET a", "GET b") == ["GET b"]
    assert answered(skip, skip, "GET a", "GET b") == ["GET b"]
    assert answered(skip, "CLIENT REPLY x", "GET b") == ["GET b"]
    assert answered("CLIENT REPLY x", "CLIENT REPLY", "CLIENT REPLY ON x") != []
    assert answered(off, "GET a", skip, "GET b", on, "GET c") == [on, "GET c"]
    assert answered(off, "RESET x", "reset", "GET c") == ["reset", "GET c"]
    assert answered(skip, on, "GET a") == [on, "GET a"]


def test_no_piece_ends_in_silence() -> None:
    """Else the next connection's requests could be done before it."""
    pieces = [step for seed in range(200) for step in Generator(TABLE, seed).case(40).steps if step.requests]
    assert any(BARRIER in step.requests for step in pieces)
    for step in pieces:
        silence = Silence()
        for request in step.requests:
            silence.breaks(request)
        assert not silence.holds, step


def test_nobody_is_killed_or_kept_waiting_by_a_case() -> None:
    """Each server has clients of its own beside the case's."""
    racy = (
        "KILL TYPE normal",
        "KILL ID 3",
        "KILL SKIPME no USER default",
        "PAUSE 100",
        "PAUSE 9223372036854775 ALL",
    )
    harmless = ("KILL 127.0.0.1:1", "KILL TYPE normal ID 999999999", "KILL ID", "PAUSE 0", "PAUSE x", "PAUSE")
    for line in racy:
        assert is_racy((b"CLIENT", *line.encode().split())), line
    for line in harmless:
        assert not is_racy((b"CLIENT", *line.encode().split())), line
