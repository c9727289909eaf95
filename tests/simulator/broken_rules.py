"""The rules that keep raftkv safe, deliberately broken: by a driver, a core or a patched function.

Each function here breaks one rule and returns the driver to run; a docstring says which. What catches it is
said in `test_broken_rules`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pytest

from raftkv.raft import election, read_index, reconfiguration, replication
from raftkv.raft import quorum as raft_quorum
from raftkv.raft.core import RaftCore
from raftkv.raft.log import RaftLog
from raftkv.raft.progress import Progress
from raftkv.raft.state import LeaderState, PendingRead, RaftState
from raftkv.raft.types import (
    EMPTY,
    LEADER,
    NOBODY,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryId,
    HardState,
    Heartbeat,
    LogReader,
    Message,
    NotLeader,
    RaftConfig,
    Ready,
    RequestVote,
)
from tests.simulator.disk import SyncWriter
from tests.simulator.operations import Operation
from tests.simulator.process import Input, Process, StopPoint

# -- votes and terms -------------------------------------------------------------------------------


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

    return _driver_of(Core)


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


# -- the log ---------------------------------------------------------------------------------------


def older_terms_commit_by_counting(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.4.2: a leader counts copies of its own term's entries alone."""

    def maybe_commit(state: RaftState) -> bool:
        leader = state.leading()
        matches = {node_id: progress.match_index for node_id, progress in leader.progresses.items()}
        matches[state.node_id] = state.log.persisted_index
        index = raft_quorum.joint_value(matches, state.halves)
        is_news = index > state.log.commit_index
        state.log.commit_to(index)
        reconfiguration.on_committed(state)
        return is_news

    monkeypatch.setattr(replication, "maybe_commit", maybe_commit)
    return Process


def answers_leave_before_the_sync(_: pytest.MonkeyPatch) -> type[Process]:
    """Raft Figure 2: persistent state is updated on stable storage before responding to RPCs."""

    class Driver(Process):
        def persist(self, ready: Ready, is_writing: bool) -> None:
            self.send_all(ready.messages_after_persist)
            ready.messages_after_persist = []
            super().persist(ready, is_writing)

    return Driver


