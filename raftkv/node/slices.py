"""Long reads, a few milliseconds at a time, so that they hold up nobody.

Knows nothing of what they read: their views of the rows were taken before they came here.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from raftkv.commands.table import Sliced
from raftkv.node.clock import Clock
from raftkv.resp.replies import Error, Reply
from raftkv.rows import RowStoreFailure

log = logging.getLogger(__name__)

_INTERNAL_ERROR: Final = Error("ERR internal error")
_ABANDONED: Final = Error("TRYAGAIN the data was replaced by a snapshot while it was read")


@dataclass(slots=True)
class _LongRead:
    sliced: Sliced
    steps: Iterator[None]
    done: Callable[[Reply], None]


class LongReads:
    """The long reads of one group, which take turns."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reads: deque[_LongRead] = deque()

    def __len__(self) -> int:
        return len(self._reads)

    def begin(self, sliced: Sliced, done: Callable[[Reply], None]) -> None:
        """Take a long read; `done` gets its reply."""
        self._reads.append(_LongRead(sliced, sliced.steps(), done))

    def abandon(self) -> None:
        """End them all with an error: what they read is no more."""
        while self._reads:
            self._reads.popleft().done(_ABANDONED)

    def run(self, slice_ms: int) -> None:
        """Give the one that has waited longest a slice of time. Raises RowStoreFailure."""
        read = self._reads.popleft()
        end_ns = self._clock.now_ns() + slice_ms * 1_000_000
        try:
            for _ in read.steps:
                if self._clock.now_ns() > end_ns:
                    self._reads.append(read)
                    return
            reply = read.sliced.result
        except (MemoryError, RowStoreFailure):
            raise
        except Exception:  # a defect, but this command's alone
            log.exception("a long read failed")
            reply = _INTERNAL_ERROR
        read.done(reply)
