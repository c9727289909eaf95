"""All string commands against a real redis-server: the same commands get the same bytes.

Two replicas are asked, one with a cache of one key: they answer alike and hold the same rows. Times are
frozen out, as in test_against_redis.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftkv.resp.replies import encode
from tests.commands.fake_node import ask, open_session
from tests.commands.test_against_redis import NOW_MS, TABLE, VALUES, Redis, answer, comparable, list_of
from tests.machine.replica import Replica, check_rows

pytestmark = pytest.mark.needs_tool("redis-server")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """One for all tests; each begins with FLUSHALL."""
    redis = Redis(tmp_path_factory.mktemp("redis"))
    yield redis
    redis.close()


class Pair:
    """Two replicas, of which one remembers a single key, and Redis."""

    def __init__(self, redis: Redis) -> None:
        redis.ask([b"FLUSHALL"])
        self._redis = redis
        self._replicas = (Replica(commands=TABLE), Replica(commands=TABLE, cache_bytes_max=0))

    def ask(self, args: list[bytes]) -> None:
        """Assert that all answer alike."""
        theirs = comparable(args, self._redis.ask(args))
        assert [comparable(args, answer(replica, args)) for replica in self._replicas] == [theirs] * 2, args

    def check(self) -> None:
        """Assert that both replicas have the same rows, and right ones."""
        first, second = self._replicas
        assert first.all_rows() == second.all_rows()
        check_rows(first)


KEYS = st.sampled_from([b"{k}a", b"{k}b", b"{k}c"])
NUMBERS = (
    st.sampled_from(
        [
            b"0",
            b"-0",
            b"5.",
            b".5",
            b"1e3",
            b"0x1p3",
            b"inf",
            b"-Infinity",
            b"nan",
            b"1e5000",
            b"1e-18",
            b"",
            b"x",
        ]
    )
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda number: repr(number).encode())
    | st.decimals(-(10**7), 10**7, places=3).map(lambda number: str(number).encode())
    | st.integers(-(2**70), 2**70).map(lambda number: b"%d" % number)
    | st.tuples(st.integers(0, 10**25), st.integers(-4990, 4960)).map(lambda pair: b"%de%d" % pair)
)
PLACES = st.integers(-12, 12).map(lambda place: b"%d" % place) | st.sampled_from(
    [b"", b"x", b"1.5", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808"]
)
TEXTS = st.text("abc", max_size=12).map(str.encode) | VALUES
FAR = st.integers(1, 9).map(lambda years: b"%d" % (years * 100_000_000))
#: Of a time that is far away or makes no sense.
TIMES = FAR | st.sampled_from([b"0", b"-1", b"x", b"9223372036854775807"])
#: Both EXAT and PXAT: the one in the future, the other long ago.
FUTURE_MS = b"%d" % (NOW_MS + 10**12)


@st.composite
def getex_options(draw: st.DrawFn) -> list[bytes]:
    """Words behind GETEX's key, sensible or not."""
    words: list[bytes] = []
    for each in draw(
        st.lists(st.sampled_from([b"EX", b"px", b"EXAT", b"pxat", b"PERSIST", b"NX"]), max_size=2)
    ):
        words.append(each)
        if each.lower() in (b"ex", b"px"):
            words.append(draw(TIMES) + (b"000" if each == b"px" else b""))
        elif each.lower() in (b"exat", b"pxat"):
            words.append(draw(st.sampled_from([FUTURE_MS, FUTURE_MS, b"0", b"1", b"x"])))
    return words if draw(st.integers(0, 9)) else words[:-1]


@st.composite
def lcs_options(draw: st.DrawFn) -> list[bytes]:
    """Words behind LCS's keys, sensible or not."""
    word = st.sampled_from([b"LEN", b"idx", b"IDX", b"withmatchlen", b"MINMATCHLEN", b"x"])
    words: list[bytes] = []
    for each in draw(st.lists(word, max_size=3)):
        words += [each, draw(PLACES)] if each == b"MINMATCHLEN" else [each]
    return words


def request(*parts: st.SearchStrategy[bytes] | bytes) -> st.SearchStrategy[list[bytes]]:
    """A request of fixed and of drawn words."""
    return st.tuples(*(st.just(part) if isinstance(part, bytes) else part for part in parts)).map(list)


PAIRS = st.lists(st.tuples(KEYS, TEXTS), min_size=1, max_size=3).map(
    lambda pairs: [word for pair in pairs for word in pair]
)
COMMANDS = st.one_of(
    request(b"SET", KEYS, TEXTS | NUMBERS),
    request(b"SET", KEYS, TEXTS, b"EX", FAR),
    request(b"setnx", KEYS, TEXTS),
    request(b"SETEX", KEYS, TIMES, TEXTS),
    request(b"psetex", KEYS, TIMES.map(lambda time: time + b"000"), TEXTS),
    request(b"GETSET", KEYS, TEXTS),
    request(st.sampled_from([b"getdel", b"GET", b"STRLEN", b"TTL", b"INCR"]), KEYS),
    st.tuples(KEYS, getex_options()).map(lambda pair: [b"GETEX", pair[0], *pair[1]]),
    st.tuples(st.sampled_from([b"MSETNX", b"MSET"]), PAIRS).map(lambda pair: [pair[0], *pair[1]]),
    request(st.sampled_from([b"GETRANGE", b"substr"]), KEYS, PLACES, PLACES),
    request(b"SETRANGE", KEYS, PLACES, TEXTS),
    request(b"APPEND", KEYS, TEXTS),
    request(b"INCRBYFLOAT", KEYS, NUMBERS),
    st.tuples(KEYS, KEYS, lcs_options()).map(lambda drawn: [b"LCS", drawn[0], drawn[1], *drawn[2]]),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(commands=st.lists(COMMANDS, min_size=1, max_size=25))
def test_any_sequence_is_answered_as_redis_answers_it(redis: Redis, commands: list[list[bytes]]) -> None:
    """Redis 7 itself, and what it leaves behind."""
    pair = Pair(redis)
    for args in commands:
        pair.ask(args)
    for key in (b"{k}a", b"{k}b", b"{k}c"):
        pair.ask([b"GET", key])
        pair.ask([b"TTL", key])
    pair.check()


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=NUMBERS, number=NUMBERS)
def test_any_sum_is_written_as_redis_writes_it(redis: Redis, value: bytes, number: bytes) -> None:
    """redis INCRBYFLOAT, on x86-64."""
    pair = Pair(redis)
    pair.ask([b"SET", b"k", value])
    pair.ask([b"INCRBYFLOAT", b"k", number])


