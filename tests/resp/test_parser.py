"""Requests out of bytes, however the bytes are cut, against a slow and obvious parser."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raftkv.resp.guarded import GuardedParser
from raftkv.resp.parser import Limits, ProtocolError, RequestParser

LIMITS = Limits(multibulk_max=1024, bulk_bytes_max=1 << 20, inline_bytes_max=200)
UNBOUNDED_LINES = Limits(multibulk_max=1024, bulk_bytes_max=1 << 20)


@dataclass
class Outcome:
    """What became of some bytes."""

    requests: list[list[bytes]] = field(default_factory=list)
    error: str | None = None


def parse(chunks: list[bytes], limits: Limits = LIMITS) -> Outcome:
    """Feed the chunks one by one, as a connection does."""
    parser, outcome = RequestParser(limits=limits), Outcome()
    for chunk in chunks:
        outcome.requests += parser.read(chunk)
        if parser.garbage is not None:
            outcome.error = str(parser.garbage)
            break
    return outcome


def request(*args: bytes) -> bytes:
    """A request as every client sends it."""
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)


class ReferenceParser:
    """The same protocol read by taking one thing after the other off the front, without quotes in lines."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Read all that is complete."""
        try:
            while self.data and (args := self.take_request()) is not None:
                if args:
                    self.outcome.requests.append(args)
        except ProtocolError as garbage:
            self.outcome.error = str(garbage)
        return self.outcome

    def take_request(self) -> list[bytes] | None:
        """None: incomplete."""
        if self.data[:1] != b"*":
            line, newline, self.data = self.data.partition(b"\n")
            return line.split() if newline else None
        header = self.take_header()
        if header is None:
            return None
        count = self.number(header[1:])
        if count is None or count > LIMITS.multibulk_max:
            raise ProtocolError("invalid multibulk length")
        args: list[bytes] = []
        while len(args) < count:
            arg = self.take_bulk()
            if arg is None:
                return None
            args.append(arg)
        return args

    def take_bulk(self) -> bytes | None:
        """None: incomplete."""
        header = self.take_header()
        if header is None:
            return None
        if header[:1] != b"$":
            got = (header[:1] or b" ").replace(b"\n", b" ").decode("utf-8", "surrogateescape")
            raise ProtocolError(f"expected '$', got '{got}'")
        length = self.number(header[1:])
        if length is None or not 0 <= length <= LIMITS.bulk_bytes_max:
            raise ProtocolError("invalid bulk length")
        if len(self.data) < length + 2:
            return None
        arg, self.data = self.data[:length], self.data[length + 2 :]
        return arg

    def take_header(self) -> bytes | None:
        """None: incomplete."""
        header, _, rest = self.data.partition(b"\r")
        self.data = rest[1:]
        return header if rest else None

    @staticmethod
    def number(text: bytes) -> int | None:
        try:
            number = int(text)
        except ValueError:
            return None
        return number if b"%d" % number == text else None


REQUESTS = [
    [b"GET", b"k"],
    [b"SET", b"key:1", b"a\r\n*3\r\n$1\r\nb", b"PX", b"100"],
    [b""],
    [b"ECHO", b""],
    [b"SET", b"a", b"*123456789\r\n"],
    [b"SET", b"a", b"x\r\n+OK\r\n~123456\r\n"],
    [b"MSET", *([b"k", b"v" * 50] * 40)],
    [b"SET", b"big", b"\0\xff\r\n" * 6000],
    [b"PING"],
]
STREAM = b"".join(request(*args) for args in REQUESTS)


def test_requests_are_read_from_one_chunk() -> None:
    """redis processMultibulkBuffer."""
    assert parse([STREAM]) == Outcome(REQUESTS)


@pytest.mark.parametrize("args", REQUESTS)
def test_a_request_is_read_alone_and_behind_another_one(args: list[bytes]) -> None:
    """Each of the three readers has its turn."""
    assert parse([request(*args)]) == Outcome([args])
    assert parse([request(b"PING") + request(*args)]) == Outcome([[b"PING"], args])


def test_requests_are_read_byte_by_byte() -> None:
    """Bytes come in any pieces."""
    stream = b"".join(request(*args) for args in REQUESTS[:7])
    assert parse([stream[at : at + 1] for at in range(len(stream))]) == Outcome(REQUESTS[:7])


def test_requests_are_read_split_at_any_offset() -> None:
    """Every cut leaves another unfinished request."""
    stream = b"".join(request(*args) for args in REQUESTS[:7])
    for at in range(len(stream) + 1):
        assert parse([stream[:at], stream[at:]]) == Outcome(REQUESTS[:7]), f"split at {at}"


