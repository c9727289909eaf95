"""Requests out of a client's bytes: arrays of bulk strings, and inline commands (redis protocol spec).

Knows nothing of commands or sockets. Three readers share the work, and give the same requests:

* the exact one, in Python, reads header by header, allocates nothing that has not arrived, and has Redis's
  words for everything that is wrong;
* hiredis, five times faster, gets several requests that arrive together and look harmless. It trusts any
  header, so a chunk in which '*' is followed by many digits, wherever that is, never reaches it; it takes
  types that no request may hold, so what it returns is looked through;
* `_only_request` reads the chunk that is one small request, in a third of the time that the checks on hiredis
  take.

Invariants: hiredis stands between two requests whenever a chunk is fed, and the exact reader holds what
belongs to an unfinished one; after the first error nothing more is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import countOf
from typing import Any, Final

import hiredis

from raftkv.resp.inline import split_inline
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import printable


class ProtocolError(Exception):
    """The client does not speak the protocol; the text is the error reply that it gets, prefix included."""

    def __init__(self, complaint: str) -> None:
        super().__init__(f"ERR Protocol error: {complaint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may announce. The defaults are Redis's."""

    #: Arguments of a request; at least 1024.
    multibulk_max: int = 1 << 20
    #: Bytes of an argument; at least 1 MB.
    bulk_bytes_max: int = 512 << 20
    #: Bytes of an inline request, and of a header's line.
    inline_bytes_max: int = 64 << 10

    def __post_init__(self) -> None:
        # What is smaller than this is read without a look at the limits.
        assert self.multibulk_max >= 1024, "a request of 1 KB could break the limit"
        assert self.bulk_bytes_max >= 1 << 20, "a chunk could break the limit"


#: What lines of an HTTP request begin with that no command does. A page in a browser can't be kept from
#: sending one to this machine's ports, with commands in its body (redis securityWarningCommand).
_HTTP_WORDS: Final = frozenset({b"post", b"host:"})

_STAR: Final = ord("*")
_DOLLAR: Final = ord("$")

#: A count that is dear to believe. Anywhere, for a wrong length lets a header stand anywhere.
_LONG_COUNT: Final = re.compile(rb"\*\d{4}").search
#: Types that hiredis turns into the same values as a request or its arguments.
_ODD_HEADER: Final = re.compile(rb"\n[~>+=]").search
#: One expression for each: with a class in front, the search looks at every byte five times as long.
_LONG_SET_COUNT: Final = re.compile(rb"~\d{4}").search
_LONG_PUSH_COUNT: Final = re.compile(rb">\d{4}").search

#: Chunks from here on most likely end within a request, and may be one large argument.
_LARGE_BYTES: Final = 16 << 10
#: Larger chunks, which no socket gives, take the exact reader: no argument in a smaller one is too long.
_FAST_BYTES_MAX: Final = 1 << 20
#: A large chunk's first bytes, and how many lines they have at least if it holds many small requests.
_SAMPLE_BYTES: Final = 4096
_SAMPLE_LINES_MIN: Final = 16

#: A chunk shorter than this may be one small request.
_SMALL_BYTES: Final = 1024
_SMALL_HEADERS: Final = tuple(b"$%d" % length for length in range(_SMALL_BYTES))
#: By its header: how many pieces the line breaks of such a request make.
_LINES_COUNTS: Final = {b"*%d" % count: 2 * count + 2 for count in range(1, 32)}

#: Read back as [] between two requests and nowhere else.
_EMPTY_REQUEST: Final = b"*0\r\n"


class _NotEnough:
    """What hiredis returns when it needs more bytes."""


_NOT_ENOUGH: Final = _NotEnough()
_JOIN: Final = b"".join


