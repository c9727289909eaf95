"""How long a system is without a leader: from kill -9 of the old one to the first write elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from benchmarks.systems.system import System

#: Seconds after which no survivor is expected to serve any more.
_SECONDS_MAX = 60.0
#: Seconds between two tries at one process.
_TRY_SECONDS = 0.005


def takeover_seconds(system: System, *, times: int) -> list[float]:
    """Kill the leader that often, each time out of a system that is whole. The system must be awake."""
    found: list[float] = []
    for _ in range(times):
        system.wait_until_whole()
        leader, *others = system.members().values()
        writers = [other.writer() for other in others]
        begin = time.monotonic()
        leader.kill()
        found.append(_first_write(writers) - begin)
        leader.start()
    system.wait_until_whole()
    return found


def _first_write(writers: Sequence[Callable[[], bool]]) -> float:
    """Try all at once until one is acknowledged; return when that was."""
    acknowledged: list[float] = []
    is_over = threading.Event()

    def keep_trying(writer: Callable[[], bool]) -> None:
        while not is_over.is_set():
            if writer():
                acknowledged.append(time.monotonic())
                is_over.set()
            is_over.wait(_TRY_SECONDS)

    threads = [threading.Thread(target=keep_trying, args=(writer,), daemon=True) for writer in writers]
    for thread in threads:
        thread.start()
    is_served = is_over.wait(_SECONDS_MAX)
    is_over.set()
    if not is_served:
        raise RuntimeError(f"nobody acknowledged a write within {_SECONDS_MAX:g} s")
    for thread in threads:
        thread.join()
    return min(acknowledged)
