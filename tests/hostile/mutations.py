"""Bytes for a client port: good requests, and what a broken or hostile client makes of them.

Knows no connections. None of the good ones, however they are damaged, asks a node to stop or to change.
"""

from __future__ import annotations

import random
import re

KEY = b"{h}fuzzed"

GOOD: tuple[tuple[bytes, ...], ...] = (
    (b"PING",),
    (b"ECHO", b"salve"),
    (b"SET", KEY, b"value"),
    (b"SET", KEY, b"v" * 300, b"EX", b"100"),
    (b"GET", KEY),
    (b"MSET", KEY, b"1", b"{h}other", b"2"),
    (b"MGET", KEY, b"{h}other", b"{h}none"),
    (b"INCRBY", b"{h}count", b"3"),
    (b"APPEND", b"{h}appended", b"x"),
    (b"SETRANGE", KEY, b"3", b"abc"),
    (b"EXPIRE", KEY, b"100"),
    (b"TTL", KEY),
    (b"EXISTS", KEY, b"{h}other"),
    (b"HELLO", b"3"),
    (b"COMMAND", b"COUNT"),
    (b"CLIENT", b"SETNAME", b"me"),
    (b"CLUSTER", b"KEYSLOT", KEY),
    (b"RAFT", b"DIGEST"),
    (b"READONLY",),
)

_LENGTHS = (
    b"-1", b"-2147483649", b"0", b"1", b"2", b"9", b"1024", b"1048576", b"1048577", b"536870912",
    b"536870913", b"2147483648", b"4294967295", b"9223372036854775807", b"9223372036854775808",
    b"18446744073709551616", b"1" * 40, b"", b"x", b"+1", b"01", b" 1", b"1 ", b"0x10", b"1e3", b"\xff",
)  # fmt: skip
_HEADER = re.compile(rb"[*$](\d+)\r\n")
_NESTED = (
    b"*1\r\n" * 50,
    b"*2\r\n*1\r\n",
    b"*1\r\n~1\r\n",
    b"$3\r\n*1\r\n",
    b"%1\r\n",
    b">1\r\n",
    b"*-1\r\n",
)


def request(args: tuple[bytes, ...]) -> bytes:
    """Return a request in the shape that every client sends."""
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)


def good(source: random.Random, count: int) -> bytes:
    """Return some good requests."""
    return b"".join(request(source.choice(GOOD)) for _ in range(count))


def noise(source: random.Random) -> bytes:
    """Return random bytes, in some cases of those alone that mean something."""
    size = source.choice((1, 3, 17, 200, 3000, 70_000))
    match source.randrange(3):
        case 0:
            return source.randbytes(size)
        case 1:
            return bytes(source.choices(b"*$\r\n0123456789-+:~>%_,#!=(|\"' PINGx", k=min(size, 3000)))
    return source.choice((b"*", b"$", b"*1\r\n$", b"PING", b'"', b"*1\r\n")) + source.randbytes(size)


def mutated(source: random.Random) -> bytes:
    """Return good requests with a few things wrong."""
    data = good(source, source.randint(1, 6))
    for _ in range(source.randint(1, 3)):
        data = _damage(source, data)
    return data


def with_length(source: random.Random) -> bytes:
    """Return good requests with another number in one header."""
    return good(source, source.randrange(3)) + _with_length(source, good(source, 2))


def _damage(source: random.Random, data: bytes) -> bytes:
    place = source.randrange(len(data) + 1)
    head, tail = data[:place], data[place:]
    match source.randrange(7):
        case 0:
            return head + bytes([tail[0] ^ 1 << source.randrange(8)]) + tail[1:] if tail else head
        case 1:
            return head + tail[source.randint(1, 8) :]
        case 2:
            return head + source.randbytes(source.randint(1, 8)) + tail
        case 3:
            return head + data[source.randrange(len(data) + 1) :]
        case 4:
            return head + source.choice(_NESTED) + tail
        case 5:
            return head
    return _with_length(source, data)


def _with_length(source: random.Random, data: bytes) -> bytes:
    headers = list(_HEADER.finditer(data))
    if not headers:
        return data
    chosen = source.choice(headers)
    return data[: chosen.start(1)] + source.choice(_LENGTHS) + data[chosen.end(1) :]
