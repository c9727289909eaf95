"""Measures how long commands take, by exchanging rows of the command tables for ones with a stopwatch.

A call and two looks at the clock take as long as a GET, and a histogram as long again. So not every command
carries a stopwatch at all times:

* Commands whose cost grows with their data (not O(1) by their row, nor flagged "fast") are watched all the
  time, but only for whether they are slow.
* All others, the bulk of all traffic, are watched while the slow log is to keep what takes less than a
  millisecond.
* During one tick in a hundred all commands are, and their times go into the histograms: a sample for INFO
  and LATENCY HISTOGRAM. This costs a quarter of a percent.

So at the usual settings a fast command gets into the slow log by chance alone. What keeps the loop that long
is still seen: as loop lag, and as LATENCY's event `event-loop`.

Knows nothing of routes: a handler is given what it is given. Only measures; what a handler returns or raises
passes through, and what raised is not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, Final

from raftkv.commands.monitors import Monitors, Timing
from raftkv.commands.session import Session
from raftkv.commands.table import Awaited, CommandSpec, CommandTable, Sliced
from raftkv.config import Config
from raftkv.node.clock import Clock
from raftkv.resp.replies import Reply

#: Thresholds below it ask for all commands to be measured.
_THOROUGH_BELOW_US: Final = 1000
#: One tick in so many is a sample.
_TICKS_PER_SAMPLE: Final = 100
_NEVER_NS: Final = 1 << 63
#: Commands whose arguments are nobody's business (redis redactClientCommandArgument).
_SECRETIVE: Final = frozenset({b"auth", b"hello", b"acl|setuser", b"migrate"})
_REDACTED: Final = b"(redacted)"


class Stopwatch:
    """The stopwatches of all commands of one node."""

    def __init__(self, monitors: Monitors, clock: Clock, config: Config) -> None:
        self._monitors = monitors
        self._clock = clock
        self._tables: list[CommandTable] = []
        #: By name: rows as they are most of the time, and with histograms.
        self._usual_rows: dict[bytes, CommandSpec] = {}
        self._sampled_rows: dict[bytes, CommandSpec] = {}
        self._is_sampling = False
        self._ticks_count = 0
        self.adopt(config)

    def attach(self, table: CommandTable) -> None:
        """Put stopwatches on a table's commands, which may be those of an earlier one."""
        for spec in list(table):
            if spec.acl_categories:  # the machine's own has none
                self._usual_rows[spec.name] = self._watched(spec) if _may_be_slow(spec) else spec
                self._sampled_rows[spec.name] = self._sampled(spec)
        self._tables.append(table)
        table.exchange(self._sampled_rows if self._is_sampling else self._usual_rows)

    def adopt(self, config: Config) -> None:
        """Go by these settings from now on."""
        slower_than_us = config.slowlog_slower_than_us
        self._slow_ns = _NEVER_NS if slower_than_us < 0 else min(slower_than_us * 1000, _NEVER_NS)
        latency_ms = config.latency_threshold_ms
        self._alert_ns = min(self._slow_ns, latency_ms * 1_000_000 if latency_ms else _NEVER_NS)
        self._is_thorough = 0 <= slower_than_us < _THOROUGH_BELOW_US
        self._monitors.slowlog.resize(config.slowlog_count_max)
        self._monitors.latency.threshold_ms = latency_ms
        self._sample(self._is_thorough)

    def on_tick(self) -> None:
        """Begin or end a sample when it is time to."""
        self._ticks_count += 1
        self._sample(self._is_thorough or self._ticks_count % _TICKS_PER_SAMPLE == 0)

    def _sample(self, is_wanted: bool) -> None:
        """Let the tables have the rows with histograms, or the usual ones."""
        if is_wanted is not self._is_sampling:
            self._is_sampling = is_wanted
            for table in self._tables:
                table.exchange(self._sampled_rows if is_wanted else self._usual_rows)

    # -- one row ----------------------------------------------------------------------------

    def _watched(self, spec: CommandSpec) -> CommandSpec:
        """The row with a stopwatch that only tells what is slow."""
        handler, now_ns = spec.handler, self._clock.now_ns

        def watched(owner: Any, args: list[bytes]) -> Reply | Sliced | Awaited:
            began_ns = now_ns()
            reply = handler(owner, args)
            duration_ns = now_ns() - began_ns
            if type(reply) is Sliced:
                reply.work = self._timed_work(
                    reply.work, duration_ns, lambda total_ns: self._judge(spec, owner, args, total_ns)
                )
            elif duration_ns >= self._alert_ns:
                self._alert(spec, owner, args, duration_ns)
            return reply

        subcommands = {word: self._watched(row) for word, row in spec.subcommands.items()}
        return replace(spec, handler=watched, subcommands=subcommands)

    def _sampled(self, spec: CommandSpec) -> CommandSpec:
        """The row with a stopwatch that also keeps the times."""
        handler, now_ns = spec.handler, self._clock.now_ns
        timing = self._monitors.timings.setdefault(spec.name, Timing())

        def sampled(owner: Any, args: list[bytes]) -> Reply | Sliced | Awaited:
            began_ns = now_ns()
            reply = handler(owner, args)
            duration_ns = now_ns() - began_ns

            def note(total_ns: int) -> None:
                timing.add(total_ns)
                self._judge(spec, owner, args, total_ns)

            if type(reply) is Sliced:
                reply.work = self._timed_work(reply.work, duration_ns, note)
            else:
                note(duration_ns)
            return reply

        subcommands = {word: self._sampled(row) for word, row in spec.subcommands.items()}
        return replace(spec, handler=sampled, subcommands=subcommands)

    def _timed_work(
        self, work: Generator[None, None, Reply], duration_ns: int, note: Callable[[int], None]
    ) -> Generator[None, None, Reply]:
        """The same work; `note` is told how long its pieces took, together with what came before them."""
        now_ns = self._clock.now_ns
        while True:
            began_ns = now_ns()
            try:
                next(work)
            except StopIteration as stop:
                note(duration_ns + now_ns() - began_ns)
                return stop.value  # type: ignore[no-any-return]  # a generator's value is not typed
            duration_ns += now_ns() - began_ns
            yield

    def _judge(self, spec: CommandSpec, owner: object, args: list[bytes], duration_ns: int) -> None:
        if duration_ns >= self._alert_ns:
            self._alert(spec, owner, args, duration_ns)

    def _alert(self, spec: CommandSpec, owner: object, args: list[bytes], duration_ns: int) -> None:
        """Note what took long; `owner` is what its handler was given."""
        time_s = self._clock.wall_ms() // 1000
        event = "fast-command" if "fast" in spec.flags else "command"
        self._monitors.latency.note(event, duration_ns // 1_000_000, time_s=time_s)
        if duration_ns < self._slow_ns or "skip_slowlog" in spec.flags:
            return
        session = owner if isinstance(owner, Session) else None
        self._monitors.slowlog.note(
            [args[0], *[_REDACTED] * (len(args) - 1)] if spec.name in _SECRETIVE else args,
            time_s=time_s,
            duration_us=duration_ns // 1000,
            address="" if session is None else session.address,
            client_name=b"" if session is None else session.name,
        )


def _may_be_slow(spec: CommandSpec) -> bool:
    """Whether a command is watched all the time; containers are for their sub-commands."""
    is_fast = "fast" in spec.flags or spec.docs.complexity.startswith("O(1)")
    return bool(spec.subcommands) or not is_fast
