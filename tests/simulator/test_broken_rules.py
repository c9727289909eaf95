"""Proves that the simulator catches what it is for: each rule, broken on purpose, violates a property.

Source: DESIGN.md, "Raft core": each rule has its broken twin. What chance breaks seldom is broken on
a directed scenario, which the healthy core passes.
"""

from __future__ import annotations

import pytest

from raftkv.raft.types import ProtocolError
from tests.simulator import scenarios
from tests.simulator.broken_rules import elections, leases, logs, reads
from tests.simulator.broken_rules.case import ByScenario, BySeeds
from tests.simulator.properties import (
    AcknowledgedWrites,
    AppliedWithinLog,
    ElectionSafety,
    HardStateNeverForgotten,
    LeaderAppendOnly,
    LeaderCompleteness,
    LinearizableReads,
    LogMatching,
    RefusedWrites,
    StateMachineSafety,
)
from tests.simulator.run import RunSpec, run
from tests.simulator.scenarios.scenario import Scenario

BY_SCENARIO = (
    ByScenario(elections.node_campaigns_without_asking, scenarios.CUT_OFF_NODE_COMES_BACK, None),
    ByScenario(elections.leader_without_a_majority_stays, scenarios.LEADER_IS_HEARD_AND_HEARS_NOBODY, None),
    ByScenario(elections.longer_log_wins, scenarios.LONGER_LOG_IS_OLDER, LeaderCompleteness),
    ByScenario(elections.empty_directory_is_let_in, scenarios.DIRECTORY_IS_LOST, HardStateNeverForgotten),
    ByScenario(
        leases.lease_is_judged_by_the_last_tick, scenarios.LEADER_WAKES_UP_TO_A_READ, LinearizableReads
    ),
    ByScenario(elections.older_terms_get_no_answer, scenarios.TRANSFER_LEAVES_ITS_TARGET_ALONE, None),
    ByScenario(elections.vote_is_not_persisted, scenarios.VOTER_FORGETS_ITS_VOTE, HardStateNeverForgotten),
    ByScenario(
        elections.candidate_asks_before_its_sync,
        scenarios.CANDIDATE_FORGETS_ITS_VOTE,
        HardStateNeverForgotten,
    ),
    ByScenario(reads.read_index_asks_nobody, scenarios.TRANSFER_SUCCEEDS_UNSEEN, LinearizableReads),
    ByScenario(reads.read_joins_a_round_under_way, scenarios.TRANSFER_SUCCEEDS_UNSEEN, LinearizableReads),
    ByScenario(logs.older_terms_commit_by_counting, scenarios.FIGURE_8, LeaderCompleteness),
    ByScenario(logs.old_append_cuts_the_log, scenarios.OLD_APPEND_COMES_AGAIN, AcknowledgedWrites),
    ByScenario(
        logs.leader_counts_itself_before_the_sync,
        scenarios.LEADER_LOSES_WHAT_IT_COUNTED,
        LeaderCompleteness,
    ),
    ByScenario(
        logs.answers_leave_before_the_sync, scenarios.FOLLOWER_ANSWERS_FROM_A_SLOW_DISK, AcknowledgedWrites
    ),
    ByScenario(logs.report_names_a_place_of_the_log, scenarios.REPORT_OF_A_CUT_WRITE, AppliedWithinLog),
    ByScenario(
        reads.new_leader_trusts_its_lease_at_once, scenarios.NEW_LEADER_IS_READ_AT_ONCE, LinearizableReads
    ),
    ByScenario(reads.new_leader_reads_at_once, scenarios.NEW_LEADER_IS_READ_AT_ONCE, LinearizableReads),
    ByScenario(reads.read_does_not_wait_for_what_is_committed, scenarios.LEADER_IS_BEHIND, LinearizableReads),
    ByScenario(reads.read_contexts_come_back, scenarios.OLD_ANSWER_MEETS_THE_NEXT_LIFE, LinearizableReads),
    ByScenario(leases.lease_runs_from_the_answer, scenarios.SLOW_ANSWER, LinearizableReads),
    ByScenario(leases.lease_ignores_drift, scenarios.DRIFTING_CLOCKS, LinearizableReads),
    ByScenario(leases.lease_outlives_timeout_now, scenarios.TRANSFER_SUCCEEDS_UNSEEN, LinearizableReads),
    ByScenario(leases.restarted_node_votes_at_once, scenarios.VOTER_RESTARTS, LinearizableReads),
    ByScenario(leases.leader_heard_lately_is_given_up, scenarios.VOTER_IS_ASKED, LinearizableReads),
    ByScenario(
        leases.new_node_answers_before_its_term_is_durable,
        scenarios.PRISTINE_VOTER_RESTARTS,
        LinearizableReads,
    ),
    ByScenario(
        leases.clock_is_sampled_before_the_bytes_are_read,
        scenarios.REQUEST_ARRIVES_IN_A_PAUSE,
        LinearizableReads,
    ),
    ByScenario(
        leases.clock_is_sampled_before_the_bytes_are_read,
        scenarios.HEARTBEAT_ARRIVES_IN_A_PAUSE,
        LinearizableReads,
    ),
)

