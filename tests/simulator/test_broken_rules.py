"""Proves that the simulator catches what it is for: each rule, broken on purpose, violates a property.

Source: issue "The main job", the simulator: "a file of deliberately re-broken rules proves that each one is
caught". A rule that chance breaks seldom is broken on a directed scenario, which the healthy core passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.simulator import broken_rules as broken
from tests.simulator import scenarios
from tests.simulator.process import Process
from tests.simulator.properties import (
    AcknowledgedWrites,
    AppliedWithinLog,
    ElectionSafety,
    HardStateNeverForgotten,
    LeaderAppendOnly,
    LeaderCompleteness,
    LinearizableReads,
    LogMatching,
    Property,
    RefusedWrites,
    StateMachineSafety,
    Violation,
)
from tests.simulator.run import RunSpec, run
from tests.simulator.scenarios.scenario import Scenario

BreakRule = Callable[[pytest.MonkeyPatch], type[Process]]


@dataclass(frozen=True, slots=True)
class ByScenario:
    """A broken rule, the scenario that shows it, and the property that must catch it."""

    break_rule: BreakRule
    scenario: Scenario
    #: None: the cluster doesn't recover.
    caught_by: type[Property] | None


@dataclass(frozen=True, slots=True)
class BySeeds:
    """A broken rule that random runs show within `seeds` seeds."""

    break_rule: BreakRule
    caught_by: type[Property]
    seeds: int = 60
    node_count: int = 3
    steps: int = 5_000


BY_SCENARIO = (
    ByScenario(broken.older_terms_get_no_answer, scenarios.TRANSFER_LEAVES_ITS_TARGET_ALONE, None),
    ByScenario(broken.vote_is_not_persisted, scenarios.VOTER_FORGETS_ITS_VOTE, HardStateNeverForgotten),
    ByScenario(
        broken.candidate_asks_before_its_sync, scenarios.CANDIDATE_FORGETS_ITS_VOTE, HardStateNeverForgotten
    ),
    ByScenario(broken.read_index_asks_nobody, scenarios.TRANSFER_SUCCEEDS_UNSEEN, LinearizableReads),
    ByScenario(broken.read_joins_a_round_under_way, scenarios.TRANSFER_SUCCEEDS_UNSEEN, LinearizableReads),
    ByScenario(broken.older_terms_commit_by_counting, scenarios.FIGURE_8, LeaderCompleteness),
    ByScenario(broken.old_append_cuts_the_log, scenarios.OLD_APPEND_COMES_AGAIN, AcknowledgedWrites),
    ByScenario(
        broken.leader_counts_itself_before_the_sync,
        scenarios.LEADER_LOSES_WHAT_IT_COUNTED,
        LeaderCompleteness,
    ),
    ByScenario(
        broken.answers_leave_before_the_sync, scenarios.FOLLOWER_ANSWERS_FROM_A_SLOW_DISK, AcknowledgedWrites
    ),
    ByScenario(broken.report_names_a_place_of_the_log, scenarios.REPORT_OF_A_CUT_WRITE, AppliedWithinLog),
    ByScenario(
        broken.new_leader_trusts_its_lease_at_once, scenarios.NEW_LEADER_IS_READ_AT_ONCE, LinearizableReads
    ),
    ByScenario(broken.new_leader_reads_at_once, scenarios.NEW_LEADER_IS_READ_AT_ONCE, LinearizableReads),
    ByScenario(
        broken.read_does_not_wait_for_what_is_committed, scenarios.LEADER_IS_BEHIND, LinearizableReads
    ),
    ByScenario(broken.read_contexts_come_back, scenarios.OLD_ANSWER_MEETS_THE_NEXT_LIFE, LinearizableReads),
    ByScenario(broken.lease_runs_from_the_answer, scenarios.SLOW_ANSWER, LinearizableReads),
    ByScenario(broken.lease_ignores_drift, scenarios.DRIFTING_CLOCKS, LinearizableReads),
    ByScenario(broken.lease_outlives_timeout_now, scenarios.TRANSFER_SUCCEEDS_UNSEEN, LinearizableReads),
    ByScenario(broken.restarted_node_votes_at_once, scenarios.VOTER_RESTARTS, LinearizableReads),
    ByScenario(broken.leader_heard_lately_is_given_up, scenarios.VOTER_IS_ASKED, LinearizableReads),
    ByScenario(
        broken.new_node_answers_before_its_term_is_durable,
        scenarios.PRISTINE_VOTER_RESTARTS,
        LinearizableReads,
    ),
    ByScenario(
        broken.clock_is_sampled_before_the_bytes_are_read,
        scenarios.REQUEST_ARRIVES_IN_A_PAUSE,
        LinearizableReads,
    ),
    ByScenario(
        broken.clock_is_sampled_before_the_bytes_are_read,
        scenarios.HEARTBEAT_ARRIVES_IN_A_PAUSE,
        LinearizableReads,
    ),
)

BY_SEEDS = (
    BySeeds(broken.vote_is_granted_twice, HardStateNeverForgotten),
    BySeeds(broken.vote_goes_to_a_shorter_log, LeaderCompleteness),
    BySeeds(broken.half_of_the_votes_win, ElectionSafety),
    BySeeds(broken.answers_leave_before_the_sync, AcknowledgedWrites),
    BySeeds(broken.sync_answers_for_later_writes, AppliedWithinLog),
    BySeeds(broken.minority_commits, AcknowledgedWrites),
    BySeeds(broken.apply_is_ahead_of_the_own_log, AppliedWithinLog),
    BySeeds(broken.entries_are_appended_unseen, LogMatching),
    BySeeds(broken.commit_goes_beyond_the_match, StateMachineSafety),
    BySeeds(broken.heartbeat_commits_beyond_the_match, StateMachineSafety),
    BySeeds(broken.rejection_is_answered_as_a_match, AcknowledgedWrites),
    BySeeds(broken.leader_drops_its_own_entries, LeaderAppendOnly),
    BySeeds(broken.lost_leadership_refuses_writes, RefusedWrites),
    BySeeds(broken.read_takes_the_leader_at_its_word, LinearizableReads),
)


@pytest.mark.parametrize(
    "case", BY_SCENARIO, ids=lambda case: f"{case.break_rule.__name__}-{case.scenario.name}"
)
def test_a_broken_rule_is_caught_on_its_scenario(case: ByScenario, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Violation) as caught:
        case.scenario.play(case.break_rule(monkeypatch))
    assert caught.value.property_class is case.caught_by


@pytest.mark.parametrize("case", BY_SEEDS, ids=lambda case: case.break_rule.__name__)
def test_a_broken_rule_is_caught_within_some_seeds(case: BySeeds, monkeypatch: pytest.MonkeyPatch) -> None:
    process_class = case.break_rule(monkeypatch)
    caught = []
    for seed in range(1, case.seeds + 1):
        result = run(RunSpec(seed, case.node_count, case.steps), process_class=process_class)
        if result.violated is case.caught_by:
            return
        caught.append(result.violated or result.failure)
    pytest.fail(f"{case.caught_by.__name__} caught nothing in {case.seeds} seeds; there was {caught}")


def test_next_below_match_is_caught_by_the_cores_own_assertion(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does no harm by itself (what is sent again changes nothing), so no property can see it."""
    process_class = broken.old_rejection_moves_next_below_match(monkeypatch)
    for seed in range(1, 61):
        failure = run(RunSpec(seed, steps=5_000), process_class=process_class).failure
        if failure is not None:
            assert "AssertionError: next " in failure
            return
    pytest.fail("every seed passed")


def test_a_cluster_that_does_not_catch_up_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    process_class = broken.lost_append_is_not_repeated(monkeypatch)
    for seed in range(1, 21):
        failure = run(RunSpec(seed, steps=3_000), process_class=process_class).failure
        if failure is not None and failure.startswith("liveness: "):
            return
    pytest.fail("every seed recovered")


@pytest.mark.parametrize("scenario", scenarios.ALL_SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_healthy_core_passes_every_scenario(scenario: Scenario) -> None:
    scenario.play()
