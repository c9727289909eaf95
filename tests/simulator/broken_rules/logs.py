"""Broken rules of the log: how it is replicated, committed and made durable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftkv.raft import quorum as raft_quorum
from raftkv.raft import reconfiguration, replication
from raftkv.raft.core import RaftCore
from raftkv.raft.log import RaftLog
from raftkv.raft.progress import Progress
from raftkv.raft.state import LeaderState, RaftState
from raftkv.raft.types import (
    EMPTY,
    LEADER,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryId,
    Heartbeat,
    Message,
    Ready,
)
from tests.simulator.broken_rules.driver import driver_of
from tests.simulator.disk import SyncWriter
from tests.simulator.process import Process, StopPoint


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

    return driver_of(Core)


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

    return driver_of(Core)


def lost_append_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.3: AppendEntries are retried until all followers have all entries."""
    monkeypatch.setattr(Progress, "is_waiting", False)
    return Process
