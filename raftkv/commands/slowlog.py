"""SLOWLOG: the newest commands whose handlers took long on this node.

Knows nothing of how they are measured, and keeps nothing: the entries are the `SlowLog`'s.
"""

from __future__ import annotations

from raftkv.commands.containers import admin_row, container
from raftkv.commands.monitors import SlowCommand
from raftkv.commands.session import Session
from raftkv.commands.table import Argument, CommandDocs, CommandSpec, Handler
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import OK, Error, Reply, printable

#: Redis's default.
_COUNT = 10

#: Redis's text.
_BAD_COUNT = Error("ERR count should be greater than or equal to -1")


def on_get(session: Session, args: list[bytes]) -> Reply:
    """Describe the newest entries, ten unless told otherwise; -1: all."""
    if len(args) > 3:
        word = printable(args[1])
        return Error(f"ERR unknown subcommand or wrong number of arguments for '{word}'. Try SLOWLOG HELP.")
    count = _COUNT if len(args) == 2 else parse_integer(args[2])
    if count is None or count < -1:
        return _BAD_COUNT
    return [_described(entry) for entry in session.node.monitors.slowlog.newest(count)]


def _described(entry: SlowCommand) -> Reply:
    return [
        entry.number,
        entry.time_s,
        entry.duration_us,
        entry.args,
        entry.address.encode(),
        entry.client_name,
    ]


def on_len(session: Session, _args: list[bytes]) -> Reply:
    """Count the entries."""
    return len(session.node.monitors.slowlog)


def on_reset(session: Session, _args: list[bytes]) -> Reply:
    """Forget all entries."""
    session.node.monitors.slowlog.reset()
    return OK


def _row(
    word: bytes, arity: int, handler: Handler, docs: CommandDocs, *, tips: tuple[str, ...]
) -> CommandSpec:
    return admin_row(b"slowlog|" + word, arity, handler, docs, tips=tips)


def _docs(summary: str, complexity: str, *arguments: Argument) -> CommandDocs:
    return CommandDocs(summary, "2.2.12", "server", complexity, arguments)


COMMANDS: tuple[CommandSpec, ...] = (
    container(
        b"slowlog",
        _docs("A container for slow log commands.", "Depends on subcommand."),
        (
            _row(
                b"get",
                -2,
                on_get,
                _docs(
                    "Returns the slow log's entries.",
                    "O(N) where N is the number of entries returned",
                    Argument("count", "integer", flags=("optional",)),
                ),
                tips=("request_policy:all_nodes", "nondeterministic_output"),
            ),
            _row(
                b"len",
                2,
                on_len,
                _docs("Returns the number of entries in the slow log.", "O(1)"),
                tips=("request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"),
            ),
            _row(
                b"reset",
                2,
                on_reset,
                _docs(
                    "Clears all entries from the slow log.",
                    "O(N) where N is the number of entries in the slowlog",
                ),
                tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
            ),
        ),
        help_since="6.2.0",
    ),
)
