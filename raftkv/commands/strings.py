"""Strings: GET, SET and their family (redis, "String" commands).

Handlers check first and change last. Expiries that a client gives relative to now become absolute by
the entry's time, so all replicas agree on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from raftkv.commands.expiry import ExpiryUnit, read_expiry
from raftkv.commands.string_specs import KEY, ONE_CHANGED, ONE_READ, VALUE, string_docs, string_spec
from raftkv.commands.table import Argument, CommandSpec, KeySpec
from raftkv.keyspace import KEEP_EXPIRY, Keyspace, WrongType
from raftkv.resp.replies import OK, SYNTAX_ERROR, Error, Reply

_MSET_ARITY: Final = Error("ERR wrong number of arguments for 'mset' command")
_MSETNX_ARITY: Final = Error("ERR wrong number of arguments for 'msetnx' command")


def on_get(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis GET"""
    return keyspace.get_string(args[1])


def on_many_gets(keyspace: Keyspace, keys: Sequence[bytes]) -> list[Reply]:
    """redis GET, again and again"""
    return [*keyspace.get_strings(keys)]


def on_mget(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis MGET: null for what is no string, too."""
    return [_string_or_none(keyspace, key) for key in args[1:]]


def _string_or_none(keyspace: Keyspace, key: bytes) -> bytes | None:
    try:
        return keyspace.get_string(key)
    except WrongType:
        return None


def on_many_sets(keyspace: Keyspace, keys: Sequence[bytes], values: Sequence[bytes]) -> list[Reply]:
    """redis SET without options, again and again"""
    keyspace.set_strings(keys, values)
    return [OK] * len(keys)


def on_set(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis SET"""
    if len(args) == 3:
        keyspace.set_string(args[1], args[2])
        return OK
    options = _read_options(args, first=3, rivals=_SET_RIVALS)
    if isinstance(options, Error):
        return options
    key, words = args[1], options.words
    expires_ms = KEEP_EXPIRY if b"keepttl" in words else 0
    if options.unit is not None:
        given_ms = read_expiry(options.number, options.unit, now_ms=keyspace.now_ms, command="set")
        if isinstance(given_ms, Error):
            return given_ms
        expires_ms = given_ms
    if not words:
        keyspace.set_string(key, args[2], expires_ms)
        return OK
    # As Redis, GET looks at the type first, whatever else is asked.
    before = keyspace.get_string(key) if b"get" in words else None
    exists = keyspace.find(key) is not None
    if (b"nx" in words and exists) or (b"xx" in words and not exists):
        return before
    keyspace.set_string(key, args[2], expires_ms)
    return before if b"get" in words else OK


@dataclass(slots=True)
class _Options:
    #: Those without a value, in lower case.
    words: set[bytes]
    #: Of the expiry; None: none was given.
    unit: ExpiryUnit | None = None
    #: The expiry, as the client wrote it: Redis checks it after the words.
    number: bytes = b""


def _read_options(args: list[bytes], *, first: int, rivals: Mapping[bytes, bytes]) -> _Options | Error:
    """Read what follows from `first` on; `rivals`: the words, each with one that excludes it (b"": none)."""
    options = _Options(set())
    words = options.words
    position = first
    while position < len(args):
        word = args[position].lower()
        position += 1
        unit = _EXPIRY_WORDS.get(word)
        if unit is None:
            rival = rivals.get(word)
            if rival is None or rival in words or (word in _LASTING_WORDS and options.unit is not None):
                return SYNTAX_ERROR
            words.add(word)
        elif (
            position == len(args) or options.unit not in (None, unit) or not _LASTING_WORDS.isdisjoint(words)
        ):
            return SYNTAX_ERROR
        else:
            options.unit, options.number = unit, args[position]
            position += 1
    return options


_EXPIRY_WORDS: Final = {
    b"ex": ExpiryUnit.SECONDS,
    b"px": ExpiryUnit.MILLISECONDS,
    b"exat": ExpiryUnit.SECONDS_AT,
    b"pxat": ExpiryUnit.MILLISECONDS_AT,
}
#: What doesn't go with an expiry.
_LASTING_WORDS: Final = frozenset({b"keepttl", b"persist"})
_SET_RIVALS: Final = {b"nx": b"xx", b"xx": b"nx", b"get": b"", b"keepttl": b""}
_GETEX_RIVALS: Final = {b"persist": b""}


def on_setnx(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis SETNX"""
    if keyspace.find(args[1]) is not None:
        return 0
    keyspace.set_string(args[1], args[2])
    return 1


def on_setex(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis SETEX"""
    return _set_for(keyspace, args, ExpiryUnit.SECONDS, command="setex")


def on_psetex(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis PSETEX"""
    return _set_for(keyspace, args, ExpiryUnit.MILLISECONDS, command="psetex")


def _set_for(keyspace: Keyspace, args: list[bytes], unit: ExpiryUnit, *, command: str) -> Reply:
    expires_ms = read_expiry(args[2], unit, now_ms=keyspace.now_ms, command=command)
    if isinstance(expires_ms, Error):
        return expires_ms
    keyspace.set_string(args[1], args[3], expires_ms)
    return OK


def on_getset(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis GETSET: an expiry goes."""
    before = keyspace.get_string(args[1])
    keyspace.set_string(args[1], args[2])
    return before


def on_getdel(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis GETDEL"""
    value = keyspace.get_string(args[1])
    if value is not None:
        keyspace.delete(args[1])
    return value


def on_getex(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis GETEX: a time that has passed deletes the key; without options nothing changes."""
    options = _read_options(args, first=2, rivals=_GETEX_RIVALS)
    if isinstance(options, Error):
        return options
    key = args[1]
    value = keyspace.get_string(key)
    # Unlike SET's, a number that makes no sense is not looked at when there is no key.
    if value is None:
        return None
    if options.unit is not None:
        expires_ms = read_expiry(options.number, options.unit, now_ms=keyspace.now_ms, command="getex")
        if isinstance(expires_ms, Error):
            return expires_ms
        if expires_ms <= keyspace.now_ms:
            keyspace.delete(key)
        else:
            keyspace.set_expiry(key, expires_ms)
    elif b"persist" in options.words and _expires(keyspace, key):
        keyspace.set_expiry(key, 0)
    return value


def _expires(keyspace: Keyspace, key: bytes) -> bool:
    record = keyspace.find(key)
    return record is not None and record.expires_ms != 0


def on_mset(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis MSET"""
    if len(args) % 2 == 0:
        return _MSET_ARITY
    for position in range(1, len(args), 2):
        keyspace.set_string(args[position], args[position + 1])
    return OK


def on_msetnx(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis MSETNX: all or nothing."""
    if len(args) % 2 == 0:
        return _MSETNX_ARITY
    for key in args[1::2]:
        if keyspace.find(key) is not None:
            return 0
    on_mset(keyspace, args)
    return 1


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
_GETEX_EXPIRATION: Final = Argument(
    "expiration",
    "oneof",
    flags=("optional",),
    arguments=(
        Argument("seconds", "integer", token="EX"),
        Argument("milliseconds", "integer", token="PX"),
        Argument("unix-time-seconds", "unix-time", token="EXAT"),
        Argument("unix-time-milliseconds", "unix-time", token="PXAT"),
        Argument("persist", "pure-token", token="PERSIST"),
    ),
)
_PAIRS: Final = Argument("data", "block", flags=("multiple",), arguments=(KEY, VALUE))
_PER_KEY: Final = "O(N) where N is the number of keys to set."

#: One key that is set without a look at its value.
_ONE_SET: Final = KeySpec(1, 1, 1, flags=("OW", "update"))


def _key_flags_of_set(args: list[bytes]) -> tuple[str, ...]:
    """The key is read only where GET asks for it (redis setGetKeys)."""
    has_get = any(word.lower() == b"get" for word in args[3:])
    return ("RW", "access", "update") if has_get else ("OW", "update")


COMMANDS: tuple[CommandSpec, ...] = (
    string_spec(
        b"get",
        2,
        on_get,
        string_docs("Returns the string value of a key."),
        flags="readonly fast",
        keys=ONE_READ,
        bulk_handler=on_many_gets,
    ),
    string_spec(
        b"set",
        -3,
        on_set,
        string_docs(
            "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
            *_SET_ARGUMENTS,
            history=(
                ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
                ("6.0.0", "Added the `KEEPTTL` option."),
                ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
                ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
            ),
        ),
        flags="write denyoom",
        keys=KeySpec(1, 1, 1, flags=("RW", "access", "update", "variable_flags"), flags_of=_key_flags_of_set),
        bulk_handler=on_many_sets,
    ),
    string_spec(
        b"setnx",
        3,
        on_setnx,
        string_docs(
            "Set the string value of a key only when the key doesn't exist.",
            KEY,
            VALUE,
            deprecated_since="2.6.12",
            replaced_by="`SET` with the `NX` argument",
        ),
        flags="write denyoom fast",
        keys=KeySpec(1, 1, 1, flags=("OW", "insert")),
    ),
    string_spec(
        b"setex",
        4,
        on_setex,
        string_docs(
            "Sets the string value and expiration time of a key. Creates the key if it doesn't exist.",
            KEY,
            Argument("seconds", "integer"),
            VALUE,
            since="2.0.0",
            deprecated_since="2.6.12",
            replaced_by="`SET` with the `EX` argument",
        ),
        flags="write denyoom",
        keys=_ONE_SET,
    ),
    string_spec(
        b"psetex",
        4,
        on_psetex,
        string_docs(
            "Sets both string value and expiration time in milliseconds of a key. The key is created if it "
            "doesn't exist.",
            KEY,
            Argument("milliseconds", "integer"),
            VALUE,
            since="2.6.0",
            deprecated_since="2.6.12",
            replaced_by="`SET` with the `PX` argument",
        ),
        flags="write denyoom",
        keys=_ONE_SET,
    ),
    string_spec(
        b"getset",
        3,
        on_getset,
        string_docs(
            "Returns the previous string value of a key after setting it to a new value.",
            KEY,
            VALUE,
            deprecated_since="6.2.0",
            replaced_by="`SET` with the `!GET` argument",
        ),
        flags="write denyoom fast",
        keys=ONE_CHANGED,
    ),
    string_spec(
        b"getdel",
        2,
        on_getdel,
        string_docs("Returns the string value of a key after deleting the key.", since="6.2.0"),
        flags="write fast",
        keys=KeySpec(1, 1, 1, flags=("RW", "access", "delete")),
    ),
    string_spec(
        b"getex",
        -2,
        on_getex,
        string_docs(
            "Returns the string value of a key after setting its expiration time.",
            KEY,
            _GETEX_EXPIRATION,
            since="6.2.0",
        ),
        flags="write fast",
        keys=ONE_CHANGED,
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
    string_spec(
        b"msetnx",
        -3,
        on_msetnx,
        string_docs(
            "Atomically modifies the string values of one or more keys only when all keys don't exist.",
            _PAIRS,
            since="1.0.1",
            complexity=_PER_KEY,
        ),
        flags="write denyoom",
        keys=KeySpec(1, -1, 2, flags=("OW", "insert")),
    ),
)
