"""Proves that the simulator catches what goes wrong with members: each rule, broken, violates a property.

Source: Raft §6, thesis §4, and what went wrong elsewhere. Of the two majorities of a joint membership some
rules need but one: who commits, or confirms a read, with a majority of the OLD voters alone does no harm,
since nobody is elected past them before the joint membership is left, and its end has all before it.
"""

from __future__ import annotations

import pytest

from tests.simulator import scenarios
from tests.simulator.broken_rules import members
from tests.simulator.broken_rules.case import ByScenario, BySeeds
from tests.simulator.properties import (
    AcknowledgedWrites,
    ElectionSafety,
    LeaderCompleteness,
    LinearizableReads,
    MembershipInForce,
)

BY_SCENARIO = (
    ByScenario(members.new_voters_alone_commit, scenarios.BOTH_SIDES_ELECT, LeaderCompleteness),
    ByScenario(members.new_voters_alone_elect, scenarios.BOTH_SIDES_ELECT, ElectionSafety),
    ByScenario(members.old_voters_alone_elect, scenarios.JOINT_KNOWS_NO_END, LeaderCompleteness),
    ByScenario(members.new_voters_alone_confirm_reads, scenarios.BOTH_SIDES_ARE_READ, LinearizableReads),
    ByScenario(members.new_voters_alone_keep_a_leader, scenarios.LEADER_IS_DEAF_TO_THE_OLD_VOTERS, None),
    ByScenario(members.old_voters_alone_keep_a_leader, scenarios.LEADER_IS_DEAF_TO_THE_NEW_VOTERS, None),
    ByScenario(members.joint_membership_is_left_uncommitted, scenarios.BOTH_SIDES_ELECT, LeaderCompleteness),
    ByScenario(
        members.cut_leaves_the_membership_in_force,
        scenarios.CUT_TAKES_THE_MEMBERSHIP_ALONG,
        MembershipInForce,
    ),
    ByScenario(members.one_step_change_in_an_unproven_term, scenarios.TERM_IS_UNPROVEN, LeaderCompleteness),
    ByScenario(members.one_step_change_on_top_of_another, scenarios.CHANGE_UPON_A_CHANGE, LeaderCompleteness),
    ByScenario(members.node_outside_counts_itself, scenarios.LEADER_OUTSIDE_IS_ELECTED, AcknowledgedWrites),
    ByScenario(members.learners_count, scenarios.TWO_LEARNERS_ANSWER, AcknowledgedWrites),
    ByScenario(members.learners_campaign, scenarios.LEARNER_MEETS_NO_LEADER, None),
    ByScenario(
        members.restart_makes_learners_voters,
        scenarios.LEARNERS_RESTART_WITH_THEIR_LEADER,
        MembershipInForce,
    ),
    ByScenario(members.learner_is_promoted_empty, scenarios.LEARNER_LAGS, None),
    ByScenario(members.newcomer_waits_for_the_next_entry, scenarios.GROUP_IS_IDLE, None),
    ByScenario(members.any_change_is_begun, scenarios.TOO_FEW_WOULD_BE_LEFT, None),
    ByScenario(members.leader_that_goes_stays, scenarios.LEADER_REMOVES_ITSELF, None),
    ByScenario(members.who_left_is_not_told, scenarios.FOLLOWER_IS_REMOVED, None),
    ByScenario(members.who_left_campaigns, scenarios.FOLLOWER_IS_REMOVED, None),
    ByScenario(members.only_voters_campaign, scenarios.ONLY_THE_REMOVED_CAN_WIN, None),
    ByScenario(members.sole_voter_leads_at_once, scenarios.SOLE_VOTER_CRASHES_AFTER_ITS_VOTE, ElectionSafety),
)

BY_SEEDS = (
    BySeeds(members.newcomer_waits_for_the_next_entry, None, seeds=3, profile="churn"),
    BySeeds(members.followers_wait_for_the_commit, MembershipInForce, seeds=6, profile="churn"),
    BySeeds(members.leader_that_goes_stays, None, seeds=9, profile="churn"),
)


@pytest.mark.parametrize("case", BY_SCENARIO + BY_SEEDS, ids=lambda case: case.name)
def test_a_broken_rule_is_caught(case: ByScenario | BySeeds, monkeypatch: pytest.MonkeyPatch) -> None:
    case.require_caught(monkeypatch)


@pytest.mark.parametrize("scenario", [scenarios.TERM_IS_UNPROVEN, scenarios.CHANGE_UPON_A_CHANGE])
def test_either_rule_saves_a_group_from_the_bug_of_one_step_changes(
    scenario: scenarios.Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raft-dev, "bug in single-server membership changes": wait for the own term, or go jointly."""
    scenario.play()
    scenario.play(members.one_step_changes(monkeypatch))
