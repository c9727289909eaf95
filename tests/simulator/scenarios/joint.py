"""Scenarios in which old and new voters part, or members change in one step (Raft §6, thesis §4.1).

Most begin alike: a learner is to take a voter's place, and the joint membership reaches only some nodes.

    old voters  leader  keeper  replaced
    new voters  leader  keeper            learner
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from raftkv.raft.membership import AddMember, Membership, PromoteLearner, RemoveMember, decode_membership
from raftkv.raft.types import MEMBERSHIP, AppendEntries, Message
from tests.simulator.node import Node
from tests.simulator.operations import INDEX_READ, WRITE
from tests.simulator.process import Change
from tests.simulator.stage import ELECTION_TIMEOUT_MS, Stage


@dataclass(slots=True)
class _Cast:
    leader: Node
    keeper: Node
    replaced: Node
    learner: Node


def _brings(message: Message, is_meant: Callable[[Membership], bool]) -> bool:
    return isinstance(message, AppendEntries) and any(
        entry.kind is MEMBERSHIP and is_meant(decode_membership(entry.payload)) for entry in message.entries
    )


def _is_voter_at(voter: Node, *nodes: Node) -> bool:
    """Tell whether these nodes have a membership in which that node votes, durably."""
    return all(
        node.core is not None
        and voter.node_id in node.core.membership.voters
        and node.core.persisted_index == node.core.last_index
        for node in nodes
    )


def _begin_replacing(stage: Stage, joint_to: Callable[[_Cast], Collection[Node]]) -> _Cast:
    """Let the joint membership come to the leader and to the nodes `joint_to`, and to nobody else."""
    leader = stage.elect()
    keeper, replaced = stage.others(leader)
    stage.write(leader)
    cast = _Cast(leader, keeper, replaced, stage.join())
    goals = joint_to(cast)
    goal_ids = [node.node_id for node in goals]
    stage.network.lets_through = lambda message: (
        message.to in goal_ids or not _brings(message, lambda membership: membership.is_joint)
    )
    change = AddMember(b"", takes_place_of=replaced.node_id, node_id=cast.learner.node_id)
    stage.change(leader, change)
    stage.wait_until(
        lambda: _is_voter_at(cast.learner, leader, *goals), "the joint membership is where it should be"
    )
    return cast


def both_sides_elect(stage: Stage) -> None:
    """Leader and learner know the joint membership; keeper and replaced elect by the old one.

    They are no majority of the old voters: they can neither commit nor elect a leader of that same term.
    """
    cast = _begin_replacing(stage, lambda cast: [cast.learner])
    stage.run_ms(5)
    stage.separate([cast.leader, cast.learner], [cast.keeper, cast.replaced])
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    stage.let_lead(cast.keeper)
    stage.run_ms(ELECTION_TIMEOUT_MS)  # until the learner promises nothing to the leader any more
    stage.let_lead(cast.leader)
    stage.run_ms(20)


def both_sides_are_read(stage: Stage) -> None:
    """As before, but the old leader is cut off from half of the old voters for a while, and read.

    Its clock is slow, so the others elect by the old majority before it gives up.
    """
    cast = _begin_replacing(stage, lambda cast: [cast.learner])
    drift_ppm_max = stage.profile.drift_ppm_max
    for node in (cast.keeper, cast.replaced):
        node.clock.set_drift(drift_ppm_max)
    for node in (cast.leader, cast.learner):
        node.clock.set_drift(-drift_ppm_max)
    stage.separate([cast.leader, cast.learner], [cast.keeper, cast.replaced])
    stage.run_ms(ELECTION_TIMEOUT_MS * 85 // 100)
    stage.let_lead(cast.keeper)
    stage.ask(cast.keeper, WRITE)
    stage.run_ms(5)
    stage.ask(cast.leader, INDEX_READ)
    stage.run_ms(5)


def joint_knows_no_end(stage: Stage) -> None:
    """All have the joint membership, leader and learner the new one too, and commit a write by it.

    Keeper and replaced are a majority of the old voters, and none of the new.
    """
    cast = _begin_replacing(stage, lambda cast: [cast.keeper, cast.replaced, cast.learner])
    end_to = cast.learner.node_id
    stage.network.lets_through = lambda message: (
        message.to == end_to or not _brings(message, lambda membership: end_to in membership.voters)
    )
    stage.wait_until(
        lambda: cast.learner.core is not None and not cast.learner.core.membership.is_joint,
        "the learner has the new membership",
    )
    stage.write(cast.leader)
    stage.separate([cast.leader, cast.learner], [cast.keeper, cast.replaced])
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    stage.let_lead(cast.replaced)
    stage.let_lead(cast.keeper)
    stage.run_ms(20)


def leader_is_deaf_to_the_old_voters(stage: Stage) -> None:
    """Keeper and replaced hear the leader, which doesn't hear them: the learner's answers don't keep it."""
    cast = _begin_replacing(stage, lambda cast: [cast.learner])
    for deaf_to in (cast.keeper, cast.replaced):
        stage.network.cut(deaf_to.node_id, cast.leader.node_id)
    stage.network.lets_through = lambda _: True
    _require_another_leader(stage, cast.leader)


