"""Cuts the byte stream of a peer connection into frames, and makes them; no I/O.

Knows nothing of sockets, of who the peer is, or of what a body means, except that a MESSAGES body
is a row of length-prefixed encoded messages. Each direction of a connection begins with a preamble,
then come frames; all numbers are big-endian. Version 2 of the protocol.

    preamble     0              6             8
                 +--------------+-------------+
                 | "raftkv"     | version u16 |
                 +--------------+-------------+

    frame        0            4         5              9           13
                 +------------+---------+--------------+-----------+-----------------+
                 | length u32 | kind u8 | group id u32 | crc32 u32 | body            |
                 +------------+---------+--------------+-----------+-----------------+
                   of the body  + MORE                   of the first 9 bytes and the body

    MESSAGES     +------------+---------+------------+---------+----
    body         | length u32 | message | length u32 | message | ...
                 +------------+---------+------------+---------+----

A body above `chunk_bytes` travels in pieces, each a frame of its own with the same kind and group;
all but the last have the MORE bit set in their kind. Pieces of two bodies never mix.

Invariant: a piece's length is checked before its bytes are waited for, a body's before they are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from raftkv.raft.types import ProtocolError

VERSION: Final = 2
_MAGIC: Final = b"raftkv"
_PREAMBLE: Final = struct.Struct(">6sH")
PREAMBLE: Final = _PREAMBLE.pack(_MAGIC, VERSION)

#: No piece on the wire is longer, whatever a sender's setting is.
CHUNK_BYTES_MAX: Final = 256 << 10

# Kinds. Plain integers: they are compared for every frame.
HELLO: Final = 1
WELCOME: Final = 2
REFUSAL: Final = 3
QUESTION: Final = 4
MESSAGES: Final = 5
_KINDS: Final = frozenset((HELLO, WELCOME, REFUSAL, QUESTION, MESSAGES))
#: Bit of a kind: more pieces of this body follow.
MORE: Final = 0x80

#: What the checksum covers besides the body, then the checksum.
_LEAD: Final = struct.Struct(">IBI")
_HEADER: Final = struct.Struct(">IBII")
_LENGTH: Final = struct.Struct(">I")
LEAD_BYTES: Final = _LEAD.size
HEADER_BYTES: Final = _HEADER.size
LENGTH_BYTES: Final = _LENGTH.size

Buffer = bytes | bytearray | memoryview

pack_length = _LENGTH.pack


@dataclass(slots=True)
class Frame:
    """One whole body, put together again if it came in pieces."""

    kind: int
    group_id: int
    #: Shares memory with what was received: copy what is to be kept.
    body: memoryview


def frame_header(kind: int, group_id: int, parts: list[Buffer]) -> bytes:
    """Make the 13 bytes that go in front of a body made of `parts`."""
    length = 0
    for part in parts:
        length += len(part)
    lead = _LEAD.pack(length, kind, group_id)
    checksum = crc32(lead)
    for part in parts:
        checksum = crc32(part, checksum)
    return lead + _LENGTH.pack(checksum)


def encode_frame(kind: int, body: bytes, *, group_id: int = 0) -> bytes:
    """Make one frame of a body that needs no pieces."""
    assert len(body) <= CHUNK_BYTES_MAX, f"a body of {len(body)} bytes must travel in pieces"
    return frame_header(kind, group_id, [body]) + body


def split_messages(body: memoryview) -> Iterator[memoryview]:
    """Give the encoded messages of a MESSAGES body in order. Raises ProtocolError after the good ones."""
    pos = 0
    size = len(body)
    while pos < size:
        if size - pos < LENGTH_BYTES:
            raise ProtocolError("a frame ends inside a message's length")
        first = pos + LENGTH_BYTES
        pos = first + _LENGTH.unpack_from(body, pos)[0]
        if pos > size:
            raise ProtocolError("a message is longer than its frame")
        yield body[first:pos]


class FrameReader:
    """Turns the bytes of one direction of a connection into frames, however they are cut.

    Every byte is copied at most twice on its way here: once when its frame came in several reads,
    once more when its body came in several pieces.
    """

    def __init__(self, *, frame_bytes_max: int) -> None:
        #: The longest body, all pieces together; raised by the owner once it knows the peer.
        self.frame_bytes_max = frame_bytes_max
        #: An unfinished preamble or frame, from its first byte on.
        self._held = bytearray()
        #: No progress is possible before `_held` has this many bytes.
        self._wanted = len(PREAMBLE)
        self._has_preamble = False
        #: The pieces of an unfinished body so far; empty between bodies.
        self._pieces = bytearray()
        self._pieces_kind = 0
        self._pieces_group_id = 0
        #: Whole pieces so far.
        self.pieces_count = 0

    @property
    def held_bytes(self) -> int:
        """Bytes kept until more come."""
        return len(self._held) + len(self._pieces)

    def feed(self, data: Buffer) -> Iterator[Frame]:
        """Give the frames that `data` completes.

        Take them all before the next call. Raises ProtocolError at the first wrong byte, after the
        good frames before it; the connection is of no use then.
        """
        if self._held:
            self._held += data
            if len(self._held) < self._wanted:
                return
            data = self._held
            self._held = bytearray()
        view = memoryview(data)
        pos = 0
        if not self._has_preamble:
            pos = self._read_preamble(view)
        size = len(view)
        while size - pos >= HEADER_BYTES:
            length, kind, group_id, checksum = _HEADER.unpack_from(view, pos)
            if length > CHUNK_BYTES_MAX or kind != MESSAGES:
                self._check_header(kind, length)
            first = pos + HEADER_BYTES
            if first + length > size:
                break
            body = view[first : first + length]
            if crc32(body, crc32(view[pos : pos + LEAD_BYTES])) != checksum:
                raise ProtocolError("wrong checksum")
            pos = first + length
            self.pieces_count += 1
            frame = self._on_piece(kind, group_id, body)
            if frame is not None:
                yield frame
        if pos < size:
            self._hold(view[pos:])

    def _hold(self, rest: memoryview) -> None:
        """Keep the beginning of what can't be read yet."""
        self._held += rest
        if not self._has_preamble:
            self._wanted = len(PREAMBLE)
        elif len(rest) < HEADER_BYTES:
            self._wanted = HEADER_BYTES
        else:
            self._wanted = HEADER_BYTES + _LENGTH.unpack_from(rest)[0]

    def _read_preamble(self, view: memoryview) -> int:
        """Check the preamble as far as it is there; give where the frames begin."""
        magic = bytes(view[: len(_MAGIC)])
        if not _MAGIC.startswith(magic):
            raise ProtocolError("this is no raftkv peer")
        if len(view) < len(PREAMBLE):
            return 0
        version = _PREAMBLE.unpack_from(view)[1]
        if version != VERSION:
            raise ProtocolError(
                f"the peer speaks version {version} of the peer protocol, this node {VERSION}"
            )
        self._has_preamble = True
        return len(PREAMBLE)

    def _check_header(self, kind: int, length: int) -> None:
        """Refuse what no correct sender makes, before its bytes are waited for."""
        if kind & ~MORE not in _KINDS:
            raise ProtocolError(f"unknown frame kind {kind & ~MORE}")
        if length > CHUNK_BYTES_MAX:
            raise ProtocolError(f"a piece of {length} bytes; {CHUNK_BYTES_MAX} are allowed")

    def _on_piece(self, kind: int, group_id: int, body: memoryview) -> Frame | None:
        """Take one piece; give the whole frame when it was the last."""
        if len(self._pieces) + len(body) > self.frame_bytes_max:
            raise ProtocolError(f"a frame above {self.frame_bytes_max} bytes")
        if not kind & MORE and not self._pieces:
            return Frame(kind, group_id, body)
        if self._pieces and (kind & ~MORE != self._pieces_kind or group_id != self._pieces_group_id):
            raise ProtocolError("a frame begins inside another")
        self._pieces += body
        self._pieces_kind = kind & ~MORE
        self._pieces_group_id = group_id
        if kind & MORE:
            return None
        whole = self._pieces
        self._pieces = bytearray()
        return Frame(self._pieces_kind, group_id, memoryview(whole))
