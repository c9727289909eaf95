"""Looking for keys: exact replies (redis, "Generic" commands). See also test_against_redis."""

from __future__ import annotations

from collections import Counter

import pytest

from raftkv.commands.glob import GLOB_BYTES_MAX
from raftkv.commands.table import Sliced
from raftkv.machine import Batch
from raftkv.resp.replies import NOT_AN_INTEGER, SYNTAX_ERROR, Error, Reply
from tests.machine.replica import Replica

INVALID_CURSOR = Error("ERR invalid cursor")
PATTERN_TOO_LONG = Error("ERR the pattern is longer than 4096 bytes")


@pytest.mark.parametrize(
    ("args", "reply"),
    [
        ([b"x"], INVALID_CURSOR),
        ([b"-1"], [b"0", []]),
        ([b"+0"], [b"0", [b"b1", b"a"]]),
        ([b""], [b"0", [b"b1", b"a"]]),
        ([b"-"], INVALID_CURSOR),
        ([b"0\x00x"], [b"0", [b"b1", b"a"]]),
        ([b"x\x00"], INVALID_CURSOR),
        ([b" 1"], INVALID_CURSOR),
        ([b"-18446744073709551616"], INVALID_CURSOR),
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


def random_keys(replica: Replica, count: int) -> Counter[bytes | None]:
    """How often each key was drawn."""
    return Counter(replica.read(b"RANDOMKEY") for _ in range(count))  # type: ignore[misc]  # keys or None


def test_randomkey_gives_any_key() -> None:
    """redis RANDOMKEY: none of none; each of them sooner or later, at the first place and the last too."""
    replica = Replica()
    assert replica.read(b"RANDOMKEY") is None
    replica.write(b"SET", b"k", b"v", db=1)
    assert replica.read(b"RANDOMKEY") is None
    assert replica.read(b"RANDOMKEY", db=1) == b"k"
    keys = [b"%d" % number for number in range(50)]
    replica.write(b"MSET", *[word for key in keys for word in (key, b"v")])
    assert set(random_keys(replica, 2000)) == set(keys)


def test_randomkey_gives_any_key_of_one_slot() -> None:
    """Keys that share a hash tag share a slot: a draw among slots alone would always give the first."""
    replica = Replica()
    keys = [b"{tag}%d" % number for number in range(20)]
    replica.write(b"MSET", *[word for key in [*keys, b"alone"] for word in (key, b"v")])
    assert set(random_keys(replica, 1000)) == {*keys, b"alone"}


def test_randomkey_gives_no_expired_key() -> None:
    """redis RANDOMKEY; it walks over those that are not removed yet, and lets others work meanwhile."""
    replica = Replica()
    for number in range(1000):
        replica.write(b"SET", b"{t}%d" % number, b"v", b"PXAT", b"100", time_ms=1)
    assert len(random_keys(replica, 20)) > 10
    replica.machine.apply(replica.next_id(), Batch(100, []))
    spec = replica.commands.resolve([b"RANDOMKEY"])
    sliced = replica.machine.read(spec, [b"RANDOMKEY"], db=0, clock_ms=100)
    assert isinstance(sliced, Sliced)
    assert len(list(sliced.steps())) >= 2
    assert sliced.result is None
    replica.write(b"SET", b"alive", b"v", time_ms=100)
    assert random_keys(replica, 20) == {b"alive": 20}


def test_randomkey_leaves_the_rows_alone_and_may_differ_from_node_to_node() -> None:
    """DESIGN, "Apply": no randomness but the entry's. A read's is the node's own."""
    replica, other = Replica(), Replica()
    for each in (replica, other):
        each.write(b"MSET", *[b"%d" % (number // 2) for number in range(200)])
    random_keys(other, 7)
    drawn = [[each.read(b"RANDOMKEY") for _ in range(20)] for each in (replica, other)]
    assert drawn[0] != drawn[1]
    assert replica.digest() == other.digest()
