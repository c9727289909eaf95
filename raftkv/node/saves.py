"""Flushes of the state to disk, asked for by SAVE and its like or due by themselves, and when they ended.

Knows nothing of what is flushed. Flushes end on a thread of their own; all else belongs to the loop's.

Invariant: `_done` <= `_asked`, and whoever asked is done once `_done` has reached the number it got.
"""

from __future__ import annotations

from collections.abc import Callable

from raftkv.commands.session import SaveStatus
from raftkv.node.clock import Clock


class Saves:
    """The flushes of one group's state."""

    def __init__(
        self,
        request: Callable[[Callable[[], None]], None],
        clock: Clock,
        *,
        on_flushed: Callable[[], object] = lambda: None,
    ) -> None:
        """`request(on_done)` asks for a flush that begins from now on; `on_done` may come on any thread.

        `on_flushed` is called there too, after each flush.
        """
        self._on_flushed = on_flushed
        self._request = request
        self._clock = clock
        self._asked = self._done = 0
        self._began_ns = 0
        self._ended_s = clock.wall_ms() // 1000
        self._took_ns: int | None = None

    def begin(self) -> Callable[[], bool]:
        """Ask for a flush of all that is applied by now; what is given tells whether it is done."""
        if self._done == self._asked:
            self._began_ns = self._clock.now_ns()
        self._asked += 1
        number = self._asked
        self._request(lambda: self._on_done(number))
        return lambda: self._done >= number

    def status(self) -> SaveStatus:
        """A fresh look."""
        is_under_way = self._done < self._asked
        return SaveStatus(
            last_time_s=self._ended_s,
            count=self._done,
            last_took_s=None if self._took_ns is None else self._took_ns // 1_000_000_000,
            under_way_s=(self._clock.now_ns() - self._began_ns) // 1_000_000_000 if is_under_way else None,
        )

    def _on_done(self, number: int) -> None:
        """On the flusher's thread, in the order of the numbers."""
        now_ns = self._clock.now_ns()
        self._took_ns = now_ns - self._began_ns
        self._began_ns = now_ns  # of the next, if one waits
        self._ended_s = self._clock.wall_ms() // 1000
        self._done = number
        self._on_flushed()
