"""Strings: GET, SET and their family (redis, "String" commands).

Handlers check first and change last. Expiries that a client gives relative to now become absolute by
the entry's time, so all replicas agree on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from raftkv.commands.expiry import ExpiryUnit, read_expiry
from raftkv.commands.table import READ, WRITE, Argument, CommandDocs, CommandSpec, KeySpec
from raftkv.keyspace import KEEP_EXPIRY, Keyspace, WrongType
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import (
    NOT_AN_INTEGER,
    OK,
    OVERFLOW,
    STRING_TOO_LONG,
    SYNTAX_ERROR,
    Error,
    Reply,
)

#: Bytes of the longest string (redis proto-max-bulk-len, at its default).
STRING_BYTES_MAX: Final = 512 << 20

_INT64_MIN: Final = -(1 << 63)
_INT64_END: Final = 1 << 63

_MSET_ARITY: Final = Error("ERR wrong number of arguments for 'mset' command")
_DECREMENT_OVERFLOW: Final = Error("ERR decrement would overflow")


def on_get(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis GET"""
    return keyspace.get_string(args[1])


def on_mget(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis MGET: null for what is no string, too."""
    return [_string_or_none(keyspace, key) for key in args[1:]]


def _string_or_none(keyspace: Keyspace, key: bytes) -> bytes | None:
    try:
        return keyspace.get_string(key)
    except WrongType:
        return None


def on_strlen(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis STRLEN"""
    return len(keyspace.get_string(args[1]) or b"")


def on_set(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis SET"""
    if len(args) == 3:
        keyspace.set_string(args[1], args[2])
        return OK
    options = _read_set_options(args, keyspace.now_ms)
    if isinstance(options, Error):
        return options
    key = args[1]
    # As Redis, GET looks at the type first, whatever else is asked.
    before = keyspace.get_string(key) if options.gets else None
    exists = keyspace.find(key) is not None
    if (options.only_if_missing and exists) or (options.only_if_exists and not exists):
        return before
    keyspace.set_string(key, args[2], options.expires_ms)
    return before if options.gets else OK


@dataclass(slots=True)
class _SetOptions:
    gets: bool = False
    only_if_missing: bool = False
    only_if_exists: bool = False
    #: As `Keyspace.set_string` takes it.
    expires_ms: int = 0


def _read_set_options(args: list[bytes], now_ms: int) -> _SetOptions | Error:
    """Read what follows the value; the expiry's number is checked last, as Redis does."""
    options = _SetOptions()
    unit: ExpiryUnit | None = None
    number = b""
    position = 3
    while position < len(args):
        word = args[position].lower()
        position += 1
        given = _EXPIRY_WORDS.get(word)
        if word == b"nx" and not options.only_if_exists:
            options.only_if_missing = True
        elif word == b"xx" and not options.only_if_missing:
            options.only_if_exists = True
        elif word == b"get":
            options.gets = True
        elif word == b"keepttl" and unit is None:
            options.expires_ms = KEEP_EXPIRY
        elif given is not None and unit in (None, given) and not options.expires_ms and position < len(args):
            unit, number = given, args[position]
            position += 1
        else:
            return SYNTAX_ERROR
    if unit is None:
        return options
    expires_ms = read_expiry(number, unit, now_ms=now_ms, command="set")
    if isinstance(expires_ms, Error):
        return expires_ms
    options.expires_ms = expires_ms
    return options


_EXPIRY_WORDS: Final = {
    b"ex": ExpiryUnit.SECONDS,
    b"px": ExpiryUnit.MILLISECONDS,
    b"exat": ExpiryUnit.SECONDS_AT,
    b"pxat": ExpiryUnit.MILLISECONDS_AT,
}


def on_mset(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis MSET"""
    if len(args) % 2 == 0:
        return _MSET_ARITY
    for position in range(1, len(args), 2):
        keyspace.set_string(args[position], args[position + 1])
    return OK


def on_append(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis APPEND"""
    value = (keyspace.get_string(args[1]) or b"") + args[2]
    if len(value) > STRING_BYTES_MAX:
        return STRING_TOO_LONG
    keyspace.set_string(args[1], value, KEEP_EXPIRY)
    return len(value)


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


_KEY: Final = Argument("key", "key", key_spec_index=0)
_VALUE: Final = Argument("value", "string")
_READS_ONE: Final = KeySpec(1, 1, 1, flags=("RO", "access"))
_CHANGES_ONE: Final = KeySpec(1, 1, 1, flags=("RW", "access", "update"))

_SET_ARGUMENTS: Final = (
    _KEY,
    _VALUE,
    Argument(
        "condition",
        "oneof",
        flags=("optional",),
        since="2.6.12",
        arguments=(Argument("nx", "pure-token", token="NX"), Argument("xx", "pure-token", token="XX")),
    ),
    Argument("get", "pure-token", token="GET", flags=("optional",), since="6.2.0"),
    Argument(
        "expiration",
        "oneof",
        flags=("optional",),
        arguments=(
            Argument("seconds", "integer", token="EX", since="2.6.12"),
            Argument("milliseconds", "integer", token="PX", since="2.6.12"),
            Argument("unix-time-seconds", "unix-time", token="EXAT", since="6.2.0"),
            Argument("unix-time-milliseconds", "unix-time", token="PXAT", since="6.2.0"),
            Argument("keepttl", "pure-token", token="KEEPTTL", since="6.0.0"),
        ),
    ),
)


def _counter(name: bytes, arity: int, summary: str, handler: object, *more: Argument) -> CommandSpec:
    """One row of the INCR kind."""
    return CommandSpec(
        name=name,
        arity=arity,
        flags=frozenset({"write", "denyoom", "fast"}),
        route=WRITE,
        keys=_CHANGES_ONE,
        handler=handler,  # type: ignore[arg-type]  # a handler of this family
        acl_categories=frozenset({"write", "string", "fast"}),
        docs=CommandDocs(summary, since="1.0.0", group="string", complexity="O(1)", arguments=(_KEY, *more)),
    )


COMMANDS: tuple[CommandSpec, ...] = (
    CommandSpec(
        name=b"get",
        arity=2,
        flags=frozenset({"readonly", "fast"}),
        route=READ,
        keys=_READS_ONE,
        handler=on_get,
        acl_categories=frozenset({"read", "string", "fast"}),
        docs=CommandDocs(
            "Returns the string value of a key.",
            since="1.0.0",
            group="string",
            complexity="O(1)",
            arguments=(_KEY,),
        ),
    ),
    CommandSpec(
        name=b"set",
        arity=-3,
        flags=frozenset({"write", "denyoom"}),
        route=WRITE,
        keys=KeySpec(1, 1, 1, flags=("RW", "access", "update", "variable_flags")),
        handler=on_set,
        acl_categories=frozenset({"write", "string", "slow"}),
        docs=CommandDocs(
            "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
            since="1.0.0",
            group="string",
            complexity="O(1)",
            arguments=_SET_ARGUMENTS,
        ),
    ),
    CommandSpec(
        name=b"mget",
        arity=-2,
        flags=frozenset({"readonly", "fast"}),
        route=READ,
        keys=KeySpec(1, -1, 1, flags=("RO", "access")),
        handler=on_mget,
        acl_categories=frozenset({"read", "string", "fast"}),
        tips=("request_policy:multi_shard",),
        docs=CommandDocs(
            "Atomically returns the string values of one or more keys.",
            since="1.0.0",
            group="string",
            complexity="O(N) where N is the number of keys to retrieve.",
            arguments=(Argument("key", "key", key_spec_index=0, flags=("multiple",)),),
        ),
    ),
    CommandSpec(
        name=b"mset",
        arity=-3,
        flags=frozenset({"write", "denyoom"}),
        route=WRITE,
        keys=KeySpec(1, -1, 2, flags=("OW", "update")),
        handler=on_mset,
        acl_categories=frozenset({"write", "string", "slow"}),
        tips=("request_policy:multi_shard", "response_policy:all_succeeded"),
        docs=CommandDocs(
            "Atomically creates or modifies the string values of one or more keys.",
            since="1.0.1",
            group="string",
            complexity="O(N) where N is the number of keys to set.",
            arguments=(Argument("data", "block", flags=("multiple",), arguments=(_KEY, _VALUE)),),
        ),
    ),
    CommandSpec(
        name=b"append",
        arity=3,
        flags=frozenset({"write", "denyoom", "fast"}),
        route=WRITE,
        keys=KeySpec(1, 1, 1, flags=("RW", "insert")),
        handler=on_append,
        acl_categories=frozenset({"write", "string", "fast"}),
        docs=CommandDocs(
            "Appends a string to the value of a key. Creates the key if it doesn't exist.",
            since="2.0.0",
            group="string",
            complexity="O(N) where N is the length of the new value: its whole row is written.",
            arguments=(_KEY, _VALUE),
        ),
    ),
    CommandSpec(
        name=b"strlen",
        arity=2,
        flags=frozenset({"readonly", "fast"}),
        route=READ,
        keys=KeySpec(1, 1, 1, flags=("RO",)),
        handler=on_strlen,
        acl_categories=frozenset({"read", "string", "fast"}),
        docs=CommandDocs(
            "Returns the length of a string value.",
            since="2.2.0",
            group="string",
            complexity="O(1)",
            arguments=(_KEY,),
        ),
    ),
    _counter(b"incr", 2, "Increments the integer value of a key by one. Uses 0 as initial value.", on_incr),
    _counter(b"decr", 2, "Decrements the integer value of a key by one. Uses 0 as initial value.", on_decr),
    _counter(
        b"incrby",
        3,
        "Increments the integer value of a key by a number. Uses 0 as initial value.",
        on_incrby,
        Argument("increment", "integer"),
    ),
    _counter(
        b"decrby",
        3,
        "Decrements a number from the integer value of a key. Uses 0 as initial value.",
        on_decrby,
        Argument("decrement", "integer"),
    ),
)
