"""Broken rules of membership: joint consensus, learners, and who leads, counts and campaigns (Raft §6)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

import pytest

from raftkv.raft import election, read_index, reconfiguration, replication
from raftkv.raft import membership as raft_membership
from raftkv.raft.core import RaftCore
from raftkv.raft.membership import Membership
from raftkv.raft.progress import Progress
from raftkv.raft.quorum import joint_value, joint_vote_result
from raftkv.raft.state import LeaderState, MembershipAt, RaftState
from raftkv.raft.types import LEADER, Message
from tests.simulator.broken_rules.driver import driver_of
from tests.simulator.process import Process

Halves = Collection[tuple[int, ...]]

# -- two majorities --------------------------------------------------------------------------------


def new_voters_alone_commit(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §6: entries are committed by a majority of the old voters and one of the new."""
    monkeypatch.setattr(replication, "joint_value", _value_of_new)
    return Process


def old_voters_alone_commit(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """As above, the other way around."""
    monkeypatch.setattr(replication, "joint_value", _value_of_old)
    return Process


def new_voters_alone_elect(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §6: elections need a majority of the old voters and one of the new."""
    monkeypatch.setattr(
        election,
        "joint_vote_result",
        lambda votes, halves: joint_vote_result(votes, [*halves][:1]),
    )
    return Process


def old_voters_alone_elect(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """As above, the other way around."""
    monkeypatch.setattr(
        election,
        "joint_vote_result",
        lambda votes, halves: joint_vote_result(votes, [*halves][-1:]),
    )
    return Process


def new_voters_alone_confirm_reads(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.4 with Raft §6: a lease and a read index need both majorities too."""
    monkeypatch.setattr(read_index, "joint_value", _value_of_new)
    return Process


def old_voters_alone_confirm_reads(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """As above, the other way around."""
    monkeypatch.setattr(read_index, "joint_value", _value_of_old)
    return Process


def new_voters_alone_keep_a_leader(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §6.2 with Raft §6: a leader that only one of the majorities answers can commit nothing."""
    monkeypatch.setattr(election, "joint_value", _value_of_new)
    return Process


def old_voters_alone_keep_a_leader(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """As above, the other way around."""
    monkeypatch.setattr(election, "joint_value", _value_of_old)
    return Process


def _value_of_new(values: Mapping[int, int], halves: Halves) -> int:
    return joint_value(values, [*halves][:1])


def _value_of_old(values: Mapping[int, int], halves: Halves) -> int:
    return joint_value(values, [*halves][-1:])


# -- what is in force, and from when on ------------------------------------------------------------


def joint_membership_is_left_uncommitted(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §6: the new membership is appended only once the joint one is committed."""

    class Core(RaftCore):
        def tick(self, now_ns: int) -> None:
            super().tick(now_ns)
            state = self._state
            membership = state.membership
            if self.role is LEADER and membership.is_joint and state.node_id in membership.voters:
                reconfiguration._append(state, state.leading(), raft_membership.left_joint(membership))

    del monkeypatch
    return driver_of(Core)


def cut_leaves_the_membership_in_force(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §6 with §5.3: a membership falls with its entry when the log is cut."""

    def on_appended(state: RaftState, first_index: int, brought: list[MembershipAt]) -> None:
        del first_index
        state.memberships += brought
        reconfiguration.forget_superseded(state)
        state.adopt_newest_membership()

    monkeypatch.setattr(reconfiguration, "on_appended", on_appended)
    return Process


def followers_wait_for_the_commit(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §6: a membership counts as soon as it is in the log. Here a follower's does once committed."""
    adopt = RaftState.adopt_newest_membership

    def adopt_committed(state: RaftState) -> None:
        newest = state.memberships
        if state.role is not LEADER and state.log.last_index > 0:
            kept = [at for at in newest if at.index <= state.log.commit_index]
            state.memberships = kept or newest[:1]
        adopt(state)
        state.memberships = newest

    class Core(RaftCore):
        def step(self, msg: Message, now_ns: int) -> None:
            super().step(msg, now_ns)
            self._state.adopt_newest_membership()

    monkeypatch.setattr(RaftState, "adopt_newest_membership", adopt_committed)
    return driver_of(Core)


def one_step_changes(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §4.1: voters change one at a time, without a joint membership. No rule is broken by that."""
    changed = raft_membership.changed
    monkeypatch.setattr(
        reconfiguration, "changed", lambda old, change: replace(changed(old, change), outgoing=())
    )
    return Process


def one_step_change_in_an_unproven_term(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """The bug of the thesis's one-step changes: begun before an entry of the own term is committed."""

    def is_settled(state: RaftState, _: LeaderState) -> bool:
        return state.memberships[-1].index <= state.log.commit_index

    monkeypatch.setattr(reconfiguration, "_is_settled", is_settled)
    return one_step_changes(monkeypatch)


def one_step_change_on_top_of_another(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §4.1: a change begins only once the one before is committed. Here it starts from any."""
    monkeypatch.setattr(
        reconfiguration,
        "_is_settled",
        lambda state, leader: leader.term_start_index <= state.log.commit_index,
    )
    return one_step_changes(monkeypatch)


# -- who counts, leads and campaigns ---------------------------------------------------------------


def node_outside_counts_itself(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §6: a leader that isn't among the voters replicates, but doesn't count itself."""
    _change_halves(monkeypatch, lambda state, half: (*half, state.node_id) if half else half)
    return Process


def learners_count(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §4.2.1: a learner is sent everything and counts for nothing."""
    _change_halves(monkeypatch, lambda state, half: (*half, *state.membership.learners) if half else half)
    return Process


def learners_campaign(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §4.2.1: a learner doesn't campaign."""
    monkeypatch.setattr(election, "may_campaign", lambda state: state.node_id in state.membership.member_ids)
    return Process


def _change_halves(
    monkeypatch: pytest.MonkeyPatch, changed: Callable[[RaftState, tuple[int, ...]], Iterable[int]]
) -> None:
    adopt = RaftState.adopt_newest_membership

    def adopt_changed(state: RaftState) -> None:
        adopt(state)
        state.halves = tuple(tuple(sorted(set(changed(state, half)))) for half in state.halves)

    monkeypatch.setattr(RaftState, "adopt_newest_membership", adopt_changed)


def restart_makes_learners_voters(_: pytest.MonkeyPatch) -> type[Process]:
    """A learner stays one over a restart. Here what the state keeps of a membership has no learners."""

    class Driver(Process):
        def membership_at_start(self) -> Membership | None:
            membership = super().membership_at_start()
            if membership is None:
                return None
            voters = tuple(sorted({*membership.voters, *membership.learners}))
            return replace(membership, voters=voters, learners=(), staged=())

    return Driver


def learner_is_promoted_empty(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Thesis §4.2.1: a server counts once it has caught up, or commits wait for it."""
    monkeypatch.setattr(reconfiguration, "_has_caught_up", lambda _, progress: progress.heard_ns is not None)
    return Process


def newcomer_waits_for_the_next_entry(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """A member that is taken in is sent what there is, or at least asked, before anything is written."""
    new_progress = reconfiguration.new_progress

    def new_progress_behind(state: RaftState, node_id: int) -> Progress:
        progress = new_progress(state, node_id)
        progress.next_index += 1
        return progress

    def has_entries_to_come(progress: Progress, last_index: int) -> bool:
        return progress.next_index <= last_index and progress.has_room

    monkeypatch.setattr(reconfiguration, "new_progress", new_progress_behind)
    monkeypatch.setattr(Progress, "wants_append", has_entries_to_come)
    return Process


def any_change_is_begun(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """A change to voters of whom too few answer is refused: it could not be ended, nor be taken back."""
    monkeypatch.setattr(reconfiguration, "_check_majority_lives", lambda *_: None)
    return Process


def leader_that_goes_stays(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """A leader that isn't among the new voters hands over, or the change never ends."""
    monkeypatch.setattr(reconfiguration, "_maybe_hand_over", lambda *_: None)
    return Process


def who_left_is_not_told(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Who ceased to be a member is sent entries until it knows."""
    monkeypatch.setattr(Progress, "has_left", lambda progress, _: progress.leaves_at_index > 0)
    return Process


def who_left_campaigns(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Who knows that it is no member any more leaves the others alone."""
    monkeypatch.setattr(election, "may_campaign", lambda _: True)
    return Process


def only_voters_campaign(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Who knows of its removal, but not that it is committed, may be the only one that can be elected."""
    monkeypatch.setattr(election, "may_campaign", lambda state: state.node_id in state.membership.voter_ids)
    return Process


def sole_voter_leads_at_once(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    """Raft §5.2: a vote is durable before it counts, a sole voter's own one too."""
    become_candidate = election.become_candidate

    def become_leader_at_once(state: RaftState, *, is_transfer: bool) -> None:
        become_candidate(state, is_transfer=is_transfer)
        if state.is_sole_voter:
            election.become_leader(state)

    monkeypatch.setattr(election, "become_candidate", become_leader_at_once)
    return Process
