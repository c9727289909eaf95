"""Databases as a whole, and keys that go from one to another: exact replies. See also test_against_redis."""

from __future__ import annotations

import pytest

from raftkv.commands import build_table
from raftkv.resp.replies import NOT_AN_INTEGER, OK, SYNTAX_ERROR, Error, Reply
from tests.commands.script import NOW_MS
from tests.machine.replica import Replica, check_rows

SAME_OBJECT = Error("ERR source and destination objects are the same")
NO_SUCH_DATABASE = Error("ERR DB index is out of range")
NOT_AN_INT32 = Error("ERR value is out of range, value must between -2147483648 and 2147483647")


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


def two_databases() -> Replica:
    """A replica with `k` in databases 0 and 1, and `mine`, which expires, in 0 alone."""
    replica = Replica()
    replica.write(b"SET", b"k", b"0")
    replica.write(b"SET", b"k", b"1", db=1)
    replica.write(b"SET", b"mine", b"v", b"PXAT", b"5000")
    return replica


@pytest.mark.parametrize("count", [5, 500])
def test_flushdb_empties_one_database(count: int) -> None:
    """redis FLUSHDB; few rows and many, the one that was swapped too."""
    replica = two_databases()
    for number in range(count):
        replica.apply([b"SET", b"%d" % number, b"v", b"PXAT", b"9000"], db=1)
    replica.machine.commit()
    assert replica.write(b"SWAPDB", b"1", b"2") == OK
    assert replica.write(b"FLUSHDB", b"x", db=2) == SYNTAX_ERROR
    assert replica.apply(
        [b"SET", b"late", b"v"], [b"FLUSHDB", b"async"], [b"APPEND", b"k", b"new"], db=2
    ) == [
        OK,
        OK,
        3,
    ]
    for _ in range(2):
        assert replica.read(b"KEYS", b"*", db=2) == [b"k"]
        assert replica.read(b"MGET", b"k", b"1", b"late", db=2) == [b"new", None, None]
        assert replica.read(b"MGET", b"k", b"mine") == [b"0", b"v"]
        check_rows(replica)
        replica.machine.commit()
    assert replica.machine.expiry_commands(9000, 10)[0].commands[0][1:] == [b"mine"]


@pytest.mark.parametrize(
    ("args", "reply"),
    [
        ([b"mine", b"1"], 1),
        ([b"k", b"1"], 0),
        ([b"none", b"1"], 0),
        ([b"k", b"0"], SAME_OBJECT),
        ([b"none", b"0"], SAME_OBJECT),
        ([b"k", b"16"], NO_SUCH_DATABASE),
        ([b"k", b"-1"], NO_SUCH_DATABASE),
        ([b"k", b"x"], NOT_AN_INTEGER),
        ([b"k", b"99999999999"], NOT_AN_INT32),
    ],
)
def test_move(args: list[bytes], reply: Reply) -> None:
    """redis MOVE"""
    replica = two_databases()
    assert replica.write(b"MOVE", *args) == reply
    check_rows(replica)
    moved = reply == 1
    assert [replica.read(b"EXISTS", b"mine", db=db) for db in (0, 1)] == [not moved, moved]
    assert replica.read(b"PEXPIRETIME", b"mine", db=int(moved)) == 5000
    assert [replica.read(b"GET", b"k", db=db) for db in (0, 1)] == [b"0", b"1"]


@pytest.mark.parametrize(
    ("args", "reply"),
    [
        ([b"mine", b"new"], 1),
        ([b"mine", b"k"], 0),
        ([b"mine", b"k", b"replace"], 1),
        ([b"mine", b"mine", b"DB", b"1"], 1),
        ([b"mine", b"k", b"db", b"1"], 0),
        ([b"mine", b"k", b"db", b"1", b"REPLACE"], 1),
        ([b"mine", b"new", b"DB", b"3", b"DB", b"2", b"REPLACE", b"replace"], 1),
        ([b"none", b"new"], 0),
        ([b"none", b"none"], SAME_OBJECT),
        ([b"mine", b"mine", b"DB", b"0", b"REPLACE"], SAME_OBJECT),
        ([b"mine", b"new", b"DB"], SYNTAX_ERROR),
        ([b"mine", b"new", b"what"], SYNTAX_ERROR),
        ([b"mine", b"new", b"what", b"1"], SYNTAX_ERROR),
        ([b"mine", b"new", b"DB", b"16", b"what"], NO_SUCH_DATABASE),
        ([b"mine", b"new", b"DB", b"x", b"what"], NOT_AN_INTEGER),
        ([b"mine", b"new", b"DB", b"99999999999"], NOT_AN_INT32),
    ],
)
def test_copy(args: list[bytes], reply: Reply) -> None:
    """redis COPY: value and expiry; the source stays."""
    replica = two_databases()
    before = replica.all_rows()
    assert replica.write(b"COPY", *args) == reply
    check_rows(replica)
    assert replica.read(b"PEXPIRETIME", b"mine") == 5000
    if reply != 1:
        assert replica.all_rows() == before
        return
    # With DB the copy is in a database behind the source's.
    *sources, copied_to = [db for db in range(16) if replica.read(b"GET", args[1], db=db) == b"v"]
    assert sources == ([0] if args[1] == b"mine" else [])
    assert replica.read(b"PEXPIRETIME", args[1], db=copied_to) == 5000


