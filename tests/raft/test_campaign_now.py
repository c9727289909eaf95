"""`RaftCore.campaign`: an election on request (redis CLUSTER FAILOVER FORCE), within Raft's rules."""

from __future__ import annotations

import pytest

from raftkv.raft import FOLLOWER, LEADER, PRE_CANDIDATE, Heartbeat, RequestVote
from tests.raft.nodes import TIMEOUT_MS, Node, follower, leader


def campaign(node: Node) -> list[RequestVote]:
    """Ask the node to campaign; give the votes that it asks for."""
    node.core.campaign(node.now_ns)
    return [message for message in node.take().messages if isinstance(message, RequestVote)]


def followed(**config: int) -> Node:
    """A follower that has just heard its leader, node 2."""
    node = follower(**config)
    node.step(Heartbeat(1, 2, 1, 0, 1))
    node.take()
    return node


def test_a_silent_leader_is_not_waited_for_any_longer() -> None:
    """One election timeout must pass, the random rest of the wait need not."""
    node = followed()
    node.wait(TIMEOUT_MS)
    assert {vote.to for vote in campaign(node)} == {2, 3}
    assert node.core.role is PRE_CANDIDATE
    assert {vote.to for vote in campaign(node)} == {2, 3}


@pytest.mark.parametrize("wait_ms", [0, TIMEOUT_MS - 1])
def test_a_leader_that_was_heard_lately_is_left_alone(wait_ms: int) -> None:
    """Stickiness (thesis §4.2.3)."""
    node = followed()
    node.wait(wait_ms)
    assert campaign(node) == []
    assert node.core.role is FOLLOWER


def test_who_may_not_lead_does_not_campaign() -> None:
    """A node that stepped down, a learner, and a leader."""
    node = followed()
    node.core.step_down(node.now_ns)
    node.wait(TIMEOUT_MS)
    assert campaign(node) == []
    leading = leader()
    assert campaign(leading) == []
    assert leading.core.role is LEADER
