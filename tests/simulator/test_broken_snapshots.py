"""Proves that the simulator catches what goes wrong with snapshots: each rule, broken, violates a property.

Source: Raft §7, Figure 13.
"""

from __future__ import annotations

import pytest

from raftkv.raft.types import ProtocolError
from tests.simulator import scenarios
from tests.simulator.broken_rules import snapshots
from tests.simulator.broken_rules.case import ByScenario, BySeeds
from tests.simulator.properties import (
    AcknowledgedWrites,
    AppliedWithinLog,
    MembershipInForce,
    StateMachineSafety,
)

BY_SCENARIO = (
    ByScenario(
        snapshots.conflicting_tail_is_kept, scenarios.TAIL_CONTRADICTS_THE_SNAPSHOT, StateMachineSafety
    ),
    ByScenario(snapshots.matching_tail_is_given_up, scenarios.TAIL_FOLLOWS_THE_SNAPSHOT, AcknowledgedWrites),
    ByScenario(
        snapshots.log_says_who_belongs, scenarios.MEMBER_LEAVES_BEFORE_THE_SNAPSHOT, MembershipInForce
    ),
    ByScenario(
        snapshots.restart_forgets_the_snapshots_membership,
        scenarios.MEMBER_LEAVES_BEFORE_THE_SNAPSHOT,
        MembershipInForce,
    ),
    ByScenario(
        snapshots.log_begins_anew_before_the_state, scenarios.CRASH_WITH_THE_TERM_SYNCED, AppliedWithinLog
    ),
    ByScenario(
        snapshots.committed_entries_outlive_the_restore,
        scenarios.SNAPSHOT_MEETS_UNAPPLIED_ENTRIES,
        StateMachineSafety,
    ),
    ByScenario(
        snapshots.log_is_dropped_as_far_as_applied, scenarios.LOG_IS_DROPPED_BEFORE_A_CRASH, AppliedWithinLog
    ),
)

BY_SEEDS = (
    BySeeds(snapshots.restart_forgets_the_snapshots_membership, MembershipInForce, seeds=6, profile="churn"),
)


@pytest.mark.parametrize("case", BY_SCENARIO + BY_SEEDS, ids=lambda case: case.name)
def test_a_broken_rule_is_caught(case: ByScenario | BySeeds, monkeypatch: pytest.MonkeyPatch) -> None:
    case.require_caught(monkeypatch)


def test_a_purged_entry_taken_for_a_conflict_is_caught_by_the_next_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was acknowledged is gone from the core; on the disk it goes with what is appended next."""
    with pytest.raises(ProtocolError, match="but the log ends at"):
        scenarios.APPEND_BEGINS_BEFORE_THE_LOG.play(
            snapshots.purged_entry_is_taken_for_a_conflict(monkeypatch)
        )


def test_a_leader_that_contradicts_a_snapshot_is_caught_by_the_cores_own_assertion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(AssertionError, match="is committed, yet the leader has another one"):
        scenarios.SNAPSHOT_COMES_FROM_A_LATER_TERM.play(snapshots.leader_is_right_in_any_case(monkeypatch))


def test_a_snapshot_installed_before_its_term_is_caught_at_the_next_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The core refuses to start on a log that ends in a term which its hard state doesn't know."""
    with pytest.raises(AssertionError, match="the log ends in term 2, the hard state in 1"):
        scenarios.CRASH_WITH_THE_STATE_INSTALLED.play(
            snapshots.snapshot_is_installed_before_its_term(monkeypatch)
        )


def test_a_log_without_the_states_entry_is_caught_at_the_next_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core refuses to start with more applied than its log holds."""
    with pytest.raises(AssertionError, match="cursors out of order"):
        scenarios.CRASH_WITH_THE_STATE_INSTALLED.play(
            snapshots.start_keeps_a_log_without_the_states_entry(monkeypatch)
        )
