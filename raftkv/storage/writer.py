"""Work for the disk on a thread of its own, so that the event loop never waits for it.

Group commit: one sync is in flight, all that is asked for meanwhile is covered by the next one. Knows
nothing of what is synced, of Raft or of asyncio; callbacks come on the thread.

Invariants:
* A ticket is reported only after a sync that began after it was requested.
* After a failure nothing is ever synced again: the kernel may have dropped the pages that it could not
  write, and a second fsync would report success.

How the request is handed over, and what `sys.setswitchinterval` does to it (2 cores, a sync of 0.36 ms,
an event loop that computes without a pause in turns of 1 ms; the time from the request to its report on
the loop, and the time that the request takes from the loop, medians in us):

    switch interval     5 ms     0.5 ms   0.1 ms   0.02 ms  | request
    Condition           3087     2075     1037     1027     | 12-25
    SimpleQueue         3071     2055     1023     1023     |  9-17
    pair of Locks       3079     2053     1023     1025     | 10-16
    eventfd             2045     1023     1024     1024     | 16-18

The thread waits for the GIL twice, each time for up to the interval: before the sync and after it. At
0.1 ms both fit into the turn. (eventfd gives up the GIL while it writes, which saves the first wait and
makes each request dearer.) So: a SimpleQueue, and the process sets the interval to 0.1 ms.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from raftkv.storage.errors import StorageFailure

#: What a process with a SyncWriter should hand to `sys.setswitchinterval`; see above.
SWITCH_INTERVAL_SECONDS = 0.0001


class SyncWriter:
    """One thread that syncs when asked to; the newest ticket speaks for all before it."""

    def __init__(
        self,
        sync: Callable[[], None],
        *,
        on_synced: Callable[[int], None],
        on_failure: Callable[[BaseException], None],
        name: str = "sync",
    ) -> None:
        """Start the thread. Both callbacks come on it: `on_synced` after each sync, `on_failure` once.

        A report that raises counts as a failure.
        """
        self._sync = sync
        self._on_synced = on_synced
        self._on_failure = on_failure
        #: Tickets; None only wakes the thread.
        self._requests: SimpleQueue[int | None] = SimpleQueue()
        self._is_closing = False
        self._failure: StorageFailure | None = None
        # A daemon: a process that is stopping over a failure must not wait for a disk that hangs.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def request(self, ticket: int) -> None:
        """Ask for a sync of what was written before; tickets rise. From any thread.

        Raises StorageFailure after a sync has failed.
        """
        if self._failure is not None:
            raise self._failure
        self._requests.put(ticket)

    def close(self) -> None:
        """Finish what was requested, then end the thread. Nothing may be requested afterwards."""
        self._is_closing = True
        self._requests.put(None)
        self._thread.join()

    def _run(self) -> None:
        requests = self._requests
        while True:
            newest = requests.get()
            while not requests.empty():
                ticket = requests.get()
                newest = newest if ticket is None else ticket
            if newest is not None and not self._sync_once(newest):
                return
            if self._is_closing and requests.empty():
                return

    def _sync_once(self, ticket: int) -> bool:
        try:
            self._sync()
            # In here as well: whoever waits for a report that got lost would wait for ever.
            self._on_synced(ticket)
        except BaseException as error:  # noqa: BLE001 - reported, whatever it is: the thread is the last to know
            self._failure = error if isinstance(error, StorageFailure) else StorageFailure("sync", error)
            self._on_failure(self._failure)
            return False
        return True


class Flusher:
    """Runs flushes of the state one at a time, off the event loop."""

    def __init__(
        self, flush: Callable[[], None], *, on_failure: Callable[[BaseException], None], name: str = "flush"
    ) -> None:
        """Start the thread. `on_failure` comes on it, once; no flush is tried after it."""
        #: Tickets with whom to tell, oldest first.
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._newest = 0
        self._writer = SyncWriter(flush, on_synced=self._on_flushed, on_failure=on_failure, name=name)

    def request(self, on_done: Callable[[], None]) -> None:
        """Have `on_done` called, on the flusher's thread, after a flush that begins from now on.

        From one thread. Raises StorageFailure after a flush has failed.
        """
        self._newest += 1
        self._waiting.append((self._newest, on_done))
        self._writer.request(self._newest)

    def close(self) -> None:
        """Finish what was requested, then end the thread. Nothing may be requested afterwards."""
        self._writer.close()

    def _on_flushed(self, ticket: int) -> None:
        while self._waiting and self._waiting[0][0] <= ticket:
            _, on_done = self._waiting.popleft()
            on_done()