BY_SEEDS = (
    BySeeds(elections.vote_is_granted_twice, HardStateNeverForgotten),
    BySeeds(elections.vote_goes_to_a_shorter_log, LeaderCompleteness),
    BySeeds(elections.half_of_the_votes_win, ElectionSafety),
    BySeeds(logs.answers_leave_before_the_sync, AcknowledgedWrites),
    BySeeds(logs.sync_answers_for_later_writes, AppliedWithinLog),
    BySeeds(logs.minority_commits, AcknowledgedWrites),
    BySeeds(logs.apply_is_ahead_of_the_own_log, AppliedWithinLog),
    BySeeds(logs.entries_are_appended_unseen, LogMatching),
    BySeeds(logs.commit_goes_beyond_the_match, StateMachineSafety),
    BySeeds(logs.heartbeat_commits_beyond_the_match, StateMachineSafety),
    BySeeds(logs.rejection_is_answered_as_a_match, AcknowledgedWrites),
    BySeeds(logs.leader_drops_its_own_entries, LeaderAppendOnly),
    BySeeds(reads.lost_leadership_refuses_writes, RefusedWrites),
    BySeeds(reads.read_takes_the_leader_at_its_word, LinearizableReads),
)


@pytest.mark.parametrize("case", BY_SCENARIO + BY_SEEDS, ids=lambda case: case.name)
def test_a_broken_rule_is_caught(case: ByScenario | BySeeds, monkeypatch: pytest.MonkeyPatch) -> None:
    case.require_caught(monkeypatch)


def test_a_node_that_lost_what_its_leader_counts_on_is_caught_by_the_next_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The core's own check, for a directory that is let in all the same."""
    with pytest.raises(ProtocolError, match="was the data directory replaced"):
        scenarios.DIRECTORY_IS_LOST_UNDER_A_LEADER.play(elections.empty_directory_is_let_in(monkeypatch))


def test_next_below_match_is_caught_by_the_cores_own_assertion(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does no harm by itself (what is sent again changes nothing), so no property can see it."""
    process_class = logs.old_rejection_moves_next_below_match(monkeypatch)
    for seed in range(1, 61):
        failure = run(RunSpec(seed, steps=5_000), process_class=process_class).failure
        if failure is not None:
            assert "AssertionError: next " in failure
            return
    pytest.fail("every seed passed")


def test_a_cluster_that_does_not_catch_up_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    process_class = logs.lost_append_is_not_repeated(monkeypatch)
    for seed in range(1, 21):
        failure = run(RunSpec(seed, steps=3_000), process_class=process_class).failure
        if failure is not None and failure.startswith("liveness: "):
            return
    pytest.fail("every seed recovered")


@pytest.mark.parametrize("scenario", scenarios.ALL_SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_healthy_core_passes_every_scenario(scenario: Scenario) -> None:
    scenario.play()