class RequestParser:
    """One connection's requests. Per chunk: `read` it, or `feed` it and `drain` later."""

    __slots__ = (
        "_args",
        "_args_bytes",
        "_args_missing",
        "_is_between",
        "_pieces",
        "_pieces_bytes",
        "_reader",
        "_requests",
        "_wanted_bytes",
        "buffered_bytes",
        "garbage",
        "limits",
    )

    def __init__(self, *, limits: Limits) -> None:
        #: May be changed between two chunks.
        self.limits = limits
        self._reader = hiredis.Reader(notEnoughData=_NOT_ENOUGH)
        #: Complete, not yet drained.
        self._requests: list[list[bytes]] = []
        #: What ended the reading, behind the requests drained so far and those to be drained next.
        self.garbage: ProtocolError | None = None
        #: Of an unfinished request: arguments read, their bytes, and how many are still to come.
        self._args: list[bytes] = []
        self._args_bytes = 0
        self._args_missing = 0
        #: Bytes that the exact reader could not use yet, and how many it needs to go on.
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0
        self._wanted_bytes = 0
        #: Bytes held for a request that is not complete.
        self.buffered_bytes = 0
        #: Nothing is held, and there was no garbage: the next byte begins a request.
        self._is_between = True

    def read(self, data: bytes) -> list[list[bytes]]:
        """Take what arrived, and give the requests that are complete by it, each at least a name."""
        if self._is_between and len(data) < _SMALL_BYTES and data.find(b"*", 1) < 0:
            args = _only_request(data)
            if args is not None:
                return [args]
        self.feed(data)
        return self.drain()

    def feed(self, data: bytes) -> None:
        """Take what arrived; ignored after garbage."""
        if not self._is_between:
            if self.garbage is not None:
                return
            data = self._finish_request(data)
            if self.garbage is not None or not data:
                return
        if data and (data[0] != _STAR or _is_one_for_the_exact_reader(data) or not self._read_fast(data)):
            self._read_exactly(data)

    def drain(self) -> list[list[bytes]]:
        """The requests that are complete, each at least a name, each once."""
        requests, self._requests = self._requests, []
        return requests

    def take_over(self, other: RequestParser) -> None:
        """Go on where another parser stands, whose requests were drained; it is used no more."""
        self._args, self._args_bytes, self._args_missing = (
            other._args,
            other._args_bytes,
            other._args_missing,
        )
        self._note_held(0)
        self.feed(b"".join(other._pieces))

    # -- hiredis ----------------------------------------------------------------------------

    def _read_fast(self, data: bytes) -> bool:
        """Read a harmless chunk that begins between two requests; False: the exact reader has to."""
        if len(data) < _LARGE_BYTES and self._read_to(data, len(data)):
            return True
        last_request = data.rfind(b"\r\n*") + 2
        if last_request < 2 or not self._read_to(data, last_request):
            return False
        self._read_exactly(data[last_request:])
        return True

    def _read_to(self, data: bytes, end: int) -> bool:
        """Read data[:end], unless that does not end with a request or is not sound."""
        reader = self._reader
        gets = reader.gets
        try:
            reader.feed(data, 0, end)
            requests: list[Any] = list(iter(gets, _NOT_ENOUGH))
            reader.feed(_EMPTY_REQUEST)
            if gets() == [] and countOf(map(type, requests), list) == len(requests):
                # Joining is the fastest proof that every argument is bytes: anything else raises.
                if all(list(map(_JOIN, requests))):
                    self._requests += requests
                else:  # empty requests are ignored (redis processMultibulkBuffer)
                    self._requests += [args for args in requests if args]
                return True
        except (hiredis.ProtocolError, TypeError):
            pass
        self._reader = hiredis.Reader(notEnoughData=_NOT_ENOUGH)
        return False

    def _finish_request(self, data: bytes) -> bytes:
        """Read to the end of the request that has begun; give what follows it, which may be nothing."""
        end = data.find(b"\r\n*") + 2 if len(data) >= _LARGE_BYTES else 0
        if end >= 2:
            self._read_exactly(data[:end])
            data = data[end:]
            if not (self._pieces or self._args_missing):
                return data
        self._read_exactly(data)
        return b""

    # -- the exact reader -------------------------------------------------------------------

    def _read_exactly(self, data: bytes) -> None:
        """Read any chunk, whatever came before it."""
        self._pieces.append(data)
        self._note_held(self._pieces_bytes + len(data))
        if self._pieces_bytes < self._wanted_bytes:
            return
        buffer = b"".join(self._pieces)
        self._wanted_bytes = 0
        try:
            rest = buffer[self._read_buffer(buffer) :]
        except ProtocolError as garbage:
            self.garbage = garbage
            self._args, self._args_bytes, self._args_missing = [], 0, 0
            rest = b""
        self._pieces = [rest] if rest else []
        self._note_held(len(rest))

    def _note_held(self, pieces_bytes: int) -> None:
        self._pieces_bytes = pieces_bytes
        self.buffered_bytes = pieces_bytes + self._args_bytes
        self._is_between = not (pieces_bytes or self._args_missing or self.garbage is not None)

    def _read_buffer(self, buffer: bytes) -> int:
        """Read all that is complete, and return where that ends. Raises ProtocolError."""
        position = 0
        while position < len(buffer):
            if self._args_missing:
                end = self._read_bulk(buffer, position)
            elif buffer[position] == _STAR:
                end = self._read_multibulk_header(buffer, position)
            else:
                end = self._read_inline(buffer, position)
            if end == position:
                break
            position = end
        return position

    def _read_multibulk_header(self, buffer: bytes, position: int) -> int:
        line_end = self._end_of_header(buffer, position, "too big mbulk count string")
        if line_end < 0:
            return position
        count = parse_integer(buffer[position + 1 : line_end])
        if count is None or count > self.limits.multibulk_max:
            raise ProtocolError("invalid multibulk length")
        self._args_missing = max(count, 0)
        return line_end + 2

    def _read_bulk(self, buffer: bytes, position: int) -> int:
        line_end = self._end_of_header(buffer, position, "too big bulk count string")
        if line_end < 0:
            return position
        if buffer[position] != _DOLLAR:
            got = printable(buffer[position : position + 1])
            raise ProtocolError(f"expected '$', got '{got}'")
        length = parse_integer(buffer[position + 1 : line_end])
        if length is None or not 0 <= length <= self.limits.bulk_bytes_max:
            raise ProtocolError("invalid bulk length")
        first = line_end + 2
        end = first + length
        if len(buffer) < end + 2:
            self._wanted_bytes = end + 2 - position
            return position
        self._add_arg(buffer[first:end])
        return end + 2

    def _add_arg(self, arg: bytes) -> None:
        self._args.append(arg)
        self._args_bytes += len(arg)
        self._args_missing -= 1
        if not self._args_missing:
            self._requests.append(self._args)
            self._args = []
            self._args_bytes = 0

    def _end_of_header(self, buffer: bytes, position: int, complaint: str) -> int:
        """Where the line ends that begins at `position`; -1: not within the buffer."""
        line_end = buffer.find(b"\r", position)
        if line_end < 0 and len(buffer) - position > self.limits.inline_bytes_max:
            raise ProtocolError(complaint)
        return line_end if line_end + 2 <= len(buffer) else -1

    def _read_inline(self, buffer: bytes, position: int) -> int:
        line_end = buffer.find(b"\n", position)
        if line_end < 0:
            if len(buffer) - position > self.limits.inline_bytes_max:
                raise ProtocolError("too big inline request")
            return position
        args = split_inline(buffer[position:line_end].removesuffix(b"\r"))
        if args is None:
            raise ProtocolError("unbalanced quotes in request")
        if args:
            if args[0].lower() in _HTTP_WORDS:
                raise ProtocolError("this is HTTP, which a web page may have been made to send")
            self._requests.append(args)
        return line_end + 1


