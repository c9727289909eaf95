"""Rules of `raftkv.raft.reconfiguration`: members change while the group runs (Raft §6, thesis §4)."""

from __future__ import annotations

import pytest

from raftkv.raft import (
    FOLLOWER,
    LEADER,
    MEMBERSHIP,
    NOBODY,
    PRE_CANDIDATE,
    AddMember,
    AppendEntries,
    AppendEntriesReply,
    ChangeDeferred,
    ChangeRefused,
    Entry,
    EntryId,
    Heartbeat,
    HeartbeatReply,
    Membership,
    MembershipChange,
    MoveMember,
    NotLeader,
    PromoteLearner,
    ProposalDropped,
    ProtocolError,
    ReadState,
    RemoveMember,
    RequestVote,
    Staged,
    TimeoutNow,
    TransferRequest,
    encode_membership,
)
from tests.raft.nodes import (
    HEARTBEAT_MS,
    TIMEOUT_MS,
    Node,
    append_reply,
    entries_of,
    follower,
    leader,
    new_leader,
    pre_vote_reply,
    vote_reply,
)

FOUNDERS = Membership((1, 2, 3), newest_id=3)
WITHOUT_3 = Membership((1, 2), outgoing=(1, 2, 3), newest_id=3)


def membership_entry(term: int, index: int, membership: Membership) -> Entry:
    return Entry(term, index, MEMBERSHIP, encode_membership(membership))


def brought(membership: Membership, *, prev: tuple[int, int] = (1, 1), commit: int = 0) -> AppendEntries:
    """Return node 2's append of a membership to node 1."""
    entry = membership_entry(prev[0], prev[1] + 1, membership)
    return AppendEntries(prev[0], 2, 1, prev[1], prev[0], commit, 1, [entry])


def acknowledge(node: Node, *senders: int) -> None:
    """Let these nodes have all that the leader has."""
    for sender in senders:
        node.step(append_reply(node, sender, node.core.last_index))


def with_learner() -> Node:
    """Return the leader of voters 1 2 3 and learner 4, which all have everything but the learner."""
    node = leader()
    node.change(AddMember(b"", is_staged=False))
    node.settle()
    acknowledge(node, 2, 3)
    node.settle()
    return node


# --- in force -----------------------------------------------------------------------------------


def test_a_membership_counts_at_the_leader_as_soon_as_it_is_appended() -> None:
    """Raft §6: "a server always uses the latest configuration in its log", committed or not."""
    node = leader()
    assert node.change(RemoveMember(3)) == EntryId(1, 2)
    assert node.core.membership == WITHOUT_3
    assert node.core.committed_membership == FOUNDERS


def test_a_membership_counts_at_a_follower_as_soon_as_it_is_appended() -> None:
    """Raft §6."""
    node = follower([1])
    node.step(brought(WITHOUT_3))
    assert node.core.membership == WITHOUT_3
    assert node.core.committed_membership == FOUNDERS


def test_a_membership_falls_with_its_entry() -> None:
    """Raft §6: the entry is cut, so the one before it is the latest again."""
    node = follower([1])
    node.step(brought(WITHOUT_3))
    node.settle()
    node.step(AppendEntries(2, 3, 1, 1, 1, 0, 1, entries_of(2, first=2)))
    assert node.core.membership == FOUNDERS


def test_a_copy_of_a_membership_changes_nothing() -> None:
    """Raft Figure 2, AppendEntries 3: entries that match stay."""
    node = follower([1])
    later = Membership((1, 2), newest_id=3)
    entries = [membership_entry(1, 2, WITHOUT_3), membership_entry(1, 3, later)]
    node.step(AppendEntries(1, 2, 1, 1, 1, 0, 1, entries))
    node.step(AppendEntries(1, 2, 1, 1, 1, 0, 1, entries[:1]))
    assert node.core.membership == later