ODD = """
SETNX k|SETNX k v x|SETEX k 10|SETEX k 0 v|SETEX k -1 v|SETEX k x v|SETEX k 9223372036854775807 v
PSETEX k 0 v|PSETEX k 9223372036854775807 v|PSETEX k 1.5 v|GETSET k|GETSET k v w|GETDEL|GETDEL k k
GETEX|GETEX k EX|GETEX k EX 0|GETEX k EX x|GETEX k EX 10 PX 10|GETEX k EX 10 EX 2000|GETEX k PERSIST EX 10
GETEX k EX 10 PERSIST|GETEX k PERSIST PERSIST|GETEX k KEEPTTL|GETEX k GET|GETEX k NX|GETEX k EXAT 1
GETEX k PXAT 1|GETEX k PXAT -1|GETEX k EX 9223372036854775807|GETEX k PX 9223372036854775807
GETEX k EX x BOGUS|MSETNX|MSETNX k|MSETNX k v k|MSETNX k v n w|MSETNX n 1 n 2|GETRANGE k 0|GETRANGE k x 1
GETRANGE k 1 x|GETRANGE k 0 -1 1|GETRANGE k 0 -100|GETRANGE k -100 -100|GETRANGE k -1 -2|SUBSTR k 1
SUBSTR k 1 2|SETRANGE k 1|SETRANGE k -1 x|SETRANGE k x y|SETRANGE k 536870912 x
SETRANGE k 9223372036854775807 x|SETRANGE k -1 |SETRANGE k 9223372036854775808 |SETRANGE n 0 |STRLEN k k
SETRANGE k 10 |INCRBYFLOAT k|INCRBYFLOAT k x|INCRBYFLOAT k  1|INCRBYFLOAT k 1 |INCRBYFLOAT k 0x1.8p1|APPEND k
INCRBYFLOAT k 1e400|INCRBYFLOAT k nan|LCS k|LCS k k|LCS k n|LCS n n IDX|LCS k k LEN IDX|LCS k k LEN IDX x
LCS k k MINMATCHLEN|LCS k k MINMATCHLEN x|LCS k k len len
LCS k k IDX WITHMATCHLEN MINMATCHLEN 2|LCS k k IDX MINMATCHLEN 100
"""


@pytest.mark.parametrize("line", ODD.strip().replace("\n", "|").split("|"))
def test_odd_command_is_answered_as_redis_answers_it(redis: Redis, line: str) -> None:
    """Redis 7 itself: with nothing, a string and a number there, and what is left behind."""
    args = line.encode().split(b" ")
    for before in ([b"DBSIZE"], [b"SET", b"k", b"text"], [b"SET", b"k", b"5", b"EX", b"1000"]):
        pair = Pair(redis)
        for each in (before, args, [b"GET", b"k"], [b"TTL", b"k"], [b"DBSIZE"]):
            pair.ask(each)
        pair.check()


def test_large_lcs_is_answered_as_redis_answers_it(redis: Redis) -> None:
    """redis LCS: rows of several chunks, and the last size that it takes."""
    pair = Pair(redis)
    columns = bytes(byte * byte % 251 for byte in range((1 << 17) - 1))
    pair.ask([b"MSET", b"a", b"\x01x\x04\x09y\x10" * 40, b"b", columns])
    for keys in ((b"a", b"b"), (b"b", b"a")):
        pair.ask([b"LCS", *keys])
        pair.ask([b"LCS", *keys, b"IDX", b"WITHMATCHLEN"])
    # A table of 2**17 * 2**10 numbers has 512 MB.
    pair.ask([b"SET", b"a", b"x" * 1023])
    pair.ask([b"LCS", b"a", b"b", b"LEN"])
    pair.ask([b"APPEND", b"a", b"x"])
    pair.ask([b"LCS", b"a", b"b", b"LEN"])


def described(raw: bytes) -> list[object]:
    """A row as COMMAND INFO has it: arity, flags, keys, ACL categories, key specs.

    Sets are put in order. Without tips, for 7.2 has others than 7.0, and without the notes on key specs.
    """
    (row,) = list_of(raw)
    name, arity, flags, first, last, step, categories, _, key_specs, subcommands = row
    (key_spec,) = (dict(zip(spec[::2], spec[1::2], strict=True)) for spec in key_specs)
    key_spec.pop(b"notes", None)
    key_spec[b"flags"].sort()
    return [name, arity, sorted(flags), first, last, step, sorted(categories), key_spec, subcommands]


@pytest.mark.parametrize("name", [spec.name.decode() for spec in TABLE if spec.docs.group == "string"])
def test_row_is_the_one_of_redis(redis: Redis, name: str) -> None:
    """redis COMMAND INFO"""
    ours = encode(ask(open_session(), "COMMAND", "INFO", name), 2)
    assert described(ours) == described(redis.ask([b"COMMAND", b"INFO", name.encode()]))
