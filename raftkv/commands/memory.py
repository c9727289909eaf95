"""MEMORY: what keys take up.

Knows rows by their size only.
"""

from __future__ import annotations

from raftkv.commands.containers import container
from raftkv.commands.generic import KEY, docs_of, row
from raftkv.commands.memory_stats import SUBCOMMANDS as STATISTICS
from raftkv.commands.table import Argument, CommandSpec, KeySpec
from raftkv.keyspace import Keyspace
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, SYNTAX_ERROR, Reply


def on_usage(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """Answer the bytes of the key's rows, before compression: the same on every node (redis MEMORY USAGE).

    What they take up in memory is the cache's to decide. Nothing is sampled: the sizes are known.
    """
    for position in range(3, len(args), 2):
        if args[position].lower() != b"samples" or position + 1 == len(args):
            return SYNTAX_ERROR
        count = parse_integer(args[position + 1])
        if count is None:
            return NOT_AN_INTEGER
        if count < 0:
            return SYNTAX_ERROR
    record = keyspace.peek(args[2])
    return None if record is None else keyspace.size_bytes(record)


COMMANDS: tuple[CommandSpec, ...] = (
    container(
        b"memory",
        docs_of(
            "A container for memory diagnostics commands.",
            since="4.0.0",
            group="server",
            complexity="Depends on subcommand.",
        ),
        (
            row(
                b"memory|usage",
                -3,
                on_usage,
                docs_of(
                    "Estimates the memory usage of a key.",
                    KEY,
                    Argument("count", "integer", token="SAMPLES", flags=("optional",)),
                    since="4.0.0",
                    group="server",
                ),
                flags="readonly",
                keys=KeySpec(2, 2, 1, flags=("RO",)),
                categories="",
            ),
            *STATISTICS,
        ),
        help_since="4.0.0",
    ),
)
