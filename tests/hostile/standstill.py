"""Notices when the whole machine stood still: a virtual one that is paused, or has no time for its guests.

Nodes that find that much time has passed elect a leader, as they should; no storm is to blame for that.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

_LOOK_SECONDS = 0.02
#: Less than an election timeout.
_GAP_SECONDS_MIN = 0.35


class StandstillWatch:
    """A thread that does nothing but look at the clock, from `__enter__` to `__exit__`."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="standstill")
        #: How often it happened.
        self.count = 0

    def __enter__(self) -> StandstillWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(_LOOK_SECONDS):
            now = time.monotonic()
            self.count += now - last > _GAP_SECONDS_MIN
            last = now
