"""What the table's rows of all string families have in common: keys, arguments, flags.

Knows no command and no value.
"""

from __future__ import annotations

from typing import Final

from raftkv.commands.table import (
    READ,
    WRITE,
    Argument,
    BulkHandler,
    CommandDocs,
    CommandSpec,
    Handler,
    KeySpec,
)

KEY: Final = Argument("key", "key", key_spec_index=0)
VALUE: Final = Argument("value", "string")

#: One key that is read.
ONE_READ: Final = KeySpec(1, 1, 1, flags=("RO", "access"))
#: One key whose value is read, then changed.
ONE_CHANGED: Final = KeySpec(1, 1, 1, flags=("RW", "access", "update"))


def string_spec(
    name: bytes,
    arity: int,
    handler: Handler,
    docs: CommandDocs,
    *,
    flags: str,
    keys: KeySpec,
    tips: tuple[str, ...] = (),
    bulk_handler: BulkHandler | None = None,
) -> CommandSpec:
    """A row of the table; its route and ACL categories follow from the flags."""
    words = frozenset(flags.split())
    is_write = "write" in words
    return CommandSpec(
        name=name,
        arity=arity,
        flags=words,
        route=WRITE if is_write else READ,
        keys=keys,
        handler=handler,
        bulk_handler=bulk_handler,
        acl_categories=frozenset(
            {"string", "write" if is_write else "read", "fast" if "fast" in words else "slow"}
        ),
        tips=tips,
        docs=docs,
    )


def string_docs(
    summary: str,
    *arguments: Argument,
    since: str = "1.0.0",
    complexity: str = "O(1)",
    deprecated_since: str = "",
    replaced_by: str = "",
    history: tuple[tuple[str, str], ...] = (),
) -> CommandDocs:
    """What COMMAND DOCS says of a command whose first argument, if no other is given, is its key."""
    return CommandDocs(
        summary,
        since,
        "string",
        complexity,
        arguments or (KEY,),
        deprecated_since=deprecated_since,
        replaced_by=replaced_by,
        history=history,
    )
