"""Jobs for the disk that take their time, one after the other on a thread of their own.

For what nobody waits for with a reply in hand: digests, chunks of snapshots, the removal of old files.
Knows nothing of what the jobs do, or of asyncio; results are reported on the thread.

Invariant: jobs run in the order in which they were submitted; after one has failed no other runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

_Result = TypeVar("_Result")


class Worker:
    """One thread."""

    def __init__(self, *, on_failure: Callable[[BaseException], None], name: str) -> None:
        """Start it. `on_failure` comes on the thread, once, with what a job raised."""
        self._on_failure = on_failure
        #: None ends the thread.
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A daemon: a process that is stopping over a failure must not wait for a disk that hangs.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], _Result], on_done: Callable[[_Result], object]) -> None:
        """Have a job done, then `on_done` called on this thread with what it gave. From any thread."""

        def run() -> None:
            on_done(job())

        self._jobs.put(run)

    def close(self) -> None:
        """Finish what was submitted, then end the thread. Nothing may be submitted afterwards."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - reported, whatever it is: the thread is the last to know
                self._on_failure(error)
                return