def test_a_long_pipeline_cut_within_a_request_is_read_whole() -> None:
    """The large chunks of a busy connection end anywhere."""
    args = [b"SET", b"key:000000012345", b"x" * 64]
    stream = request(*args) * 2000
    for size in (15_000, 20_000, 65_537):
        assert parse([stream[at : at + size] for at in range(0, len(stream), size)]) == Outcome([args] * 2000)


@pytest.mark.parametrize(
    "header", [b"*0\r\n", b"*-1\r\n", b"*-10\r\n", b"\r\n", b"\n", b"  \r\n"], ids=lambda header: repr(header)
)
def test_what_asks_for_nothing_is_ignored(header: bytes) -> None:
    """redis processMultibulkBuffer, processInlineBuffer: empty requests."""
    ping = request(b"PING")
    for stream in (header + ping, ping + header + ping, ping + header):
        expected = Outcome([[b"PING"]] * stream.count(b"PING"))
        assert parse([stream]) == expected
        assert parse([stream[at : at + 1] for at in range(len(stream))]) == expected


@pytest.mark.parametrize("first", [b"POST / HTTP/1.1", b"post /", b"GET / HTTP/1.1\r\nHost: localhost"])
def test_http_is_refused_before_the_commands_in_its_body(first: bytes) -> None:
    """redis securityWarningCommand: a page in a browser can make it send HTTP to any port."""
    parser = RequestParser(limits=Limits())
    parser.feed(first + b"\r\n\r\nFLUSHALL\r\n")
    assert [b"FLUSHALL"] not in parser.drain()
    assert "HTTP" in str(parser.garbage)


@pytest.mark.parametrize(
    ("garbage", "complaint"),
    [
        (b"*1025\r\n", "invalid multibulk length"),
        (b"*4294967295\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*03\r\n", "invalid multibulk length"),
        (b"*+3\r\n", "invalid multibulk length"),
        (b"*1\r\n$1048577\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$1x\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n*1\r\n$1\r\na\r\n", "expected '$', got '*'"),
        (b"*1\r\n+OK\r\n", "expected '$', got '+'"),
        (b"*1\r\n=6\r\ntxt:ab\r\n", "expected '$', got '='"),
        (b"*1\r\n_\r\n", "expected '$', got '_'"),
        (b"*1\r\n#t\r\n", "expected '$', got '#'"),
        (b"*1\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n", "expected '$', got '%'"),
        (b"*1\r\n~1\r\n$1\r\na\r\n", "expected '$', got '~'"),
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"SET a 'b\r\n", "unbalanced quotes in request"),
    ],
)
def test_garbage_is_refused_in_rediss_words(garbage: bytes, complaint: str) -> None:
    """redis networking.c, setProtocolError."""
    text = f"ERR Protocol error: {complaint}"
    good = request(b"SET", b"k", b"v")
    trailing = request(b"GET", b"k")
    assert parse([garbage]) == Outcome([], text)
    assert parse([good + garbage]) == Outcome([[b"SET", b"k", b"v"]], text)
    assert parse([good * 3 + garbage + b"\r\n" + trailing]) == Outcome([[b"SET", b"k", b"v"]] * 3, text)
    stream = good + garbage + b"\r\n"
    assert parse([stream[at : at + 1] for at in range(len(stream))]).error == text


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"*" + b"1" * 200, "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 200, "too big bulk count string"),
        (b"x" * 201, "too big inline request"),
    ],
)
def test_a_line_without_an_end_is_refused(line: bytes, complaint: str) -> None:
    """redis networking.c, PROTO_INLINE_MAX_SIZE."""
    text = f"ERR Protocol error: {complaint}"
    good = request(b"PING")
    assert parse([good + line]) == Outcome([[b"PING"]], text)
    assert parse([line[at : at + 1] for at in range(len(line))]) == Outcome([], text)
    assert parse([good + line[:-1]]) == Outcome([[b"PING"]])


@pytest.mark.parametrize(
    "line", [b"~0\r\n", b"~1\r\n$1\r\na\r\n", b">1\r\n$1\r\na\r\n", b"+OK\r\n", b"$0\r\n\r\n"]
)
def test_what_does_not_begin_with_a_star_is_inline(line: bytes) -> None:
    """redis processInputBuffer: there is no other type of request."""
    words = [part.split() for part in line.split(b"\r\n") if part]
    assert parse([request(b"PING") + line]) == Outcome([[b"PING"], *words])
    assert parse([line]) == Outcome(words)


def test_nothing_is_read_after_garbage() -> None:
    """The connection is closed; what follows might be an attack (redis: SSRF with POST)."""
    parser = RequestParser(limits=LIMITS)
    parser.feed(b"*x\r\n")
    for _ in range(2):
        assert not parser.drain()
        assert isinstance(parser.garbage, ProtocolError)
        parser.feed(request(b"PING"))
        assert parser.buffered_bytes == 0


