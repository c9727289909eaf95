"""Tell a write-ahead log whose end a crash tore off from one whose end was damaged later.

RocksDB takes a record that runs beyond the end of the file for a torn one, and drops it with all that
follows: right if it was being written when the process died, wrong if one flipped bit made its length
too large (a header of zeros has the same effect). A torn record has nothing behind it. So here is looked
for a whole record behind the first one that isn't: finding one means damage. Knows RocksDB's format of
write-ahead logs, and only of the last block, which is the only one that RocksDB is so lenient about:

    a file is blocks of 32 KB, of which the last one may be shorter; no record crosses a block's end
    +------------------+--------+------+------------ ... -+
    | masked crc32c of | length | type | payload          |      all little-endian
    | type and payload | 2      | 1    | length           |      type: 1 full, 2 first, 3 middle, 4 last
    | 4                |        |      |                  |
    +------------------+--------+------+------------ ... -+
"""

from __future__ import annotations

import struct
from pathlib import Path

_BLOCK_BYTES = 32 << 10
_HEADER = struct.Struct("<IHB")
_TYPES = frozenset({1, 2, 3, 4})
_CASTAGNOLI = 0x82F63B78
_MASK_DELTA = 0xA282EAD8


def damaged_offset(path: Path) -> int | None:
    """Give the offset of the record whose header is damaged; None if the file's end is whole or torn.

    Raises OSError.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        block_offset = size - size % _BLOCK_BYTES
        file.seek(block_offset)
        block = file.read(_BLOCK_BYTES)
    end = _end_of_records(block)
    if end + _HEADER.size < len(block) and _has_whole_record(block, end):
        return block_offset + end
    return None


def _end_of_records(block: bytes) -> int:
    """Give where the headers stop leading from one record to the next."""
    pos = 0
    while pos + _HEADER.size <= len(block):
        _, length, kind = _HEADER.unpack_from(block, pos)
        if pos + _HEADER.size + length > len(block) or (kind == 0 and length == 0):
            break
        pos += _HEADER.size + length
    return pos


def _has_whole_record(block: bytes, torn: int) -> bool:
    """Tell whether there is a record behind the one at `torn`, or that one is whole but for its length."""
    table = _crc_table()
    masked, _, kind = _HEADER.unpack_from(block, torn)
    if kind in _TYPES and masked == _masked_crc(table, block[torn + _HEADER.size - 1 :]):
        return True
    for pos in range(torn + 1, len(block) - _HEADER.size + 1):
        if block[pos + 6] not in _TYPES:
            continue
        masked, length, _ = _HEADER.unpack_from(block, pos)
        end = pos + _HEADER.size + length
        if end <= len(block) and masked == _masked_crc(table, block[pos + _HEADER.size - 1 : end]):
            return True
    return False


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
        table.append(crc)
    return table


def _masked_crc(table: list[int], data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + _MASK_DELTA) & 0xFFFFFFFF
