"""Parts of strings: their lengths, ends and middles (redis, "String" commands)."""

from __future__ import annotations

from typing import Final

from raftkv.commands.string_specs import KEY, VALUE, string_docs, string_spec
from raftkv.commands.table import CommandSpec, KeySpec
from raftkv.keyspace import KEEP_EXPIRY, Keyspace
from raftkv.resp.replies import STRING_TOO_LONG, Reply

#: Bytes of the longest string (redis proto-max-bulk-len, at its default).
STRING_BYTES_MAX: Final = 512 << 20


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
            complexity="O(N) where N is the length of the new value: its whole row is written.",
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
)
