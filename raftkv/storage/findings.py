"""What an inspection of a data directory has found wrong: collected, and never too much of it.

Knows nothing of what is inspected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

#: Of one part, so many are told in words, and the others counted: one flipped byte can spoil 10,000 rows.
FINDINGS_MAX = 20

#: Told now and then how far a part has come: what it is, how many of how many; the total is an estimate.
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    #: FORMAT, IDENTITY, STATE, log, state or incoming.
    part: str
    text: str


class Findings:
    """All that is wrong so far."""

    def __init__(self) -> None:
        self._told: list[Finding] = []
        self._counts: Counter[str] = Counter()

    def add(self, part: str, text: str) -> None:
        """Take note of something wrong."""
        self._counts[part] += 1
        if self._counts[part] <= FINDINGS_MAX:
            self._told.append(Finding(part, text))

    def has(self, part: str) -> bool:
        """Tell whether something is wrong with a part."""
        return part in self._counts

    def all(self) -> list[Finding]:
        """Give what is told in words, with a line for each part of which there is more."""
        more = [
            Finding(part, f"and {count - FINDINGS_MAX} more")
            for part, count in self._counts.items()
            if count > FINDINGS_MAX
        ]
        return self._told + more
