"""Damaged requests and noise: refused in one way however they are cut, and never dear to hold."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftkv.resp.guarded import GuardedParser
from raftkv.resp.parser import Limits, RequestParser
from tests.hostile.mutations import good, mutated, noise, request, with_length

LIMITS = Limits()
#: What a parser may hold beside the bytes that came: lists, and an argument being put together.
_SLACK_BYTES = 64 << 10

_KINDS = st.sampled_from([RequestParser, GuardedParser])
_DATA = st.one_of(
    st.builds(
        lambda seed, make: make(random.Random(seed)), st.integers(0), st.sampled_from([mutated, with_length])
    ),
    st.binary(max_size=300),
    st.lists(
        st.sampled_from([b"*", b"$", b"\r\n", b"1", b"-", b"9999999", b"PING", b'"', b" "]), max_size=40
    ).map(b"".join),
)

Outcome = tuple[list[list[bytes]], str]


def read(kind: type[RequestParser], chunks: list[bytes]) -> Outcome:
    """The requests and the complaint that chunks give; at most what came is held."""
    parser = kind(limits=LIMITS)
    requests: list[list[bytes]] = []
    fed_bytes = 0
    for chunk in chunks:
        requests += parser.read(chunk)
        fed_bytes += len(chunk)
        assert parser.buffered_bytes <= fed_bytes
        assert all(requests)
    return requests, "" if parser.garbage is None else str(parser.garbage)


@settings(max_examples=300)
@given(kind=_KINDS, data=_DATA, source=st.randoms(use_true_random=False))
def test_damaged_requests_are_read_alike_however_they_are_cut(
    kind: type[RequestParser], data: bytes, source: random.Random
) -> None:
    """redis processInputBuffer: at once, byte by byte, and in any pieces."""
    whole = read(kind, [data])
    assert not whole[1] or whole[1].startswith("ERR Protocol error: ")
    assert read(kind, [data[place : place + 1] for place in range(len(data))]) == whole
    pieces: list[bytes] = []
    rest = data
    while rest:
        size = source.randint(1, len(rest))
        pieces.append(rest[:size])
        rest = rest[size:]
    assert read(kind, pieces) == whole


@settings(max_examples=30)
@given(seed=st.integers(0))
def test_long_noise_is_read_or_refused(seed: int) -> None:
    """Whatever large chunks hold takes the quick readers, which must not believe it."""
    source = random.Random(seed)
    data = good(source, 2000) + noise(source) + good(source, 2000)
    cut = source.randrange(len(data))
    assert read(RequestParser, [data]) == read(RequestParser, [data[:cut], data[cut:]])


@pytest.mark.parametrize(
    "header",
    [
        b"*1048576\r\n",
        b"*2\r\n$3\r\nGET\r\n$536870912\r\n",
        b"*1048576\r\n$536870912\r\n",
        b"*1\r\n" * 1000,
        b"*1048576\r\n" + b"$0\r\n\r\n" * 1000,
    ],
)
@pytest.mark.parametrize("before", [b"", request((b"PING",)) * 50])
def test_what_is_announced_takes_no_memory(header: bytes, before: bytes) -> None:
    """Limits: a hundred connections that announce 512 MB each cost next to nothing."""
    parsers = [RequestParser(limits=LIMITS) for _ in range(100)]
    tracemalloc.start()
    try:
        for parser in parsers:
            parser.feed(before + header)
            parser.drain()
        held_bytes, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes <= 100 * (40 * len(header) + 2000)
    assert peak_bytes <= held_bytes + 40 * len(before + header) + _SLACK_BYTES


def test_an_argument_that_comes_byte_by_byte_is_put_together_once() -> None:
    """A megabyte in pieces of 100 bytes: joined when it is whole, not at each piece (quadratic)."""
    parser = RequestParser(limits=LIMITS)
    data = request((b"SET", b"key", bytes(1 << 20)))
    parser.feed(data[:40])
    for place in range(40, len(data), 100):
        assert not parser.drain()
        parser.feed(data[place : place + 100])
    assert [[len(arg) for arg in args] for args in parser.drain()] == [[3, 3, 1 << 20]]
