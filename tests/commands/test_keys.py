"""The keys family: exact replies (redis, "Generic" commands). See also test_against_redis."""

from __future__ import annotations

import pytest

from raftkv.commands.glob import GLOB_BYTES_MAX
from raftkv.commands.table import Sliced
from raftkv.machine import Batch
from raftkv.resp.replies import NOT_AN_INTEGER, OK, SYNTAX_ERROR, Error, Reply, Simple
from tests.commands.script import NOW_MS, replies
from tests.machine.replica import Replica

INVALID_CURSOR = Error("ERR invalid cursor")
PATTERN_TOO_LONG = Error("ERR the pattern is longer than 4096 bytes")


def test_existence() -> None:
    """redis EXISTS, DEL, UNLINK, TYPE: a key named twice exists twice and goes once."""
    lines = (
        "MSET a 1 b 2 c 3",
        "EXISTS a a b x",
        "TYPE a",
        "TYPE x",
        "DEL a a x",
        "UNLINK b c",
        "EXISTS a b c",
    )
    assert replies(*lines) == [OK, 3, Simple("string"), Simple("none"), 1, 2, 0]


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


@pytest.mark.parametrize(
    ("args", "reply"),
    [
        ([b"x"], INVALID_CURSOR),
        ([b"-1"], INVALID_CURSOR),
        ([b"18446744073709551616"], INVALID_CURSOR),
        ([b"9" * 5000], INVALID_CURSOR),
        ([b"0", b"COUNT"], SYNTAX_ERROR),
        ([b"0", b"COUNT", b"0"], SYNTAX_ERROR),
        ([b"0", b"COUNT", b"x"], NOT_AN_INTEGER),
        ([b"0", b"BOGUS", b"x"], SYNTAX_ERROR),
        ([b"0", b"MATCH", b"b*"], [b"0", [b"b1"]]),
        ([b"0", b"type", b"String", b"match", b"a"], [b"0", [b"a"]]),
        ([b"0", b"TYPE", b"list"], [b"0", []]),
        ([b"0", b"TYPE", b""], [b"0", []]),
        ([b"0", b"MATCH", b"*" * 4097], PATTERN_TOO_LONG),
        ([b"000", b"MATCH", b"a"], [b"0", [b"a"]]),
    ],
)
def test_scan_options(args: list[bytes], reply: Reply) -> None:
    """redis SCAN"""
    replica = Replica()
    replica.write(b"MSET", b"a", b"1", b"b1", b"2")
    assert replica.read(b"SCAN", *args) == reply


def test_keys_gives_what_matches_and_lives() -> None:
    """redis KEYS"""
    replica = Replica()
    replica.write(b"MSET", b"one", b"1", b"two", b"2", b"three", b"3")
    replica.write(b"SET", b"old", b"v", b"PXAT", b"5", time_ms=10)
    assert sorted(replica.read(b"KEYS", b"*")) == [b"one", b"three", b"two"]  # type: ignore[arg-type]  # a list
    assert replica.read(b"KEYS", b"t[a-h]*") == [b"three"]
    assert replica.read(b"KEYS", b"old") == []
    assert replica.read(b"DBSIZE") == 4


def test_long_reads_come_in_slices_of_what_there_was() -> None:
    """DESIGN, "Storage": work over many rows runs in slices; SCAN in steps a client chose is one."""
    replica = Replica()
    replica.write(b"MSET", *[word for number in range(1000) for word in (b"%d" % number, b"v")])
    for args in ([b"KEYS", b"*"], [b"SCAN", b"0", b"COUNT", b"1000"]):
        spec = replica.commands.resolve(args)
        sliced = replica.machine.read(spec, args, db=0, clock_ms=0)
        assert isinstance(sliced, Sliced)
        expected = replica.read(*args)
        steps = sliced.steps()
        next(steps)
        replica.write(b"SET", b"new", b"v")
        assert len(list(steps)) >= 2
        assert sliced.result == expected
    args = [b"SCAN", b"0", b"COUNT", b"100"]
    assert isinstance(replica.machine.read(replica.commands.resolve(args), args, db=0, clock_ms=0), list)


@pytest.mark.parametrize(
    ("words", "reply", "left"),
    [
        ((), OK, 0),
        ((b"ASYNC",), OK, 0),
        ((b"sync",), OK, 0),
        ((b"x",), SYNTAX_ERROR, 1),
        ((b"sync", b"async"), SYNTAX_ERROR, 1),
    ],
)
def test_flushall(words: tuple[bytes, ...], reply: Reply, left: int) -> None:
    """redis FLUSHALL"""
    replica = Replica()
    replica.write(b"SET", b"k", b"v", time_ms=NOW_MS)
    assert replica.write(b"FLUSHALL", *words) == reply
    assert replica.read(b"DBSIZE") == left


def test_pattern_is_never_longer_than_the_limit() -> None:
    """A pattern's cost grows with its length, and compiling one is a single piece of work."""
    assert GLOB_BYTES_MAX == 4096
    assert Replica().read(b"KEYS", b"a" * 4096) == []
    assert Replica().read(b"KEYS", b"a" * 4097) == PATTERN_TOO_LONG


@pytest.mark.parametrize(
    ("args", "time_ms"), [((b"SCAN", b"0", b"TYPE", b"list", b"COUNT", b"1000"), 50), ((b"KEYS", b"*"), 100)]
)
def test_rows_that_are_passed_over_take_their_time_too(args: tuple[bytes, ...], time_ms: int) -> None:
    """DESIGN, "Storage": slices, also over keys of other types and keys that have expired."""
    replica = Replica()
    words = list(args)
    for number in range(1000):
        replica.write(b"SET", b"%d" % number, b"v", b"PXAT", b"100", time_ms=1)
    replica.machine.apply(replica.next_id(), Batch(time_ms, []))
    sliced = replica.machine.read(replica.commands.resolve(words), words, db=0, clock_ms=time_ms)
    assert isinstance(sliced, Sliced)
    assert len(list(sliced.steps())) >= 3
    assert sliced.result in ([], [b"0", []])
