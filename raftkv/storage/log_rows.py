"""What the rows of the Raft logs look like, as bytes. Every key starts with its group:

    +----------+------+----------+        +-------+---------------------- ... -+
    | group id | 0x01 | index    |   ->   | crc32 | entry, as raft.codec has it |
    | 4        | 1    | 8        |        | 4     |                            |
    +----------+------+----------+        +-------+---------------------- ... -+
    | group id | 0x00 |                   | crc32 | current_term | voted_for   |
    | 4        | 1    |                   | 4     | 8            | 8           |
    +----------+------+                   +-------+--------------+-------------+
    | group id | 0x02 |                   | crc32 | boundary     | boundary    |
    |          |      |                   |       | term         | index       |
    | 4        | 1    |                   | 4     | 8            | 8           |
    +----------+------+                   +-------+--------------+-------------+

RocksDB checks its blocks and its write-ahead log by itself. The row's own checksum covers the way
through memory in between. Knows no database, and nothing of which rows there should be.
"""

from __future__ import annotations

import struct
import zlib

from raftkv.raft.codec import decode_entry, encode_entry
from raftkv.raft.types import Entry, EntryId, HardState, ProtocolError
from raftkv.storage.errors import LogCorrupted

_HARD_STATE_TABLE = b"\x00"
_ENTRY_TABLE = b"\x01"
_BOUNDARY_TABLE = b"\x02"
_CHECKSUM = struct.Struct(">I")
_PAIR = struct.Struct(">QQ")
#: Bytes of an entry's key in front of its index.
_ENTRY_PREFIX_BYTES = 5


class LogKeys:
    """The keys of one group's rows."""

    __slots__ = ("boundary", "entries_end", "entries_first", "hard_state")

    def __init__(self, group_id: int) -> None:
        prefix = group_id.to_bytes(4, "big")
        self.hard_state = prefix + _HARD_STATE_TABLE
        self.boundary = prefix + _BOUNDARY_TABLE
        #: All entries are in [first, end).
        self.entries_first = prefix + _ENTRY_TABLE
        self.entries_end = prefix + _BOUNDARY_TABLE

    def entry(self, index: int) -> bytes:
        """The key of the entry at `index`."""
        return self.entries_first + index.to_bytes(8, "big")


def index_of(entry_key: bytes) -> int:
    """The index that an entry's key ends with."""
    return int.from_bytes(entry_key[_ENTRY_PREFIX_BYTES:], "big")


def entry_row(entry: Entry) -> bytes:
    """The row of an entry."""
    return _with_checksum(encode_entry(entry))


def entry_of(index: int, key: bytes | None, row: bytes | None) -> Entry:
    """Give the entry of a row, which must be the one at `index` (None: no row). Raises LogCorrupted."""
    if key is None or row is None or index_of(key) != index:
        raise LogCorrupted(index, "its row is missing")
    body = _checked(row)
    if body is None:
        raise LogCorrupted(index, "its row has a wrong checksum")
    try:
        entry = decode_entry(body)
    except ProtocolError as error:
        raise LogCorrupted(index, f"its row is {error}") from error
    if entry.index != index:
        raise LogCorrupted(index, f"its row holds entry {entry.index}")
    return entry


def hard_state_row(hard_state: HardState) -> bytes:
    """The row of a hard state."""
    return _with_checksum(_PAIR.pack(hard_state.current_term, hard_state.voted_for))


def hard_state_of(row: bytes | None) -> HardState:
    """Give the hard state of a row; None: nothing was ever written. Raises LogCorrupted."""
    return HardState() if row is None else HardState(*_pair_of(row, "current_term and voted_for"))


def boundary_row(boundary: EntryId) -> bytes:
    """The row of the last entry that was dropped."""
    return _with_checksum(_PAIR.pack(boundary.term, boundary.index))


def boundary_of(row: bytes | None) -> EntryId:
    """Give the boundary of a row; None: nothing was ever dropped. Raises LogCorrupted."""
    return EntryId(0, 0) if row is None else EntryId(*_pair_of(row, "the last entry that was dropped"))


def _pair_of(row: bytes, what: str) -> tuple[int, int]:
    body = _checked(row)
    if body is None or len(body) != _PAIR.size:
        raise LogCorrupted(None, f"the row of {what} is damaged")
    first, second = _PAIR.unpack(body)
    return first, second


def _with_checksum(body: bytes) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(body)) + body


def _checked(row: bytes) -> memoryview | None:
    """Give what follows the checksum; None when it isn't what was written."""
    body = memoryview(row)[_CHECKSUM.size :]
    return body if row[: _CHECKSUM.size] == _CHECKSUM.pack(zlib.crc32(body)) else None
