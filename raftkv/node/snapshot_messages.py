"""What the two ends of a snapshot's transfer say to each other, and the bytes of it.

    leader                                                  follower
      Offer      "these files, by digest; take them"   ->
                                                       <-   Want       "these bytes of that file"
      Chunk      "here they are"                       ->
                                                       <-   Holding    "still busy, so far"
      Refuse     "I don't have it any more"            ->
                                                       <-   Decline    "I don't want it"
                                                       <-   Done       "I have all of it, durable"

Each is the body of one frame of the channel for snapshots. All numbers are big-endian and unsigned.

    every one    +---------+----------------+-----
                 | kind u8 | snapshot id 16 | ...
                 +---------+----------------+-----
    Offer      1   term u64, leader id u32, number u32, rate u64, window u32, chunk bytes u32, manifest
    Want       2   offset u64, length u32, bytes done u64, name
    Chunk      3   offset u64, crc32 u32 of the data, length u8 of the name, name, data
    Holding    4   bytes done u64
    Refuse     5   reason
    Decline    6   reason
    Done       7

Knows nothing of files and manifests: a name is a text, a manifest and a snapshot's id are bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from raftkv.raft.types import ProtocolError

SNAPSHOT_ID_BYTES: Final = 16
#: No file of a snapshot has a longer name.
NAME_BYTES_MAX: Final = 255
#: A reason longer than this is cut.
REASON_CHARS_MAX: Final = 300

_HEAD: Final = struct.Struct(f">B{SNAPSHOT_ID_BYTES}s")
_OFFER: Final = struct.Struct(">QIIQII")
_WANT: Final = struct.Struct(">QIQ")
_CHUNK: Final = struct.Struct(">QIB")
_HOLDING: Final = struct.Struct(">Q")


@dataclass(slots=True)
class Offer:
    """The leader of `term` has this snapshot for the follower."""

    snapshot_id: bytes
    term: int
    leader_id: int
    #: Grows with every offer of this leader in this term: the newest one counts, whatever comes late.
    number: int
    #: Bytes per second that the leader sends at most, to all followers together; 0: as fast as it goes.
    rate_bytes: int
    #: Chunks that the follower may ask for before they have come.
    window_chunks: int
    #: The longest chunk that it may ask for.
    chunk_bytes: int
    manifest: bytes


@dataclass(slots=True)
class Want:
    """The follower asks for `length` bytes of a file, from `offset` on."""

    snapshot_id: bytes
    name: str
    offset: int
    length: int
    #: Bytes of the whole snapshot that it has.
    bytes_done: int


@dataclass(slots=True)
class Chunk:
    """The bytes that a Want asked for."""

    snapshot_id: bytes
    name: str
    offset: int
    checksum: int
    #: Shares memory with the frame.
    data: bytes | memoryview

    @property
    def is_intact(self) -> bool:
        """Whether the data are those that the leader read."""
        return crc32(self.data) == self.checksum


@dataclass(slots=True)
class Holding:
    """The follower is at it, and has nothing to ask for just now."""

    snapshot_id: bytes
    bytes_done: int


@dataclass(slots=True)
class Refuse:
    """The leader has no such snapshot for this follower, or has it no longer."""

    snapshot_id: bytes
    reason: str


@dataclass(slots=True)
class Decline:
    """The follower does not take what is offered."""

    snapshot_id: bytes
    reason: str


@dataclass(slots=True)
class Done:
    """The follower holds all of it."""

    snapshot_id: bytes


SnapshotMessage = Offer | Want | Chunk | Holding | Refuse | Decline | Done

_KINDS: Final[dict[type[SnapshotMessage], int]] = {
    Offer: 1,
    Want: 2,
    Chunk: 3,
    Holding: 4,
    Refuse: 5,
    Decline: 6,
    Done: 7,
}


def make_chunk(snapshot_id: bytes, name: str, offset: int, data: bytes) -> Chunk:
    """Make the answer to a Want of what was read."""
    return Chunk(snapshot_id, name, offset, crc32(data), data)


def encode(message: SnapshotMessage) -> bytes:
    """Make the body of a frame."""
    head = _HEAD.pack(_KINDS[type(message)], message.snapshot_id)
    match message:
        case Offer():
            return head + _encode_offer(message)
        case Want():
            want = _WANT.pack(message.offset, message.length, message.bytes_done)
            return head + want + _encode_name(message.name)
        case Chunk():
            name = _encode_name(message.name)
            place = _CHUNK.pack(message.offset, message.checksum, len(name))
            return b"".join((head, place, name, message.data))
        case Holding():
            return head + _HOLDING.pack(message.bytes_done)
        case Refuse() | Decline():
            return head + message.reason[:REASON_CHARS_MAX].encode()
        case Done():
            return head


def decode(body: bytes) -> SnapshotMessage:
    """Read the body of a frame. Raises ProtocolError."""
    if len(body) < _HEAD.size:
        raise ProtocolError("a snapshot message that is cut off")
    kind, snapshot_id = _HEAD.unpack_from(body)
    decode_rest = _DECODERS.get(kind)
    if decode_rest is None:
        raise ProtocolError(f"unknown kind {kind} of snapshot message")
    try:
        return decode_rest(snapshot_id, memoryview(body)[_HEAD.size :])
    except (struct.error, UnicodeDecodeError) as error:
        raise ProtocolError(f"a snapshot message of kind {kind} that can't be read: {error}") from None


def _encode_offer(offer: Offer) -> bytes:
    numbers = _OFFER.pack(
        offer.term, offer.leader_id, offer.number, offer.rate_bytes, offer.window_chunks, offer.chunk_bytes
    )
    return numbers + offer.manifest


def _decode_offer(snapshot_id: bytes, rest: memoryview) -> Offer:
    term, leader_id, number, rate_bytes, window_chunks, chunk_bytes = _OFFER.unpack_from(rest)
    if not leader_id or not window_chunks or not chunk_bytes:
        raise ProtocolError("an offer of a snapshot without a leader, a window or a size of chunks")
    manifest = bytes(rest[_OFFER.size :])
    return Offer(snapshot_id, term, leader_id, number, rate_bytes, window_chunks, chunk_bytes, manifest)


def _decode_want(snapshot_id: bytes, rest: memoryview) -> Want:
    offset, length, bytes_done = _WANT.unpack_from(rest)
    return Want(snapshot_id, _decode_name(rest[_WANT.size :]), offset, length, bytes_done)


def _decode_chunk(snapshot_id: bytes, rest: memoryview) -> Chunk:
    offset, checksum, name_bytes = _CHUNK.unpack_from(rest)
    end = _CHUNK.size + name_bytes
    if len(rest) < end:
        raise ProtocolError("a chunk that ends within its name")
    return Chunk(snapshot_id, _decode_name(rest[_CHUNK.size : end]), offset, checksum, rest[end:])


def _decode_holding(snapshot_id: bytes, rest: memoryview) -> Holding:
    return Holding(snapshot_id, *_HOLDING.unpack(rest))


def _decode_done(snapshot_id: bytes, rest: memoryview) -> Done:
    if rest:
        raise ProtocolError("a snapshot message with bytes behind its end")
    return Done(snapshot_id)


def _decode_reason(rest: memoryview) -> str:
    """Read it as far as it may stand in a log: printable, and not endless."""
    text = bytes(rest[: 4 * REASON_CHARS_MAX]).decode(errors="replace")
    return "".join(char if char.isprintable() else "?" for char in text[:REASON_CHARS_MAX])


def _encode_name(name: str) -> bytes:
    encoded = name.encode()
    assert 0 < len(encoded) <= NAME_BYTES_MAX, f"a file's name of {len(encoded)} bytes"
    return encoded


def _decode_name(encoded: memoryview) -> str:
    if not 0 < len(encoded) <= NAME_BYTES_MAX:
        raise ProtocolError(f"a file's name of {len(encoded)} bytes")
    return bytes(encoded).decode()


_DECODERS: Final[dict[int, Callable[[bytes, memoryview], SnapshotMessage]]] = {
    1: _decode_offer,
    2: _decode_want,
    3: _decode_chunk,
    4: _decode_holding,
    5: lambda snapshot_id, rest: Refuse(snapshot_id, _decode_reason(rest)),
    6: lambda snapshot_id, rest: Decline(snapshot_id, _decode_reason(rest)),
    7: _decode_done,
}
