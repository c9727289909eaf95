"""When keys expire: EXPIRE and its kin, PERSIST, TTL and its kin (redis, "Generic" commands).

Knows no clock: what is applied goes by the entry's time, what is read by the reader's.
"""

from __future__ import annotations

from typing import Final

from raftkv.commands.expiry import ExpiryUnit, invalid_expiry, to_milliseconds
from raftkv.commands.generic import KEY, ONE_CHANGE, ONE_LOOK, docs_of, row
from raftkv.commands.table import Argument, CommandSpec
from raftkv.keyspace import Keyspace
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, Error, Reply, printable_at_end

_NX_WITH_OTHERS: Final = Error("ERR NX and XX, GT or LT options at the same time are not compatible")
_GT_WITH_LT: Final = Error("ERR GT and LT options at the same time are not compatible")

#: Instead of a time: the key never expires, there is no such key.
_NEVER: Final = -1
_NO_KEY: Final = -2


def on_expire(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis EXPIRE"""
    return _expire(keyspace, args, ExpiryUnit.SECONDS)


def on_pexpire(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis PEXPIRE"""
    return _expire(keyspace, args, ExpiryUnit.MILLISECONDS)


def on_expireat(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis EXPIREAT"""
    return _expire(keyspace, args, ExpiryUnit.SECONDS_AT)


def on_pexpireat(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis PEXPIREAT"""
    return _expire(keyspace, args, ExpiryUnit.MILLISECONDS_AT)


def _expire(keyspace: Keyspace, args: list[bytes], unit: ExpiryUnit) -> Reply:
    options = _read_conditions(args[3:])
    if isinstance(options, Error):
        return options
    number = parse_integer(args[2])
    if number is None:
        return NOT_AN_INTEGER
    expires_ms = to_milliseconds(number, unit, now_ms=keyspace.now_ms)
    if expires_ms is None:
        return invalid_expiry(args[0].decode("ascii").lower())
    record = keyspace.find(args[1])
    if record is None or not _may_change(options, record.expires_ms, expires_ms):
        return 0
    if expires_ms <= keyspace.now_ms:
        keyspace.delete(args[1])
    else:
        keyspace.set_expiry(args[1], expires_ms)
    return 1


def _read_conditions(words: list[bytes]) -> frozenset[bytes] | Error:
    for word in words:
        if word.lower() not in (b"nx", b"xx", b"gt", b"lt"):
            return Error(f"ERR Unsupported option {printable_at_end(word)}")
    options = frozenset(word.lower() for word in words)
    if b"nx" in options and len(options) > 1:
        return _NX_WITH_OTHERS
    return _GT_WITH_LT if {b"gt", b"lt"} <= options else options


def _may_change(options: frozenset[bytes], before_ms: int, after_ms: int) -> bool:
    """Whether the conditions allow the change; a key without expiry (0) lives longer than any other."""
    return not (
        (b"nx" in options and before_ms)
        or (b"xx" in options and not before_ms)
        or (b"gt" in options and (not before_ms or after_ms <= before_ms))
        or (b"lt" in options and before_ms and after_ms >= before_ms)
    )


def on_persist(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis PERSIST"""
    record = keyspace.find(args[1])
    if record is None or not record.expires_ms:
        return 0
    keyspace.set_expiry(args[1], 0)
    return 1


def on_ttl(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis TTL: rounded to the nearest second."""
    return _to_seconds(_left_ms(keyspace, args[1]))


def on_pttl(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis PTTL"""
    return _left_ms(keyspace, args[1])


def on_expiretime(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis EXPIRETIME: rounded to the nearest second."""
    return _to_seconds(_expires_ms(keyspace, args[1]))


def on_pexpiretime(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis PEXPIRETIME"""
    return _expires_ms(keyspace, args[1])


def _left_ms(keyspace: Keyspace, key: bytes) -> int:
    """Milliseconds left by the reader's clock, or what stands for none."""
    expires_ms = _expires_ms(keyspace, key)
    return expires_ms - keyspace.clock_ms if expires_ms >= 0 else expires_ms


def _expires_ms(keyspace: Keyspace, key: bytes) -> int:
    record = keyspace.peek(key)
    if record is None:
        return _NO_KEY
    return record.expires_ms or _NEVER


def _to_seconds(time_ms: int) -> int:
    return time_ms if time_ms < 0 else (time_ms + 500) // 1000


_CONDITION: Final = Argument(
    "condition",
    "oneof",
    flags=("optional",),
    since="7.0.0",
    arguments=tuple(Argument(word.lower(), "pure-token", token=word) for word in ("NX", "XX", "GT", "LT")),
)


def _setter(name: bytes, handler: object, summary: str, argument: Argument, since: str) -> CommandSpec:
    """One row of the EXPIRE kind."""
    docs = docs_of(summary, KEY, argument, _CONDITION, since=since)
    return row(name, -3, handler, docs, flags="write fast", keys=ONE_CHANGE)


def _getter(
    name: bytes, handler: object, summary: str, since: str, tips: tuple[str, ...] = ()
) -> CommandSpec:
    """One row of the TTL kind."""
    docs = docs_of(summary, KEY, since=since)
    return row(name, 2, handler, docs, flags="readonly fast", keys=ONE_LOOK, tips=tips)


_ANY_OUTPUT: Final = ("nondeterministic_output",)

COMMANDS: tuple[CommandSpec, ...] = (
    _setter(
        b"expire",
        on_expire,
        "Sets the expiration time of a key in seconds.",
        Argument("seconds", "integer"),
        "1.0.0",
    ),
    _setter(
        b"pexpire",
        on_pexpire,
        "Sets the expiration time of a key in milliseconds.",
        Argument("milliseconds", "integer"),
        "2.6.0",
    ),
    _setter(
        b"expireat",
        on_expireat,
        "Sets the expiration time of a key to a Unix timestamp.",
        Argument("unix-time-seconds", "unix-time"),
        "1.2.0",
    ),
    _setter(
        b"pexpireat",
        on_pexpireat,
        "Sets the expiration time of a key to a Unix milliseconds timestamp.",
        Argument("unix-time-milliseconds", "unix-time"),
        "2.6.0",
    ),
    row(
        b"persist",
        2,
        on_persist,
        docs_of("Removes the expiration time of a key.", KEY, since="2.2.0"),
        flags="write fast",
        keys=ONE_CHANGE,
    ),
    _getter(b"ttl", on_ttl, "Returns the expiration time in seconds of a key.", "1.0.0", _ANY_OUTPUT),
    _getter(b"pttl", on_pttl, "Returns the expiration time in milliseconds of a key.", "2.6.0", _ANY_OUTPUT),
    _getter(
        b"expiretime", on_expiretime, "Returns the expiration time of a key as a Unix timestamp.", "7.0.0"
    ),
    _getter(
        b"pexpiretime",
        on_pexpiretime,
        "Returns the expiration time of a key as a Unix milliseconds timestamp.",
        "7.0.0",
    ),
)
