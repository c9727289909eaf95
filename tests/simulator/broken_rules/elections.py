"""Broken rules of votes and terms."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pytest

from raftkv.node import formation
from raftkv.raft import election
from raftkv.raft import quorum as raft_quorum
from raftkv.raft.core import RaftCore
from raftkv.raft.log import RaftLog
from raftkv.raft.types import (
    LEADER,
    NOBODY,
    HardState,
    Message,
    Ready,
    RequestVote,
)
from tests.simulator.broken_rules.driver import driver_of
from tests.simulator.process import Process, StopPoint


def vote_is_not_persisted(_: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.2: a vote is on disk before it is given. Here the term is written, the vote isn't."""

    class Driver(Process):
        def carry_out(self, ready: Ready) -> Iterator[StopPoint]:
            if ready.hard_state is not None:
                ready.hard_state = HardState(ready.hard_state.current_term, NOBODY)
            return super().carry_out(ready)

    return Driver


def vote_is_granted_twice(_: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.2: one vote per term, first come first served. Here whoever asks gets one."""

    class Core(RaftCore):
        def step(self, msg: Message, now_ns: int) -> None:
            if isinstance(msg, RequestVote) and not msg.is_pre_vote and self.role is not LEADER:
                self._state.voted_for = NOBODY
            super().step(msg, now_ns)

    return driver_of(Core)


def vote_goes_to_a_shorter_log(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.4.1: no vote for a log that lacks what the voter has."""
    monkeypatch.setattr(RaftLog, "is_up_to_date", lambda *_, **__: True)
    return Process


def half_of_the_votes_win(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.2: a majority elects. Here one vote less does."""

    def vote_result(votes: Collection[bool], voter_count: int) -> raft_quorum.VoteResult:
        return raft_quorum.WON if sum(votes) >= voter_count // 2 else raft_quorum.PENDING

    monkeypatch.setattr(raft_quorum, "vote_result", vote_result)
    return Process


def candidate_asks_before_its_sync(_: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.2: the candidate's own vote is on disk before it asks for others."""

    class Driver(Process):
        def carry_out(self, ready: Ready) -> Iterator[StopPoint]:
            ready.messages += [each for each in ready.messages_after_persist if isinstance(each, RequestVote)]
            ready.messages_after_persist = [
                each for each in ready.messages_after_persist if not isinstance(each, RequestVote)
            ]
            return super().carry_out(ready)

    return Driver


def older_terms_get_no_answer(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """A node in a higher term than the leader's can't follow it: the leader has to learn of that term."""
    monkeypatch.setattr(election, "answer_old_term", lambda *_: None)
    return Process


def longer_log_wins(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.4.1: the last entries' terms are compared first, the logs' lengths only if those are equal."""

    def is_up_to_date(log: RaftLog, *, last_log_index: int, last_log_term: int) -> bool:
        return (last_log_index, last_log_term) >= (log.last_index, log.last_term)

    monkeypatch.setattr(RaftLog, "is_up_to_date", is_up_to_date)
    return Process


def node_campaigns_without_asking(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §9.6, pre-vote: a node raises its term only if it would be elected."""
    monkeypatch.setattr(
        election, "become_pre_candidate", lambda state: election.become_candidate(state, is_transfer=False)
    )
    return Process


def leader_without_a_majority_stays(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.2, check-quorum: without it pre-vote and stickiness keep a leader that can commit nothing."""
    monkeypatch.setattr(election, "check_quorum", lambda _: None)
    return Process


def empty_directory_is_let_in(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """DESIGN: a node with an empty directory beside a formed cluster takes no part: it forgot its votes."""
    monkeypatch.setattr(formation, "decide", lambda own, _: formation.JoinFormation(own.nonce))
    return Process
