"""What `raftkv.raft.quorum` computes, a second time: slowly, and word by word as the paper defines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from raftkv.raft.quorum import LOST, PENDING, WON, VoteResult


def has_majority(voters: Sequence[int], agreeing: set[int]) -> bool:
    """Tell whether more than half of the voters agree (Raft §5.2)."""
    return 2 * len([voter for voter in voters if voter in agreeing]) > len(voters)


def defined_value(reached: Mapping[int, int], halves: Sequence[Sequence[int]]) -> int:
    """Return the largest number that majorities of all halves have reached (Raft Figure 2; §6)."""
    candidates = {number for voters in halves for number in (reached[voter] for voter in voters)}
    return max(
        number
        for number in candidates
        if all(
            has_majority(voters, {each for each in voters if reached[each] >= number}) for voters in halves
        )
    )


def defined_vote_result(votes: Mapping[int, bool], halves: Sequence[Sequence[int]]) -> VoteResult:
    """Try every way in which the silent voters may answer yet (Raft §5.2; §6)."""
    silent = sorted({voter for voters in halves for voter in voters} - votes.keys())
    outcomes = set()
    for answers in product((False, True), repeat=len(silent)):
        all_votes = {**votes, **dict(zip(silent, answers, strict=True))}
        granting = {voter for voter, is_granted in all_votes.items() if is_granted}
        outcomes.add(all(has_majority(voters, granting) for voters in halves))
    if outcomes == {True}:
        return WON
    return LOST if outcomes == {False} else PENDING
