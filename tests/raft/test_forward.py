"""What the core does for writes that followers pass on to their leader (thesis §6.2)."""

from __future__ import annotations

from raftkv.raft import Forward, Heartbeat, Ready
from tests.raft.nodes import append_reply, follower, leader


def test_a_leader_gets_what_followers_pass_on_in_its_term() -> None:
    """Thesis §6.2; what is of another term was meant for another leader, or for this one's earlier self."""
    node = leader()
    forward = Forward(node.core.current_term, 2, 1, 77, 1, b"payload")
    node.step(forward)
    assert node.take() == Ready(forwards=[forward])
    node.step(Forward(node.core.current_term - 1, 2, 1, 77, 2, b"payload"))
    assert not node.core.has_ready()
    other = follower([1])
    other.step(Forward(other.core.current_term, 3, 1, 77, 1, b"payload"))
    assert not other.core.has_ready()


def test_a_commit_is_announced_to_those_who_have_it_and_were_not_told() -> None:
    """The contract of `announce_commit`: as at the next tick, but now, and to the named ones alone."""
    node = leader()
    node.core.propose(b"a")
    node.settle()
    node.core.announce_commit([2, 3])
    assert not node.core.has_ready(), "nothing new is committed"
    node.step(append_reply(node, 2, 2))
    node.settle()
    node.core.announce_commit([3])
    assert not node.core.has_ready(), "it may not have it"
    node.core.announce_commit([2])
    assert node.take() == Ready(messages=[Heartbeat(1, 1, 2, 2, 1)])
    node.core.announce_commit([2, 3])
    assert not node.core.has_ready()
    other = follower([1])
    other.core.announce_commit([3])
    assert not other.core.has_ready(), "only a leader knows"