def test_copy_that_replaces_takes_the_expiry_as_it_is() -> None:
    """redis COPY: a source that never expires, over a key that would have."""
    replica = two_databases()
    assert replica.write(b"COPY", b"k", b"mine", b"REPLACE") == 1
    assert replica.read(b"PTTL", b"mine") == -1
    assert replica.read(b"GET", b"mine") == b"0"
    check_rows(replica)


def test_due_key_is_in_nobodys_way() -> None:
    """redis MOVE, COPY, RENAMENX: an expired key is none, in whatever database."""
    for args in ([b"MOVE", b"k", b"1"], [b"COPY", b"k", b"k", b"DB", b"1"]):
        replica = Replica()
        replica.write(b"SET", b"k", b"old", b"PXAT", b"50", db=1)
        replica.write(b"SET", b"k", b"new")
        assert replica.write(*args, time_ms=50) == 1
        assert replica.read(b"GET", b"k", db=1) == b"new"
        check_rows(replica)
    replica = Replica()
    replica.write(b"SET", b"new", b"old", b"PXAT", b"50")
    replica.write(b"SET", b"k", b"v")
    assert replica.write(b"RENAMENX", b"k", b"new", time_ms=50) == 1
    assert replica.write(b"MOVE", b"k", b"2", time_ms=50) == 0
    check_rows(replica)


@pytest.mark.parametrize(
    ("args", "reply"),
    [
        ([b"0", b"1"], OK),
        ([b"1", b"0"], OK),
        ([b"1", b"1"], OK),
        ([b"x", b"y"], Error("ERR invalid first DB index")),
        ([b"16", b"99999999999"], Error("ERR invalid second DB index")),
        ([b"0", b"16"], NO_SUCH_DATABASE),
        ([b"-1", b"0"], NO_SUCH_DATABASE),
    ],
)
def test_swapdb(args: list[bytes], reply: Reply) -> None:
    """redis SWAPDB"""
    replica = two_databases()
    assert replica.write(b"SWAPDB", *args) == reply
    swapped = reply == OK and args[0] != args[1]
    assert [replica.read(b"GET", b"k", db=db) for db in (0, 1)] == ([b"1", b"0"] if swapped else [b"0", b"1"])
    assert [replica.read(b"DBSIZE", db=db) for db in (0, 1)] == ([1, 2] if swapped else [2, 1])
    check_rows(replica)


def test_commands_behind_a_swap_see_the_other_database() -> None:
    """redis SWAPDB: at once, within one entry too."""
    replica = two_databases()
    commands = [b"SWAPDB", b"1", b"0"], [b"INCR", b"k"], [b"SWAPDB", b"0", b"2"], [b"INCR", b"k"]
    assert replica.apply(*commands) == [OK, 2, OK, 1]
    assert [replica.read(b"GET", b"k", db=db) for db in (0, 1, 2)] == [b"1", b"0", b"2"]
    check_rows(replica)


def test_what_a_cluster_refuses_is_said_in_the_table() -> None:
    """redis 7.2 in cluster mode: MOVE, SWAPDB, COPY with DB; nothing else has a say."""
    table = build_table()

    def refusal(*args: bytes) -> Error | None:
        spec = table.resolve(list(args))
        assert spec.cluster_refusal is not None
        assert not spec.has_one_key, "a connection that sees one key asks nothing more"
        return spec.cluster_refusal(list(args))

    assert refusal(b"move", b"k", b"x") == Error("ERR MOVE is not allowed in cluster mode")
    assert refusal(b"SWAPDB", b"0", b"0") == Error("ERR SWAPDB is not allowed in cluster mode")
    not_allowed = Error("ERR Copying to another database is not allowed in cluster mode")
    assert refusal(b"COPY", b"k", b"k", b"DB", b"1") == not_allowed
    assert refusal(b"COPY", b"k", b"k", b"DB", b"16") == NO_SUCH_DATABASE
    assert refusal(b"COPY", b"k", b"new", b"DB", b"0", b"REPLACE") is None
    names = {spec.name for spec in table if spec.cluster_refusal is not None}
    assert names == {b"move", b"copy", b"swapdb"}