def test_a_committed_membership_is_known_as_such() -> None:
    """RaftCore.committed_membership."""
    node = follower([1])
    node.step(brought(WITHOUT_3, commit=2))
    assert node.core.committed_membership == WITHOUT_3


def test_a_restarted_node_finds_memberships_in_its_log() -> None:
    """Raft §6: the latest one counts, though nothing tells whether it is committed."""
    node = Node(entries=[*entries_of(1), membership_entry(1, 2, WITHOUT_3)])
    assert node.core.membership == WITHOUT_3
    assert node.core.committed_membership == FOUNDERS


def test_a_restarted_node_has_older_memberships_from_its_state() -> None:
    """RaftCore: the log before `applied` may be gone; what was applied is committed."""
    node = Node([1, 1], applied=2, membership=WITHOUT_3)
    assert node.core.membership == node.core.committed_membership == WITHOUT_3


@pytest.mark.parametrize("payload", [b"", b"\0" * 23, encode_membership(FOUNDERS) + b"\0"])
def test_a_membership_that_is_none_is_refused_with_its_append(payload: bytes) -> None:
    """ProtocolError: nothing of the append is taken."""
    node = follower([1])
    entries = [*entries_of(1, first=2), Entry(1, 3, MEMBERSHIP, payload)]
    with pytest.raises(ProtocolError, match="membership"):
        node.step(AppendEntries(1, 2, 1, 1, 1, 0, 1, entries))
    assert node.core.last_index == 1


# --- two steps ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "membership"),
    [
        (AddMember(b"d:1"), Membership((1, 2, 3), (), (4,), (Staged(4),), ((4, b"d:1"),), newest_id=4)),
        (MoveMember(2, b"b:1"), Membership((1, 2, 3), addresses=((2, b"b:1"),), newest_id=3)),
    ],
)
def test_a_change_of_no_voter_is_one_entry(change: MembershipChange, membership: Membership) -> None:
    """Raft §6: no majority changes, so no joint membership is needed."""
    node = leader()
    node.change(change)
    assert node.core.membership == membership
    acknowledge(node, 2, 3)
    assert node.settle()[0].entries == [membership_entry(1, 2, membership)]
    assert node.core.last_index == 2


def test_the_leader_leaves_a_joint_membership_once_it_is_committed() -> None:
    """Raft §6: then it is safe for the leader to append the new one."""
    node = leader()
    node.change(RemoveMember(3))
    node.settle()
    assert node.core.membership.is_joint
    acknowledge(node, 2)
    assert node.core.membership == Membership((1, 2), newest_id=3)
    assert node.core.committed_membership == WITHOUT_3
    node.settle()
    acknowledge(node, 2)
    assert node.core.committed_membership == Membership((1, 2), newest_id=3)


def test_a_joint_membership_is_not_left_for_the_commit_of_an_earlier_entry() -> None:
    """Raft §6: until it is committed itself its entry could still be cut."""
    node = leader()
    node.core.propose(b"x")
    node.change(RemoveMember(3))
    node.settle()
    node.step(append_reply(node, 2, 2))
    assert node.core.commit_index == 2
    assert node.core.membership == WITHOUT_3


def test_a_joint_membership_is_not_committed_by_the_old_voters_alone() -> None:
    """Raft §6: separate majorities; of the new voters 1 4 only 1 has it."""
    joint = Membership((1, 4), outgoing=(1, 2, 3), newest_id=4)
    node = elected_with(joint)
    acknowledge(node, 2, 3)
    assert node.core.commit_index == 0
    acknowledge(node, 4)
    assert node.core.commit_index == 3


def test_a_joint_membership_is_not_committed_by_the_new_voters_alone() -> None:
    """Raft §6: of the old voters 1 2 3 only 1 has it."""
    node = elected_with(Membership((1, 4, 5), outgoing=(1, 2, 3), newest_id=5))
    acknowledge(node, 4, 5)
    assert node.core.commit_index == 0
    acknowledge(node, 2)
    assert node.core.commit_index == 3


