"""Numbers as clients write them.

Knows nothing of what they count.
"""

from __future__ import annotations


def parse_integer(text: bytes) -> int | None:
    """The number that `text` is exactly (redis string2ll); None: it is none, or doesn't fit 64 bits."""
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 19 or (digits[0] == 0x30 and text != b"0"):
        return None
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 63 else None
