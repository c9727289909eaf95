"""What a majority has reached, and whether a majority agrees (Raft §5.2, §5.4.2; joint: §6).

Knows nothing of logs, terms or nodes: plain numbers and votes go in. The tests hold it against a
second, slow implementation that is written from the definition.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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


def joint_value(values: Mapping[int, int], halves: Collection[tuple[int, ...]]) -> int:
    """Return the largest number that a majority of each of the `halves`, not empty, has reached."""
    return min([quorum_value([values[voter] for voter in voters]) for voters in halves])


def joint_vote_result(votes: Mapping[int, bool], halves: Collection[tuple[int, ...]]) -> VoteResult:
    """Tell where an election stands in which each of the `halves`, not empty, must agree by itself."""
    results = [
        vote_result([votes[voter] for voter in voters if voter in votes], len(voters)) for voters in halves
    ]
    if LOST in results:
        return LOST
    return PENDING if PENDING in results else WON
