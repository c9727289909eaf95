"""Rows of the table for commands that have sub-commands, HELP included.

Knows nothing of what the sub-commands do: HELP is written from their docs (redis addReplyHelp).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from raftkv.commands.session import Session
from raftkv.commands.table import LOCAL, Argument, CommandDocs, CommandSpec, Handler
from raftkv.resp.replies import Reply, Simple

#: Redis's version that brought HELP for most containers.
_HELP_SINCE: Final = "5.0.0"


def container(
    name: bytes,
    docs: CommandDocs,
    subcommands: Iterable[CommandSpec],
    *,
    handler: Handler | None = None,
    acl_categories: frozenset[str] = frozenset({"slow"}),
    tips: tuple[str, ...] = (),
    help_since: str = _HELP_SINCE,
) -> CommandSpec:
    """The row of a container, its `subcommands` and HELP; `handler` runs when no sub-command is named.

    `acl_categories` are HELP's, and the container's own if it has a handler.
    """
    rows = tuple(subcommands)
    rows = (
        *rows,
        _help(name, CommandDocs("Prints this help.", help_since, docs.group, "O(1)"), acl_categories, rows),
    )
    return CommandSpec(
        name=name,
        arity=-2 if handler is None else -1,
        flags=frozenset() if handler is None else frozenset({"loading", "stale"}),
        route=LOCAL,
        handler=handler or _never_called,
        acl_categories=frozenset({"slow"}) if handler is None else acl_categories,
        docs=docs,
        tips=tips,
        subcommands={row.name.partition(b"|")[2]: row for row in rows},
    )


def admin_row(
    name: bytes,
    arity: int,
    handler: Handler,
    docs: CommandDocs,
    *,
    more_flags: frozenset[str] = frozenset(),
    tips: tuple[str, ...] = (),
) -> CommandSpec:
    """The row of a sub-command for whoever runs the node (redis, ACL category "admin")."""
    return CommandSpec(
        name=name,
        arity=arity,
        flags=frozenset({"admin", "loading", "stale"}) | more_flags,
        route=LOCAL,
        handler=handler,
        acl_categories=frozenset({"admin", "slow", "dangerous"}),
        docs=docs,
        tips=tips,
    )


def _never_called(_session: Session, _args: list[bytes]) -> Reply:
    raise AssertionError("a container without an action of its own was called")


def _help(
    name: bytes, docs: CommandDocs, acl_categories: frozenset[str], rows: tuple[CommandSpec, ...]
) -> CommandSpec:
    heading = f"{name.decode().upper()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    lines = [heading, *(line for row in rows for line in _lines_of(row)), "HELP", "    Prints this help."]
    reply = [Simple(line) for line in lines]

    def on_help(_session: Session, _args: list[bytes]) -> Reply:
        return reply

    return CommandSpec(
        name=name + b"|help",
        arity=2,
        flags=frozenset({"loading", "stale"}),
        route=LOCAL,
        handler=on_help,
        acl_categories=acl_categories,
        docs=docs,
    )


def _lines_of(row: CommandSpec) -> Iterator[str]:
    word = row.name.partition(b"|")[2].decode().upper()
    yield " ".join((word, *map(usage, row.docs.arguments)))
    yield f"    {row.docs.summary}"


def usage(argument: Argument) -> str:
    """How people write an argument: `<key>`, `[EX <seconds>]`, `(FORCE|TAKEOVER)`, `<key> [<key> ...]`."""
    match argument.type:
        case "pure-token":
            text = argument.token
        case "oneof":
            text = f"({'|'.join(map(usage, argument.arguments))})"
        case "block":
            text = " ".join(map(usage, argument.arguments))
        case _:
            text = f"<{argument.name}>"
    if argument.token and argument.type != "pure-token":
        text = f"{argument.token} {text}"
    if "multiple" in argument.flags:
        text = f"{text} [{text} ...]"
    return f"[{text.removeprefix('(').removesuffix(')')}]" if "optional" in argument.flags else text