def _is_one_for_the_exact_reader(data: bytes) -> bool:
    """Whether hiredis must not see a chunk, or would be the slower reader."""
    if len(data) >= _LARGE_BYTES and (
        len(data) > _FAST_BYTES_MAX or data.count(b"\n", 0, _SAMPLE_BYTES) < _SAMPLE_LINES_MIN
    ):
        return True
    if _LONG_COUNT(data) is not None:
        return True
    # Looking for single bytes is next to free: the regular expressions run only where there is one.
    has_tilde = b"~" in data
    has_arrow = b">" in data
    return (
        (has_tilde and _LONG_SET_COUNT(data) is not None)
        or (has_arrow and _LONG_PUSH_COUNT(data) is not None)
        or ((has_tilde or has_arrow or b"+" in data or b"=" in data) and _ODD_HEADER(data) is not None)
    )


def _only_request(data: bytes) -> list[bytes] | None:
    """The request that `data` is, all of it, in the shape that every client sends; None: it isn't that.

    Each header is made anew from what follows it, and compared: nothing needs to be parsed.
    """
    lines = data.split(b"\r\n")
    if _LINES_COUNTS.get(lines[0]) != len(lines) or lines[-1]:
        return None
    args = lines[2::2]
    place = 1
    for arg in args:
        if lines[place] != _SMALL_HEADERS[len(arg)]:
            return None
        place += 2
    return args
