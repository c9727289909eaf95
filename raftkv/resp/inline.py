"""Inline commands: a line as a person types it, split into arguments (redis sdssplitargs).

Knows nothing of where the line came from.
"""

from __future__ import annotations

import re
from typing import Final

#: Ends an argument; more kinds of space are skipped before one.
_SPACES: Final = re.compile(rb"[ \t\n\v\f\r]*")
_PLAIN: Final = re.compile(rb"[^ \t\n\r\"']*")
#: What follows a closing quote is a space or nothing. Possessive: a quote that was escaped never closes.
_DOUBLE_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*+)"(?=[ \t\n\v\f\r]|\Z)', re.DOTALL)
_SINGLE_QUOTED: Final = re.compile(rb"'((?:[^'\\]|\\'?)*+)'(?=[ \t\n\v\f\r]|\Z)", re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_inline(line: bytes) -> list[bytes] | None:
    """The arguments of a line without its line break; None: a quote stays open, or closes within a word."""
    args: list[bytes] = []
    position = _end_of_spaces(line, 0)
    while position < len(line):
        plain = _PLAIN.match(line, position)
        assert plain is not None, "the pattern matches the empty string"
        arg, position = plain[0], plain.end()
        if line[position : position + 1] in (b'"', b"'"):
            quoted = (_DOUBLE_QUOTED if line[position] == 0x22 else _SINGLE_QUOTED).match(line, position)
            if quoted is None:
                return None
            arg += _unescaped(quoted[1]) if line[position] == 0x22 else quoted[1].replace(b"\\'", b"'")
            position = quoted.end()
        args.append(arg)
        position = _end_of_spaces(line, position)
    return args


def _end_of_spaces(line: bytes, position: int) -> int:
    spaces = _SPACES.match(line, position)
    assert spaces is not None, "the pattern matches the empty string"
    return spaces.end()


def _unescaped(text: bytes) -> bytes:
    """Replace the escapes of a double-quoted string."""
    return _ESCAPE.sub(_escaped_byte, text) if b"\\" in text else text


def _escaped_byte(escape: re.Match[bytes]) -> bytes:
    if escape[1] is not None:
        return bytes.fromhex(escape[1].decode())
    return _ESCAPED.get(escape[2], escape[2])
