"""What is known of values besides themselves: OBJECT, MEMORY USAGE. See also test_against_redis."""

from __future__ import annotations

import pytest

from raftkv.resp.replies import NOT_AN_INTEGER, SYNTAX_ERROR, Error, Reply, Simple
from tests.commands.fake_node import TABLE, ask, open_session
from tests.machine.replica import Replica


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (b"0", b"int"),
        (b"-9223372036854775808", b"int"),
        (b"9223372036854775807", b"int"),
        (b"9223372036854775808", b"embstr"),
        (b"01", b"embstr"),
        (b"+1", b"embstr"),
        (b"-0", b"embstr"),
        (b" 1", b"embstr"),
        (b"1.0", b"embstr"),
        (b"", b"embstr"),
        (b"x" * 44, b"embstr"),
        (b"x" * 45, b"raw"),
    ],
)
def test_encoding_of_a_string_follows_from_the_string(value: bytes, encoding: bytes) -> None:
    """redis tryObjectEncoding; however the string came about."""
    replica = Replica()
    replica.write(b"SET", b"set", value)
    replica.write(b"APPEND", b"appended", value)
    assert replica.read(b"OBJECT", b"encoding", b"set") == encoding
    assert replica.read(b"OBJECT", b"ENCODING", b"appended") == encoding


def test_object_of_no_key_is_null() -> None:
    """redis OBJECT"""
    replica = Replica()
    for word in (b"ENCODING", b"REFCOUNT", b"IDLETIME", b"FREQ"):
        assert replica.read(b"OBJECT", word, b"none") is None
    assert replica.read(b"MEMORY", b"USAGE", b"none") is None


def test_no_value_is_shared_and_no_access_counted() -> None:
    """redis OBJECT REFCOUNT; OBJECT FREQ without an LFU policy."""
    replica = Replica()
    replica.write(b"SET", b"k", b"1")
    assert replica.read(b"OBJECT", b"REFCOUNT", b"k") == 1
    reply = replica.read(b"OBJECT", b"FREQ", b"k")
    assert isinstance(reply, Error)
    assert reply.text.startswith(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
    )


def idle_s(replica: Replica, clock_ms: int) -> Reply:
    """Seconds that `k` has been idle."""
    return replica.read(b"OBJECT", b"IDLETIME", b"k", clock_ms=clock_ms)


@pytest.mark.parametrize("use", [[b"GET", b"k"], [b"TOUCH", b"k"], [b"STRLEN", b"k"]])
def test_idle_time_is_since_the_last_use_on_this_node(use: list[bytes]) -> None:
    """redis OBJECT IDLETIME, TOUCH"""
    replica, other = Replica(), Replica()
    for each in (replica, other):
        each.write(b"SET", b"k", b"v", time_ms=1000)
        assert idle_s(each, 1999) == 0
        assert idle_s(each, 4000) == 3
    replica.read(*use, clock_ms=5000)
    assert idle_s(replica, 7000) == 2
    assert idle_s(other, 7000) == 6
    for each in (replica, other):
        each.write(b"APPEND", b"k", b"v", time_ms=8000)
        assert idle_s(each, 9000) == 1


def test_looking_is_no_use() -> None:
    """redis LOOKUP_NOTOUCH: OBJECT, MEMORY USAGE, TYPE, EXISTS and the TTLs."""
    replica = Replica()
    replica.write(b"SET", b"k", b"v", time_ms=1000)
    looks = "OBJECT ENCODING k|MEMORY USAGE k|TYPE k|EXISTS k|TTL k|PTTL k|EXPIRETIME k|PEXPIRETIME k"
    for look in looks.split("|"):
        replica.read(*look.encode().split(), clock_ms=5000)
    assert idle_s(replica, 6000) == 5


def test_idle_time_begins_anew_where_it_is_not_known() -> None:
    """A node that has just started, or has forgotten the key, never says that it was idle for longer."""
    replica = Replica()
    replica.write(b"SET", b"k", b"v", time_ms=1000)
    restarted = Replica(replica.store)
    assert idle_s(restarted, 60_000) == 0
    assert idle_s(restarted, 62_000) == 2


def test_memory_usage_is_the_size_of_the_rows() -> None:
    """redis MEMORY USAGE: here the same on every node, since the rows are."""
    replica = Replica()
    replica.write(b"SET", b"key", b"value")
    replica.write(b"SET", b"due", b"value", b"PXAT", b"99")
    for key in (b"key", b"due"):
        sizes = [len(row_key) + len(row) for row_key, row in replica.all_rows() if row_key.endswith(key)]
        assert replica.read(b"MEMORY", b"USAGE", key) == sum(sizes)
        assert len(sizes) == (1 if key == b"key" else 2)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ([b"SAMPLES", b"0"], None),
        ([b"samples", b"5", b"SAMPLES", b"1"], None),
        ([b"SAMPLES", b"-1"], SYNTAX_ERROR),
        ([b"SAMPLES", b"x"], NOT_AN_INTEGER),
        ([b"SAMPLES"], SYNTAX_ERROR),
        ([b"what"], SYNTAX_ERROR),
        ([b"what", b"1"], SYNTAX_ERROR),
    ],
)
def test_samples_of_memory_usage_are_checked(options: list[bytes], error: Error | None) -> None:
    """redis MEMORY USAGE: before the key is looked for."""
    replica = Replica()
    assert replica.read(b"MEMORY", b"USAGE", b"none", *options) == error


@pytest.mark.parametrize("name", [b"OBJECT", b"MEMORY"])
def test_help_names_the_subcommands(name: bytes) -> None:
    """redis OBJECT HELP, MEMORY HELP"""
    lines = ask(open_session(), name, "HELP")
    container = TABLE.lookup(name)
    assert isinstance(lines, list)
    assert container is not None
    texts = [line.text for line in lines if isinstance(line, Simple)]
    for subcommand in container.subcommands:
        assert any(text.split()[0] == subcommand.decode().upper() for text in texts)
