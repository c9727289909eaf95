"""Which test shows which rule of the Raft paper and of the thesis.

Figure 2, State, currentTerm: saved before an answer, 0 at first, rises
    test_paper_figure_2.test_a_new_node_begins_with_nothing
    test_paper_figure_2.test_the_current_term_only_rises
    test_replication.test_a_follower_answers_once_its_disk_has_the_entries
Figure 2, State, votedFor
    test_election.test_a_granted_vote_leaves_after_it_is_durable
    test_election.test_a_vote_is_remembered_over_a_restart
    test_paper_figure_2.test_a_vote_belongs_to_its_term
Figure 2, State, log[]
    test_paper_figure_2.test_the_first_entry_has_index_1
    test_core.test_a_hard_state_older_than_the_log_stops_the_start
Figure 2, State, commitIndex
    test_core.test_a_node_starts_as_a_follower_of_nobody_with_what_was_durable
    test_replication.test_the_commit_index_never_falls
Figure 2, State, lastApplied
    test_paper_figure_2.test_last_applied_only_rises
Figure 2, State, nextIndex[] and matchIndex[]
    test_paper_figure_2.test_a_leader_begins_behind_its_log_and_knows_of_no_match
    test_paper_figure_2.test_a_leader_begins_anew_after_each_election
    test_replication.test_next_index_never_falls_to_the_match
Figure 2, AppendEntries RPC, arguments and results
    test_paper_figure_2.test_an_append_carries_what_the_paper_says
    test_paper_figure_2.test_an_append_is_answered_with_the_current_term
Figure 2, AppendEntries RPC, receiver 1: an older term is refused
    test_election.test_a_leader_of_a_lower_term_learns_the_own_term
Figure 2, AppendEntries RPC, receiver 2: the entry before must be there
    test_replication.test_an_append_behind_a_gap_is_rejected_with_where_the_log_ends
    test_replication.test_an_append_behind_another_term_is_rejected_with_that_terms_first_entry
Figure 2, AppendEntries RPC, receiver 3: a conflict cuts, nothing else does
    test_replication.test_a_conflicting_suffix_is_replaced
    test_replication.test_an_old_append_does_not_cut_what_came_after_it
Figure 2, AppendEntries RPC, receiver 4: what is new is appended
    test_replication.test_an_append_that_overlaps_adds_what_is_new
Figure 2, AppendEntries RPC, receiver 5: min(leaderCommit, index of last new entry)
    test_replication.test_a_follower_commits_no_further_than_the_last_new_entry
Figure 2, RequestVote RPC, arguments and results
    test_paper_figure_2.test_a_vote_request_carries_what_the_paper_says
    test_paper_figure_2.test_a_vote_is_answered_with_the_current_term
Figure 2, RequestVote RPC, receiver 1: an older term is refused
    test_election.test_a_vote_is_denied_to_a_lower_term
Figure 2, RequestVote RPC, receiver 2: one vote a term, for a log that is up to date
    test_election.test_a_node_votes_once_in_a_term
    test_paper_figure_2.test_a_vote_is_given_again_to_who_has_it
    test_election.test_a_vote_is_denied_to_an_earlier_last_term_though_its_log_is_longer
    test_election.test_a_vote_is_denied_to_a_shorter_log
Figure 2, all servers: apply what is committed
    test_paper_figure_2.test_what_is_committed_is_applied_in_the_logs_order
    test_replication.test_a_follower_applies_only_what_its_own_disk_has
Figure 2, all servers: a higher term makes a follower
    test_election.test_a_higher_term_makes_a_follower
    test_paper_figure_2.test_a_message_of_a_higher_term_makes_a_follower
    test_paper_figure_2.test_a_message_to_campaign_in_a_higher_term_raises_the_term_first
Figure 2, followers: respond to candidates and leaders
    test_paper_figure_2.test_a_follower_only_answers
Figure 2, followers: a timeout without a leader and without a vote given makes a candidate
    test_election.test_a_follower_without_a_leader_asks_for_pre_votes_and_keeps_its_term
    test_election.test_no_follower_campaigns_before_an_election_timeout
    test_replication.test_a_message_of_the_leader_restarts_the_election_timer
    test_election.test_a_granted_vote_restarts_the_election_timer_and_a_denied_one_does_not
Figure 2, candidates: term, own vote, timer, requests
    test_paper_figure_2.test_a_candidate_raises_its_term_votes_for_itself_and_asks_all_others
    test_election.test_a_majority_of_pre_votes_starts_the_election
Figure 2, candidates: a majority of votes makes a leader
    test_election.test_a_majority_of_votes_makes_a_leader_that_appends_an_empty_entry
    test_quorum.test_an_election_is_won_or_lost_as_soon_as_it_is_certain
Figure 2, candidates: an AppendEntries of a new leader makes a follower
    test_election.test_a_candidate_follows_the_leader_of_its_term
Figure 2, candidates: a timeout begins a new election
    test_election.test_a_candidate_tries_again_after_a_timeout
Figure 2, leaders: heard at once, and again in idle times
    test_paper_figure_2.test_a_new_leader_is_heard_at_once
    test_paper_figure_2.test_an_idle_leader_is_heard_before_anybody_campaigns
    test_replication.test_a_leader_sends_heartbeats_at_their_interval
Figure 2, leaders: a command is appended, and answered once it is applied
    test_paper_figure_2.test_a_command_is_appended_and_comes_back_once_it_is_committed
Figure 2, leaders: who lacks entries is sent them from nextIndex on
    test_paper_figure_2.test_a_follower_that_lacks_entries_is_sent_them_from_its_next_index_on
Figure 2, leaders: success moves nextIndex and matchIndex, a conflict lowers nextIndex
    test_paper_figure_2.test_a_success_moves_the_match_and_the_next_index
    test_replication.test_a_shorter_log_is_probed_from_its_end
    test_replication.test_a_term_that_the_leader_lacks_is_skipped_whole
    test_replication.test_a_term_that_both_have_is_probed_at_the_leaders_last_entry_of_it
Figure 2, leaders: commitIndex is the largest N of the own term that a majority has
    test_quorum.test_a_quorum_value_is_the_largest_that_a_majority_reached
    test_replication.test_an_entry_is_committed_once_a_majority_of_disks_has_it
    test_replication.test_an_entry_of_an_earlier_term_is_not_committed_by_counting
Figure 3: one leader a term, append only, completeness
    test_election.test_two_leaders_of_one_term_are_refused
    test_election.test_a_leader_never_overwrites_its_log_on_election
    test_replication.test_a_leader_that_lacks_a_committed_entry_stops_the_node
Raft §7, Figure 13: snapshots
    test_snapshot.test_a_follower_that_lacks_what_is_gone_is_to_get_a_snapshot
    test_snapshot.test_a_snapshot_keeps_what_follows_it
    test_snapshot.test_a_snapshot_takes_the_place_of_a_log_that_contradicts_it
    test_snapshot.test_a_follower_counts_the_snapshots_members

Thesis §3.4: timeouts are spread
    test_election.test_election_timeouts_are_spread_over_one_to_two_timeouts
Thesis §3.5: a lost append is retried without end, and logs are made alike
    test_replication.test_a_lost_append_is_sent_again
    test_replication.test_a_lost_probe_is_sent_again
Thesis §3.6: who may be elected, and what commits
    test_log.test_the_later_term_is_more_up_to_date_then_the_longer_log
    test_replication.test_an_entry_of_an_earlier_term_is_not_committed_by_counting
Thesis §3.7: RPCs may come twice
    test_paper_thesis.test_an_append_that_comes_twice_is_answered_twice_and_appended_once
    test_replication.test_an_answer_twice_is_one_answer
    test_election.test_a_vote_counts_once
Thesis §3.8: what is saved, and what a restart begins from
    test_paper_thesis.test_the_log_outlives_a_restart
    test_paper_thesis.test_a_restarted_node_commits_anew_what_its_leader_says
Thesis §3.9: broadcasts take far less than an election timeout
    test_paper_thesis.test_a_follower_misses_a_few_heartbeats_without_campaigning
Thesis §3.10: leadership transfer
    test_paper_thesis.test_a_transfer_takes_its_steps_in_order
    test_transfer.test_no_proposal_is_taken_during_a_transfer
    test_transfer.test_a_target_that_is_behind_catches_up_first
    test_transfer.test_the_target_campaigns_at_once_without_a_pre_vote
    test_transfer.test_a_transfer_is_given_up_after_an_election_timeout
Thesis §4.1: a membership counts once appended; one change at a time; strangers are heard
    test_reconfiguration.test_a_membership_counts_at_the_leader_as_soon_as_it_is_appended
    test_reconfiguration.test_a_membership_counts_at_a_follower_as_soon_as_it_is_appended
    test_reconfiguration.test_a_membership_falls_with_its_entry
    test_reconfiguration.test_one_change_at_a_time
    test_reconfiguration.test_no_change_before_the_terms_first_commit
    test_paper_thesis.test_a_follower_takes_entries_of_a_leader_that_it_does_not_know_as_a_member
    test_paper_thesis.test_a_node_that_knows_nobody_takes_entries
    test_paper_thesis.test_a_node_votes_for_a_candidate_that_it_does_not_know_as_a_member
Thesis §4.2: a change must leave a group that can decide
    test_reconfiguration.test_no_change_to_voters_without_a_live_majority
Thesis §4.2.1: new servers catch up first
    test_paper_thesis.test_a_new_server_joins_without_delaying_what_is_committed
    test_reconfiguration.test_a_new_member_is_probed_at_once_though_nothing_is_proposed
    test_reconfiguration.test_a_learner_counts_in_no_majority
    test_reconfiguration.test_a_staged_learner_becomes_a_voter_once_it_has_caught_up
    test_reconfiguration.test_a_learner_that_lags_is_not_promoted_by_hand
Thesis §4.2.2: the leader may be removed
    test_paper_thesis.test_a_leader_replicates_to_a_group_that_it_is_to_leave
    test_leaving.test_a_leader_that_is_to_go_counts_no_vote_of_its_own_half
    test_leaving.test_a_leader_that_is_removed_hands_over_to_the_new_voter_with_most_entries
Thesis §4.2.3: disruptive servers
    test_paper_thesis.test_a_removed_server_cannot_disturb_a_group_with_a_leader
    test_election.test_who_heard_a_leader_ignores_a_candidate
    test_election.test_a_leader_ignores_candidates
    test_election.test_a_transfer_waives_stickiness
    test_leaving.test_a_removed_follower_is_sent_entries_until_it_knows
Thesis §4.3: joint consensus
    test_paper_thesis.test_any_number_of_voters_differs_between_two_memberships
    test_reconfiguration.test_a_joint_membership_is_not_committed_by_the_old_voters_alone
    test_reconfiguration.test_a_joint_membership_is_not_committed_by_the_new_voters_alone
    test_reconfiguration.test_one_half_elects_nobody
    test_reconfiguration.test_the_leader_leaves_a_joint_membership_once_it_is_committed
    test_reconfiguration.test_the_next_leader_leaves_a_joint_membership_that_it_finds
    test_quorum.test_a_joint_value_is_the_largest_that_each_half_reached
Thesis §6.2: who isn't heard by a majority steps down
    test_election.test_a_leader_that_hears_no_majority_steps_down
    test_replication.test_only_a_leader_takes_proposals
Thesis §6.4: read-only queries
    test_paper_thesis.test_a_read_takes_its_steps_in_order
    test_read_index.test_a_read_before_the_terms_first_commit_waits_for_that_entry
    test_read_index.test_a_read_waits_for_a_majority_to_acknowledge_a_round_begun_after_it
    test_read_index.test_reads_of_one_turn_share_a_round
    test_read_index.test_a_follower_asks_its_leader
    test_read_index.test_a_partitioned_leader_answers_no_read
Thesis §6.4.1: leases
    test_paper_thesis.test_a_lease_is_shorter_than_the_election_timeout_by_the_clocks_drift
    test_read_index.test_a_lease_runs_from_the_start_of_the_acknowledged_round
    test_read_index.test_a_new_leader_has_no_lease_before_its_first_entry_is_applied
    test_transfer.test_no_lease_is_trusted_once_the_target_was_told_in_this_term
    test_reconfiguration.test_a_joint_lease_needs_both_halves
Thesis §9.6: pre-vote
    test_election.test_a_pre_vote_is_granted_without_a_promise
    test_election.test_a_pre_vote_is_denied_to_a_log_that_is_behind
    test_election.test_who_heard_a_leader_denies_pre_votes
Thesis §10.2.1: the leader writes to its disk in parallel
    test_paper_thesis.test_a_leader_writes_its_disk_while_it_replicates
    test_paper_thesis.test_a_leaders_disk_counts_once_it_is_done
    test_replication.test_followers_commit_without_the_leaders_disk
"""

