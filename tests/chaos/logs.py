"""Harms the end of a stopped node's Raft log: as a crash does, or as a failing disk does.

A write that a crash tore leaves the beginning of a record behind the last whole one: nobody was told that
it is durable, and the node has to drop it. A flipped bit in a whole record, with others behind it, is damage
to what the node may have acknowledged: it has to refuse to start. (Whole records cut off the end are neither:
no node can tell them from ones that were never written, and a disk that loses what it synced is beyond what
is promised.)
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

#: RocksDB's write-ahead log: no record crosses a block's end; a header is crc32c, length, type.
_BLOCK_BYTES = 32 << 10
_HEADER_BYTES = 7
_FULL = 1
#: Of the records: those behind a flipped bit.
_TAIL_PART = 0.2


def newest_log(data_dir: Path) -> Path:
    """Return the write-ahead log that a node wrote to last."""
    return max((data_dir / "log").glob("*.log"), key=lambda path: int(path.stem))


def tear(log: Path, source: random.Random) -> int:
    """Append the beginning of a record; return how many bytes of it: none if the end is torn already."""
    content = log.read_bytes()
    ends = [pos + _HEADER_BYTES + length for pos, length in _records(content)]
    room = _BLOCK_BYTES - len(content) % _BLOCK_BYTES
    if len(content) != (ends[-1] if ends else 0) or room <= 2 * _HEADER_BYTES:
        return 0
    length = source.randint(2, room - _HEADER_BYTES)
    record = source.randbytes(4) + length.to_bytes(2, "little") + bytes([_FULL]) + source.randbytes(length)
    torn = record[: source.randint(1, len(record) - 1)]
    with log.open("ab") as file:
        file.write(torn)
    return len(torn)


def flip_bit(log: Path, source: random.Random) -> int | None:
    """Flip one bit of a record well before the end; return where, None: the log is too short for that."""
    content = bytearray(log.read_bytes())
    records = [each for each in _records(content) if each[1]]
    records = records[: int(len(records) * (1 - _TAIL_PART))]
    if not records:
        return None
    pos, length = source.choice(records)
    place = pos + _HEADER_BYTES + source.randrange(length)
    content[place] ^= 1 << source.randrange(8)
    log.write_bytes(content)
    return place


def _records(content: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Give each whole record: where its header is, and how long its payload."""
    pos = 0
    while pos + _HEADER_BYTES <= len(content):
        left = _BLOCK_BYTES - pos % _BLOCK_BYTES
        if left < _HEADER_BYTES:
            pos += left
            continue
        length = int.from_bytes(content[pos + 4 : pos + 6], "little")
        if pos + _HEADER_BYTES + length > len(content):
            return
        yield pos, length
        pos += _HEADER_BYTES + length
