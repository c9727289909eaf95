"""Strings and keys against a real redis-server: the same commands get the same bytes.

Times are frozen out: expiries are far away and a thousand seconds apart, remaining times are compared by
their sign alone.
"""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hiredis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftkv.commands import build_table
from raftkv.commands.glob import compile_glob
from raftkv.commands.table import READ, CommandRefused
from raftkv.resp.replies import encode
from tests.machine.replica import Replica, check_rows

pytestmark = pytest.mark.needs_tool("redis-server")

TABLE = build_table()
#: About when redis-server runs.
NOW_MS = 1_800_000_000_000


class Redis:
    """A redis-server of our own, asked one command at a time."""

    def __init__(self, path: Path) -> None:
        self._path = str(path / "redis.sock")
        arguments = ("--port", "0", "--unixsocket", self._path, "--save", "", "--dir", str(path))
        self._process = subprocess.Popen(
            ("redis-server", *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output = self._process.stdout
        assert output is not None, "the output is piped"
        for line in output:
            if b"accept connections" in line:
                break
        else:
            pytest.fail("redis-server did not start")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(self._path)

    def ask(self, args: list[bytes]) -> bytes:
        """The reply's bytes."""
        request = hiredis.pack_command(tuple(args))  # type: ignore[arg-type]  # the stub allows one item
        self._socket.sendall(request)
        reader = hiredis.Reader(notEnoughData=Ellipsis)
        raw = b""
        while True:
            data = self._socket.recv(65536)
            assert data, "redis-server closed the connection"
            raw += data
            reader.feed(data)
            if reader.gets() is not Ellipsis:
                return raw

    def close(self) -> None:
        """Stop it."""
        self._socket.close()
        self._process.terminate()
        self._process.communicate()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """One for all tests; each begins with FLUSHALL."""
    redis = Redis(tmp_path_factory.mktemp("redis"))
    yield redis
    redis.close()


def answer(replica: Replica, args: list[bytes], db: int = 0) -> bytes:
    """Our reply's bytes."""
    try:
        spec = TABLE.resolve(args)
    except CommandRefused as refused:
        return encode(refused.reply, 2)
    if spec.route is READ:
        return encode(replica.read(*args, db=db), 2)
    return encode(replica.write(*args, time_ms=NOW_MS, db=db), 2)


def list_of(raw: bytes) -> list[bytes]:
    """A reply that is a list, decoded."""
    reader = hiredis.Reader()
    reader.feed(raw)
    found = reader.gets()
    assert isinstance(found, list), found
    return found


def comparable(args: list[bytes], raw: bytes) -> bytes:
    """A reply without what may differ: remaining times, and the order of KEYS."""
    name = args[0].lower()
    if name in (b"ttl", b"pttl", b"expiretime", b"pexpiretime"):
        return re.sub(rb":\d+\r\n", b":some time\r\n", raw)
    if name == b"keys" and raw.startswith(b"*"):
        return b"".join(sorted(raw.split(b"\r\n")))
    return raw


KEYS = st.sampled_from([b"a", b"b", b"c", b"{a}1", b"", b"\xff\x00", b"h[a]llo"])
VALUES = st.sampled_from(
    [b"", b"0", b"1", b"-7", b"00", b"+1", b" 1", b"1.5", b"9223372036854775807", b"-9223372036854775808",
     b"9223372036854775808", b"text", b"\x00\xff"]
) | st.binary(max_size=5)  # fmt: skip
PATTERNS = st.sampled_from(
    [b"*", b"", b"?", b"[ab]", b"[^a]", b"{a}*", b"h\\[a\\]llo", b"h[", b"[c-a]", b"**a"]
)
CONDITIONS = st.lists(st.sampled_from([b"NX", b"xx", b"GT", b"lt", b"junk"]), max_size=2)


@st.composite
def set_options(draw: st.DrawFn, far: bytes) -> list[bytes]:
    """Words behind SET's value, sensible or not."""
    words: list[bytes] = []
    word = st.sampled_from([b"NX", b"xx", b"GET", b"keepttl", b"EX", b"px", b"EXAT", b"pxat", b"junk"])
    for each in draw(st.lists(word, max_size=3)):
        words.append(each)
        if each.lower() in (b"ex", b"px", b"exat", b"pxat"):
            # A time that EX takes is also far away for PX; absolute ones are all in the future.
            time = {b"exat": b"9" + far, b"px": far + b"000", b"pxat": b"9" + far + b"000"}.get(
                each.lower(), far
            )
            words += draw(
                st.sampled_from([[time]] * 6 + [[b"0"], [b"-1"], [b"x"], [b"9223372036854775807"], []])
            )
    return words


@st.composite
def command(draw: st.DrawFn, position: int) -> list[bytes]:
    """One command; `position` makes its times its own."""
    far = b"%d" % (draw(st.integers(1, 9)) * 1_000_000_00 + position * 1000)
    key = draw(KEYS)
    number = st.sampled_from([b"1", b"-1", b"9223372036854775807", b"-9223372036854775808", b"x", b""])
    expire = draw(st.sampled_from([far] * 5 + [b"0", b"-5", b"x", b"9223372036854775807"]))
    return draw(
        st.sampled_from(
            [
                [b"GET", key],
                [b"SET", key, draw(VALUES), *draw(set_options(far))],
                [b"SET", key, draw(VALUES)],
                [
                    draw(st.sampled_from([b"DEL", b"UNLINK", b"EXISTS", b"TOUCH", b"MGET"])),
                    *draw(st.lists(KEYS, max_size=3)),
                ],
                [b"MSET", *draw(st.lists(KEYS | VALUES, max_size=5))],
                [
                    draw(
                        st.sampled_from(
                            b"incr DECR STRLEN TYPE TTL PTTL PERSIST EXPIRETIME PEXPIRETIME".split()
                        )
                    ),
                    key,
                ],
                [draw(st.sampled_from([b"RENAME", b"renamenx", b"COPY"])), key, draw(KEYS)],
                [b"COPY", key, draw(KEYS), b"REPLACE"],
                [b"EXPIREAT", key, b"9" + far, *draw(CONDITIONS)],
                [b"PEXPIREAT", key, draw(st.sampled_from([b"9" + far + b"000", b"0", b"x"]))],
                [draw(st.sampled_from([b"INCRBY", b"DECRBY"])), key, draw(number | VALUES)],
                [b"APPEND", key, draw(VALUES)],
                [b"EXPIRE", key, expire, *draw(CONDITIONS)],
                [b"PEXPIRE", key, expire + b"000", *draw(CONDITIONS)],
                [b"KEYS", draw(PATTERNS)],
                [b"DBSIZE"],
                draw(
                    st.sampled_from(
                        [
                            [b"FLUSHALL"],
                            [b"FLUSHALL", b"sync"],
                            [b"FLUSHDB", b"async"],
                            [b"flushall", b"junk"],
                        ]
                    )
                ),
            ]
        )
    )


@st.composite
def sequence(draw: st.DrawFn) -> list[list[bytes]]:
    """Commands in a row."""
    return [draw(command(position)) for position in range(draw(st.integers(1, 25)))]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(commands=sequence())
def test_any_sequence_is_answered_as_redis_answers_it(redis: Redis, commands: list[list[bytes]]) -> None:
    """Redis 7 itself."""
    redis.ask([b"FLUSHALL"])
    replica = Replica(commands=TABLE)
    for args in commands:
        ours, theirs = answer(replica, args), redis.ask(args)
        assert comparable(args, ours) == comparable(args, theirs), args
    check_rows(replica)


@st.composite
def command_on_databases(draw: st.DrawFn) -> tuple[int, list[bytes]]:
    """A command of a client that selected one of three databases."""
    numbers = st.sampled_from([b"0", b"1", b"2"] * 3 + [b"16", b"-1", b"x", b"99999999999"])
    names = st.sampled_from([b"a", b"b"])
    key, number, new_key = draw(names), draw(numbers), draw(names)
    words = draw(st.lists(st.sampled_from([b"DB", number, b"REPLACE", b"db 1", b"db 2"]), max_size=3))
    return draw(st.integers(0, 2)), draw(
        st.sampled_from(
            [
                [b"SET", key, new_key],
                [b"SET", key, new_key, b"EX", b"100000"],
                [b"APPEND", key, number],
                [b"MGET", b"a", b"b"],
                [b"TTL", key],
                [b"DBSIZE"],
                [b"KEYS", b"*"],
                [b"MOVE", key, number],
                [b"SWAPDB", number, draw(numbers)],
                [b"COPY", key, new_key, *b" ".join(words).split()],
                [b"RENAME", key, new_key],
                [b"FLUSHDB"],
            ]
        )
    )


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(commands=st.lists(command_on_databases(), min_size=1, max_size=30))
def test_any_sequence_on_databases_is_answered_as_redis_answers_it(
    redis: Redis, commands: list[tuple[int, list[bytes]]]
) -> None:
    """Redis 7 itself: keys and databases that change places."""
    redis.ask([b"FLUSHALL"])
    replica = Replica(commands=TABLE)
    for db, args in commands:
        redis.ask([b"SELECT", b"%d" % db])
        ours, theirs = answer(replica, args, db), redis.ask(args)
        assert comparable(args, ours) == comparable(args, theirs), (db, args)
    redis.ask([b"SELECT", b"0"])
    check_rows(replica)


ODD = """
SET k v EX 10 PX 10|SET k v EX 10 EX 20|SET k v KEEPTTL EX 10|SET k v NX XX|SET k v EX|SET k v PXAT 0
SET k v EX -1|SET k v EX 9223372036854775|SET k v PX 9223372036854775807|SET k v EXAT 9223372036854775
SET k v EX 1.5|SET k v PXAT 1|SET k v NX GET|SET k v XX GET|SET k v GET GET|SET k|SET k v BOGUS
SET k v nx ex abc|SET k v nx ex abc bogus|INCRBY k 1.5|INCRBY k|DECRBY k -9223372036854775808
INCRBY k 9223372036854775808|INCR k x|APPEND k|STRLEN k x|GET|MGET|MSET a|MSET a 1 b|MSET|DEL|EXPIRE k
EXPIRE k x|EXPIRE k 10 bogus|EXPIRE k 10 NX XX|EXPIRE k 10 GT LT|EXPIRE k 10 NX GT
EXPIRE k 9223372036854775807|EXPIRE k -9223372036854775808|PEXPIRE k 9223372036854775807|pexpire k x NX|TTL
PTTL k k|SCAN|SCAN x|SCAN -1x|SCAN 1x|SCAN 0 COUNT|SCAN 0 COUNT 0|SCAN 0 COUNT x|SCAN 0 BOGUS 1|SCAN 0 MATCH
SCAN 99999999999999999999|SCAN 0 TYPE list|SCAN 0 TYPE STRING MATCH nothing|SCAN 0 TYPE bogus
SCAN 0 COUNT 100000|SCAN 0 MATCH k COUNT 1000|DBSIZE x|FLUSHALL x|FLUSHALL sync x|KEYS|KEYS k k|TYPE
TYPE nothing|PERSIST nothing|EXISTS k k nothing|UNLINK k k|SCAN +0|SCAN +|SCAN -|SCAN -99999999999999999999
SCAN -18446744073709551616|SCAN 0x|SCAN 0 COUNT -1|SCAN 0 COUNT 1 COUNT x|SCAN 0 MATCH a MATCH *
SCAN 0 COUNT 1.5|SCAN 0 TYPE|SCAN 0 COUNT 9223372036854775807|SCAN 0 COUNT 9223372036854775808
SCAN 00000000000000000000000000000|TOUCH|TOUCH k k x|RENAME k|RENAME k k|RENAME k j|RENAME j k|RENAMENX k k
RENAMENX j k|RENAMENX k j x|COPY k|COPY k k|COPY k k REPLACE|COPY k j DB|COPY k j DB x|COPY k j DB 16
COPY k j DB -1|COPY k j bogus|COPY k j DB 99999999999 bogus|COPY k j REPLACE REPLACE|COPY k k DB 1|COPY j k
COPY k j DB 0 DB 1|COPY k j replace|MOVE k|MOVE k 0|MOVE k 1|MOVE k 16|MOVE k -1|MOVE k x|MOVE k 99999999999
MOVE j 1|MOVE j 0|SWAPDB 0|SWAPDB 0 0|SWAPDB 0 1|SWAPDB x y|SWAPDB 0 y|SWAPDB 0 16|SWAPDB 16 99999999999
SWAPDB -1 0|FLUSHDB|FLUSHDB async|FLUSHDB x|FLUSHDB sync sync|EXPIREAT k 0|EXPIREAT k -1|EXPIREAT k x
EXPIREAT k 9223372036854775807|EXPIREAT k 99999999999 GT|EXPIREAT k 99999999999 LT|EXPIREAT k 99999999999 XX
EXPIREAT k 99999999999 xx gt|EXPIREAT k 1 GT|EXPIREAT k 1 LT|EXPIREAT k 1 NX|EXPIREAT k 1 NX NX
EXPIREAT k 9 XX NX GT|EXPIREAT|PEXPIREAT k 9223372036854775807|PEXPIREAT k -9223372036854775808
PEXPIREAT k 99999999999999 lt xx|PEXPIREAT k 9223372036854775808|EXPIRETIME|PEXPIRETIME j|EXPIRETIME k
EXPIREAT k -9223372036854776|RANDOMKEY x|RANDOMKEY|OBJECT|OBJECT x|OBJECT ENCODING|OBJECT ENCODING k
OBJECT encoding j|OBJECT ENCODING k k|OBJECT FREQ k|OBJECT FREQ j|OBJECT IDLETIME k|OBJECT IDLETIME j
OBJECT REFCOUNT j|OBJECT HELP x|MEMORY|MEMORY USAGE|MEMORY x|MEMORY USAGE j|MEMORY USAGE k x
MEMORY USAGE k SAMPLES|MEMORY USAGE k SAMPLES x|MEMORY USAGE j SAMPLES -1|MEMORY USAGE j SAMPLES 0 SAMPLES 1
"""


@pytest.mark.parametrize("line", ODD.strip().replace("\n", "|").split("|"))
def test_odd_command_is_answered_as_redis_answers_it(redis: Redis, line: str) -> None:
    """Redis 7 itself: with nothing, a string and a number there, and what is left behind."""
    args = line.encode().split(b" ")
    for before in ([b"DBSIZE"], [b"SET", b"k", b"text"], [b"SET", b"k", b"5", b"EX", b"1000"]):
        redis.ask([b"FLUSHALL"])
        replica = Replica(commands=TABLE)
        for each in (before, args, [b"GET", b"k"], [b"TTL", b"k"]):
            assert comparable(each, answer(replica, each)) == comparable(each, redis.ask(each)), (
                before,
                each,
            )


GLOB_KEYS = (
    b"",
    b"a",
    b"b",
    b"-",
    b"]",
    b"[",
    b"^",
    b"*",
    b"?",
    b"\\",
    b"ab",
    b"ba",
    b"a]",
    b"[a",
    b"aab",
    b"a-b\n",
)
GLOBS = st.lists(st.sampled_from([bytes((byte,)) for byte in b"ab*?[]^-\\"]), max_size=8).map(b"".join)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=GLOBS)
def test_any_pattern_matches_what_it_matches_in_redis(redis: Redis, pattern: bytes) -> None:
    """redis KEYS (stringmatchlen), with classes that don't end, ranges over brackets, escapes of nothing."""
    redis.ask([b"FLUSHALL"])
    redis.ask([b"MSET", *[word for key in GLOB_KEYS for word in (key, b"v")]])
    matches = compile_glob(pattern).fullmatch
    found = list_of(redis.ask([b"KEYS", pattern]))
    assert sorted(found) == sorted(key for key in GLOB_KEYS if matches(key))