def elected_with(membership: Membership) -> Node:
    """Return a new leader that found this membership at the end of its log, elected by all its voters."""
    node = Node(entries=[*entries_of(1), membership_entry(1, 2, membership)])
    node.tick_after(TIMEOUT_MS)
    voters = sorted(membership.voter_ids - {1})
    node.step(*[pre_vote_reply(2, voter) for voter in voters])
    node.settle()
    node.step(*[vote_reply(2, voter) for voter in voters])
    assert node.core.role is LEADER
    node.settle()
    return node


@pytest.mark.parametrize("granting", [(2, 3), (4, 5)])
def test_one_half_elects_nobody(granting: tuple[int, int]) -> None:
    """Raft §6: "agreement (for elections and entry commitment) requires separate majorities"."""
    joint = Membership((1, 4, 5), outgoing=(1, 2, 3), newest_id=5)
    node = Node(entries=[*entries_of(1), membership_entry(1, 2, joint)])
    node.tick_after(TIMEOUT_MS)
    asked = [msg.to for msg in node.settled_messages() if isinstance(msg, RequestVote)]
    assert asked == [2, 3, 4, 5]
    node.step(*[pre_vote_reply(2, voter) for voter in granting])
    assert node.core.role is PRE_CANDIDATE


def test_the_next_leader_leaves_a_joint_membership_that_it_finds() -> None:
    """Raft §6: with its first entry it is committed, and the change goes on."""
    node = elected_with(WITHOUT_3)
    acknowledge(node, 2)
    assert node.core.membership == Membership((1, 2), newest_id=3)


@pytest.mark.parametrize("heard", [(2, 3), (4, 5)])
def test_a_joint_leader_needs_both_halves_to_be_heard(heard: tuple[int, int]) -> None:
    """Thesis §6.2: check-quorum counts as elections do."""
    node = elected_with(Membership((1, 4, 5), outgoing=(1, 2, 3), newest_id=5))
    node.wait(TIMEOUT_MS - 1)
    for sender in heard:
        node.step(HeartbeatReply(2, sender, 1, 1))
    node.tick_after(1)
    assert node.core.role is FOLLOWER


@pytest.mark.parametrize(("first", "second"), [((2, 3), 4), ((4, 5), 2)])
def test_a_joint_leader_confirms_a_read_by_both_halves(first: tuple[int, int], second: int) -> None:
    """Thesis §6.4: a majority of either half could otherwise have elected another leader."""
    node = elected_with(Membership((1, 4, 5), outgoing=(1, 2, 3), newest_id=5))
    node.read(7)
    node.settle()
    for sender in first:
        node.step(HeartbeatReply(2, sender, 1, 2))
    assert not node.core.has_ready()
    node.step(HeartbeatReply(2, second, 1, 2))
    assert node.take().read_states == [ReadState(7, 3)]


def test_a_joint_lease_needs_both_halves() -> None:
    """Thesis §6.4.1: either half could otherwise take part in another leader's election."""
    node = elected_with(WITHOUT_3)
    acknowledge(node, 3)
    node.settle()
    assert not node.lease_is_valid()
    acknowledge(node, 2)
    node.settle()
    assert node.lease_is_valid()


def test_a_group_that_shrinks_to_one_goes_on_alone() -> None:
    """Raft §6: the new membership's only voter commits by itself."""
    node = leader(voters=(1, 2))
    node.change(RemoveMember(2))
    node.settle()
    acknowledge(node, 2)
    node.settle()
    assert node.core.committed_membership == Membership((1,), newest_id=2)
    node.core.propose(b"alone")
    node.settle()
    assert node.core.last_applied == node.core.last_index


# --- refusals -----------------------------------------------------------------------------------


def test_only_a_leader_changes_members() -> None:
    """Raft §5.1."""
    node = follower([1])
    with pytest.raises(NotLeader, match="the leader is 2"):
        node.change(RemoveMember(3))


