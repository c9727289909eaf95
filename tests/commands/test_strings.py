"""The strings family: exact replies (redis, "String" commands). See also test_strings_against_redis."""

from __future__ import annotations

import pytest

from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, OK, SYNTAX_ERROR, Error, Reply
from tests.commands.script import replies
from tests.machine.replica import Replica, check_rows

INVALID_EXPIRY = Error("ERR invalid expire time in 'set' command")
INVALID_GETEX_EXPIRY = Error("ERR invalid expire time in 'getex' command")


def test_set_and_get() -> None:
    """redis SET, GET: whatever was there is replaced, its expiry too."""
    lines = ("GET k", "SET k v", "GET k", "SET k w EX 10", "TTL k", "SET k x", "GET k", "TTL k")
    assert replies(*lines) == [None, OK, b"v", OK, 10, OK, b"x", -1]


@pytest.mark.parametrize(
    ("options", "left_ms"),
    [
        ("EX 7", 7000),
        ("px 7", 7),
        ("EXAT 1800000007", 7000),
        ("PXAT 1800000000007", 7),
        ("EX 3 EX 7", 7000),
        ("XX PX 7", 7),
        ("GET PX 7", 7),
        ("KEEPTTL", 50),
        ("", -1),
        ("PXAT 1", -2),
    ],
)
def test_set_gives_the_expiry_that_was_asked_for(options: str, left_ms: int) -> None:
    """redis SET, counted from the entry's time."""
    assert replies("SET k v PX 50", f"SET k w {options}".strip(), "PTTL k")[2] == left_ms


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        *((each, SYNTAX_ERROR) for each in ("NX XX", "XX NX", "EX 1 PX 1", "EX 1 KEEPTTL", "KEEPTTL PX 1")),
        *((each, SYNTAX_ERROR) for each in ("EX", "BOGUS", "EX 1 BOGUS", "EX bogus NX XX", "IDLE 5")),
        *((f"EX {each}", NOT_AN_INTEGER) for each in ("x", "1.5", "9223372036854775808")),
        *((f"{each} 0", INVALID_EXPIRY) for each in ("EX", "PX", "EXAT", "PXAT")),
        ("EX -1", INVALID_EXPIRY),
        ("EX 9223372036854775", INVALID_EXPIRY),
        ("PX 9223372036854775807", INVALID_EXPIRY),
        ("NX EX 0", INVALID_EXPIRY),
    ],
)
def test_set_refuses_what_makes_no_sense_and_changes_nothing(options: str, reply: Error) -> None:
    """redis SET: syntax before numbers, both before conditions."""
    assert replies("SET k v", f"SET k w {options}", "GET k") == [OK, reply, b"v"]


@pytest.mark.parametrize(
    ("options", "missing", "present"),
    [
        ("NX", (OK, b"new"), (None, b"old")),
        ("XX", (None, None), (OK, b"new")),
        ("GET", (None, b"new"), (b"old", b"new")),
        ("NX GET", (None, b"new"), (b"old", b"old")),
        ("XX GET", (None, None), (b"old", b"new")),
    ],
)
def test_set_keeps_to_its_conditions(
    options: str, missing: tuple[Reply, Reply], present: tuple[Reply, Reply]
) -> None:
    """redis SET: with GET the reply is the old value, whether it was set or not."""
    assert tuple(replies(f"SET k new {options}", "GET k")) == missing
    assert tuple(replies("SET k old", f"SET k new {options}", "GET k")[1:]) == present


def test_several_keys_at_once() -> None:
    """redis MSET, MGET: the last value of a key named twice stays."""
    lines = ("SET a x EX 10", "MSET a 1 b 2 a 3", "MGET a b c a", "TTL a")
    assert replies(*lines) == [OK, OK, [b"3", b"2", None, b"3"], -1]
    assert replies("MSET a 1 b") == [Error("ERR wrong number of arguments for 'mset' command")]


def test_setnx_sets_what_is_missing_alone() -> None:
    """redis SETNX"""
    assert replies("SETNX k v", "SETNX k w", "GET k", "SET d v PXAT 1", "SETNX d w", "GET d") == [
        *(1, 0, b"v"),
        *(OK, 1, b"w"),
    ]


def test_setex_and_psetex_set_value_and_expiry() -> None:
    """redis SETEX, PSETEX"""
    assert replies("SETEX k 7 v", "PTTL k", "PSETEX k 7 w", "PTTL k", "GET k") == [OK, 7000, OK, 7, b"w"]


