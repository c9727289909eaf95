"""Rules of `raftkv.raft.quorum`, against implementations that follow the definition word by word."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raftkv.raft.quorum import LOST, PENDING, WON, VoteResult, quorum_value, vote_result

VALUES = st.lists(st.integers(min_value=0, max_value=12), min_size=1, max_size=7)


def defined_quorum_value(values: list[int]) -> int:
    reached = []
    for candidate in values:
        count = sum(1 for value in values if value >= candidate)
        if 2 * count > len(values):
            reached.append(candidate)
    return max(reached)


def defined_vote_result(votes: list[bool], voter_count: int) -> VoteResult:
    """Try every way in which the missing voters may answer."""
    missing = voter_count - len(votes)
    outcomes = {2 * (sum(votes) + more) > voter_count for more in range(missing + 1)}
    if outcomes == {True}:
        return WON
    return LOST if outcomes == {False} else PENDING


@given(VALUES)
def test_a_quorum_value_is_the_largest_that_a_majority_reached(values: list[int]) -> None:
    """Raft Figure 2, Rules for Servers, Leaders: "a majority of matchIndex[i] >= N"."""
    assert quorum_value(list(values)) == defined_quorum_value(values)


def test_a_quorum_value_of_an_even_group_needs_more_than_half() -> None:
    """Raft §5.2: a majority of four is three."""
    assert quorum_value([9, 9, 4, 1]) == 4


@given(st.lists(st.booleans(), max_size=7), st.integers(min_value=1, max_value=7))
def test_an_election_is_won_or_lost_as_soon_as_it_is_certain(votes: list[bool], voter_count: int) -> None:
    """Raft §5.2: votes from a majority of the full cluster."""
    votes = votes[:voter_count]
    assert vote_result(votes, voter_count) is defined_vote_result(votes, voter_count)
