"""Keys whatever their type: existence, names, copies (redis, "Generic" commands).

What is about their expiry is in `expiries`, how they are found in `scan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from raftkv.commands.databases import read_database
from raftkv.commands.generic import KEY, KEYS, ONE_READ, SUMMED, docs_of, row
from raftkv.commands.kinds import TYPE_NAMES
from raftkv.commands.table import Argument, CommandSpec, KeySpec
from raftkv.keyspace import Keyspace
from raftkv.resp.replies import NO_SUCH_KEY, OK, SYNTAX_ERROR, Error, Reply, Simple

_NO_TYPE: Final = Simple("none")

#: Redis's texts.
_SAME_OBJECT: Final = Error("ERR source and destination objects are the same")
_MOVE_IN_CLUSTER: Final = Error("ERR MOVE is not allowed in cluster mode")
_COPY_IN_CLUSTER: Final = Error("ERR Copying to another database is not allowed in cluster mode")


def on_del(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis DEL, UNLINK"""
    return sum([keyspace.delete(key) for key in args[1:]])


def on_exists(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis EXISTS: a key named twice counts twice."""
    return sum([keyspace.peek(key) is not None for key in args[1:]])


def on_touch(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis TOUCH: as EXISTS, but the keys count as used (see OBJECT IDLETIME), on this node."""
    return sum([keyspace.find(key) is not None for key in args[1:]])


def on_type(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis TYPE"""
    record = keyspace.peek(args[1])
    return _NO_TYPE if record is None else Simple(TYPE_NAMES[record.kind])


def on_rename(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis RENAME"""
    key, new_key = args[1], args[2]
    if keyspace.find(key) is None:
        return NO_SUCH_KEY
    if key != new_key:
        keyspace.move(key, new_key, to_db=keyspace.db)
    return OK


def on_renamenx(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis RENAMENX"""
    key, new_key = args[1], args[2]
    if keyspace.find(key) is None:
        return NO_SUCH_KEY
    if keyspace.find(new_key) is not None:
        return 0
    keyspace.move(key, new_key, to_db=keyspace.db)
    return 1


def on_move(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis MOVE"""
    key, to_db = args[1], read_database(args[2])
    if isinstance(to_db, Error):
        return to_db
    if to_db == keyspace.db:
        return _SAME_OBJECT
    if keyspace.find(key) is None or keyspace.find_in(to_db, key) is not None:
        return 0
    keyspace.move(key, key, to_db=to_db)
    return 1


def _refuse_move(_args: list[bytes]) -> Error:
    return _MOVE_IN_CLUSTER


def on_copy(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """redis COPY"""
    key, new_key = args[1], args[2]
    options = _read_copy_options(args[3:], db=keyspace.db)
    if isinstance(options, Error):
        return options
    if (options.to_db, new_key) == (keyspace.db, key):
        return _SAME_OBJECT
    if keyspace.find(key) is None:
        return 0
    if keyspace.find_in(options.to_db, new_key) is not None and not options.replaces:
        return 0
    keyspace.copy(key, new_key, to_db=options.to_db)
    return 1


@dataclass(slots=True)
class _CopyOptions:
    to_db: int
    replaces: bool = False


def _read_copy_options(words: list[bytes], *, db: int) -> _CopyOptions | Error:
    options = _CopyOptions(db)
    rest = iter(words)
    for word in rest:
        if word.lower() == b"replace":
            options.replaces = True
            continue
        text = next(rest, None)
        if word.lower() != b"db" or text is None:
            return SYNTAX_ERROR
        to_db = read_database(text)
        if isinstance(to_db, Error):
            return to_db
        options.to_db = to_db
    return options


def _refuse_copy(args: list[bytes]) -> Error | None:
    """Only the copy to another database; what is wrong with the options is said first, as in Redis."""
    options = _read_copy_options(args[3:], db=0)
    if isinstance(options, Error):
        return options
    return _COPY_IN_CLUSTER if options.to_db else None


_NEW_KEY: Final = Argument("newkey", "key", key_spec_index=1)
_PER_KEY: Final = "O(N) where N is the number of keys."
_ALL_DELETED: Final = KeySpec(1, -1, 1, flags=("RM", "delete"))
_ALL_READ: Final = KeySpec(1, -1, 1, flags=("RO",))

COMMANDS: tuple[CommandSpec, ...] = (
    row(
        b"del",
        -2,
        on_del,
        docs_of("Deletes one or more keys.", KEYS, complexity=_PER_KEY),
        flags="write",
        keys=_ALL_DELETED,
        tips=SUMMED,
    ),
    row(
        b"unlink",
        -2,
        on_del,
        docs_of("Deletes one or more keys, as DEL does.", KEYS, since="4.0.0", complexity=_PER_KEY),
        flags="write fast",
        keys=_ALL_DELETED,
        tips=SUMMED,
    ),
    row(
        b"exists",
        -2,
        on_exists,
        docs_of("Determines whether one or more keys exist.", KEYS, complexity=_PER_KEY),
        flags="readonly fast",
        keys=_ALL_READ,
        tips=SUMMED,
    ),
    row(
        b"touch",
        -2,
        on_touch,
        docs_of(
            "Returns the number of existing keys out of those specified after updating the time they were "
            "last accessed.",
            KEYS,
            since="3.2.1",
            complexity=_PER_KEY,
        ),
        flags="readonly fast",
        keys=_ALL_READ,
        tips=SUMMED,
    ),
    row(
        b"type",
        2,
        on_type,
        docs_of("Determines the type of value stored at a key.", KEY),
        flags="readonly fast",
        keys=ONE_READ,
    ),
    row(
        b"rename",
        3,
        on_rename,
        docs_of("Renames a key and overwrites the destination.", KEY, _NEW_KEY),
        flags="write",
        keys=KeySpec(1, 2, 1, flags=("RW", "access", "delete"), second_flags=("OW", "update")),
    ),
    row(
        b"renamenx",
        3,
        on_renamenx,
        docs_of("Renames a key only when the target key name doesn't exist.", KEY, _NEW_KEY),
        flags="write fast",
        keys=KeySpec(1, 2, 1, flags=("RW", "access", "delete"), second_flags=("OW", "insert")),
    ),
    row(
        b"move",
        3,
        on_move,
        docs_of("Moves a key to another database.", KEY, Argument("db", "integer")),
        flags="write fast",
        keys=KeySpec(1, 1, 1, flags=("RW", "access", "update")),
        cluster_refusal=_refuse_move,
    ),
    row(
        b"copy",
        -3,
        on_copy,
        docs_of(
            "Copies the value of a key to a new key.",
            Argument("source", "key", key_spec_index=0),
            Argument("destination", "key", key_spec_index=1),
            Argument("destination-db", "integer", token="DB", flags=("optional",)),
            Argument("replace", "pure-token", token="REPLACE", flags=("optional",)),
            since="6.2.0",
            complexity="O(N) where N is the size of the value.",
        ),
        flags="write denyoom",
        keys=KeySpec(1, 2, 1, flags=("RO", "access"), second_flags=("OW", "update")),
        cluster_refusal=_refuse_copy,
    ),
)