@pytest.mark.parametrize("name", ["setex", "PSETEX"])
@pytest.mark.parametrize("number", ["0", "-1", "9223372036854775807", "x", "1.5", ""])
def test_setex_refuses_what_is_no_time_and_changes_nothing(name: str, number: str) -> None:
    """redis SETEX: the error names the command."""
    refused = Error(f"ERR invalid expire time in '{name.lower()}' command")
    reply = refused if parse_integer(number.encode()) is not None else NOT_AN_INTEGER
    assert replies("SET k v", f"{name} k {number} w", "GET k", "TTL k") == [OK, reply, b"v", -1]


def test_getset_replaces_value_and_expiry() -> None:
    """redis GETSET"""
    assert replies("GETSET k v", "EXPIRE k 9", "GETSET k w", "GET k", "TTL k") == [None, 1, b"v", b"w", -1]


def test_getdel_takes_the_key_away() -> None:
    """redis GETDEL"""
    assert replies("GETDEL k", "SET k v EX 9", "GETDEL k", "EXISTS k", "DBSIZE") == [None, OK, b"v", 0, 0]


@pytest.mark.parametrize(
    ("options", "left_ms"),
    [
        ("", 50),
        ("EX 7", 7000),
        ("px 7", 7),
        ("EXAT 1800000007", 7000),
        ("PXAT 1800000000007", 7),
        ("EX 3 EX 7", 7000),
        ("PERSIST", -1),
        ("persist PERSIST", -1),
        ("PXAT 1", -2),
        ("EXAT 1800000000", -2),
    ],
)
def test_getex_gives_the_expiry_that_was_asked_for(options: str, left_ms: int) -> None:
    """redis GETEX: counted from the entry's time; without options it is as it was."""
    lines = ("SET k v PX 50", f"GETEX k {options}".strip(), "PTTL k")
    assert replies(*lines) == [OK, b"v", left_ms]


def test_getex_leaves_a_key_without_expiry_as_it_is() -> None:
    """redis GETEX: no row changes for nothing."""
    replica = Replica()
    replica.write(b"SET", b"k", b"v")
    before = replica.all_rows()
    for options in ([], [b"PERSIST"], [b"EX", b"0"], [b"BOGUS"]):
        replica.write(b"GETEX", b"k", *options)
        assert replica.all_rows() == before


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        *((each, SYNTAX_ERROR) for each in ("EX", "BOGUS", "EX 1 PX 1", "EX 1 PERSIST", "PERSIST EX 1")),
        *((each, SYNTAX_ERROR) for each in ("NX", "XX", "GET", "KEEPTTL", "EX x BOGUS")),
        *((f"EX {each}", NOT_AN_INTEGER) for each in ("x", "1.5", "9223372036854775808")),
        *((f"{each} 0", INVALID_GETEX_EXPIRY) for each in ("EX", "PX", "EXAT", "PXAT")),
        ("PX -1", INVALID_GETEX_EXPIRY),
        ("EX 9223372036854775", INVALID_GETEX_EXPIRY),
    ],
)
def test_getex_refuses_what_makes_no_sense_and_changes_nothing(options: str, reply: Error) -> None:
    """redis GETEX: of a missing key only the words are looked at."""
    missing = reply if reply is SYNTAX_ERROR else None
    lines = (f"GETEX k {options}", "SET k v EX 9", f"GETEX k {options}", "TTL k")
    assert replies(*lines) == [missing, OK, reply, 9]


def test_msetnx_sets_all_or_nothing() -> None:
    """redis MSETNX: the last value of a key named twice stays."""
    lines = ("MSETNX a 1 b 2 a 3", "MGET a b", "MSETNX c 1 b 2", "MGET b c", "DEL b", "MSETNX c 1 b 5")
    assert replies(*lines, "MGET b c") == [1, [b"3", b"2"], 0, [b"2", None], 1, 1, [b"5", b"1"]]
    assert replies("MSETNX a 1 b") == [Error("ERR wrong number of arguments for 'msetnx' command")]


def test_keys_and_values_are_any_bytes() -> None:
    """redis, "Keys": binary safe, the empty string included."""
    replica = Replica()
    everything = bytes(range(256))
    for key in (b"", everything, b"{", b"{}", b"\x00\x00"):
        assert replica.write(b"SET", key, everything + key) == OK
        assert Replica(replica.store).read(b"GET", key) == everything + key
    check_rows(replica)
