"""Strings that are numbers: INCR and its kind (redis, "String" commands).

Integers are those of 64 bits, in their own spelling alone; what other numbers are, `long_double` knows.
"""

from __future__ import annotations

from typing import Final

from raftkv.commands.long_double import ZERO, add, format_long_double, parse_long_double
from raftkv.commands.string_specs import KEY, ONE_CHANGED, string_docs, string_spec
from raftkv.commands.table import Argument, CommandDocs, CommandSpec, Handler
from raftkv.keyspace import KEEP_EXPIRY, Keyspace
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_A_FLOAT, NOT_AN_INTEGER, OVERFLOW, Error, Reply

_INT64_MIN: Final = -(1 << 63)
_INT64_END: Final = 1 << 63

_DECREMENT_OVERFLOW: Final = Error("ERR decrement would overflow")
_NOT_FINITE: Final = Error("ERR increment would produce NaN or Infinity")


def on_incr(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis INCR"""
    return _add(keyspace, args[1], 1)


def on_decr(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis DECR"""
    return _add(keyspace, args[1], -1)


def on_incrby(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis INCRBY"""
    number = parse_integer(args[2])
    return NOT_AN_INTEGER if number is None else _add(keyspace, args[1], number)


def on_decrby(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis DECRBY"""
    number = parse_integer(args[2])
    if number is None:
        return NOT_AN_INTEGER
    return _DECREMENT_OVERFLOW if number == _INT64_MIN else _add(keyspace, args[1], -number)


def _add(keyspace: Keyspace, key: bytes, number: int) -> Reply:
    value = keyspace.get_string(key)
    before = 0 if value is None else parse_integer(value)
    if before is None:
        return NOT_AN_INTEGER
    after = before + number
    if not _INT64_MIN <= after < _INT64_END:
        return OVERFLOW
    keyspace.set_string(key, b"%d" % after, KEEP_EXPIRY)
    return after


def on_incrbyfloat(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis INCRBYFLOAT: the digits that Redis gives on x86-64, on every CPU."""
    value = keyspace.get_string(args[1])
    before = ZERO if value is None else parse_long_double(value)
    number = parse_long_double(args[2])
    if before is None or number is None:
        return NOT_A_FLOAT
    after = add(before, number)
    if after is None:
        return _NOT_FINITE
    text = format_long_double(after)
    keyspace.set_string(args[1], text, KEEP_EXPIRY)
    return text


def _counter(name: bytes, arity: int, handler: Handler, docs: CommandDocs) -> CommandSpec:
    return string_spec(name, arity, handler, docs, flags="write denyoom fast", keys=ONE_CHANGED)


_FROM_ZERO: Final = "Uses 0 as initial value if the key doesn't exist."

COMMANDS: tuple[CommandSpec, ...] = (
    _counter(b"incr", 2, on_incr, string_docs(f"Increments the integer value of a key by one. {_FROM_ZERO}")),
    _counter(b"decr", 2, on_decr, string_docs(f"Decrements the integer value of a key by one. {_FROM_ZERO}")),
    _counter(
        b"incrby",
        3,
        on_incrby,
        string_docs(
            f"Increments the integer value of a key by a number. {_FROM_ZERO}",
            KEY,
            Argument("increment", "integer"),
        ),
    ),
    _counter(
        b"decrby",
        3,
        on_decrby,
        string_docs(
            f"Decrements a number from the integer value of a key. {_FROM_ZERO}",
            KEY,
            Argument("decrement", "integer"),
        ),
    ),
    _counter(
        b"incrbyfloat",
        3,
        on_incrbyfloat,
        string_docs(
            f"Increment the floating point value of a key by a number. {_FROM_ZERO}",
            KEY,
            Argument("increment", "double"),
            since="2.6.0",
        ),
    ),
)
