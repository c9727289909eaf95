"""LATENCY: what took long on this node, by kind of event, and how long commands take.

Knows nothing of what feeds the monitor. Events are noted by the node: `command` and `fast-command` (a
handler), `fsync` (of the log), `state-flush`, `event-loop` (a tick that came late). HISTOGRAM shows what was
measured, which is a sample of all calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from raftkv.commands.containers import admin_row, container
from raftkv.commands.latency_report import diagnosis_of, graph_of
from raftkv.commands.session import Session
from raftkv.commands.table import Argument, CommandDocs, CommandSpec, CommandTable, Handler
from raftkv.resp.replies import Error, Reply, Verbatim, printable


def on_latest(session: Session, _args: list[bytes]) -> Reply:
    """Answer of each event its name, and time, latency and all-time maximum of its newest sample."""
    events = session.node.monitors.latency.events
    return [
        [name.encode(), event.samples[-1].time_s, event.samples[-1].latency_ms, event.max_ms]
        for name, event in events.items()
    ]


def on_history(session: Session, args: list[bytes]) -> Reply:
    """Answer an event's samples, oldest first; none of an event that there isn't."""
    event = session.node.monitors.latency.events.get(_name(args[2]))
    return [] if event is None else [[sample.time_s, sample.latency_ms] for sample in event.samples]


def on_graph(session: Session, args: list[bytes]) -> Reply:
    """Draw an event's newest samples."""
    name = _name(args[2])
    event = session.node.monitors.latency.events.get(name)
    if event is None:
        return Error(f"ERR No samples available for event '{printable(args[2])}'")
    return Verbatim(graph_of(name, event, now_s=session.node.now_us() // 1_000_000).encode())


def on_reset(session: Session, args: list[bytes]) -> Reply:
    """Forget some events, or all; answer how many there were."""
    return session.node.monitors.latency.reset([_name(arg) for arg in args[2:]])


def on_doctor(session: Session, _args: list[bytes]) -> Reply:
    """Say what was observed, and what to do about it."""
    return Verbatim(diagnosis_of(session.node.monitors.latency).encode())


def on_histogram(session: Session, args: list[bytes]) -> Reply:
    """Answer how many measurements of a command took less than so many microseconds.

    `calls` is the number of measurements. Commands that were never measured are left out, unknown ones too.
    """
    timings = session.node.monitors.timings
    names = timings if len(args) == 2 else _names(session.node.commands, args[2:])
    return {
        name: {b"calls": timings[name].count, b"histogram_usec": dict(timings[name].cumulated())}
        for name in names
        if name in timings and timings[name].count
    }


def _names(table: CommandTable, words: Iterable[bytes]) -> Iterator[bytes]:
    """The full names of the commands asked for, of a container those of all its sub-commands."""
    for word in words:
        spec = table.find(word.lower().split(b"|", 1))
        if spec is not None:
            yield spec.name
            yield from (row.name for row in spec.subcommands.values())


def _name(arg: bytes) -> str:
    return arg.decode("utf-8", "surrogateescape")


def _row(
    word: bytes,
    arity: int,
    handler: Handler,
    docs: CommandDocs,
    *,
    tips: tuple[str, ...] = (
        "nondeterministic_output",
        "request_policy:all_nodes",
        "response_policy:special",
    ),
) -> CommandSpec:
    return admin_row(b"latency|" + word, arity, handler, docs, more_flags=frozenset({"noscript"}), tips=tips)


def _docs(summary: str, *arguments: Argument, complexity: str = "O(1)", since: str = "2.8.13") -> CommandDocs:
    return CommandDocs(summary, since, "server", complexity, arguments)


_EVENT = Argument("event", "string")
_PER_COMMAND = "O(N) where N is the number of commands with latency information being retrieved."

COMMANDS: tuple[CommandSpec, ...] = (
    container(
        b"latency",
        _docs("A container for latency diagnostics commands.", complexity="Depends on subcommand."),
        (
            _row(b"doctor", 2, on_doctor, _docs("Returns a human-readable latency analysis report.")),
            _row(b"graph", 3, on_graph, _docs("Returns a latency graph for an event.", _EVENT)),
            _row(
                b"histogram",
                -2,
                on_histogram,
                _docs(
                    "Returns the cumulative distribution of latencies of a subset or all commands.",
                    Argument("command", "string", flags=("optional", "multiple")),
                    complexity=_PER_COMMAND,
                    since="7.0.0",
                ),
            ),
            _row(b"history", 3, on_history, _docs("Returns timestamp-latency samples for an event.", _EVENT)),
            _row(b"latest", 2, on_latest, _docs("Returns the latest latency samples for all events.")),
            _row(
                b"reset",
                -2,
                on_reset,
                _docs(
                    "Resets the latency data for one or more events.",
                    Argument("event", "string", flags=("optional", "multiple")),
                ),
                tips=("request_policy:all_nodes", "response_policy:agg_sum"),
            ),
        ),
        help_since="2.8.13",
    ),
)
