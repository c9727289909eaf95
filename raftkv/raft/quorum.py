"""What a majority has reached, and whether a majority agrees (Raft §5.2, §5.4.2).

Knows nothing of logs, terms or nodes: plain numbers and votes go in. The tests hold it against a
second, slow implementation that is written from the definition.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum


class VoteResult(IntEnum):
    """Where an election stands."""

    PENDING = 0
    WON = 1
    LOST = 2


PENDING = VoteResult.PENDING
WON = VoteResult.WON
LOST = VoteResult.LOST


def quorum_value(values: list[int]) -> int:
    """Return the largest number that a majority of `values`, one for each voter, has reached.

    Sorts `values` in place.
    """
    values.sort()
    return values[(len(values) - 1) // 2]


def vote_result(votes: Collection[bool], voter_count: int) -> VoteResult:
    """Tell where an election of `voter_count` voters stands; `votes` are the answers so far."""
    majority = voter_count // 2 + 1
    granted = sum(votes)
    if granted >= majority:
        return WON
    denied = len(votes) - granted
    return LOST if voter_count - denied < majority else PENDING
