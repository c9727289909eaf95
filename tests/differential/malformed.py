"""Bytes that are no request, or nearly one: what a server answers before it closes.

Knows no replies. Behind these bytes the client ends its side, so a server that waits for more ends its own.
"""

from __future__ import annotations

from tests.differential.values import Values

#: None of them writes: what servers make of the same bytes may differ.
_REQUESTS = (
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$5\r\nsalve\r\n",
    b"*3\r\n$4\r\nMGET\r\n$1\r\nk\r\n$1\r\nk\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
)
_PIECES = (
    b"*0\r\n", b"*-1\r\n", b"*-10\r\n", b"*\r\n", b"*a\r\n", b"* 1\r\n", b"*+1\r\n", b"*01\r\n", b"*1 \r\n",
    b"*1\n", b"*1\r", b"*1048577\r\n", b"*2147483648\r\n", b"*99999999999999999999\r\n", b"*1\r\n$-1\r\n",
    b"*1\r\n$-5\r\n", b"*1\r\n$\r\n", b"*1\r\n$abc\r\n", b"*1\r\n$04\r\nPING\r\n", b"*1\r\n$+4\r\nPING\r\n",
    b"*1\r\n$536870913\r\n", b"*1\r\n$99999999999999999999\r\n", b"*1\r\n:5\r\n", b"*1\r\n+PING\r\n",
    b"*1\r\n*1\r\n$4\r\nPING\r\n", b"*1\r\n\r\n", b"*1\r\n\x00\r\n", b"*1\r\n\xff\r\n", b"*1\r\n$0\r\n\r\n",
    b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", b"*1\r\n$4\r\nPINGxx", b"*1\r\n$4\r\nPING\n\n", b"*2\r\n$4\r\nPI",
    b"*1\r\n$4\r\n", b"\r\n\r\nPING\r\n", b"PING\n", b"  PING  \r\n", b"PI\x00NG\r\n", b"\x00\r\n",
    b'ECHO "a"b\r\n', b'ECHO "abc\r\n', b"ECHO 'abc\r\n", b'ECHO "\\x41\\n\\q"\r\n', b"ECHO 'a\\'b\\n'\r\n",
    b'"PING"\r\n', b"ECHO a'b'\r\n", b'ECHO ""\r\n', b"ECHO \t\x0b\x0cx\r\n", b"GET / HTTP/1.1\r\n\r\n",
    b"$4\r\nPING\r\n", b"+PING\r\n", b"~1\r\n$4\r\nPING\r\n", b">1\r\n$4\r\nPING\r\n", b"%1\r\n", b"PING\r",
    b"\r", b"\n", b"QUIT\r\nPING\r\n", b"POST / HTTP/1.1\r\nx\r\n", b"Host: example\r\nPING\r\n",
)  # fmt: skip
_LONG = (
    b"x" * 70_000,
    b"PING " + b"x" * 70_000 + b"\r\n",
    b"PING " + b"x " * 20_000 + b"\r\n",
    b"*" + b"1" * 70_000,
    b"*" + b"1" * 100 + b"\r\n",
    b"*1\r\n$" + b"1" * 70_000,
    b"*1\r\n" + b"x" * 70_000,
)


def malformed(values: Values) -> bytes:
    """A few requests, and in between or behind them something else."""
    random = values.random
    data = b"".join(random.choice(_REQUESTS) for _ in range(random.randrange(3)))
    if values.chance(3):
        return data + _damaged(values, random.choice(_REQUESTS) + random.choice(_REQUESTS))
    data += random.choice(_LONG if values.chance(12) else _PIECES)
    return data + (random.choice(_REQUESTS) if values.chance(2) else b"")


def _damaged(values: Values, data: bytes) -> bytes:
    random = values.random
    place = random.randrange(len(data))
    match random.randrange(3):
        case 0:
            return data[:place] + data[place + 1 :]
        case 1:
            return data[:place] + random.randbytes(1) + data[place:]
    return data[:place] + random.randbytes(1) + data[place + 1 :]
