"""Directed scenarios: scripts of faults that reach at once what chance reaches seldom.

Each takes a `Stage` and plays; the properties judge. A healthy core passes all of them, and for each
there is a broken rule that is caught on it (`test_broken_rules`).
"""

from collections.abc import Callable

from tests.simulator.scenarios import disturbances, elections, joint, leases, members, replication, snapshots
from tests.simulator.scenarios.leases import drifting_profile
from tests.simulator.scenarios.members import slow_snapshot_profile
from tests.simulator.scenarios.replication import one_entry_profile
from tests.simulator.scenarios.scenario import Scenario
from tests.simulator.scenarios.snapshots import no_cache_profile
from tests.simulator.stage import Stage


def _uncached(script: Callable[[Stage], None]) -> Scenario:
    return Scenario(script, make_profile=no_cache_profile)


VOTER_RESTARTS = Scenario(leases.voter_restarts)
VOTER_IS_ASKED = Scenario(leases.voter_is_asked_while_the_leader_lives)
PRISTINE_VOTER_RESTARTS = Scenario(leases.pristine_voter_restarts)
SLOW_ANSWER = Scenario(leases.slow_answer)
DRIFTING_CLOCKS = Scenario(leases.drifting_clocks, make_profile=drifting_profile)
TRANSFER_SUCCEEDS_UNSEEN = Scenario(leases.transfer_succeeds_unseen)
REQUEST_ARRIVES_IN_A_PAUSE = Scenario(leases.request_arrives_in_a_pause)
HEARTBEAT_ARRIVES_IN_A_PAUSE = Scenario(leases.heartbeat_arrives_in_a_pause)
LEADER_IS_BEHIND = Scenario(leases.leader_is_behind_its_followers)
NEW_LEADER_IS_READ_AT_ONCE = Scenario(leases.new_leader_is_read_at_once)
VOTER_FORGETS_ITS_VOTE = Scenario(elections.voter_forgets_its_vote)
CANDIDATE_FORGETS_ITS_VOTE = Scenario(elections.candidate_forgets_its_vote)
TRANSFER_LEAVES_ITS_TARGET_ALONE = Scenario(elections.transfer_leaves_its_target_alone)
FIGURE_8 = Scenario(replication.figure_8, node_count=5, make_profile=one_entry_profile)
OLD_APPEND_COMES_AGAIN = Scenario(replication.old_append_comes_again)
ANSWER_MEETS_THE_NEXT_TERM = Scenario(replication.answer_meets_the_next_term)
LEADER_LOSES_WHAT_IT_COUNTED = Scenario(replication.leader_loses_what_it_counted)
FOLLOWER_ANSWERS_FROM_A_SLOW_DISK = Scenario(replication.follower_answers_from_a_slow_disk)
REPORT_OF_A_CUT_WRITE = Scenario(replication.report_of_a_cut_write, node_count=5)
OLD_ANSWER_MEETS_THE_NEXT_LIFE = Scenario(replication.old_answer_meets_the_next_life)
BOTH_SIDES_ELECT = Scenario(joint.both_sides_elect)
BOTH_SIDES_ARE_READ = Scenario(joint.both_sides_are_read, make_profile=drifting_profile)
JOINT_KNOWS_NO_END = Scenario(joint.joint_knows_no_end)
LEADER_IS_DEAF_TO_THE_OLD_VOTERS = Scenario(joint.leader_is_deaf_to_the_old_voters)
LEADER_IS_DEAF_TO_THE_NEW_VOTERS = Scenario(joint.leader_is_deaf_to_the_new_voters)
LEADER_OUTSIDE_IS_ELECTED = Scenario(joint.leader_outside_is_elected)
CUT_TAKES_THE_MEMBERSHIP_ALONG = Scenario(
    joint.cut_takes_the_membership_along, make_profile=one_entry_profile
)
TERM_IS_UNPROVEN = Scenario(joint.term_is_unproven, node_count=4)
CHANGE_UPON_A_CHANGE = Scenario(joint.change_upon_a_change)
GROUP_IS_IDLE = Scenario(members.group_is_idle)
LEARNER_LAGS = Scenario(members.learner_lags, node_count=1, make_profile=slow_snapshot_profile)
TOO_FEW_WOULD_BE_LEFT = Scenario(members.too_few_would_be_left)
LEADER_REMOVES_ITSELF = Scenario(members.leader_removes_itself)
FOLLOWER_IS_REMOVED = Scenario(members.follower_is_removed)
ONLY_THE_REMOVED_CAN_WIN = Scenario(members.only_the_removed_can_win, node_count=2)
TWO_LEARNERS_ANSWER = Scenario(members.two_learners_answer)
LEARNERS_RESTART_WITH_THEIR_LEADER = Scenario(members.learners_restart_with_their_leader)
LEARNER_MEETS_NO_LEADER = Scenario(members.learner_meets_no_leader)
SOLE_VOTER_CRASHES_AFTER_ITS_VOTE = Scenario(members.sole_voter_crashes_after_its_vote, node_count=1)
TAIL_CONTRADICTS_THE_SNAPSHOT = Scenario(
    snapshots.tail_contradicts_the_snapshot, make_profile=no_cache_profile
)
TAIL_FOLLOWS_THE_SNAPSHOT = _uncached(snapshots.tail_follows_the_snapshot)
SNAPSHOT_COMES_FROM_A_LATER_TERM = Scenario(
    snapshots.snapshot_comes_from_a_later_term, node_count=5, make_profile=no_cache_profile
)
APPEND_BEGINS_BEFORE_THE_LOG = _uncached(snapshots.append_begins_before_the_log)
SNAPSHOT_MEETS_UNAPPLIED_ENTRIES = Scenario(
    snapshots.snapshot_meets_unapplied_entries, make_profile=no_cache_profile
)
CRASH_WITH_THE_TERM_SYNCED = _uncached(snapshots.crash_with_the_term_synced)
CRASH_WITH_THE_STATE_INSTALLED = Scenario(
    snapshots.crash_with_the_state_installed, make_profile=no_cache_profile
)
MEMBER_LEAVES_BEFORE_THE_SNAPSHOT = Scenario(
    snapshots.member_leaves_before_the_snapshot, make_profile=no_cache_profile
)
LOG_IS_DROPPED_BEFORE_A_CRASH = Scenario(
    snapshots.log_is_dropped_before_a_crash, make_profile=no_cache_profile
)
CUT_OFF_NODE_COMES_BACK = Scenario(disturbances.cut_off_node_comes_back)
LEADER_IS_HEARD_AND_HEARS_NOBODY = Scenario(disturbances.leader_is_heard_and_hears_nobody)
LONGER_LOG_IS_OLDER = Scenario(disturbances.longer_log_is_older)
LEADER_WAKES_UP_TO_A_READ = Scenario(disturbances.leader_wakes_up_to_a_read)
DIRECTORY_IS_LOST = Scenario(disturbances.directory_is_lost)
DIRECTORY_IS_LOST_UNDER_A_LEADER = Scenario(disturbances.directory_is_lost_under_a_leader)

ALL_SCENARIOS = tuple(value for value in list(globals().values()) if isinstance(value, Scenario))
