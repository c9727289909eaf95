"""Parts of strings: exact replies (redis, "String" commands). See also test_strings_against_redis."""

from __future__ import annotations

import pytest

from raftkv.commands import string_ranges
from raftkv.resp.replies import NOT_AN_INTEGER, OK, STRING_TOO_LONG, Error, Reply
from tests.commands.script import replies
from tests.machine.replica import Replica


def test_append_and_strlen() -> None:
    """redis APPEND, STRLEN: an expiry stays."""
    lines = ("STRLEN k", "APPEND k abc", "EXPIRE k 9", "APPEND k de", "GET k", "STRLEN k", "TTL k")
    assert replies(*lines) == [0, 3, 1, 5, b"abcde", 5, 9]
    assert replies("APPEND k ", "EXISTS k", "GET k") == [0, 1, b""]


def test_string_is_never_longer_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """redis APPEND, proto-max-bulk-len"""
    monkeypatch.setattr(string_ranges, "STRING_BYTES_MAX", 5)
    assert replies("APPEND k abc", "APPEND k def", "APPEND k de", "GET k") == [
        3,
        STRING_TOO_LONG,
        5,
        b"abcde",
    ]


@pytest.mark.parametrize("name", ["GETRANGE", "substr"])
@pytest.mark.parametrize(
    ("places", "part"),
    [
        *(("0 3", b"This"), ("-3 -1", b"ing"), ("0 -1", b"This is a string"), ("10 100", b"string")),
        *(("5 5", b"i"), ("5 4", b""), ("-4 -5", b""), ("16 16", b""), ("-100 1", b"Th"), ("-1 100", b"g")),
        *(("0 -100", b"T"), ("-100 -100", b"T"), ("-99 -100", b""), ("1 -100", b"")),
        ("-9223372036854775808 9223372036854775807", b"This is a string"),
        ("9223372036854775807 -9223372036854775808", b""),
        *((each, NOT_AN_INTEGER) for each in ("x 1", "1 x", "1.0 1", " 1", "0 9223372036854775808")),
    ],
)
def test_getrange_gives_what_lies_between_both_ends(name: str, places: str, part: Reply) -> None:
    """redis GETRANGE, "Examples", and what redis-server 7.0 answered."""
    replica = Replica()
    replica.write(b"SET", b"k", b"This is a string")
    first, last = places.encode().split(b" ")
    assert replica.read(name.encode(), b"k", first, last) == part
    assert replica.read(name.encode(), b"nothing", first, last) == (part if part is NOT_AN_INTEGER else b"")


def test_setrange_overwrites_and_keeps_the_expiry() -> None:
    """redis SETRANGE, "Examples" """
    lines = ("SET k Hello_World EX 9", "SETRANGE k 6 Redis", "GET k", "SETRANGE k 10 sAll", "GET k", "TTL k")
    assert replies(*lines) == [OK, 11, b"Hello_Redis", 14, b"Hello_RedisAll", 9]


def test_setrange_pads_with_zero_bytes() -> None:
    """redis SETRANGE"""
    assert replies("SETRANGE k 3 ab", "GET k", "SETRANGE k 7 c", "GET k", "SETRANGE n 0 a") == [
        *(5, b"\0\0\0ab"),
        *(8, b"\0\0\0ab\0\0c"),
        1,
    ]


def test_setrange_of_nothing_changes_nothing() -> None:
    """redis SETRANGE: not even an offset far away; no key comes to be."""
    assert replies("SETRANGE k 5 ", "EXISTS k", "SET k abc", "SETRANGE k 9223372036854775807 ", "GET k") == [
        *(0, 0),
        *(OK, 3, b"abc"),
    ]


@pytest.mark.parametrize(
    ("offset", "reply"),
    [
        ("-1", Error("ERR offset is out of range")),
        ("x", NOT_AN_INTEGER),
        ("9223372036854775808", NOT_AN_INTEGER),
        ("9223372036854775807", STRING_TOO_LONG),
        ("536870912", STRING_TOO_LONG),
    ],
)
def test_setrange_refuses_what_makes_no_sense(offset: str, reply: Error) -> None:
    """redis SETRANGE: the offset before the key; strings stay below proto-max-bulk-len."""
    assert replies(f"SETRANGE k {offset} v", "EXISTS k", "SET k abc", f"SETRANGE k {offset} v", "GET k") == [
        *(reply, 0),
        *(OK, reply, b"abc"),
    ]
