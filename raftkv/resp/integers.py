"""Numbers as clients write them.

Knows nothing of what they count.
"""

from __future__ import annotations

from typing import Final

_INT64_MIN: Final = -(1 << 63)
_INT64_END: Final = 1 << 63
#: Of the longest one, -9223372036854775808.
_LENGTH_MAX: Final = 20


def parse_integer(text: bytes) -> int | None:
    """The number that `text` is exactly (redis string2ll); None: it is none, or doesn't fit 64 bits."""
    if len(text) > _LENGTH_MAX:
        return None
    try:
        number = int(text)
    except ValueError:
        return None
    # Python also takes spaces, underscores, signs and leading zeros: only one spelling is the number.
    if b"%d" % number != text:
        return None
    return number if _INT64_MIN <= number < _INT64_END else None
