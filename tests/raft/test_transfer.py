"""Rules of `raftkv.raft.transfer` (thesis §3.10)."""

from __future__ import annotations

import pytest

from raftkv.raft import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    AppendEntries,
    HardState,
    HeartbeatReply,
    NotLeader,
    ProposalDropped,
    ProtocolError,
    Ready,
    RequestVote,
    TimeoutNow,
    TransferRequest,
)
from tests.raft.nodes import TIMEOUT_MS, Node, append_reply, follower, leader, vote_request


def transfer(node: Node, to: int) -> None:
    """Begin a transfer now."""
    node.core.transfer_leadership(to, node.now_ns)


def test_a_target_that_has_all_is_told_at_once() -> None:
    """Thesis §3.10, step 3."""
    node = leader()
    transfer(node, 3)
    assert node.take() == Ready(messages=[TimeoutNow(1, 1, 3)])
    assert node.core.role is LEADER


def test_a_follower_that_asks_for_leadership_gets_it() -> None:
    """Redis CLUSTER FAILOVER: the follower asks, the leader hands over as in any transfer."""
    asker = follower([1])
    asker.core.request_leadership(asker.now_ns)
    assert asker.take() == Ready(messages=[TransferRequest(1, 1, 2)])
    node = leader()
    node.step(TransferRequest(1, 3, 1))
    assert node.take() == Ready(messages=[TimeoutNow(1, 1, 3)])


def test_a_request_for_leadership_does_not_replace_a_transfer_under_way() -> None:
    """Thesis §3.10: two targets told to campaign would split the votes."""
    node = leader()
    transfer(node, 2)
    node.settle()
    node.step(TransferRequest(1, 3, 1))
    assert not node.core.has_ready()


def test_leadership_is_asked_of_a_known_leader_only() -> None:
    """The leader itself has nothing to ask for; without one nobody can be asked."""
    node = leader()
    node.core.request_leadership(node.now_ns)
    assert not node.core.has_ready()
    alone = Node([1])
    with pytest.raises(NotLeader):
        alone.core.request_leadership(alone.now_ns)
    alone.step(TransferRequest(1, 2, 1))
    assert not alone.core.has_ready()


def test_a_target_that_is_behind_catches_up_first() -> None:
    """Thesis §3.10, step 2: else it couldn't win."""
    node = leader()
    node.core.propose(b"a")
    transfer(node, 3)
    ready = node.take()
    assert [type(msg) for msg in ready.messages] == [AppendEntries, AppendEntries]
    node.step(append_reply(node, 2, 2))
    assert not node.core.has_ready()
    node.step(append_reply(node, 3, 2))
    assert node.take().messages == [TimeoutNow(1, 1, 3)]


def test_no_proposal_is_taken_during_a_transfer() -> None:
    """Thesis §3.10, step 1: the target would never catch up."""
    node = leader()
    transfer(node, 2)
    with pytest.raises(ProposalDropped, match="handed to node 2"):
        node.core.propose(b"a")


def test_a_transfer_is_given_up_after_an_election_timeout() -> None:
    """Thesis §3.10: the leader carries on."""
    node = leader()
    transfer(node, 2)
    node.tick_after(TIMEOUT_MS - 2)
    with pytest.raises(ProposalDropped):
        node.core.propose(b"a")
    node.step(HeartbeatReply(1, 2, 1, 1))
    node.tick_after(2)
    assert node.core.role is LEADER
    node.core.propose(b"a")


def test_no_lease_is_trusted_once_the_target_was_told_in_this_term() -> None:
    """Thesis §6.4.1: the message may reach it at any later time, and its voters waive stickiness."""
    node = leader()
    assert node.lease_is_valid()
    transfer(node, 2)
    assert not node.lease_is_valid()
    for round_number in range(2, 12):
        node.tick_after(100)
        node.settle()
        node.step(HeartbeatReply(1, 2, 1, round_number))
    assert node.core.role is LEADER
    assert not node.lease_is_valid()


def test_a_lease_is_trusted_while_the_target_catches_up() -> None:
    """Thesis §3.10: nothing was given away yet."""
    node = leader()
    node.core.propose(b"a")
    transfer(node, 2)
    assert node.lease_is_valid()


def test_the_target_campaigns_at_once_without_a_pre_vote() -> None:
    """Thesis §3.10 and §4.2.3: the flag tells the others to overlook the leader."""
    node = follower([1])
    node.step(TimeoutNow(1, 2, 1))
    assert node.core.role is CANDIDATE
    assert node.take() == Ready(
        hard_state=HardState(2, 1),
        messages_after_persist=[
            RequestVote(2, 1, 2, 1, 1, is_pre_vote=False, is_transfer=True),
            RequestVote(2, 1, 3, 1, 1, is_pre_vote=False, is_transfer=True),
        ],
    )


def test_the_targets_next_attempt_is_an_ordinary_one() -> None:
    """Thesis §4.2.3: the leader asked for one election, not for all that follow."""
    node = follower([1])
    node.step(TimeoutNow(1, 2, 1))
    node.settle()
    node.tick_after(TIMEOUT_MS)
    sent = node.take().messages
    assert sent == [
        RequestVote(3, 1, 2, 1, 1, is_pre_vote=True, is_transfer=False),
        RequestVote(3, 1, 3, 1, 1, is_pre_vote=True, is_transfer=False),
    ]


def test_the_old_leader_votes_for_the_target() -> None:
    """Thesis §3.10: it steps down as for any higher term."""
    node = leader()
    transfer(node, 2)
    node.settle()
    node.step(vote_request(2, 2, (1, 1), is_transfer=True))
    ready = node.take()
    assert node.core.role is FOLLOWER
    assert ready.hard_state == HardState(2, 2)
    assert [msg.is_granted for msg in ready.messages_after_persist if hasattr(msg, "is_granted")] == [True]


def test_leadership_goes_to_another_voter_only() -> None:
    """Thesis §3.10."""
    node = leader()
    for stranger in (1, 9):
        with pytest.raises(ValueError, match="another voter"):
            transfer(node, stranger)
    with pytest.raises(NotLeader) as refused:
        transfer(follower([1]), 3)
    assert refused.value.leader_id == 2


def test_a_later_transfer_takes_the_place_of_an_earlier_one() -> None:
    """etcd: the newest wish counts; both targets may campaign, one wins."""
    node = leader()
    transfer(node, 2)
    transfer(node, 3)
    assert node.take().messages == [TimeoutNow(1, 1, 2), TimeoutNow(1, 1, 3)]


def test_a_leader_refuses_to_be_told_to_campaign() -> None:
    """Raft Figure 3, Election Safety: the sender claims to lead this node's term."""
    node = leader()
    with pytest.raises(ProtocolError, match="hands over term 1"):
        node.step(TimeoutNow(1, 2, 1))
