"""CONFIG: the node's settings under Redis's names, and the counters that it resets.

Knows no setting by name: that is `runtime_settings`' business.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from raftkv.commands.containers import admin_row, container
from raftkv.commands.glob import GLOB_BYTES_MAX, compile_glob
from raftkv.commands.session import ConfigNotWritten, Session
from raftkv.commands.table import Argument, CommandDocs, CommandSpec, Handler
from raftkv.places import DATABASE_COUNT
from raftkv.resp.replies import OK, SYNTAX_ERROR, Error, Reply, printable
from raftkv.runtime_settings import HIDDEN_NAMES, SettingRefused

_PATTERNS_TOO_LONG = Error(f"ERR the patterns together are longer than {GLOB_BYTES_MAX} bytes")
#: What makes a pattern more than a name.
_GLOB_BYTES = frozenset(b"*?[\\")


#: What a client finds who knows no cluster.
_STANDALONE: Final = {b"cluster-enabled": b"no", b"databases": b"%d" % DATABASE_COUNT}


def on_get(session: Session, args: list[bytes]) -> Reply:
    """Answer the parameters whose name matches any of the glob patterns."""
    values = {
        name.encode(): value.encode("utf-8", "surrogateescape")
        for name, value in session.node.settings.shown().items()
    }
    if session.is_standalone:
        values |= _STANDALONE
    words = [arg.lower() for arg in args[2:]]
    found = {word: values[word] for word in words if word in values}
    patterns = [word for word in words if not _GLOB_BYTES.isdisjoint(word)]
    if sum(map(len, patterns)) > GLOB_BYTES_MAX:
        return _PATTERNS_TOO_LONG
    for name in HIDDEN_NAMES:
        values.pop(name.encode(), None)
    for pattern in patterns:
        matches = compile_glob(pattern).fullmatch
        found.update((name, value) for name, value in values.items() if matches(name))
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


def on_resetstat(session: Session, _args: list[bytes]) -> Reply:
    """Let the counters of INFO begin at nothing."""
    session.node.reset_statistics()
    return OK


def on_rewrite(session: Session, _args: list[bytes]) -> Reply:
    """Write the settings that hold into the configuration file that the node was started with."""
    try:
        session.node.rewrite_config()
    except ConfigNotWritten as refused:
        return Error("ERR " + printable(str(refused).encode("utf-8", "surrogateescape"), 1024))
    return OK


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")


def _docs(summary: str, complexity: str, *arguments: Argument, since: str = "2.0.0") -> CommandDocs:
    return CommandDocs(summary, since, "server", complexity, arguments)


def _row(
    word: bytes, arity: int, handler: Handler, docs: CommandDocs, *, tips: tuple[str, ...] = ()
) -> CommandSpec:
    return admin_row(b"config|" + word, arity, handler, docs, more_flags=frozenset({"noscript"}), tips=tips)


_PER_PARAMETER = "O(N) where N is the number of parameters"
_ON_ALL_NODES = ("request_policy:all_nodes", "response_policy:all_succeeded")

COMMANDS: tuple[CommandSpec, ...] = (
    container(
        b"config",
        _docs("A container for commands about settings.", "Depends on subcommand."),
        (
            _row(
                b"get",
                -3,
                on_get,
                _docs(
                    "Returns the parameters whose names match.",
                    _PER_PARAMETER,
                    Argument("parameter", "string", flags=("multiple",)),
                ),
            ),
            _row(
                b"set",
                -4,
                on_set,
                _docs(
                    "Changes parameters of this node while it runs.",
                    _PER_PARAMETER,
                    Argument(
                        "data",
                        "block",
                        flags=("multiple",),
                        arguments=(Argument("parameter", "string"), Argument("value", "string")),
                    ),
                ),
                tips=_ON_ALL_NODES,
            ),
            _row(
                b"resetstat",
                2,
                on_resetstat,
                _docs("Resets the counters that INFO shows.", "O(1)"),
                tips=_ON_ALL_NODES,
            ),
            _row(
                b"rewrite",
                2,
                on_rewrite,
                _docs(
                    "Writes the parameters that hold into the configuration file.",
                    _PER_PARAMETER,
                    since="2.8.0",
                ),
                tips=_ON_ALL_NODES,
            ),
        ),
    ),
)
