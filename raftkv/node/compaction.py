"""Drops from the log what is durable in the state, but for a tail for followers that lag a little.

Told whenever the state was flushed. How much the log grew between two flushes is noted, so that the tail is
measured in bytes without reading anything. Knows nothing of snapshots but how much of the log they need.

Invariant: nothing is dropped that is not durable in the state, or that a snapshot on its way is followed by.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from raftkv.config import Config

log = logging.getLogger(__name__)


class CompactedLog(Protocol):
    """What is needed of `GroupLog`."""

    @property
    def first_index(self) -> int:
        """The oldest entry held; `last_index + 1` when there is none."""

    @property
    def last_index(self) -> int:
        """The newest entry held."""

    @property
    def appended_bytes(self) -> int:
        """Bytes of all rows written since this node started."""

    def compact(self, to_index: int) -> None:
        """Drop the entries up to `to_index`."""


class Compactor:
    """One group's log."""

    def __init__(
        self,
        group_log: CompactedLog,
        *,
        config: Config,
        durable_index: Callable[[], int],
        needed_index: Callable[[], int | None],
    ) -> None:
        """`durable_index()`: of the state; `needed_index()`: what follows must be kept; None: all may go."""
        #: Replaced as a whole when a setting changes.
        self.config = config
        self._log = group_log
        self._durable_index = durable_index
        self._needed_index = needed_index
        #: (last index, bytes written until then) at earlier flushes, oldest first.
        self._marks: deque[tuple[int, int]] = deque()

    def on_flushed(self) -> None:
        """Drop what need not be kept any more, now that more of the state is durable."""
        log_bytes = self._log.appended_bytes
        unneeded_index = 0
        while self._marks and log_bytes - self._marks[0][1] >= self.config.log_tail_bytes:
            unneeded_index = self._marks.popleft()[0]
        if not self._marks or self._marks[-1][1] != log_bytes:
            self._marks.append((self._log.last_index, log_bytes))
        self._drop_to(unneeded_index)

    @property
    def first_index(self) -> int:
        """The oldest entry that the log holds."""
        return self._log.first_index

    def drop_all(self, keep_count: int = 0) -> int:
        """Drop whatever may be dropped, the tail too, but the last entries; give the first index left."""
        self._drop_to(self._log.last_index - keep_count)
        return self._log.first_index

    def _drop_to(self, index: int) -> None:
        needed_index = self._needed_index()
        index = min(index, self._durable_index(), self._log.last_index)
        if needed_index is not None:
            index = min(index, needed_index)
        if index >= self._log.first_index:
            log.debug("the log is dropped up to index %d", index)
            self._log.compact(index)
