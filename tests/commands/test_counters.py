"""Strings that are numbers: exact replies (redis, "String" commands). See also test_strings_against_redis."""

from __future__ import annotations

import pytest

from raftkv.resp.replies import NOT_A_FLOAT, NOT_AN_INTEGER, OK, OVERFLOW, Error
from tests.commands.script import replies

NOT_FINITE = Error("ERR increment would produce NaN or Infinity")


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


def test_incrbyfloat() -> None:
    """redis INCRBYFLOAT, "Examples": a missing key counts from 0, an expiry stays."""
    lines = ("INCRBYFLOAT n 10.50", "EXPIRE n 9", "INCRBYFLOAT n 0.1", "INCRBYFLOAT n -5", "GET n", "TTL n")
    assert replies(*lines) == [b"10.5", 1, b"10.6", b"5.6", b"5.6", 9]
    assert replies("SET n 5.0e3", "INCRBYFLOAT n 2.0e2", "INCR n") == [OK, b"5200", 5201]


@pytest.mark.parametrize(
    ("value", "number", "reply"),
    [
        ("x", "1", NOT_A_FLOAT),
        ("", "1", NOT_A_FLOAT),
        ("1", "x", NOT_A_FLOAT),
        ("1", "nan", NOT_A_FLOAT),
        ("nan", "1", NOT_A_FLOAT),
        ("1", "1e5000", NOT_A_FLOAT),
        ("1", "inf", NOT_FINITE),
        ("-inf", "inf", NOT_FINITE),
        ("inf", "1", NOT_FINITE),
        ("1e4932", "1e4932", NOT_FINITE),
    ],
)
def test_incrbyfloat_refuses_what_it_can_not_count(value: str, number: str, reply: Error) -> None:
    """redis INCRBYFLOAT"""
    assert replies(f"SET n {value}", f"INCRBYFLOAT n {number}", "GET n") == [OK, reply, value.encode()]