def test_no_change_before_the_terms_first_commit() -> None:
    """Thesis §4.1, corrected: otherwise two leaders' majorities may not overlap."""
    node = new_leader()
    node.settle()
    with pytest.raises(ChangeRefused, match="under way"):
        node.change(AddMember(b""))
    acknowledge(node, 2)
    node.change(AddMember(b""))


def test_one_change_at_a_time() -> None:
    """Thesis §4.1: the one before is committed; and Raft §6: left, if it was joint."""
    node = leader()
    node.change(RemoveMember(3))
    for _ in range(2):
        with pytest.raises(ChangeRefused, match="another change"):
            node.change(AddMember(b""))
        node.settle()
        acknowledge(node, 2)
    assert node.change(AddMember(b"")) == EntryId(1, 4)


def test_no_change_during_a_transfer() -> None:
    """Thesis §3.10: the target would never catch up."""
    node = leader()
    node.core.transfer_leadership(2, node.now_ns)
    with pytest.raises(ProposalDropped, match="handed to node 2"):
        node.change(AddMember(b""))


def test_no_change_to_voters_without_a_live_majority() -> None:
    """Thesis §4.2: it would stop the group. Node 3 was not heard for an election timeout."""
    node = leader()
    node.wait(TIMEOUT_MS - 1)
    node.step(HeartbeatReply(1, 2, 1, 1))
    node.tick_after(1)
    with pytest.raises(ChangeRefused, match="the voters would be 1, 3, and 3 can't be reached"):
        node.change(RemoveMember(2))
    node.change(RemoveMember(3))


def test_a_refused_change_leaves_no_trace() -> None:
    """ChangeRefused: nothing was done."""
    node = leader()
    with pytest.raises(ChangeRefused, match="node 9 is no member"):
        node.change(RemoveMember(9))
    assert node.core.membership == FOUNDERS
    assert not node.core.has_ready()


# --- learners -----------------------------------------------------------------------------------


def test_a_new_member_is_probed_at_once_though_nothing_is_proposed() -> None:
    """Thesis §4.2.1: it is sent the entry that takes it in, and says what it lacks."""
    node = leader()
    node.change(AddMember(b""))
    appends = [msg for msg in node.settled_messages() if isinstance(msg, AppendEntries)]
    assert [(msg.to, msg.prev_log_index, len(msg.entries)) for msg in appends] == [
        (2, 1, 1),
        (3, 1, 1),
        (4, 1, 1),
    ]


def test_a_learner_counts_in_no_majority() -> None:
    """Raft §6: "they are not considered for majorities"; thesis §4.2.1."""
    node = with_learner()
    node.core.propose(b"x")
    node.settle()
    acknowledge(node, 4)
    assert node.core.commit_index == 2
    acknowledge(node, 2)
    assert node.core.commit_index == 3


def test_a_learner_does_not_campaign() -> None:
    """Thesis §4.2.1."""
    node = Node([1, 1], applied=2, membership=Membership((2, 3), learners=(1,), newest_id=3))
    node.tick_after(10 * TIMEOUT_MS)
    assert node.core.role is FOLLOWER
    assert not node.core.has_ready()


def test_a_learner_is_not_asked_for_its_vote() -> None:
    """Raft §6: requests go to voters alone."""
    node = Node([1, 1], applied=2, membership=Membership((1, 2), learners=(3,), newest_id=3))
    node.tick_after(TIMEOUT_MS)
    assert [msg.to for msg in node.settled_messages()] == [2]


def test_a_staged_learner_becomes_a_voter_once_it_has_caught_up() -> None:
    """Thesis §4.2.1: at the leader's next tick, by itself."""
    node = leader()
    node.change(AddMember(b""))
    node.settle()
    acknowledge(node, 2, 3)
    node.tick_after(1)
    assert node.core.membership.voters == (1, 2, 3)
    acknowledge(node, 4)
    node.tick_after(1)
    membership = node.core.membership
    assert (membership.voters, membership.outgoing, membership.learners) == ((1, 2, 3, 4), (1, 2, 3), ())


