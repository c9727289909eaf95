"""Rows of the command table for commands on keys whatever their type, and what those rows share.

Knows no command: the modules of the family do, by theme (keys, expiries, scan, databases, object, memory).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from raftkv.commands.table import NO_KEYS, READ, WRITE, Argument, CommandDocs, CommandSpec, KeySpec
from raftkv.resp.replies import Error

KEY: Final = Argument("key", "key", key_spec_index=0)
KEYS: Final = Argument("key", "key", key_spec_index=0, flags=("multiple",))

ONE_READ: Final = KeySpec(1, 1, 1, flags=("RO",))
ONE_LOOK: Final = KeySpec(1, 1, 1, flags=("RO", "access"))
ONE_CHANGE: Final = KeySpec(1, 1, 1, flags=("RW", "update"))

#: Tips of what clients of a cluster may split by key, and then sum up.
SUMMED: Final = ("request_policy:multi_shard", "response_policy:agg_sum")


def row(
    name: bytes,
    arity: int,
    handler: object,
    docs: CommandDocs,
    *,
    flags: str,
    keys: KeySpec = NO_KEYS,
    tips: tuple[str, ...] = (),
    categories: str = "keyspace",
    cluster_refusal: Callable[[list[bytes]], Error | None] | None = None,
) -> CommandSpec:
    """One row; its route and most ACL categories follow from the flags, "dangerous" is but a category."""
    words = set(flags.split())
    implied = {"write" if "write" in words else "read", "fast" if "fast" in words else "slow"}
    return CommandSpec(
        name=name,
        arity=arity,
        flags=frozenset(words - {"dangerous"}),
        route=WRITE if "write" in words else READ,
        keys=keys,
        handler=handler,  # type: ignore[arg-type]  # a handler of this family
        acl_categories=frozenset(implied | set(categories.split()) | (words & {"dangerous"})),
        tips=tips,
        docs=docs,
        cluster_refusal=cluster_refusal,
    )


def docs_of(
    summary: str, *arguments: Argument, since: str = "1.0.0", complexity: str = "O(1)", group: str = "generic"
) -> CommandDocs:
    """What COMMAND DOCS tells, with what most of these commands share as defaults."""
    return CommandDocs(summary, since=since, group=group, complexity=complexity, arguments=arguments)
