"""When keys expire: exact replies (redis, "Generic" commands). See also test_against_redis."""

from __future__ import annotations

import pytest

from raftkv.resp.replies import NOT_AN_INTEGER, OK, Error
from tests.commands.script import NOW_MS, replies


def test_expiry_is_set_read_and_taken_away() -> None:
    """redis EXPIRE, PEXPIRE, TTL, PTTL, PERSIST: TTL rounds to the nearest second."""
    lines = ("EXPIRE k 5", "TTL k", "PTTL k", "PERSIST k", "SET k v", "TTL k", "PTTL k", "PERSIST k")
    assert replies(*lines) == [0, -2, -2, 0, OK, -1, -1, 0]
    times = ("EXPIRE k 5", "PTTL k", "PEXPIRE k 1499", "TTL k", "PEXPIRE k 1500", "TTL k")
    assert replies("SET k v", *times, "PERSIST k", "TTL k") == [OK, 1, 5000, 1, 1, 1, 2, 1, -1]


@pytest.mark.parametrize(
    "line", ["EXPIRE k 0", "EXPIRE k -1", "PEXPIRE k -9223372036854775808", "PEXPIRE k 0"]
)
def test_expiry_in_the_past_deletes(line: str) -> None:
    """redis EXPIRE"""
    assert replies("SET k v", line, "EXISTS k") == [OK, 1, 0]


@pytest.mark.parametrize(
    ("condition", "without", "shorter", "equal", "longer"),
    [
        ("NX", 1, 0, 0, 0),
        ("XX", 0, 1, 1, 1),
        ("GT", 0, 0, 0, 1),
        ("LT", 1, 1, 0, 0),
        ("XX GT", 0, 0, 0, 1),
        ("xx lt", 0, 1, 0, 0),
    ],
)
def test_expiry_conditions(condition: str, without: int, shorter: int, equal: int, longer: int) -> None:
    """redis EXPIRE: a key without expiry lives longer than any other. Replies for 10 s before."""
    assert replies("SET k v", f"EXPIRE k 10 {condition}") == [OK, without]
    for seconds, reply in ((9, shorter), (10, equal), (11, longer)):
        found = replies("SET k v EX 10", f"EXPIRE k {seconds} {condition}", "TTL k")
        assert found == [OK, reply, seconds if reply else 10]


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ("x", NOT_AN_INTEGER.text),
        ("9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("9223372036854775", "ERR invalid expire time in 'expire' command"),
        ("10 bogus", "ERR Unsupported option bogus"),
        ("x bogus", "ERR Unsupported option bogus"),
        ("10 NX XX", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("10 lt nx", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("10 GT LT", "ERR GT and LT options at the same time are not compatible"),
    ],
)
def test_expire_refuses_what_makes_no_sense(rest: str, text: str) -> None:
    """redis EXPIRE: options before the number, both before the key."""
    for before in ("SET other v", "SET k v EX 99"):
        assert replies(before, f"EXPIRE k {rest}")[1] == Error(text)


def test_expiry_is_a_moment_too() -> None:
    """redis EXPIREAT, PEXPIREAT, EXPIRETIME, PEXPIRETIME: the latter rounds to the nearest second."""
    lines = ("SET k v", "EXPIRETIME k", "PEXPIRETIME k", "EXPIRETIME none", "PEXPIRETIME none")
    assert replies(*lines) == [OK, -1, -1, -2, -2]
    seconds = NOW_MS // 1000 + 10
    lines = (f"EXPIREAT k {seconds}", "PEXPIRETIME k", "EXPIRETIME k", "TTL k")
    assert replies("SET k v", *lines) == [OK, 1, seconds * 1000, seconds, 10]
    lines = (f"PEXPIREAT k {NOW_MS + 1500}", "PEXPIRETIME k", "EXPIRETIME k", "PTTL k")
    assert replies("SET k v", *lines) == [OK, 1, NOW_MS + 1500, NOW_MS // 1000 + 2, 1500]


@pytest.mark.parametrize(
    "line", [f"PEXPIREAT k {NOW_MS}", "PEXPIREAT k 0", "EXPIREAT k 1", "EXPIREAT k -9223372036854775"]
)
def test_moment_in_the_past_deletes(line: str) -> None:
    """redis EXPIREAT: now is past."""
    assert replies("SET k v", line, "EXISTS k") == [OK, 1, 0]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("EXPIREAT k 9223372036854776", "expireat"),
        ("EXPIREAT k -9223372036854776", "expireat"),
        ("expire k 9223372036854775", "expire"),
        ("EXPIRE k -9223372036854776", "expire"),
        ("PEXPIRE k 9223372036854775807", "pexpire"),
    ],
)
def test_time_that_64_bits_do_not_hold_is_refused(line: str, command: str) -> None:
    """redis expireGenericCommand: by the name of the command, whether there is a key or not."""
    error = Error(f"ERR invalid expire time in '{command}' command")
    assert replies(line, "SET k v EX 9", line, "TTL k") == [error, OK, error, 9]


def test_last_moment_of_all_is_kept() -> None:
    """redis PEXPIREAT: 64 bits, all of them."""
    lines = ("PEXPIREAT k 9223372036854775807", "PEXPIRETIME k", "EXPIRETIME k", "EXPIREAT k 5 GT")
    assert replies("SET k v", *lines) == [OK, 1, 9223372036854775807, 9223372036854776, 0]
