"""Rules of `raftkv.raft.quorum`, against implementations that follow the definition word by word."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raftkv.raft.quorum import (
    LOST,
    PENDING,
    WON,
    joint_value,
    joint_vote_result,
    quorum_value,
    vote_result,
)
from tests.raft.quorum_definition import defined_value, defined_vote_result

VALUES = st.lists(st.integers(min_value=0, max_value=12), min_size=1, max_size=7)
VOTERS = st.sets(st.integers(1, 7), min_size=1, max_size=5).map(lambda ids: tuple(sorted(ids)))
HALVES = st.one_of(st.tuples(VOTERS), st.tuples(VOTERS, VOTERS))
#: What each of the nodes has reached, and how each answered, None: not yet; strangers' answers among them.
REACHED = st.fixed_dictionaries({node_id: st.integers(0, 9) for node_id in range(1, 8)})
ANSWERS = st.fixed_dictionaries({node_id: st.sampled_from([True, False, None]) for node_id in range(1, 9)})


@given(VALUES)
def test_a_quorum_value_is_the_largest_that_a_majority_reached(values: list[int]) -> None:
    """Raft Figure 2, Rules for Servers, Leaders: "a majority of matchIndex[i] >= N"."""
    reached = dict(enumerate(values))
    assert quorum_value(list(values)) == defined_value(reached, [list(reached)])


def test_a_quorum_value_of_an_even_group_needs_more_than_half() -> None:
    """Raft §5.2: a majority of four is three."""
    assert quorum_value([9, 9, 4, 1]) == 4


@given(st.lists(st.booleans(), max_size=7), st.integers(min_value=1, max_value=7))
def test_an_election_is_won_or_lost_as_soon_as_it_is_certain(votes: list[bool], voter_count: int) -> None:
    """Raft §5.2: votes from a majority of the full cluster."""
    votes = votes[:voter_count]
    defined = defined_vote_result(dict(enumerate(votes)), [range(voter_count)])
    assert vote_result(votes, voter_count) is defined


@given(REACHED, HALVES)
def test_a_joint_value_is_the_largest_that_each_half_reached(
    reached: dict[int, int], halves: tuple[tuple[int, ...], ...]
) -> None:
    """Raft §6: agreement requires separate majorities of the old and of the new voters."""
    assert joint_value(reached, halves) == defined_value(reached, halves)


@given(ANSWERS, HALVES)
def test_a_joint_election_is_won_or_lost_as_soon_as_it_is_certain(
    answers: dict[int, bool | None], halves: tuple[tuple[int, ...], ...]
) -> None:
    """Raft §6: each half must be won by itself; who votes in neither counts nothing."""
    votes = {node_id: answer for node_id, answer in answers.items() if answer is not None}
    ours = {node_id: vote for node_id, vote in votes.items() if any(node_id in half for half in halves)}
    assert joint_vote_result(votes, halves) is defined_vote_result(ours, halves)


def test_two_equal_halves_count_as_one() -> None:
    """Raft §6."""
    voters = (1, 2, 3)
    reached = {1: 5, 2: 6, 3: 7}
    assert joint_value(reached, (voters, voters)) == joint_value(reached, (voters,)) == 6


def test_a_half_that_is_lost_loses_the_election_whatever_the_other_says() -> None:
    """Raft §6."""
    halves = ((1, 2), (3, 4))
    assert joint_vote_result({1: True, 2: True}, halves) is PENDING
    assert joint_vote_result({1: True, 2: True, 3: False}, halves) is LOST
    assert joint_vote_result({1: True, 2: True, 3: True, 4: True}, halves) is WON