@pytest.mark.parametrize(("lag", "is_promoted"), [(2, True), (3, False)])
def test_a_learner_may_lack_some_entries(lag: int, is_promoted: bool) -> None:
    """RaftConfig.promotion_lag_entries_max."""
    node = leader(promotion_lag_entries_max=2)
    node.change(AddMember(b""))
    node.settle()
    acknowledge(node, 2, 3, 4)
    for _ in range(lag):
        node.core.propose(b"x")
    node.settle()
    acknowledge(node, 2)
    node.tick_after(1)
    assert node.core.membership.is_joint == is_promoted


def test_a_learner_that_has_fallen_silent_is_not_promoted() -> None:
    """Thesis §4.2.1: as a voter it would be missing."""
    node = leader()
    node.change(AddMember(b""))
    node.settle()
    acknowledge(node, 4)
    node.wait(TIMEOUT_MS)
    node.settle()
    acknowledge(node, 2, 3)
    node.tick_after(0)
    assert node.core.membership.learners == (4,)


def test_a_learner_that_lags_is_not_promoted_by_hand() -> None:
    """Thesis §4.2.1."""
    node = with_learner()
    with pytest.raises(ChangeRefused, match="node 4 has not caught up"):
        node.change(PromoteLearner(4))
    acknowledge(node, 4)
    node.change(PromoteLearner(4))
    assert node.core.membership.voters == (1, 2, 3, 4)


# --- who leaves ---------------------------------------------------------------------------------


def test_a_leader_that_is_removed_hands_over_to_the_new_voter_with_most_entries() -> None:
    """Thesis §4.2.2, with a transfer (§3.10): whoever leads then ends the change, a member."""
    node = leader()
    node.change(RemoveMember(1))
    node.core.propose(b"x")
    node.settle()
    acknowledge(node, 3)
    assert node.settled_messages() == []
    node.step(append_reply(node, 2, 2))
    assert TimeoutNow(1, 1, 3) in node.settled_messages()
    assert node.core.membership == Membership((2, 3), outgoing=(1, 2, 3), newest_id=3)
    assert node.core.last_index == 3, "no leader but a member appends the new membership"


def test_a_leader_that_is_to_go_hands_over_to_nobody_who_fell_silent() -> None:
    """Thesis §3.10: node 3 has more entries, and was not heard for an election timeout."""
    node = leader()
    node.change(RemoveMember(1))
    node.core.propose(b"x")
    node.settle()
    acknowledge(node, 3)
    node.wait(TIMEOUT_MS)
    node.step(append_reply(node, 2, 2))
    acknowledge(node, 2)
    sent = node.settled_messages()
    assert TimeoutNow(1, 1, 2) in sent
    assert TimeoutNow(1, 1, 3) not in sent


def test_a_leader_that_is_to_go_hands_over_until_somebody_takes_it() -> None:
    """Thesis §3.10: a transfer that is given up is followed by another."""
    node = leader()
    node.change(RemoveMember(1))
    node.settle()
    acknowledge(node, 2, 3)
    assert TimeoutNow(1, 1, 2) in node.settled_messages()
    node.wait(TIMEOUT_MS - 1)
    for sender in (2, 3):
        node.step(HeartbeatReply(1, sender, 1, 1))
    node.tick_after(1)
    assert TimeoutNow(1, 1, 2) in node.settled_messages()


def test_no_learner_is_handed_the_lead() -> None:
    """Thesis §3.10: it couldn't be elected, whether it is named or asks for it."""
    node = with_learner()
    with pytest.raises(ValueError, match="another voter"):
        node.core.transfer_leadership(4, node.now_ns)
    node.step(TransferRequest(1, 4, 1))
    node.core.propose(b"x")


