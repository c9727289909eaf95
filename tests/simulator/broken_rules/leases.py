"""Broken rules of leases, and of the promises that they rest on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftkv.raft import election, read_index, replication
from raftkv.raft.core import RaftCore
from raftkv.raft.state import LeaderState, RaftState
from tests.simulator.broken_rules.driver import driver_of
from tests.simulator.process import Input, Process, StopPoint


def lease_runs_from_the_answer(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.4.1: a lease runs from when its round was sent, not from when it was answered."""
    settle_rounds = read_index._settle_rounds

    def settle_from_now(state: RaftState, leader: LeaderState) -> None:
        quorum_round = leader.quorum_round
        settle_rounds(state, leader)
        if leader.quorum_round > quorum_round:
            leader.lease_end_ns = state.now_ns + state.lease_ns

    monkeypatch.setattr(read_index, "_settle_rounds", settle_from_now)
    return Process


def lease_is_judged_by_the_last_tick(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.4.1: a lease is compared with a time that was read after the request had come."""
    is_lease_valid = read_index.is_lease_valid
    monkeypatch.setattr(read_index, "is_lease_valid", lambda state, _: is_lease_valid(state, state.now_ns))
    return Process


def lease_ignores_drift(_: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.4.1: a lease ends earlier by what the followers' clocks may be faster."""

    class Core(RaftCore):
        def tick(self, now_ns: int) -> None:
            self._state.lease_ns = self._state.election_timeout_ns
            super().tick(now_ns)

    return driver_of(Core)


def lease_outlives_timeout_now(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.4.1: who asked another to campaign at once has nothing left that keeps it waiting."""

    def is_lease_valid(state: RaftState, now_ns: int) -> bool:
        leader = state.leader
        if leader is None or state.log.last_applied < leader.term_start_index:
            return False
        return now_ns < leader.lease_end_ns

    monkeypatch.setattr(read_index, "is_lease_valid", is_lease_valid)
    return Process


def restarted_node_votes_at_once(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """DESIGN: no vote in the first election timeout after a start, since it is forgotten who was heard."""
    monkeypatch.setattr(election, "_is_quiet", lambda _: False)
    return Process


def leader_heard_lately_is_given_up(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §4.2.3, stickiness: who heard a leader within an election timeout votes for nobody else."""
    monkeypatch.setattr(election, "_refuses_votes", lambda state, _: election._is_quiet(state))
    return Process


def new_node_answers_before_its_term_is_durable(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """A node that would look new after a crash acknowledges nobody's round."""
    monkeypatch.setattr(replication, "_round_ack_outbox", lambda state: state.outbox.messages)
    return Process


def clock_is_sampled_before_the_bytes_are_read(_: pytest.MonkeyPatch) -> type[Process]:
    """DESIGN: time is sampled after the bytes it is compared for were read; a stop may lie in between."""

    class Driver(Process):
        def turn(self) -> Iterator[StopPoint]:
            now_ns = self.read_clock()
            yield StopPoint.CLOCK_SAMPLED
            inputs: list[Input] = []
            yield from self.read_inputs(inputs)
            self.take_turn(inputs, now_ns)
            yield StopPoint.STEPPED
            yield from self.finish_turn()

    return Driver