def test_a_count_hidden_behind_a_wrong_length_is_not_believed() -> None:
    """hiredis skips two bytes after an argument, whatever they are, and takes what follows for a header."""
    hidden = b"*1\r\n$1\r\nX\nY*4294967295\r\n"
    assert parse([request(b"PING") + hidden]) == Outcome(
        [[b"PING"], [b"X"]], "ERR Protocol error: invalid multibulk length"
    )


@pytest.mark.parametrize("header", [b"*1024\r\n", b"*2\r\n$3\r\nSET\r\n$1000000\r\n"])
def test_an_announcement_allocates_nothing(header: bytes) -> None:
    """DESIGN: what a header announces is not believed before it is there."""
    parser = RequestParser(limits=LIMITS)
    tracemalloc.start()
    try:
        parser.feed(header)
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()
    assert parser.buffered_bytes <= len(header)


def test_buffered_bytes_count_what_is_held() -> None:
    """The connection is closed when it is too much (client-query-buffer-limit)."""
    parser = RequestParser(limits=LIMITS)
    parser.feed(request(b"PING"))
    assert parser.buffered_bytes == 0
    parser.feed(b"*2\r\n$3\r\nSET\r\n$1000\r\n" + b"x" * 500)
    assert parser.buffered_bytes == 3 + len(b"$1000\r\n") + 500
    parser.feed(b"x" * 100)
    assert parser.buffered_bytes == 3 + len(b"$1000\r\n") + 600
    parser.feed(b"x" * 400 + b"\r\n")
    assert parser.buffered_bytes == 0
    assert list(parser.drain()) == [[b"PING"], [b"SET", b"x" * 1000]]
    assert list(parser.drain()) == []


#: Quotes are `test_inline`'s, and rarer spaces.
_bytes = st.binary(max_size=12).map(lambda text: text.translate(None, b"\"'\v\f"))
_args = st.lists(_bytes | st.sampled_from([b"*9999\r\n", b"\r\n", b"+"]), max_size=4)
_pieces = st.one_of(
    _args.map(lambda args: request(*args)),
    st.sampled_from(
        b"*1\r\n|*2\r\n|*0\r\n|*-1\r\n|$1\r\na\r\n|$0\r\n\r\n|*1|\r|\n|\r\n|PING\r\n|:1\r\n|$-1\r\n|_\r\n|*3\r\n"
        b"|*99999\r\n|*2000\r\n|$9999999\r\n|x|(1\r\n|,1\r\n|#t\r\n|-ERR\r\n|%0\r\n".split(b"|")
    ),
)


@given(st.lists(_pieces, max_size=12).map(b"".join), st.lists(st.integers(0, 300), max_size=5))
@example(b"*1\r\n$1\r\nX\nY*1\r\n$1\r\nb\r\n", [])
@example(b"*2\r\n$1\r\na\r\n", [])
def test_any_bytes_in_any_pieces_are_read_as_the_obvious_parser_does(data: bytes, cuts: list[int]) -> None:
    """Requests, garbage and what lies between."""
    bounds = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    chunks = [data[first:end] for first, end in pairwise(bounds)]
    assert parse(chunks, UNBOUNDED_LINES) == ReferenceParser(data).run()


def test_a_stranger_is_held_to_its_limits_in_a_single_chunk_too() -> None:
    """redis processMultibulkBuffer: 10 arguments before authentication."""
    parser = GuardedParser(limits=Limits())
    assert parser.read(request(*[b"MGET"] * 10)) == [[b"MGET"] * 10]
    assert parser.read(request(*[b"MGET"] * 11)) == []
    assert str(parser.garbage) == "ERR Protocol error: unauthenticated multibulk length"


@pytest.mark.parametrize("rest", [b"$1\r\na\r\n" + request(b"PING"), request(b"PING"), b"PING\r\n"])
def test_a_parser_goes_on_where_another_one_stands(rest: bytes) -> None:
    """Contract of `take_over`: wherever that is, a request that has begun goes on, or is garbage."""
    begun = request(b"AUTH", b"x") + b"*2\r\n$3\r\nGET\r\n"
    for cut in range(len(begun) + 1):
        former, whole = GuardedParser(limits=Limits()), RequestParser(limits=Limits())
        requests = former.read(begun[:cut])
        parser = RequestParser(limits=Limits())
        parser.take_over(former)
        assert parser.buffered_bytes == former.buffered_bytes
        requests += parser.drain() + parser.read(begun[cut:] + rest)
        assert requests == whole.read(begun + rest)
        assert str(parser.garbage) == str(whole.garbage)