def test_a_leader_that_is_to_go_counts_no_vote_of_its_own_half() -> None:
    """Thesis §4.2.2: it replicates, and does not count itself among the new voters."""
    node = leader()
    node.change(RemoveMember(1))
    node.settle()
    acknowledge(node, 2)
    assert node.core.commit_index == 1
    acknowledge(node, 3)
    assert node.core.commit_index == 2


def test_a_removed_follower_is_sent_entries_until_it_knows() -> None:
    """Thesis §4.2.3: who knows that it is removed keeps quiet."""
    node = leader()
    node.change(RemoveMember(3))
    node.settle()
    acknowledge(node, 2)
    node.settle()
    acknowledge(node, 2)
    node.settle()
    assert node.core.peers == {2, 3}
    acknowledge(node, 3)
    node.tick_after(1)
    assert Heartbeat(1, 1, 3, 3, 1) in node.settled_messages()
    node.tick_after(1)
    assert node.core.peers == {2}


def test_a_removed_follower_that_is_silent_is_forgotten_after_a_while() -> None:
    """raftkv.raft.reconfiguration: ten election timeouts, whatever else changes meanwhile."""
    node = leader()
    node.change(RemoveMember(3))
    node.settle()
    for _ in range(2):
        acknowledge(node, 2)
        node.settle()
    for tick in range(10 * TIMEOUT_MS // HEARTBEAT_MS):
        assert node.core.peers == {2, 3}
        if tick == 5:
            node.change(MoveMember(2, b"elsewhere"))
        node.tick_after(HEARTBEAT_MS)
        node.step(HeartbeatReply(1, 2, 1, 1))
        node.settle()
    assert node.core.peers == {2}


def test_an_answer_of_somebody_forgotten_is_dropped() -> None:
    """Raft §6: it left, and this is late."""
    node = leader()
    node.step(AppendEntriesReply(1, 9, 1, 1, True, 1, 0, 0), HeartbeatReply(1, 9, 1, 1))
    assert not node.core.has_ready()


def test_a_node_knows_that_it_is_removed_once_that_is_committed() -> None:
    """RaftCore.is_removed: an uncommitted removal may yet be cut."""
    node = follower([1])
    node.step(brought(Membership((2, 3), newest_id=3)))
    node.settle()
    assert not node.core.is_removed
    node.step(Heartbeat(1, 2, 1, 2, 2))
    assert node.core.is_removed


def test_a_node_that_joins_is_not_removed() -> None:
    """RaftCore.is_removed: nobody told it yet who belongs to the group."""
    node = Node(voters=())
    assert not node.core.is_removed
    node.tick_after(10 * TIMEOUT_MS)
    assert node.core.role is FOLLOWER
    assert node.core.leader_id == NOBODY


@pytest.mark.parametrize(("commit", "role"), [(0, PRE_CANDIDATE), (2, FOLLOWER)])
def test_a_voter_whose_removal_may_not_be_committed_may_campaign(commit: int, role: object) -> None:
    """raftkv.raft.reconfiguration.may_campaign: it can be the only one whose log is long enough."""
    node = follower([1])
    node.step(brought(Membership((2, 3), newest_id=3), commit=commit))
    node.settle()
    node.tick_after(TIMEOUT_MS)
    assert node.core.role is role


def test_a_removed_nodes_votes_count_nothing() -> None:
    """Raft §6: node 3 left; its grant makes no majority of 1 and 2."""
    node = Node([1, 1], applied=2, membership=Membership((1, 2), newest_id=3))
    node.tick_after(TIMEOUT_MS)
    node.step(pre_vote_reply(2, 3))
    assert node.core.role is PRE_CANDIDATE


def test_a_leader_that_has_yet_to_commit_in_its_term_defers_a_change() -> None:
    """Thesis §4.1: it is not refused for good; who asks may ask again, as a node does that wants to join."""
    node = new_leader((1, 1), applied=2)
    with pytest.raises(ChangeDeferred):
        node.core.change_membership(AddMember(b"address"), node.now_ns)
