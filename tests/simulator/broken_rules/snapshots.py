"""Broken rules of snapshots and of dropped logs (Raft §7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from raftkv.raft import reconfiguration, replication
from raftkv.raft.core import RaftCore
from raftkv.raft.log import RaftLog
from raftkv.raft.membership import Membership
from raftkv.raft.types import AppendEntries, EntryId, Message, Ready
from tests.simulator import process
from tests.simulator.broken_rules.driver import driver_of
from tests.simulator.disk import LogWrite
from tests.simulator.process import Process, StopPoint

# -- in the core -----------------------------------------------------------------------------------


def conflicting_tail_is_kept(_: pytest.MonkeyPatch) -> type[Process]:
    """Raft Figure 13, 7: a log that contradicts the snapshot is given up. Here a long one stays."""
    return _restoring_as_if(lambda log, *, index, term: index <= log.last_index)  # noqa: ARG005


def matching_tail_is_given_up(_: pytest.MonkeyPatch) -> type[Process]:
    """Raft Figure 13, 6: what follows the snapshot's entry stays: it may be acknowledged."""
    return _restoring_as_if(lambda *_, **__: False)


def _restoring_as_if(has_entry: Callable[..., bool]) -> type[Process]:
    """Restore with another answer to whether the log holds the snapshot's entry."""

    class Core(RaftCore):
        def restore(self, entry_id: EntryId, membership: Membership | None) -> bool:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(RaftLog, "has_entry", has_entry)
                return super().restore(entry_id, membership)

    return driver_of(Core)


def purged_entry_is_taken_for_a_conflict(_: pytest.MonkeyPatch) -> type[Process]:
    """What was dropped was committed, so it matches. Here the log is cut as far as it may be."""

    class Core(RaftCore):
        def step(self, msg: Message, now_ns: int) -> None:
            log = self._state.log
            if isinstance(msg, AppendEntries) and msg.prev_log_index < log.boundary_index:
                first_index = max(log.commit_index, log.boundary_index) + 1
                if msg.term == self.current_term and first_index <= log.last_index:
                    log._cut(first_index)
            super().step(msg, now_ns)

    return driver_of(Core)


def leader_is_right_in_any_case(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """A leader whose term is over may contradict what a snapshot brought. Here it is not looked at."""
    monkeypatch.setattr(replication, "_contradicts_committed", lambda *_: False)
    return Process


def log_says_who_belongs(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft Figure 13, 8: the membership is the snapshot's. Here it stays the discarded log's."""
    monkeypatch.setattr(reconfiguration, "on_restored", lambda *_: None)
    return Process


def restart_forgets_the_snapshots_membership(_: pytest.MonkeyPatch) -> type[Process]:
    """Raft §7: the newest membership is kept with the state. Here a start knows only the log's."""

    class Driver(Process):
        def membership_at_start(self) -> Membership | None:
            return None

    return Driver


# -- in the driver ---------------------------------------------------------------------------------


def snapshot_is_installed_before_its_term(_: pytest.MonkeyPatch) -> type[Process]:
    """The term is durable before the state is: a log never ends in a term above the node's own."""

    class Driver(Process):
        def install(self, ready: Ready) -> Iterator[StopPoint]:
            received = self.received(ready)
            yield StopPoint.TERM_SYNCED
            self.state.install(received)
            self.observer.on_restored(self.node_id, received)
            self.forget_unapplied()
            yield StopPoint.INSTALLED
            self.log.append(LogWrite(ready.hard_state, []))
            self.log.begin_behind(received.entry_id)
            self.is_restoring = False

    return Driver


def log_begins_anew_before_the_state(_: pytest.MonkeyPatch) -> type[Process]:
    """The log is discarded only once the state that takes its place is durable."""

    class Driver(Process):
        def install(self, ready: Ready) -> Iterator[StopPoint]:
            received = self.received(ready)
            self.log.append(LogWrite(ready.hard_state, []))
            self.log.begin_behind(received.entry_id)
            yield StopPoint.TERM_SYNCED
            self.state.install(received)
            self.observer.on_restored(self.node_id, received)
            self.forget_unapplied()
            yield StopPoint.INSTALLED
            self.is_restoring = False

    return Driver


def start_keeps_a_log_without_the_states_entry(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """A log that doesn't hold the last entry of the installed state is discarded at the next start."""
    monkeypatch.setattr(process, "settle_log_with_state", lambda *_: None)
    return Process


def committed_entries_outlive_the_restore(_: pytest.MonkeyPatch) -> type[Process]:
    """What was committed before the snapshot, and not applied, is part of it."""

    class Driver(Process):
        def forget_unapplied(self) -> None:
            pass

    return Driver


def log_is_dropped_as_far_as_applied(_: pytest.MonkeyPatch) -> type[Process]:
    """What is applied may be gone after a crash: the log keeps all that isn't durable in the state."""

    class Driver(Process):
        def droppable_index(self) -> int:
            return self.state.applied.index

    return Driver
