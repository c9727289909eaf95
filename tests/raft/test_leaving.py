"""Rules of `raftkv.raft.reconfiguration` for who leaves the group (Raft §6, thesis §4.2.2)."""

from __future__ import annotations

import pytest

from raftkv.raft import (
    FOLLOWER,
    NOBODY,
    PRE_CANDIDATE,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    Membership,
    MoveMember,
    ProposalDropped,
    RemoveMember,
    TimeoutNow,
    TransferRequest,
)
from tests.raft.nodes import (
    HEARTBEAT_MS,
    TIMEOUT_MS,
    Node,
    acknowledge,
    append_reply,
    brought,
    follower,
    leader,
    pre_vote_reply,
    with_learner,
)


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
    """Thesis §3.10: after one that is given up the next is asked, for the first may be unable."""
    node = leader()
    node.change(RemoveMember(1))
    node.settle()
    acknowledge(node, 2, 3)
    for successor in (2, 3, 2):
        assert TimeoutNow(1, 1, successor) in node.settled_messages()
        for _ in range(2):
            node.wait(TIMEOUT_MS - 1)
            for sender in (2, 3):
                node.step(HeartbeatReply(1, sender, 1, 1))
            assert not [msg for msg in node.settled_messages() if isinstance(msg, TimeoutNow)]
            node.tick_after(1)


def test_a_leader_that_is_to_go_serves_between_two_who_may_take_it() -> None:
    """Thesis §3.10: only while it hands over are proposals refused."""
    node = leader()
    node.change(RemoveMember(1))
    node.settle()
    acknowledge(node, 2, 3)
    with pytest.raises(ProposalDropped):
        node.core.propose(b"x")
    node.wait(TIMEOUT_MS - 1)
    for sender in (2, 3):
        node.step(HeartbeatReply(1, sender, 1, 1))
    node.tick_after(1)
    node.core.propose(b"x")


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
