"""Keys whatever their type: existence, expiry, iteration (redis, "Generic" commands).

Orders that clients see are those of the rows: by slot, then by hash.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Final

from raftkv.commands.expiry import ExpiryUnit, invalid_expiry, to_milliseconds
from raftkv.commands.glob import GLOB_BYTES_MAX, compile_glob
from raftkv.commands.table import NO_KEYS, READ, WRITE, Argument, CommandDocs, CommandSpec, KeySpec, Sliced
from raftkv.keyspace import Keyspace, ScanCursor
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, OK, SYNTAX_ERROR, Error, Reply, Simple, printable_at_end
from raftkv.rows import STRING

#: What TYPE calls the type bytes of rows.
_TYPE_NAMES: Final = {STRING: "string"}
_NO_TYPE: Final = Simple("none")

#: Type bytes that SCAN's TYPE asks for. Expired keys are ABSENT, which is none of them.
_ALL_KINDS: Final = frozenset(_TYPE_NAMES)
_NO_KINDS: Final[frozenset[int]] = frozenset()
_KINDS_BY_NAME: Final = {name.encode(): frozenset({kind}) for kind, name in _TYPE_NAMES.items()}

#: Rows that a long read handles between two looks at the time.
_ROWS_PER_STEP: Final = 256

_INVALID_CURSOR: Final = Error("ERR invalid cursor")
_PATTERN_TOO_LONG: Final = Error(f"ERR the pattern is longer than {GLOB_BYTES_MAX} bytes")
_NX_WITH_OTHERS: Final = Error("ERR NX and XX, GT or LT options at the same time are not compatible")
_GT_WITH_LT: Final = Error("ERR GT and LT options at the same time are not compatible")

_CURSOR_END: Final = 1 << 64
_CURSOR_DIGITS_MAX: Final = 20


def on_del(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis DEL, UNLINK"""
    return sum([keyspace.delete(key) for key in args[1:]])


