"""Parts of strings: their lengths, ends and middles (redis, "String" commands)."""

from __future__ import annotations

from typing import Final

from raftkv.commands.string_specs import KEY, ONE_READ, VALUE, string_docs, string_spec
from raftkv.commands.table import Argument, CommandSpec, KeySpec
from raftkv.keyspace import KEEP_EXPIRY, Keyspace
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, STRING_TOO_LONG, Error, Reply

#: Bytes of the longest string (redis proto-max-bulk-len, at its default).
STRING_BYTES_MAX: Final = 512 << 20

_OUT_OF_RANGE: Final = Error("ERR offset is out of range")


def on_strlen(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis STRLEN"""
    return len(keyspace.get_string(args[1]) or b"")


def on_append(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis APPEND"""
    value = (keyspace.get_string(args[1]) or b"") + args[2]
    if len(value) > STRING_BYTES_MAX:
        return STRING_TOO_LONG
    keyspace.set_string(args[1], value, KEEP_EXPIRY)
    return len(value)


def on_getrange(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis GETRANGE, SUBSTR: both ends are in the range; negative ones count from the end of the string."""
    first, last = parse_integer(args[2]), parse_integer(args[3])
    if first is None or last is None:
        return NOT_AN_INTEGER
    value = keyspace.get_string(args[1]) or b""
    if last < first < 0:
        return b""
    # As Redis 7.2, a last one before the beginning means the first byte, not an empty range.
    first, last = (max(0, place + len(value) if place < 0 else place) for place in (first, last))
    return value[first : last + 1]


def on_setrange(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis SETRANGE: what is missing before the new part is filled with zero bytes."""
    offset, part = parse_integer(args[2]), args[3]
    if offset is None:
        return NOT_AN_INTEGER
    if offset < 0:
        return _OUT_OF_RANGE
    value = keyspace.get_string(args[1]) or b""
    if not part:
        return len(value)
    end = offset + len(part)
    if end > STRING_BYTES_MAX:
        return STRING_TOO_LONG
    filling = bytes(max(0, offset - len(value)))
    changed = b"".join((value[:offset], filling, part, value[end:]))
    keyspace.set_string(args[1], changed, KEEP_EXPIRY)
    return len(changed)


_RANGE: Final = (KEY, Argument("start", "integer"), Argument("end", "integer"))
_RANGE_COST: Final = "O(N) where N is the length of the returned string."
_WRITE_COST: Final = "O(N) where N is the length of the new value: its whole row is written."

COMMANDS: tuple[CommandSpec, ...] = (
    string_spec(
        b"append",
        3,
        on_append,
        string_docs(
            "Appends a string to the value of a key. Creates the key if it doesn't exist.",
            KEY,
            VALUE,
            since="2.0.0",
            complexity=_WRITE_COST,
        ),
        flags="write denyoom fast",
        keys=KeySpec(1, 1, 1, flags=("RW", "insert")),
    ),
    string_spec(
        b"strlen",
        2,
        on_strlen,
        string_docs("Returns the length of a string value.", since="2.2.0"),
        flags="readonly fast",
        keys=KeySpec(1, 1, 1, flags=("RO",)),
    ),
    string_spec(
        b"getrange",
        4,
        on_getrange,
        string_docs(
            "Returns a substring of the string stored at a key.",
            *_RANGE,
            since="2.4.0",
            complexity=_RANGE_COST,
        ),
        flags="readonly",
        keys=ONE_READ,
    ),
    string_spec(
        b"substr",
        4,
        on_getrange,
        string_docs(
            "Returns a substring from a string value.",
            *_RANGE,
            complexity=_RANGE_COST,
            deprecated_since="2.0.0",
            replaced_by="`GETRANGE`",
        ),
        flags="readonly",
        keys=ONE_READ,
    ),
    string_spec(
        b"setrange",
        4,
        on_setrange,
        string_docs(
            "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't "
            "exist.",
            KEY,
            Argument("offset", "integer"),
            VALUE,
            since="2.2.0",
            complexity=_WRITE_COST,
        ),
        flags="write denyoom",
        keys=KeySpec(1, 1, 1, flags=("RW", "update")),
    ),
)
