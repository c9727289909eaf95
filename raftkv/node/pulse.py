"""How punctual the event loop is, and how much is done per second: INFO's view of a node's health.

Fed by the node's tick; knows nothing of what is done in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Of "recent" lateness: an interval, which the running one is compared with.
_INTERVAL_NS: Final = 10_000_000_000


class LoopLag:
    """By how much the ticks come late: whatever keeps the loop from them, keeps every client waiting."""

    __slots__ = (
        "_due_ns",
        "_interval_end_ns",
        "_last_interval_ns",
        "_running_ns",
        "_tick_ns",
        "latest_ns",
        "worst_ns",
    )

    def __init__(self, *, tick_ns: int, now_ns: int) -> None:
        self._tick_ns = tick_ns
        self._due_ns = now_ns + tick_ns
        self.latest_ns = 0
        #: Since the start or `reset`.
        self.worst_ns = 0
        #: Worst of the interval before the present one, and of the present one so far.
        self._last_interval_ns = self._running_ns = 0
        self._interval_end_ns = now_ns + _INTERVAL_NS

    @property
    def recent_worst_ns(self) -> int:
        """The worst of the last ten to twenty seconds."""
        return max(self._last_interval_ns, self._running_ns)

    def on_tick(self, now_ns: int) -> int:
        """Note a tick that runs now; say by how much it is late."""
        late_ns = self.latest_ns = max(0, now_ns - self._due_ns)
        if now_ns >= self._interval_end_ns:
            self._last_interval_ns, self._running_ns = self._running_ns, 0
            self._interval_end_ns = now_ns + _INTERVAL_NS
        self._running_ns = max(self._running_ns, late_ns)
        self.worst_ns = max(self.worst_ns, late_ns)
        return late_ns

    def await_next(self, now_ns: int) -> None:
        """Note that the next tick is asked for, the work of this one being done."""
        self._due_ns = now_ns + self._tick_ns

    def reset(self) -> None:
        """Forget what was (redis CONFIG RESETSTAT)."""
        self.worst_ns = self._last_interval_ns = self._running_ns = 0


@dataclass(slots=True)
class Totals:
    """What a node has done since its start."""

    commands_count: int = 0
    input_bytes: int = 0
    output_bytes: int = 0


class Rates:
    """How much was done per second between the last two samples."""

    __slots__ = ("_before", "_sampled_ns", "per_second")

    def __init__(self, now_ns: int) -> None:
        self._before = Totals()
        self._sampled_ns = now_ns
        self.per_second = Totals()

    def sample(self, now_ns: int, totals: Totals) -> None:
        """Take the totals as of now; about once a second."""
        before, elapsed_ns = self._before, max(1, now_ns - self._sampled_ns)
        self.per_second = Totals(
            commands_count=(totals.commands_count - before.commands_count) * 1_000_000_000 // elapsed_ns,
            input_bytes=(totals.input_bytes - before.input_bytes) * 1_000_000_000 // elapsed_ns,
            output_bytes=(totals.output_bytes - before.output_bytes) * 1_000_000_000 // elapsed_ns,
        )
        self._before, self._sampled_ns = totals, now_ns