def leader_is_deaf_to_the_new_voters(stage: Stage) -> None:
    """Keeper and learner hear the leader, which doesn't hear them: the answers of replaced don't keep it."""
    cast = _begin_replacing(stage, lambda cast: [cast.replaced])
    for deaf_to in (cast.keeper, cast.learner):
        stage.network.cut(deaf_to.node_id, cast.leader.node_id)
    stage.network.lets_through = lambda _: True
    _require_another_leader(stage, cast.leader)


def _require_another_leader(stage: Stage, deposed: Node) -> None:
    stage.require(
        lambda: any(node.core is not None and node.core.is_serving for node in stage.others(deposed)),
        "no leader that is heard",
        within_ms=10 * ELECTION_TIMEOUT_MS,
    )


def leader_outside_is_elected(stage: Stage) -> None:
    """A leader was removed, knows it, and leads once more since nobody committed it: it counts for nothing.

    1. Leader hands over to the successor, which appends the membership without it; only the old leader gets
    that. 2. The old leader is elected once more. 3. It reaches the successor alone: one of two voters.
    """
    leader = stage.elect()
    stage.write(leader)
    goal_id = leader.node_id
    stage.network.lets_through = lambda message: (
        message.to == goal_id or not _brings(message, lambda at: not at.is_joint and goal_id not in at.voters)
    )
    stage.change(leader, RemoveMember(goal_id))
    stage.wait_until(
        lambda: (
            leader.core is not None
            and goal_id not in leader.core.membership.member_ids
            and leader.core.persisted_index == leader.core.last_index
        ),
        "the old leader has the membership without it",
    )
    successor = stage.leader()
    assert successor is not None, "who is leader has been handed over"
    third = stage.others(leader, successor)[0]
    successor.crash()
    successor.start()
    stage.network.lets_through = lambda message: (
        not isinstance(message, AppendEntries) or message.to == successor.node_id
    )
    stage.run_ms(ELECTION_TIMEOUT_MS + 20)
    stage.let_time_out(leader)
    stage.wait_until(lambda: stage.leader() is leader, "the old leader leads once more", within_ms=200)
    stage.ask(leader, WRITE)
    stage.run_ms(20)
    del third


def cut_takes_the_membership_along(stage: Stage) -> None:
    """The joint membership is on the leader's disk alone, and cut by the next leader."""
    cast = _begin_replacing(stage, lambda _: [])
    others = stage.others(cast.leader)
    stage.separate([cast.leader], others)
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    stage.network.lets_through = lambda message: not _brings(message, lambda membership: membership.is_joint)
    stage.let_lead(cast.keeper)
    stage.write(cast.keeper)
    stage.network.heal()
    stage.run_ms(2 * ELECTION_TIMEOUT_MS)


def term_is_unproven(stage: Stage) -> None:
    """The bug of the thesis's one-step changes, found after its publication: four voters S1..S4 and S5.

    1. S1 makes S5 a voter; S1 and S5 alone have that. 2. S2 is elected by S3 and S4, and removes S1 at once;
    S2 and S3 have that, two of the three that are left. 3. S1 is elected by S4 and S5, three of five.
    """
    s1 = stage.elect()
    s2, s3, s4 = stage.others(s1)
    s5 = _learner_of(stage, s1)
    _keep_appends_to(stage, s5)
    _promote(stage, s1, s5)
    stage.separate([s1, s5], [s2, s3, s4])
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    _keep_appends_to(stage, s3)
    stage.let_time_out(s2)
    stage.wait_until(lambda: stage.leader() is s2, "S2 is elected", within_ms=200)
    stage.run_ms(150)  # it hears that the others live
    s2.receive(Change(RemoveMember(s1.node_id)))
    stage.run_ms(20)
    stage.ask(s2, WRITE)
    stage.run_ms(20)
    stage.network.heal()
    stage.separate([s2, s3], [s1, s4, s5])
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    stage.network.lets_through = lambda _: True
    stage.let_lead(s1)
    stage.run_ms(20)


def change_upon_a_change(stage: Stage) -> None:
    """Two learners become voters one right after the other; the voters besides the leader hear of neither."""
    leader = stage.elect()
    first, second = stage.others(leader)
    learners = [_learner_of(stage, leader), _learner_of(stage, leader)]
    _keep_appends_to(stage, *learners)
    for learner in learners:
        _promote(stage, leader, learner)
    stage.ask(leader, WRITE)
    stage.run_ms(20)
    stage.separate([first, second], [leader, *learners])
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    stage.network.lets_through = lambda _: True
    stage.let_lead(first)
    stage.run_ms(20)


def _learner_of(stage: Stage, leader: Node) -> Node:
    learner = stage.add_learner(leader)
    stage.wait_until(lambda: _is_learner(learner), "a learner is taken in, and knows it")
    stage.run_ms(150)  # a heartbeat was answered since
    return learner


def _is_learner(node: Node) -> bool:
    core = node.core
    return core is not None and node.node_id in core.committed_membership.learners


def _promote(stage: Stage, leader: Node, learner: Node) -> None:
    stage.change(leader, PromoteLearner(learner.node_id))
    stage.run_ms(20)


def _keep_appends_to(stage: Stage, *receivers: Node) -> None:
    receiver_ids = [node.node_id for node in receivers]
    stage.network.lets_through = lambda message: (
        not isinstance(message, AppendEntries) or message.to in receiver_ids
    )
