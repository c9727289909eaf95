"""What watches one node's speed: its stopwatches, slow log, events of latency and the lateness of its tick.

Owns what is observed; whoever shows it asks `View`. Knows nothing of the group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from raftkv.commands.monitors import LatencyMonitor, Monitors, SlowLog
from raftkv.commands.table import CommandTable
from raftkv.config import Config
from raftkv.node.clock import Clock
from raftkv.node.pulse import LoopLag
from raftkv.node.stopwatch import Stopwatch

#: Ticks between two samples of INFO's rates: a second.
_TICKS_PER_SAMPLE: Final = 100


class Observer:
    """One node's, from its start on."""

    def __init__(self, clock: Clock, config: Config, *, tick_ns: int) -> None:
        self._clock = clock
        self.monitors = Monitors(
            SlowLog(count_max=config.slowlog_count_max),
            LatencyMonitor(threshold_ms=config.latency_threshold_ms),
        )
        self.stopwatch = Stopwatch(self.monitors, clock, config)
        self.loop_lag = LoopLag(tick_ns=tick_ns, now_ns=clock.now_ns())
        self._ticks_count = 0

    def attach(self, *tables: CommandTable) -> None:
        """Put stopwatches on the commands of these tables; ticks begin soon."""
        for table in tables:
            self.stopwatch.attach(table)
        self.await_tick()

    def adopt(self, config: Config) -> None:
        """Go by these settings from now on."""
        self.stopwatch.adopt(config)

    def on_tick(self) -> bool:
        """Note a tick; say whether it is time for a sample of the rates."""
        self.note("event-loop", self.loop_lag.on_tick(self._clock.now_ns()))
        self.stopwatch.on_tick()
        self._ticks_count += 1
        return self._ticks_count % _TICKS_PER_SAMPLE == 0

    def await_tick(self) -> None:
        """Note that the next tick is asked for now."""
        self.loop_lag.await_next(self._clock.now_ns())

    def note(self, event: str, took_ns: int) -> None:
        """Tell LATENCY that something took so long."""
        latency = self.monitors.latency
        if latency.threshold_ms:
            latency.note(event, took_ns // 1_000_000, time_s=self._clock.wall_ms() // 1000)

    def watched(
        self, event: str, work: Callable[[], None], *, tell: Callable[[Callable[[], None]], object]
    ) -> Callable[[], None]:
        """The same work, for a thread of its own; `tell` runs a callback on the loop's thread."""

        def watched() -> None:
            began_ns = self._clock.now_ns()
            work()
            took_ns = self._clock.now_ns() - began_ns
            if 0 < self.monitors.latency.threshold_ms <= took_ns // 1_000_000:
                tell(lambda: self.note(event, took_ns))

        return watched
