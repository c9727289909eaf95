"""Broken rules of what clients are told."""

from __future__ import annotations

from typing import Any

import pytest

from raftkv.raft import read_index
from raftkv.raft.core import RaftCore
from raftkv.raft.state import PendingRead, RaftState
from raftkv.raft.types import (
    LEADER,
    HardState,
    LogReader,
    NotLeader,
    RaftConfig,
)
from tests.simulator.broken_rules.driver import driver_of
from tests.simulator.operations import Operation
from tests.simulator.process import Input, Process


def lost_leadership_refuses_writes(_: pytest.MonkeyPatch) -> type[Process]:
    """What was proposed may yet be committed by another leader, so it isn't refused with the role."""

    class Driver(Process):
        def take_turn(self, inputs: list[Input], now_ns: int) -> None:
            super().take_turn(inputs, now_ns)
            if self.core.role is not LEADER:
                self.refuse_all_writes()

    return Driver


def read_takes_the_leader_at_its_word(_: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.4: a leader may have been deposed without knowing. Here it reads without asking."""

    class Driver(Process):
        def read_at_leader(self, operation: Operation, now_ns: int) -> None:
            if self.core.role is not LEADER:
                raise NotLeader(self.core.leader_id)
            del now_ns
            self.answer_once_applied(self.core.commit_index, operation)

    return Driver


def read_index_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.4: a read index counts once a majority confirmed the leader after the request."""

    def add_read(state: RaftState, asker: int, context: int) -> None:
        index = max(state.log.commit_index, state.leading().term_start_index)
        read_index._answer(state, asker, context, index)

    monkeypatch.setattr(read_index, "_add_read", add_read)
    return Process


def read_joins_a_round_under_way(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.4: the round that confirms a read begins after the request. Here the last one will do."""

    def add_read(state: RaftState, asker: int, context: int) -> None:
        leader = state.leading()
        index = max(state.log.commit_index, leader.term_start_index)
        leader.reads.append(PendingRead(asker, context, index, leader.round))
        read_index._release_reads(state, leader)

    monkeypatch.setattr(read_index, "_add_read", add_read)
    return Process


def new_leader_reads_at_once(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.4: until its own term's first entry is committed a leader doesn't know what is."""

    def add_read(state: RaftState, asker: int, context: int) -> None:
        leader = state.leading()
        if leader.is_round_carried:
            read_index.begin_round(state)
            leader.wants_heartbeats = True
        leader.reads.append(PendingRead(asker, context, max(1, state.log.commit_index), leader.round))

    monkeypatch.setattr(read_index, "_add_read", add_read)
    return Process


def new_leader_trusts_its_lease_at_once(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.4, §6.4.1: a lease says that nobody else leads, not what the last leader committed."""

    def is_lease_valid(state: RaftState, now_ns: int) -> bool:
        leader = state.leader
        return leader is not None and not leader.has_sent_timeout_now and now_ns < leader.lease_end_ns

    monkeypatch.setattr(read_index, "is_lease_valid", is_lease_valid)
    return Process


def read_contexts_come_back(_: pytest.MonkeyPatch) -> type[Process]:
    """An answer to a node's earlier life isn't taken for one to this life. Here contexts start over."""

    class Core(RaftCore):
        def __init__(self, config: RaftConfig, hard_state: HardState, log: LogReader, **rest: Any) -> None:
            super().__init__(config, hard_state, log, **rest)
            self._state.next_wire_context = 1

    return driver_of(Core)


def read_does_not_wait_for_what_is_committed(_: pytest.MonkeyPatch) -> type[Process]:
    """A follower may have applied and shown what the leader has committed, but not applied yet."""

    class Driver(Process):
        def answer_once_applied(self, index: int, operation: Operation) -> None:
            del index
            super().answer_once_applied(0, operation)

    return Driver
