"""Strings: GET, SET and their family (redis, "String" commands).

Handlers check first and change last. Expiries that a client gives relative to now become absolute by
the entry's time, so all replicas agree on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from raftkv.commands.expiry import ExpiryUnit, read_expiry
from raftkv.commands.string_specs import KEY, ONE_READ, VALUE, string_docs, string_spec
from raftkv.commands.table import Argument, CommandSpec, KeySpec
from raftkv.keyspace import KEEP_EXPIRY, Keyspace, WrongType
from raftkv.resp.replies import OK, SYNTAX_ERROR, Error, Reply

_MSET_ARITY: Final = Error("ERR wrong number of arguments for 'mset' command")


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


_SET_ARGUMENTS: Final = (
    KEY,
    VALUE,
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


_PAIRS: Final = Argument("data", "block", flags=("multiple",), arguments=(KEY, VALUE))
_PER_KEY: Final = "O(N) where N is the number of keys to set."

COMMANDS: tuple[CommandSpec, ...] = (
    string_spec(
        b"get",
        2,
        on_get,
        string_docs("Returns the string value of a key."),
        flags="readonly fast",
        keys=ONE_READ,
    ),
    string_spec(
        b"set",
        -3,
        on_set,
        string_docs(
            "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
            *_SET_ARGUMENTS,
        ),
        flags="write denyoom",
        keys=KeySpec(1, 1, 1, flags=("RW", "access", "update", "variable_flags")),
    ),
    string_spec(
        b"mget",
        -2,
        on_mget,
        string_docs(
            "Atomically returns the string values of one or more keys.",
            Argument("key", "key", key_spec_index=0, flags=("multiple",)),
            complexity="O(N) where N is the number of keys to retrieve.",
        ),
        flags="readonly fast",
        keys=KeySpec(1, -1, 1, flags=("RO", "access")),
        tips=("request_policy:multi_shard",),
    ),
    string_spec(
        b"mset",
        -3,
        on_mset,
        string_docs(
            "Atomically creates or modifies the string values of one or more keys.",
            _PAIRS,
            since="1.0.1",
            complexity=_PER_KEY,
        ),
        flags="write denyoom",
        keys=KeySpec(1, -1, 2, flags=("OW", "update")),
        tips=("request_policy:multi_shard", "response_policy:all_succeeded"),
    ),
)
