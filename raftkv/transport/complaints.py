"""Log lines about peers, each kind at most once in a while: a peer must not fill the disk.

Knows nothing of connections and reads no clock. Invariant: remembers at most `_KEYS_MAX` keys.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

_KEYS_MAX: Final = 256


class Complaints:
    """Writes a line unless one with the same key was written a short time ago."""

    def __init__(self, log: logging.Logger, *, interval_ms: int, clock_ns: Callable[[], int]) -> None:
        self._log = log
        self._interval_ns = interval_ms * 1_000_000
        self._clock_ns = clock_ns
        #: key -> when its last line was written; the oldest first.
        self._written_ns: dict[str, int] = {}
        #: key -> lines left out since.
        self._left_out: dict[str, int] = {}

    def warn(self, key: str, text: str) -> None:
        """Write `text` at WARNING."""
        self._write(logging.WARNING, key, text)

    def inform(self, key: str, text: str) -> None:
        """Write `text` at INFO."""
        self._write(logging.INFO, key, text)

    def _write(self, level: int, key: str, text: str) -> None:
        now_ns = self._clock_ns()
        written_ns = self._written_ns.pop(key, None)
        if written_ns is not None and now_ns - written_ns < self._interval_ns:
            self._written_ns[key] = written_ns
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return
        left_out = self._left_out.pop(key, 0)
        self._forget_oldest()
        self._written_ns[key] = now_ns
        self._log.log(level, "%s%s", text, f" ({left_out} more like this)" if left_out else "")

    def _forget_oldest(self) -> None:
        while len(self._written_ns) >= _KEYS_MAX:
            oldest = next(iter(self._written_ns))
            del self._written_ns[oldest]
            self._left_out.pop(oldest, None)
