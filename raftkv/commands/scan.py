"""Looking for keys: KEYS, SCAN, RANDOMKEY (redis, "Generic" commands).

Orders that clients see are those of the rows: by slot, then by hash.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Final

from raftkv.commands.generic import docs_of, row
from raftkv.commands.glob import GLOB_BYTES_MAX, compile_glob
from raftkv.commands.kinds import TYPE_NAMES
from raftkv.commands.table import Argument, CommandSpec, Sliced
from raftkv.keyspace import Keyspace, ScanCursor
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, SYNTAX_ERROR, Error, Reply
from raftkv.rows import ABSENT

#: Type bytes that SCAN's TYPE asks for. Expired keys are ABSENT, which is none of them.
_ALL_KINDS: Final = frozenset(TYPE_NAMES)
_NO_KINDS: Final[frozenset[int]] = frozenset()
_KINDS_BY_NAME: Final = {name.encode(): frozenset({kind}) for kind, name in TYPE_NAMES.items()}

#: Rows that a long read handles between two looks at the time.
_ROWS_PER_STEP: Final = 256

#: Keys among which RANDOMKEY chooses.
_CANDIDATES_MAX: Final = 16

_INVALID_CURSOR: Final = Error("ERR invalid cursor")
_PATTERN_TOO_LONG: Final = Error(f"ERR the pattern is longer than {GLOB_BYTES_MAX} bytes")

_CURSOR_END: Final = 1 << 64
_CURSOR_DIGITS_MAX: Final = 20


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
    options = _read_options(args)
    if isinstance(options, Error):
        return options
    if len(options.pattern) > GLOB_BYTES_MAX:
        return _PATTERN_TOO_LONG
    found, position_after = keyspace.scan(cursor, options.count)
    matching = _collect(found, compile_glob(options.pattern), options.kinds)
    page = Sliced(_collect_page(matching, position_after))
    # A small page is one step's work anyway: it need not wait for a turn of its own.
    return page if options.count > _ROWS_PER_STEP else page.run()


@dataclass(slots=True)
class _ScanOptions:
    pattern: bytes = b"*"
    kinds: frozenset[int] = _ALL_KINDS
    #: Rows to look at.
    count: int = 10


def _read_options(args: list[bytes]) -> _ScanOptions | Error:
    """Read what follows the cursor; of an option given twice the last one counts."""
    options = _ScanOptions()
    for position in range(2, len(args), 2):
        word, value = args[position].lower(), args[position + 1 : position + 2]
        if word == b"match" and value:
            options.pattern = value[0]
        elif word == b"type" and value:
            options.kinds = _KINDS_BY_NAME.get(value[0].lower(), _NO_KINDS)
        elif word == b"count" and value:
            number = parse_integer(value[0])
            if number is None:
                return NOT_AN_INTEGER
            if number < 1:
                return SYNTAX_ERROR
            options.count = number
        else:
            return SYNTAX_ERROR
    return options


def _read_cursor(text: bytes) -> int | None:
    """An unsigned number of 64 bits as C reads it, signs and nothing at all included; None: it is none.

    A NUL ends it, whatever follows (redis parseScanCursorOrReply, strtoul).
    """
    text = text.partition(b"\0")[0]
    sign = text[:1] if text[:1] in (b"+", b"-") else b""
    digits = text[len(sign) :]
    if not digits.isdigit():
        return None if text else 0
    digits = digits.lstrip(b"0")
    number = int(digits or b"0") if len(digits) <= _CURSOR_DIGITS_MAX else _CURSOR_END
    if number >= _CURSOR_END:
        return None
    return -number % _CURSOR_END if sign == b"-" else number


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


def on_randomkey(keyspace: Keyspace, _args: list[bytes]) -> Reply | Sliced:
    """redis RANDOMKEY: a look at a few rows, and at expired ones in front of them that are not removed yet.

    Not all keys are equally likely, as in Redis; a choice among several evens out the gaps between them.
    """
    work = _choose_alive(keyspace.keys_from_anywhere(), keyspace.draw())
    try:
        next(work)
    except StopIteration as end:
        reply: Reply = end.value
        return reply
    return Sliced(work)


def _choose_alive(found: Iterator[tuple[bytes, int]], drawn: int) -> Generator[None, None, Reply]:
    candidates: list[bytes] = []
    for position, (key, kind) in enumerate(found, 1):
        if kind != ABSENT:
            candidates.append(key)
        if len(candidates) == _CANDIDATES_MAX or (candidates and position % _ROWS_PER_STEP == 0):
            break
        if position % _ROWS_PER_STEP == 0:
            yield
    return candidates[drawn % len(candidates)] if candidates else None


COMMANDS: tuple[CommandSpec, ...] = (
    row(
        b"keys",
        2,
        on_keys,
        docs_of(
            "Returns all key names that match a pattern.",
            Argument("pattern", "pattern"),
            complexity="O(N) with N being the number of keys in the database.",
        ),
        flags="readonly dangerous",
        tips=("request_policy:all_shards", "nondeterministic_output_order"),
    ),
    row(
        b"scan",
        -2,
        on_scan,
        docs_of(
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
    row(
        b"randomkey",
        1,
        on_randomkey,
        docs_of("Returns a random key name from the database."),
        flags="readonly",
        tips=("request_policy:all_shards", "response_policy:special", "nondeterministic_output"),
    ),
)
