"""CONFIG: the node's settings under Redis's names.

Knows no setting by name: that is `runtime_settings`' business.
"""

from __future__ import annotations

from itertools import pairwise

from raftkv.commands.containers import container
from raftkv.commands.session import Session
from raftkv.commands.table import LOCAL, Argument, CommandDocs, CommandSpec
from raftkv.resp.replies import OK, SYNTAX_ERROR, Error, Reply, printable
from raftkv.runtime_settings import SettingRefused


def on_get(session: Session, args: list[bytes]) -> Reply:
    """Answer the parameters whose name matches any of the glob patterns."""
    found: dict[bytes, bytes] = {}
    for pattern in args[2:]:
        for name, value in session.node.settings.get(_text(pattern)).items():
            found[name.encode()] = value.encode("utf-8", "surrogateescape")
    return found


def on_set(session: Session, args: list[bytes]) -> Reply:
    """Change several parameters, or none of them."""
    words = [_text(word) for word in args[2:]]
    if len(words) % 2:
        return SYNTAX_ERROR
    try:
        session.node.settings.set_all(list(pairwise(words))[::2])
    except SettingRefused as refused:
        return Error(printable(str(refused).encode("utf-8", "surrogateescape"), 1024))
    return OK


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")


_FLAGS = frozenset({"admin", "noscript", "loading", "stale"})
_CATEGORIES = frozenset({"admin", "slow", "dangerous"})


def _docs(summary: str, complexity: str, *arguments: Argument) -> CommandDocs:
    return CommandDocs(summary, "2.0.0", "server", complexity, arguments)


_PER_PARAMETER = "O(N) where N is the number of parameters"

COMMANDS: tuple[CommandSpec, ...] = (
    container(
        b"config",
        _docs("A container for commands about settings.", "Depends on subcommand."),
        (
            CommandSpec(
                name=b"config|get",
                arity=-3,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_get,
                acl_categories=_CATEGORIES,
                docs=_docs(
                    "Returns the parameters whose names match.",
                    _PER_PARAMETER,
                    Argument("parameter", "string", flags=("multiple",)),
                ),
            ),
            CommandSpec(
                name=b"config|set",
                arity=-4,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_set,
                acl_categories=_CATEGORIES,
                docs=_docs(
                    "Changes parameters of this node while it runs.",
                    _PER_PARAMETER,
                    Argument(
                        "data",
                        "block",
                        flags=("multiple",),
                        arguments=(Argument("parameter", "string"), Argument("value", "string")),
                    ),
                ),
                tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
            ),
        ),
    ),
)