def on_exists(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis EXISTS: a key named twice counts twice."""
    return sum([keyspace.find(key) is not None for key in args[1:]])


def on_type(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis TYPE"""
    record = keyspace.find(args[1])
    return _NO_TYPE if record is None else Simple(_TYPE_NAMES[record.kind])


def on_expire(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis EXPIRE"""
    return _expire(keyspace, args, ExpiryUnit.SECONDS)


def on_pexpire(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis PEXPIRE"""
    return _expire(keyspace, args, ExpiryUnit.MILLISECONDS)


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
    left_ms = _left_ms(keyspace, args[1])
    return left_ms if left_ms < 0 else (left_ms + 500) // 1000


def on_pttl(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis PTTL"""
    return _left_ms(keyspace, args[1])


def _left_ms(keyspace: Keyspace, key: bytes) -> int:
    """Milliseconds left by the reader's clock; -1: it never expires; -2: there is no such key."""
    record = keyspace.find(key)
    if record is None:
        return -2
    return record.expires_ms - keyspace.clock_ms if record.expires_ms else -1


def on_dbsize(keyspace: Keyspace, _args: list[bytes]) -> Reply:
    """redis DBSIZE: keys that are due but not removed yet count, as in Redis."""
    return keyspace.counts().keys


def on_keys(keyspace: Keyspace, args: list[bytes]) -> Reply | Sliced:
    """redis KEYS"""
    if len(args[1]) > GLOB_BYTES_MAX:
        return _PATTERN_TOO_LONG
    return Sliced(_collect(keyspace.all_keys(), compile_glob(args[1]), _ALL_KINDS))


def on_scan(keyspace: Keyspace, args: list[bytes]) -> Reply | Sliced:
    """redis SCAN: stateless, and valid on every node; the keys of one hash come in one reply."""
    cursor = _read_cursor(args[1])
    if cursor is None:
        return _INVALID_CURSOR
    pattern, kinds, count = b"*", _ALL_KINDS, 10
    for position in range(2, len(args), 2):
        word, value = args[position].lower(), args[position + 1 : position + 2]
        if word == b"match" and value:
            pattern = value[0]
        elif word == b"type" and value:
            kinds = _KINDS_BY_NAME.get(value[0].lower(), _NO_KINDS)
        elif word == b"count" and value:
            number = parse_integer(value[0])
            if number is None:
                return NOT_AN_INTEGER
            if number < 1:
                return SYNTAX_ERROR
            count = number
        else:
            return SYNTAX_ERROR
    if len(pattern) > GLOB_BYTES_MAX:
        return _PATTERN_TOO_LONG
    found, position_after = keyspace.scan(cursor, count)
    page = Sliced(_collect_page(_collect(found, compile_glob(pattern), kinds), position_after))
    # A small page is one step's work anyway: it need not wait for a turn of its own.
    return page if count > _ROWS_PER_STEP else page.run()


def _read_cursor(text: bytes) -> int | None:
    """An unsigned number of 64 bits, leading zeros allowed; None: it is none."""
    if not text.isdigit() or len(text) > _CURSOR_DIGITS_MAX:
        return None
    cursor = int(text)
    return cursor if cursor < _CURSOR_END else None


def _collect(
    found: Iterator[tuple[bytes, int]], pattern: re.Pattern[bytes], kinds: frozenset[int]
) -> Generator[None, None, list[bytes]]:
    """The keys that match, a few hundred rows per step, those that don't match included."""
    keys = []
    matches = pattern.fullmatch
    for position, (key, kind) in enumerate(found, 1):
        if kind in kinds and matches(key):
            keys.append(key)
        if position % _ROWS_PER_STEP == 0:
            yield
    return keys


def _collect_page(
    work: Generator[None, None, list[bytes]], after: ScanCursor
) -> Generator[None, None, Reply]:
    keys = yield from work
    return [b"%d" % after.next, keys]


def on_flushall(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis FLUSHALL: ASYNC and SYNC are the same here."""
    if len(args) > 2 or (len(args) == 2 and args[1].lower() not in (b"async", b"sync")):
        return SYNTAX_ERROR
    keyspace.flush_all()
    return OK


_KEY: Final = Argument("key", "key", key_spec_index=0)
_KEYS: Final = Argument("key", "key", key_spec_index=0, flags=("multiple",))
_CONDITION: Final = Argument(
    "condition",
    "oneof",
    flags=("optional",),
    since="7.0.0",
    arguments=tuple(Argument(word.lower(), "pure-token", token=word) for word in ("NX", "XX", "GT", "LT")),
)


def _row(
    name: bytes,
    arity: int,
    handler: object,
    docs: CommandDocs,
    *,
    flags: str,
    keys: KeySpec = NO_KEYS,
    tips: tuple[str, ...] = (),
) -> CommandSpec:
    """One row of this family; route and ACL categories follow from the flags."""
    words = set(flags.split())
    categories = {"keyspace", "write" if "write" in words else "read", "fast" if "fast" in words else "slow"}
    return CommandSpec(
        name=name,
        arity=arity,
        flags=frozenset(words - {"dangerous"}),
        route=WRITE if "write" in words else READ,
        keys=keys,
        handler=handler,  # type: ignore[arg-type]  # a handler of this family
        acl_categories=frozenset(categories | (words & {"dangerous"})),
        tips=tips,
        docs=docs,
    )


def _docs(
    summary: str, *arguments: Argument, since: str = "1.0.0", complexity: str = "O(1)", group: str = "generic"
) -> CommandDocs:
    return CommandDocs(summary, since=since, group=group, complexity=complexity, arguments=arguments)


_ONE_READ: Final = KeySpec(1, 1, 1, flags=("RO",))
_ONE_LOOK: Final = KeySpec(1, 1, 1, flags=("RO", "access"))
_ONE_CHANGE: Final = KeySpec(1, 1, 1, flags=("RW", "update"))
_ALL_DELETED: Final = KeySpec(1, -1, 1, flags=("RM", "delete"))
_SUMMED: Final = ("request_policy:multi_shard", "response_policy:agg_sum")
_PER_KEY: Final = "O(N) where N is the number of keys."

COMMANDS: tuple[CommandSpec, ...] = (
    _row(
        b"del",
        -2,
        on_del,
        _docs("Deletes one or more keys.", _KEYS, complexity=_PER_KEY),
        flags="write",
        keys=_ALL_DELETED,
        tips=_SUMMED,
    ),
    _row(
        b"unlink",
        -2,
        on_del,
        _docs("Deletes one or more keys, as DEL does.", _KEYS, since="4.0.0", complexity=_PER_KEY),
        flags="write fast",
        keys=_ALL_DELETED,
        tips=_SUMMED,
    ),
    _row(
        b"exists",
        -2,
        on_exists,
        _docs("Determines whether one or more keys exist.", _KEYS, complexity=_PER_KEY),
        flags="readonly fast",
        keys=KeySpec(1, -1, 1, flags=("RO",)),
        tips=_SUMMED,
    ),
    _row(
        b"type",
        2,
        on_type,
        _docs("Determines the type of value stored at a key.", _KEY),
        flags="readonly fast",
        keys=_ONE_READ,
    ),
    _row(
        b"expire",
        -3,
        on_expire,
        _docs(
            "Sets the expiration time of a key in seconds.", _KEY, Argument("seconds", "integer"), _CONDITION
        ),
        flags="write fast",
        keys=_ONE_CHANGE,
    ),
    _row(
        b"pexpire",
        -3,
        on_pexpire,
        _docs(
            "Sets the expiration time of a key in milliseconds.",
            _KEY,
            Argument("milliseconds", "integer"),
            _CONDITION,
            since="2.6.0",
        ),
        flags="write fast",
        keys=_ONE_CHANGE,
    ),
    _row(
        b"ttl",
        2,
        on_ttl,
        _docs("Returns the expiration time in seconds of a key.", _KEY),
        flags="readonly fast",
        keys=_ONE_LOOK,
        tips=("nondeterministic_output",),
    ),
    _row(
        b"pttl",
        2,
        on_pttl,
        _docs("Returns the expiration time in milliseconds of a key.", _KEY, since="2.6.0"),
        flags="readonly fast",
        keys=_ONE_LOOK,
        tips=("nondeterministic_output",),
    ),
    _row(
        b"persist",
        2,
        on_persist,
        _docs("Removes the expiration time of a key.", _KEY, since="2.2.0"),
        flags="write fast",
        keys=_ONE_CHANGE,
    ),
    _row(
        b"keys",
        2,
        on_keys,
        _docs(
            "Returns all key names that match a pattern.",
            Argument("pattern", "pattern"),
            complexity="O(N) with N being the number of keys in the database.",
        ),
        flags="readonly dangerous",
        tips=("request_policy:all_shards", "nondeterministic_output_order"),
    ),
    _row(
        b"scan",
        -2,
        on_scan,
        _docs(
            "Iterates over the key names in the database.",
            Argument("cursor", "integer"),
            Argument("pattern", "pattern", token="MATCH", flags=("optional",)),
            Argument("count", "integer", token="COUNT", flags=("optional",)),
            Argument("type", "string", token="TYPE", flags=("optional",), since="6.0.0"),
            since="2.8.0",
            complexity="O(1) for every call, O(N) for a complete iteration.",
        ),
        flags="readonly",
        tips=("nondeterministic_output", "request_policy:special", "response_policy:special"),
    ),
    _row(
        b"dbsize",
        1,
        on_dbsize,
        _docs("Returns the number of keys in the database.", group="server"),
        flags="readonly fast",
        tips=("request_policy:all_shards", "response_policy:agg_sum"),
    ),
    _row(
        b"flushall",
        -1,
        on_flushall,
        _docs(
            "Removes all keys from all databases.",
            Argument(
                "flush-type",
                "oneof",
                flags=("optional",),
                arguments=(
                    Argument("async", "pure-token", token="ASYNC", since="4.0.0"),
                    Argument("sync", "pure-token", token="SYNC", since="6.2.0"),
                ),
            ),
            group="server",
            complexity="O(1) rows written; their space is reclaimed in the background.",
        ),
        flags="write dangerous",
        tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    ),
)