from __future__ import annotations

import ast
from pathlib import Path

FOLDER = Path(__file__).parent
#: Their tests exist for the table alone, so each stands in it.
OF_THE_PAPER = ("test_paper_figure_2", "test_paper_thesis")


def table() -> dict[str, list[str]]:
    """Return the docstring's table: a rule, and the tests that show it."""
    rows: dict[str, list[str]] = {}
    rule = ""
    for line in (__doc__ or "").splitlines()[2:]:
        if line.startswith("    "):
            rows[rule].append(line.strip())
        elif line:
            rule = line
            assert rule not in rows, f"{rule} stands there twice"
            rows[rule] = []
    return rows


def read_tests(module: str) -> dict[str, str]:
    """Return the tests of a file beside this one, with their docstrings."""
    tree = ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {each.name: ast.get_docstring(each) or "" for each in functions if each.name.startswith("test_")}


def test_every_rule_has_a_test_that_exists() -> None:
    """The table above: a test that is renamed or removed is missed here."""
    for rule, names in table().items():
        assert names, f"nothing shows {rule}"
        for name in names:
            module, _, function = name.partition(".")
            assert function in read_tests(module), f"{rule}: there is no {name}"


def test_every_test_of_the_paper_stands_in_the_table() -> None:
    """tests/raft/test_paper_*.py: nothing else would tell which rule it shows."""
    listed = {name for names in table().values() for name in names}
    written = {f"{module}.{name}" for module in OF_THE_PAPER for name in read_tests(module)}
    assert written <= listed, sorted(written - listed)


def test_every_test_of_the_paper_names_its_section() -> None:
    """STYLE.md: the docstring is the source."""
    for module, source in zip(OF_THE_PAPER, ("Figure 2, ", "Thesis §"), strict=True):
        for name, docstring in read_tests(module).items():
            assert docstring.startswith(source), name
