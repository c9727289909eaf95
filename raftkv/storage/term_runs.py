"""The terms of a log's entries as runs: where each term begins. One run per leader that ever wrote.

Knows nothing of disks; the log tells it what happens to its ends. Invariant: starts rise, terms rise.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from raftkv.raft.types import Entry


class TermRuns:
    """The terms of a range of entries without a gap."""

    __slots__ = ("_starts", "_terms")

    def __init__(self, first: int, end: int, term_of: Callable[[int], int]) -> None:
        """Find where each term of [first, end) begins by bisection: a million entries have few terms."""
        self._starts: list[int] = []
        self._terms: list[int] = []
        while first < end:
            term = term_of(first)
            self._starts.append(first)
            self._terms.append(term)
            if term_of(end - 1) == term:
                return
            first += bisect_right(range(first, end), term, key=term_of)

    def term_at(self, index: int) -> int:
        """Give the term of an entry that is there."""
        return self._terms[bisect_right(self._starts, index) - 1]

    def replace_from(self, entries: Sequence[Entry]) -> None:
        """Note that these, at least one, stand at their places now, and nothing behind them."""
        kept = bisect_left(self._starts, entries[0].index)
        del self._starts[kept:], self._terms[kept:]
        for entry in entries:
            if not self._terms or self._terms[-1] != entry.term:
                self._starts.append(entry.index)
                self._terms.append(entry.term)

    def drop_below(self, first: int) -> None:
        """Note that the entries below `first` are gone; the one at `first` is there."""
        position = bisect_right(self._starts, first) - 1
        del self._starts[:position], self._terms[:position]
        self._starts[0] = first

    def clear(self) -> None:
        """Note that all entries are gone."""
        self._starts.clear()
        self._terms.clear()
