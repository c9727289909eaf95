"""Databases as a whole: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB (redis, "Server" commands).

Knows nothing of where they are stored. A listener that behaves as a node of a cluster has database 0
alone: what it refuses therefore is said in the rows of the table, for a handler cannot know who asks.
"""

from __future__ import annotations

from typing import Final

from raftkv.commands.generic import docs_of, row
from raftkv.commands.table import Argument, CommandSpec
from raftkv.keyspace import Keyspace
from raftkv.places import DATABASE_COUNT
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, OK, SYNTAX_ERROR, Error, Reply

_INT32_MIN: Final = -(1 << 31)
_INT32_MAX: Final = (1 << 31) - 1

#: Redis's texts.
_NOT_AN_INT32: Final = Error(f"ERR value is out of range, value must between {_INT32_MIN} and {_INT32_MAX}")
_NO_SUCH_DATABASE: Final = Error("ERR DB index is out of range")
_SELECT_IN_CLUSTER: Final = Error("ERR SELECT is not allowed in cluster mode")
_SWAPDB_IN_CLUSTER: Final = Error("ERR SWAPDB is not allowed in cluster mode")


def read_database(text: bytes, *, is_standalone: bool = True) -> int | Error:
    """Read the number of a database that there is: a node of a cluster has 0 alone (redis SELECT)."""
    number = parse_integer(text)
    if number is None:
        return NOT_AN_INTEGER
    if not _INT32_MIN <= number <= _INT32_MAX:
        return _NOT_AN_INT32
    if not is_standalone:
        return _SELECT_IN_CLUSTER if number else 0
    return number if 0 <= number < DATABASE_COUNT else _NO_SUCH_DATABASE


def on_dbsize(keyspace: Keyspace, _args: list[bytes]) -> Reply:
    """redis DBSIZE: keys that are due but not removed yet count, as in Redis."""
    return keyspace.counts().keys


def on_flushall(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis FLUSHALL"""
    if not _is_flush(args):
        return SYNTAX_ERROR
    keyspace.flush_all()
    return OK


def on_flushdb(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis FLUSHDB"""
    if not _is_flush(args):
        return SYNTAX_ERROR
    keyspace.flush_db()
    return OK


def _is_flush(args: list[bytes]) -> bool:
    """Whether the options make sense; they change nothing, space is always reclaimed in the background."""
    return len(args) == 1 or (len(args) == 2 and args[1].lower() in (b"async", b"sync"))


def on_swapdb(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis SWAPDB"""
    numbers: list[int] = []
    for text, which in ((args[1], "first"), (args[2], "second")):
        number = parse_integer(text)
        if number is None or not _INT32_MIN <= number <= _INT32_MAX:
            return Error(f"ERR invalid {which} DB index")
        numbers.append(number)
    if not all(0 <= number < DATABASE_COUNT for number in numbers):
        return _NO_SUCH_DATABASE
    keyspace.swap(*numbers)
    return OK


def _refuse_swapdb(_args: list[bytes]) -> Error:
    return _SWAPDB_IN_CLUSTER


_FLUSH_TYPE: Final = Argument(
    "flush-type",
    "oneof",
    flags=("optional",),
    arguments=(
        Argument("async", "pure-token", token="ASYNC", since="4.0.0"),
        Argument("sync", "pure-token", token="SYNC", since="6.2.0"),
    ),
)
_FLUSH_COMPLEXITY: Final = "O(1) rows written; their space is reclaimed in the background."
_FLUSH_TIPS: Final = ("request_policy:all_shards", "response_policy:all_succeeded")

COMMANDS: tuple[CommandSpec, ...] = (
    row(
        b"dbsize",
        1,
        on_dbsize,
        docs_of("Returns the number of keys in the database.", group="server"),
        flags="readonly fast",
        tips=("request_policy:all_shards", "response_policy:agg_sum"),
    ),
    row(
        b"flushall",
        -1,
        on_flushall,
        docs_of(
            "Removes all keys from all databases.",
            _FLUSH_TYPE,
            group="server",
            complexity=_FLUSH_COMPLEXITY,
        ),
        flags="write dangerous",
        tips=_FLUSH_TIPS,
    ),
    row(
        b"flushdb",
        -1,
        on_flushdb,
        docs_of(
            "Removes all keys from the current database.",
            _FLUSH_TYPE,
            group="server",
            complexity=_FLUSH_COMPLEXITY,
        ),
        flags="write dangerous",
        tips=_FLUSH_TIPS,
    ),
    row(
        b"swapdb",
        3,
        on_swapdb,
        docs_of(
            "Swaps two databases.",
            Argument("index1", "integer"),
            Argument("index2", "integer"),
            since="4.0.0",
            group="server",
        ),
        flags="write fast dangerous",
        cluster_refusal=_refuse_swapdb,
    ),
)
