"""Directed scenarios: scripts of faults that reach at once what chance reaches seldom.

Each takes a `Stage` and plays; the properties judge. A healthy core passes all of them, and for each
there is a broken rule that is caught on it (`test_broken_rules`).
"""

from tests.simulator.scenarios import elections, leases, replication
from tests.simulator.scenarios.leases import drifting_profile
from tests.simulator.scenarios.replication import one_entry_profile
from tests.simulator.scenarios.scenario import Scenario

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

ALL_SCENARIOS = tuple(value for value in list(globals().values()) if isinstance(value, Scenario))
