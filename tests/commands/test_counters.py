"""Strings that are numbers: exact replies (redis, "String" commands). See also test_strings_against_redis."""

from __future__ import annotations

import pytest

from raftkv.resp.replies import NOT_AN_INTEGER, OK, OVERFLOW, Error
from tests.commands.script import replies


def test_counters() -> None:
    """redis INCR and its kind: a missing key counts from 0, an expiry stays."""
    lines = ("INCR n", "INCRBY n 41", "DECR n", "DECRBY n 50", "DECRBY n -9", "GET n", "EXPIRE n 5", "INCR n")
    assert replies(*lines, "TTL n") == [1, 42, 41, -9, 0, b"0", 1, 1, 5]


@pytest.mark.parametrize(
    ("value", "line", "reply"),
    [
        ("9223372036854775807", "INCR n", OVERFLOW),
        ("-9223372036854775808", "DECR n", OVERFLOW),
        ("1", "INCRBY n 9223372036854775807", OVERFLOW),
        ("-2", "DECRBY n 9223372036854775807", OVERFLOW),
        ("0", "DECRBY n -9223372036854775808", Error("ERR decrement would overflow")),
        ("0", "INCRBY n 9223372036854775808", NOT_AN_INTEGER),
        ("0", "INCRBY n x", NOT_AN_INTEGER),
        ("1.0", "INCR n", NOT_AN_INTEGER),
        ("01", "INCR n", NOT_AN_INTEGER),
        ("", "INCR n", NOT_AN_INTEGER),
    ],
)
def test_counters_refuse_what_they_can_not_count(value: str, line: str, reply: Error) -> None:
    """redis INCR: 64 bits, signed, in their own spelling."""
    assert replies(f"SET n {value}", line, "GET n") == [OK, reply, value.encode()]
