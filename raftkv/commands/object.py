"""OBJECT: what is known of a value besides itself.

What is answered follows from the key's row, so every node answers alike; but for IDLETIME, which is about
the node that answers: reads are not replicated.
"""

from __future__ import annotations

from typing import Final

from raftkv.commands.containers import container
from raftkv.commands.generic import KEY, docs_of, row
from raftkv.commands.table import CommandSpec, KeySpec
from raftkv.keyspace import Keyspace
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import Error, Reply

#: Bytes of the longest string that Redis stores together with its header (redis createStringObject).
_EMBEDDED_BYTES_MAX: Final = 44

_NO_FREQUENCY: Final = Error(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when "
    "switching between policies at runtime LRU and LFU data will take some time to adjust."
)


def on_encoding(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """Answer how Redis would store the value, had it just been SET (redis OBJECT ENCODING).

    Redis leaves what APPEND and SETRANGE made as "raw", however short; here the way a value came about is
    not kept.
    """
    record = keyspace.peek(args[2])
    return None if record is None else encoding_of_string(record.value)


def encoding_of_string(value: bytes) -> bytes:
    """Name the encoding of a string (redis tryObjectEncoding)."""
    if parse_integer(value) is not None:
        return b"int"
    return b"embstr" if len(value) <= _EMBEDDED_BYTES_MAX else b"raw"


def on_refcount(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """Answer 1: no two keys share a value here, as small numbers do in Redis."""
    return None if keyspace.peek(args[2]) is None else 1


def on_idletime(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """Answer the seconds since this node last used the key, or brought it from disk into its memory.

    A write is used by every node, a read by the one that answers it.
    """
    record = keyspace.peek(args[2])
    return None if record is None else max(0, keyspace.clock_ms - record.used_ms) // 1000


def on_freq(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """Refuse, as Redis does without a policy that counts accesses; the key is looked for first."""
    return None if keyspace.peek(args[2]) is None else _NO_FREQUENCY


def _subcommand(word: bytes, handler: object, summary: str, since: str = "2.2.3") -> CommandSpec:
    return row(
        b"object|" + word,
        3,
        handler,
        docs_of(summary, KEY, since=since),
        flags="readonly",
        keys=KeySpec(2, 2, 1, flags=("RO",)),
        tips=("nondeterministic_output",),
    )


COMMANDS: tuple[CommandSpec, ...] = (
    container(
        b"object",
        docs_of(
            "A container for object introspection commands.",
            since="2.2.3",
            complexity="Depends on subcommand.",
        ),
        (
            _subcommand(b"encoding", on_encoding, "Returns the internal encoding of a Redis object."),
            _subcommand(
                b"freq",
                on_freq,
                "Returns the logarithmic access frequency counter of a Redis object.",
                since="4.0.0",
            ),
            _subcommand(
                b"idletime", on_idletime, "Returns the time since the last access to a Redis object."
            ),
            _subcommand(b"refcount", on_refcount, "Returns the reference count of a value of a key."),
        ),
        acl_categories=frozenset({"keyspace", "slow"}),
        help_since="6.2.0",
    ),
)
