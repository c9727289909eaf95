"""Which of the 16384 hash slots a key belongs to (redis cluster spec, "Key distribution model").

Knows nothing of who serves a slot.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

SLOT_COUNT: Final = 16384


def slot_of(key: bytes) -> int:
    """The slot of `key`: CRC16 of its hash tag, or of all of it when it has none."""
    # A key without '{' is the common case, and goes straight to the checksum.
    if b"{" in key:
        key = hash_tag_of(key)
    return crc_hqx(key, 0) & 16383


def hash_tag_of(key: bytes) -> bytes:
    """What stands between the first '{' and the first '}' after it; all of `key` when that is nothing."""
    first = key.find(b"{") + 1
    if first == 0:
        return key
    end = key.find(b"}", first)
    return key[first:end] if end > first else key
