"""Redis's glob patterns as regular expressions that match in linear time.

    *  any bytes    ?  one byte    [a-c], [^x]  a class    \\x  x itself

Between two stars the leftmost match is as good as any other, so each is taken for good (an atomic
group): a hostile pattern like a*a*a*a*b can't make the matcher go back and forth.
"""

from __future__ import annotations

import re
from typing import Final

#: Of a pattern that is compiled: up to 25 us a byte, in one piece.
GLOB_BYTES_MAX: Final = 4096


def compile_glob(pattern: bytes) -> re.Pattern[bytes]:
    """The expression whose `fullmatch` is a match of the pattern (redis stringmatchlen).

    The caller sees to GLOB_BYTES_MAX.
    """
    if len(pattern) > 1 and not pattern.strip(b"*"):
        return _MANY_STARS
    pieces = [b""]
    position = 0
    while position < len(pattern):
        byte = pattern[position : position + 1]
        position += 1
        if byte == b"*":
            if len(pieces) == 1 or pieces[-1]:
                pieces.append(b"")
        elif byte == b"?":
            pieces[-1] += b"."
        elif byte == b"[":
            expression, position = _class_at(pattern, position)
            pieces[-1] += expression
        else:
            if byte == b"\\" and position < len(pattern):
                byte = pattern[position : position + 1]
                position += 1
            pieces[-1] += re.escape(byte)
    return re.compile(_join(pieces), re.DOTALL)


#: Of several stars: in Redis they want a byte, where one star alone does not.
_MANY_STARS: Final = re.compile(b".+", re.DOTALL)


def _join(pieces: list[bytes]) -> bytes:
    """Put what stands between stars together again."""
    if len(pieces) == 1:
        return pieces[0]
    middle = b"".join(b"(?>.*?%b)" % piece for piece in pieces[1:-1])
    return pieces[0] + middle + b".*" + pieces[-1]


def _class_at(pattern: bytes, position: int) -> tuple[bytes, int]:
    """The class whose first byte is at `position`, and where it ends; one without an end ends there."""
    is_negated = pattern[position : position + 1] == b"^"
    position += is_negated
    members: set[int] = set()
    while position < len(pattern) and pattern[position] != 0x5D:
        if pattern[position] == 0x5C and position + 1 < len(pattern):
            members.add(pattern[position + 1])
            position += 2
        elif pattern[position + 1 : position + 2] == b"-" and position + 2 < len(pattern):
            low, high = sorted((pattern[position], pattern[position + 2]))
            members.update(range(low, high + 1))
            position += 3
        else:
            members.add(pattern[position])
            position += 1
    position += 1
    if not members:
        return (b"." if is_negated else b"(?!)"), position
    listed = b"".join(b"\\x%02x" % member for member in sorted(members))
    return b"[%b%b]" % (b"^" if is_negated else b"", listed), position
