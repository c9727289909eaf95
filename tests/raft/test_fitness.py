"""Nodes whose driver says that they had better not lead, or that their clock can't be trusted."""

from __future__ import annotations

from raftkv.raft import CANDIDATE, FOLLOWER, LEADER, NOBODY, Ready, RequestVote, TimeoutNow
from raftkv.raft.types import TransferRequest
from tests.raft.nodes import HEARTBEAT_MS, NS_PER_MS, TIMEOUT_MS, append_reply, candidate, follower, leader
from tests.raft.nodes import vote_request as vote


def test_a_leader_that_steps_down_names_the_follower_that_has_most() -> None:
    """Thesis §3.10: the others would stick to it otherwise, for an election timeout or two."""
    node = leader()
    node.core.propose(b"x")
    node.settle()
    node.step(append_reply(node, 3, node.core.last_index))
    node.settle()
    node.core.step_down(node.now_ns)
    assert (node.core.role, node.core.leader_id) == (FOLLOWER, NOBODY)
    assert node.take() == Ready(messages=[TimeoutNow(1, 1, 3)])


def test_a_leader_that_hears_nobody_steps_down_without_naming_one() -> None:
    """A TimeoutNow that arrives much later would only disturb."""
    node = leader()
    node.wait(TIMEOUT_MS)
    node.core.step_down(node.now_ns)
    assert node.core.role is FOLLOWER
    assert not node.take().messages


def test_who_stepped_down_serves_no_lease_read() -> None:
    """The successor may lead from now on (thesis §6.4.1)."""
    node = leader()
    assert node.lease_is_valid()
    node.core.step_down(node.now_ns)
    assert not node.lease_is_valid()


def test_who_stepped_down_does_not_campaign_until_it_stands_again() -> None:
    """Election timers go on, without a campaign."""
    node = leader()
    node.core.step_down(node.now_ns)
    node.settle()
    for _ in range(20):
        node.tick_after(TIMEOUT_MS)
        assert node.settle() == []
    node.core.stand_again()
    node.tick_after(TIMEOUT_MS)
    assert {type(message) for message in node.settled_messages()} == {RequestVote}


def test_a_follower_that_may_not_lead_forgets_a_leader_that_is_silent() -> None:
    """Its clients are told that nobody leads, as where it may campaign."""
    node = follower([1])
    node.core.step_down(node.now_ns)
    assert node.core.leader_id == 2
    node.tick_after(TIMEOUT_MS)
    assert (node.core.role, node.core.leader_id) == (FOLLOWER, NOBODY)


def test_a_candidate_that_may_not_lead_gives_up() -> None:
    """Its disk hangs while it campaigns."""
    node = candidate()
    assert node.core.role is CANDIDATE
    node.core.step_down(node.now_ns)
    assert node.core.role is FOLLOWER


def test_who_may_not_lead_takes_no_leadership_over_and_asks_for_none() -> None:
    """Thesis §3.10: the leader gives a transfer up after an election timeout."""
    node = follower([1])
    node.core.step_down(node.now_ns)
    node.step(TimeoutNow(1, 2, 1))
    node.core.request_leadership(node.now_ns)
    assert not node.core.has_ready()
    node.core.stand_again()
    node.core.request_leadership(node.now_ns)
    assert node.take() == Ready(messages=[TransferRequest(1, 1, 2)])


def test_who_may_not_lead_votes_as_before() -> None:
    """Else one hanging disk among three would leave nobody to be elected."""
    node = follower([1])
    node.core.step_down(node.now_ns)
    node.tick_after(TIMEOUT_MS)
    node.step(vote(2, 3, (1, 1)))
    (reply,) = node.take().messages_after_persist
    assert reply.is_granted


# --- clocks that can't be trusted ---------------------------------------------------------------


def test_a_leader_whose_clock_is_distrusted_has_no_lease_and_leads_on() -> None:
    """Thesis §6.4.1: reads go by ReadIndex, which needs no clock."""
    node = leader()
    node.core.distrust_clock(node.now_ns)
    assert node.core.role is LEADER
    assert not node.lease_is_valid()
    node.core.trust_clock()
    assert node.lease_is_valid()


def test_leases_alone_can_be_distrusted() -> None:
    """A clock that is merely fast or slow keeps nobody from voting."""
    node = leader()
    node.core.distrust_leases()
    assert not node.lease_is_valid()
    voter = follower([1])
    voter.core.distrust_leases()
    voter.tick_after(TIMEOUT_MS)
    voter.step(vote(2, 3, (1, 1)))
    assert voter.take().messages_after_persist[0].is_granted


def test_a_follower_whose_clock_jumped_keeps_its_promise_from_then_on() -> None:
    """Stickiness (thesis §4.2.3): by its clock the leader was silent for long, in truth perhaps not."""
    node = follower([1])
    node.wait(60_000)
    node.core.distrust_clock(node.now_ns)
    node.step(vote(2, 3, (1, 1)))
    assert node.core.current_term == 1
    node.wait(TIMEOUT_MS)
    node.step(vote(2, 3, (1, 1)))
    assert node.take().messages_after_persist[0].is_granted


def test_a_follower_whose_clock_jumped_does_not_campaign_at_once() -> None:
    """The jump alone says nothing of the leader."""
    node = follower([1])
    node.wait(60_000)
    node.core.distrust_clock(node.now_ns)
    node.core.tick(node.now_ns)
    assert node.core.role is FOLLOWER


def test_a_clock_that_went_back_does_not_lengthen_a_lease() -> None:
    """The newest reading counts, whoever asks with an older one."""
    node = leader()
    node.tick_after(HEARTBEAT_MS)
    before_ns = node.now_ns
    node.tick_after(TIMEOUT_MS - HEARTBEAT_MS - 1)
    assert not node.core.lease_is_valid(before_ns - 10 * NS_PER_MS)
