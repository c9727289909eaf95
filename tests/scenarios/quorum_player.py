"""Plays the `quorum` scenarios: what majorities have reached and voted, drawn as tables.

    committed 1 2 3 and 3 4 with 1=7 2=5 3=6 4=2     the index that both halves have reached
    votes 1 2 3 with 1=yes 2=no                      where an election stands; who is not named is silent
    elections 1 2 and 2 3                            every way in which they can vote

Every answer of `raftkv.raft.quorum` is held against the definition.
"""

from __future__ import annotations

from itertools import product

from raftkv.raft.quorum import joint_value, joint_vote_result
from tests.raft.quorum_definition import defined_value, defined_vote_result, has_majority
from tests.scenarios.script import ScriptError

Halves = tuple[tuple[int, ...], ...]
_ANSWERS = {"yes": True, "no": False}
_MARKS = {True: "yes", False: "no", None: "-"}


class QuorumPlayer:
    """Carries out commands that have nothing to do with each other."""

    def play(self, words: list[str]) -> list[str]:
        """Carry out one command. Raises ScriptError."""
        verb, arguments = words[0], words[1:]
        if verb == "elections":
            return _elections(_halves(arguments))
        if verb not in ("committed", "votes") or "with" not in arguments:
            raise ScriptError(f"unknown command {verb}")
        place = arguments.index("with")
        halves = _halves(arguments[:place])
        answers = dict(pair.split("=") for pair in arguments[place + 1 :])
        if verb == "votes":
            return _votes(halves, {int(voter): _ANSWERS[answer] for voter, answer in answers.items()})
        return _committed(halves, {int(voter): int(index) for voter, index in answers.items()})


def _halves(words: list[str]) -> Halves:
    halves: list[list[int]] = [[]]
    for word in words:
        if word == "and":
            halves.append([])
        else:
            halves[-1].append(int(word))
    return tuple(tuple(voters) for voters in halves)


def _committed(halves: Halves, told: dict[int, int]) -> list[str]:
    """Draw who has reached which index; the marked line is the last that all halves' majorities have."""
    reached = {voter: told.get(voter, 0) for voters in halves for voter in voters}
    committed = joint_value(reached, halves)
    assert committed == defined_value(reached, halves), f"{committed} is not what the definition says"
    heads = "   ".join(" ".join(str(voter) for voter in voters) for voters in halves)
    lines = [f"index  {heads}"]
    for index in sorted(set(reached.values()), reverse=True):
        agreeing = {voter for voter in reached if reached[voter] >= index}
        cells = "   ".join(
            " ".join(("#" if voter in agreeing else ".").ljust(len(str(voter))) for voter in voters)
            for voters in halves
        )
        counts = " and ".join(
            f"{len(agreeing.intersection(voters))} of {len(voters)}"
            + ("" if has_majority(voters, agreeing) else " (too few)")
            for voters in halves
        )
        mark = f"  <- {'committed' if index else 'nothing is committed'}" if index == committed else ""
        lines.append(f"{index:5}  {cells}   {counts}{mark}")
    return lines


def _votes(halves: Halves, votes: dict[int, bool]) -> list[str]:
    lines = []
    for voters in halves:
        answers = ", ".join(f"{voter} {_MARKS[votes.get(voter)]}" for voter in voters)
        result = _vote_result(votes, (voters,))
        lines.append(f"{answers}: {result}")
    if len(halves) > 1:
        lines.append(f"together: {_vote_result(votes, halves)}")
    return lines


def _elections(halves: Halves) -> list[str]:
    voters = sorted({voter for half in halves for voter in half})
    lines = ["".join(f"{voter:<5}" for voter in voters).rstrip()]
    for answers in product((True, False, None), repeat=len(voters)):
        votes = {voter: answer for voter, answer in zip(voters, answers, strict=True) if answer is not None}
        cells = "".join(_MARKS[answer].ljust(5) for answer in answers)
        lines.append(cells + _vote_result(votes, halves))
    return lines


def _vote_result(votes: dict[int, bool], halves: Halves) -> str:
    result = joint_vote_result(votes, halves)
    assert result is defined_vote_result(votes, halves), f"{result} is not what the definition says"
    return result.name.lower()
