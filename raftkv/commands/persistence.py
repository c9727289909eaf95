"""SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE: flushes of this node's state to disk; SHUTDOWN: its end.

Nothing depends on such a flush: what was acknowledged is in the log on a majority's disks already. A flush
shortens what a node replays after a crash. Knows nothing of how it is done.
"""

from __future__ import annotations

from raftkv.commands.session import Session
from raftkv.commands.table import LOCAL, Argument, Awaited, CommandDocs, CommandSpec, Handler
from raftkv.resp.replies import OK, SYNTAX_ERROR, Error, Reply, Simple

#: Redis's texts.
_SAVE_UNDER_WAY = Error("ERR Background save already in progress")
_SAVING_STARTED = Simple("Background saving started")
_SAVING_SCHEDULED = Simple("Background saving scheduled")
_REWRITE_STARTED = Simple("Background append only file rewriting started")
_REWRITE_SCHEDULED = Simple("Background append only file rewriting scheduled")
_NOT_STOPPING = Error("ERR No shutdown in progress.")

_TOO_LATE_TO_STAY = Error("ERR this node is handing over already, which can't be undone: start it again")


def on_save(session: Session, _args: list[bytes]) -> Reply | Awaited:
    """Flush, and answer when that is done; other connections are served meanwhile."""
    if session.node.saves().under_way_s is not None:
        return _SAVE_UNDER_WAY
    is_done = session.node.begin_save()
    return Awaited(look=lambda: OK if is_done() else None, at_last=lambda: OK, timeout_ms=0)


def on_bgsave(session: Session, args: list[bytes]) -> Reply:
    """Begin to flush; with SCHEDULE, after the flush that is under way."""
    is_scheduled = len(args) == 2 and args[1].lower() == b"schedule"
    if len(args) > 1 and not is_scheduled:
        return SYNTAX_ERROR
    is_under_way = session.node.saves().under_way_s is not None
    if is_under_way and not is_scheduled:
        return _SAVE_UNDER_WAY
    session.node.begin_save()
    return _SAVING_SCHEDULED if is_under_way else _SAVING_STARTED


def on_bgrewriteaof(session: Session, _args: list[bytes]) -> Reply:
    """Begin to flush, or do so after the flush that is under way."""
    is_under_way = session.node.saves().under_way_s is not None
    session.node.begin_save()
    return _REWRITE_SCHEDULED if is_under_way else _REWRITE_STARTED


def on_lastsave(session: Session, _args: list[bytes]) -> Reply:
    """Answer when the last flush ended, asked for or not; before the first, when the node started."""
    return session.node.saves().last_time_s


def on_shutdown(session: Session, args: list[bytes]) -> Reply | Awaited:
    """Stop this node cleanly; its connections are closed, this one without a reply (redis SHUTDOWN).

    The state is flushed and nothing is lost whatever the options say: they are taken for Redis's sake.
    """
    options = {arg.lower() for arg in args[1:]}
    if options - {b"nosave", b"save", b"now", b"force", b"abort"}:
        return SYNTAX_ERROR
    if {b"save", b"nosave"} <= options or (b"abort" in options and len(options) > 1):
        return SYNTAX_ERROR
    if b"abort" in options:
        return _TOO_LATE_TO_STAY if session.node.is_stopping else _NOT_STOPPING
    session.node.stop()
    return Awaited(look=lambda: None, at_last=lambda: OK, timeout_ms=0)


def _row(
    name: bytes,
    arity: int,
    handler: Handler,
    docs: CommandDocs,
    *,
    flags: str = "admin noscript no_async_loading",
    tips: tuple[str, ...] = (),
) -> CommandSpec:
    words = frozenset(flags.split())
    return CommandSpec(
        name=name,
        arity=arity,
        flags=words,
        route=LOCAL,
        handler=handler,
        acl_categories=frozenset({"admin", "dangerous", "fast" if "fast" in words else "slow"}),
        docs=docs,
        tips=tips,
    )


def _docs(summary: str, *arguments: Argument, complexity: str = "O(1)", since: str = "1.0.0") -> CommandDocs:
    return CommandDocs(summary, since, "server", complexity, arguments)


def _word(word: str, since: str = "") -> Argument:
    return Argument(word.lower(), "pure-token", token=word, flags=("optional",), since=since)


_SAVED_PER_CHANGE = "O(N) where N is the number of changes since the last flush"

COMMANDS: tuple[CommandSpec, ...] = (
    _row(
        b"save",
        1,
        on_save,
        _docs("Flushes the state to disk, and waits for it.", complexity=_SAVED_PER_CHANGE),
        flags="admin noscript no_async_loading no_multi",
    ),
    _row(
        b"bgsave",
        -1,
        on_bgsave,
        _docs("Begins to flush the state to disk.", _word("SCHEDULE", "3.2.2")),
    ),
    _row(
        b"bgrewriteaof",
        1,
        on_bgrewriteaof,
        _docs("Begins to flush the state to disk, which is what bounds a replay of the log here."),
    ),
    _row(
        b"lastsave",
        1,
        on_lastsave,
        _docs("Returns the time when the state was last flushed to disk."),
        flags="loading stale fast",
        tips=("nondeterministic_output",),
    ),
    _row(
        b"shutdown",
        -1,
        on_shutdown,
        _docs(
            "Stops this node cleanly.",
            Argument(
                "save-selector",
                "oneof",
                flags=("optional",),
                arguments=(
                    Argument("nosave", "pure-token", token="NOSAVE"),
                    Argument("save", "pure-token", token="SAVE"),
                ),
            ),
            _word("NOW", "7.0.0"),
            _word("FORCE", "7.0.0"),
            _word("ABORT", "7.0.0"),
        ),
        flags="admin noscript loading stale no_multi allow_busy",
    ),
)