def sync_answers_for_later_writes(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """A sync makes durable what was written before it BEGAN. Here it reports what came in meanwhile too."""

    def report_the_newest(writer: SyncWriter, _: int, write_count: int) -> None:
        finish(writer, writer._requested_ticket, write_count)

    finish = SyncWriter._finish
    monkeypatch.setattr(SyncWriter, "_finish", report_the_newest)
    return Process


def leader_counts_itself_before_the_sync(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §10.2.1: the leader may send before its own disk is done, but not count itself."""

    def maybe_commit(state: RaftState) -> bool:
        leader = state.leading()
        matches = {node_id: progress.match_index for node_id, progress in leader.progresses.items()}
        matches[state.node_id] = state.log.last_index
        index = raft_quorum.joint_value(matches, state.halves)
        if index <= state.log.commit_index or index < leader.term_start_index:
            return False
        state.log.commit_to(index)
        reconfiguration.on_committed(state)
        return True

    monkeypatch.setattr(replication, "maybe_commit", maybe_commit)
    return Process


def minority_commits(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.3: an entry is committed once a majority has it. Here any node will do."""
    monkeypatch.setattr(replication, "joint_value", lambda values, _: max(values.values()))
    return Process


def apply_is_ahead_of_the_own_log(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """DESIGN: nothing is applied that the node's own log has not synced."""

    def take_committed(log: RaftLog, bytes_max: int) -> list[Entry]:
        if log.applying_index == log.commit_index or log.commit_index > log.accepted_index:
            return []
        entries = log.entries(log.applying_index + 1, log.commit_index + 1, bytes_max)
        log.applying_index = entries[-1].index
        return entries

    monkeypatch.setattr(RaftLog, "take_committed", take_committed)
    monkeypatch.setattr(RaftLog, "_check_cursors", lambda _: None)
    return Process


def report_names_a_place_of_the_log(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """A sync's report stands for a write. Here it counts for any entry of that id, come back or not."""

    def persist_to(log: RaftLog, entry_id: EntryId) -> bool:
        is_news = entry_id.index > log.persisted_index
        if not is_news or not log.has_entry(index=entry_id.index, term=entry_id.term):
            return False
        log.persisted_index = entry_id.index
        return True

    monkeypatch.setattr(RaftLog, "persist_to", persist_to)
    return Process


def old_append_cuts_the_log(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft Figure 2, AppendEntries 3: only a conflict cuts. Here what follows the entries is cut always."""

    def append_from_leader(log: RaftLog, entries: list[Entry]) -> None:
        new = [entry for entry in entries if entry.index > log.commit_index]
        if new and new[0].index <= log.last_index:
            log._cut(new[0].index)
        for entry in new:
            if entry.index == log.last_index + 1:
                log.append(entry)

    monkeypatch.setattr(RaftLog, "append_from_leader", append_from_leader)
    return Process


def entries_are_appended_unseen(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.3, the consistency check: the entry before the new ones must match. Here any will do."""
    monkeypatch.setattr(RaftLog, "has_entry", lambda log, *, index, term: index <= log.last_index)  # noqa: ARG005
    return Process


def commit_goes_beyond_the_match(_: pytest.MonkeyPatch) -> type[Process]:
    """Raft Figure 2, AppendEntries 5: a follower commits no further than the last new entry."""

    class Core(RaftCore):
        def step(self, msg: Message, now_ns: int) -> None:
            super().step(msg, now_ns)
            if isinstance(msg, AppendEntries) and msg.term == self.current_term:
                self._state.log.commit_to(min(msg.leader_commit, self.last_index))

    return _driver_of(Core)


def heartbeat_commits_beyond_the_match(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """A heartbeat names no more as committed than its receiver is known to have."""

    def send_heartbeat(state: RaftState, leader: LeaderState, progress: Progress) -> None:
        leader.is_round_carried = True
        commit_index = state.log.commit_index
        state.outbox.messages.append(
            Heartbeat(state.current_term, state.node_id, progress.node_id, commit_index, leader.round)
        )

    def commit_what_is_there(state: RaftState, _: int, leader_commit: int) -> None:
        state.log.commit_to(min(leader_commit, state.log.last_index))

    monkeypatch.setattr(replication, "_send_heartbeat", send_heartbeat)
    monkeypatch.setattr(replication, "_commit_matched", commit_what_is_there)
    return Process


def rejection_is_answered_as_a_match(_: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.3: a follower's match is what it compared with the leader's log and found equal."""

    class Driver(Process):
        def carry_out(self, ready: Ready) -> Iterator[StopPoint]:
            for message in ready.messages:
                if isinstance(message, AppendEntriesReply):
                    message.is_success = True
            return super().carry_out(ready)

    return Driver


def old_rejection_moves_next_below_match(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.3: `next_index` stays above `match_index`, however late a rejection comes."""
    monkeypatch.setattr(replication, "_is_fresh_rejection", lambda *_: True)
    monkeypatch.setattr(replication, "max", lambda _, wanted: wanted, raising=False)
    return Process


def leader_drops_its_own_entries(_: pytest.MonkeyPatch) -> type[Process]:
    """Raft Figure 3, leader append-only. Here a leader takes back what isn't committed."""

    class Core(RaftCore):
        def tick(self, now_ns: int) -> None:
            super().tick(now_ns)
            log = self._state.log
            if self.role is LEADER and log.accepted_index == log.last_index > log.commit_index + 1:
                log._cut(log.last_index)
                self._state.log.append(Entry(self.current_term, log.last_index + 1, EMPTY, b""))

    return _driver_of(Core)


# -- liveness --------------------------------------------------------------------------------------


def lost_append_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.3: AppendEntries are retried until all followers have all entries."""
    monkeypatch.setattr(Progress, "is_waiting", False)
    return Process


def older_terms_get_no_answer(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """A node in a higher term than the leader's can't follow it: the leader has to learn of that term."""
    monkeypatch.setattr(election, "answer_old_term", lambda *_: None)
    return Process


# -- what clients are told -------------------------------------------------------------------------


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

    return _driver_of(Core)


def read_does_not_wait_for_what_is_committed(_: pytest.MonkeyPatch) -> type[Process]:
    """A follower may have applied and shown what the leader has committed, but not applied yet."""

    class Driver(Process):
        def answer_once_applied(self, index: int, operation: Operation) -> None:
            del index
            super().answer_once_applied(0, operation)

    return Driver


# -- leases ----------------------------------------------------------------------------------------


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


def lease_ignores_drift(_: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.4.1: a lease ends earlier by what the followers' clocks may be faster."""

    class Core(RaftCore):
        def tick(self, now_ns: int) -> None:
            self._state.lease_ns = self._state.election_timeout_ns
            super().tick(now_ns)

    return _driver_of(Core)


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


def _driver_of(core: type[RaftCore]) -> type[Process]:
    class Driver(Process):
        core_class = core

    return Driver
