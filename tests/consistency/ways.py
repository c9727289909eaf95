"""What lies between the nodes, as faults see it: ways that can be cut and healed.

Knows nothing of how that is done; `relay` does it between processes of one machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Way:
    """What one node says to another."""

    sender: int
    to: int


def both_ways(one: int, other: int) -> tuple[Way, Way]:
    """Return what two nodes say to each other."""
    return Way(one, other), Way(other, one)


class Network(Protocol):
    """Carries what nodes say to each other."""

    def cut(self, ways: Iterable[Way], *, is_told: bool) -> None:
        """Let nothing pass on these ways; in silence, or senders are told that nobody is there."""

    def heal(self) -> None:
        """Let everything pass again."""
