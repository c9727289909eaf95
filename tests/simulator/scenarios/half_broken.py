"""Scenarios of liveness: links that work one way or between some, disks and links that are slow.

Unlike the others these judge for themselves: a healthy leader stays, there is a leader wherever one is
possible, and who is slow costs the others nothing.
"""

from __future__ import annotations

from raftkv.raft.types import Message
from tests.simulator.clock import MILLISECOND
from tests.simulator.node import Node
from tests.simulator.operations import WRITE, Outcome
from tests.simulator.recovery import require_recovery
from tests.simulator.stage import ELECTION_TIMEOUT_MS, Stage

#: Long enough for everybody's election timer to fire several times.
_LONG_MS = 12 * ELECTION_TIMEOUT_MS
#: A leader is missed after one timeout, given up after two, and the first election may split.
_REPLACED_MS_MAX = 6 * ELECTION_TIMEOUT_MS
#: How long the rate of commits is measured.
_MEASURED_MS = 1_000


def follower_hears_no_leader(stage: Stage) -> None:
    """One way, leader to follower: it campaigns without end, and nobody else minds."""
    leader = stage.elect()
    follower = stage.others(leader)[0]
    stage.network.cut(leader.node_id, follower.node_id)
    _require_unmoved(stage, leader)


def leader_hears_not_one_follower(stage: Stage) -> None:
    """One way, follower to leader: the other follower is majority enough."""
    leader = stage.elect()
    follower = stage.others(leader)[0]
    stage.network.cut(follower.node_id, leader.node_id)
    _require_unmoved(stage, leader)


def leader_is_deaf(stage: Stage) -> None:
    """It hears nobody, and everybody hears it: it has to step down by itself (thesis §6.2)."""
    leader = stage.elect()
    for follower in stage.others(leader):
        stage.network.cut(follower.node_id, leader.node_id)
    _require_replaced(stage, leader)


def leader_is_mute(stage: Stage) -> None:
    """It hears everybody, and nobody hears it."""
    leader = stage.elect()
    for follower in stage.others(leader):
        stage.network.cut(leader.node_id, follower.node_id)
    _require_replaced(stage, leader)


def chain_with_the_leader_at_its_end(stage: Stage) -> None:
    """A - B - C: the leader A and C don't hear each other, and B hears both."""
    leader = stage.elect()
    _, other = stage.others(leader)
    stage.separate([leader], [other])
    _require_unmoved(stage, leader)


def chain_with_the_leader_in_its_middle(stage: Stage) -> None:
    """A - B - C: B leads, and the other two don't hear each other."""
    leader = stage.elect()
    first, other = stage.others(leader)
    stage.separate([first], [other])
    _require_unmoved(stage, leader)


def bridge_of_five(stage: Stage) -> None:
    """{A, B} - C - {D, E}: A leads by B and C; D and E hear only each other and C."""
    leader = stage.elect()
    second, _, *far = stage.others(leader)
    stage.separate([leader, second], far)
    _require_unmoved(stage, leader)


def star_of_five(stage: Stage) -> None:
    """All hear nobody but C: A, which led, must give way to it, the only one who can have a majority."""
    leader = stage.elect()
    hub, *points = stage.others(leader)
    points.append(leader)
    for position, point in enumerate(points):
        stage.separate([point], points[position + 1 :])
    stage.run_ms(_REPLACED_MS_MAX)
    _require_unmoved(stage, hub)


def follower_has_a_slow_disk(stage: Stage) -> None:
    """Its fsyncs take seconds."""
    leader = stage.elect()
    healthy_count = _commits(stage, leader)
    slow = stage.others(leader)[0]
    slow.fsync_slowness = 10_000
    _require_as_many(_commits(stage, leader), healthy_count)
    slow.fsync_slowness = 1
    require_recovery(stage)


def follower_has_a_slow_link(stage: Stage) -> None:
    """What it sends and is sent takes most of an election timeout."""
    leader = stage.elect()
    healthy_count = _commits(stage, leader)
    slow = stage.others(leader)[0]

    def delay(message: Message) -> bool:
        if slow.node_id not in (message.sender, message.to):
            return True
        receiver = stage.node(message.to)
        stage.timeline.after(ELECTION_TIMEOUT_MS * 4 // 5 * MILLISECOND, lambda: receiver.receive(message))
        return False

    stage.network.lets_through = delay
    _require_as_many(_commits(stage, leader), healthy_count)
    stage.network.lets_through = lambda _: True
    require_recovery(stage)


def follower_stands_still(stage: Stage) -> None:
    """It is stopped, for longer than anybody waits."""
    leader = stage.elect()
    healthy_count = _commits(stage, leader)
    stage.others(leader)[0].pause(_MEASURED_MS * MILLISECOND)
    _require_as_many(_commits(stage, leader), healthy_count)
    require_recovery(stage)


def leader_steps_down_for_its_disk(stage: Stage) -> None:
    """Its disk hangs, its driver has it step down: there is another leader within some round trips."""
    leader = stage.elect()
    stage.write(leader)
    leader.fsync_slowness = 10_000
    stage.ask(leader, WRITE)
    stage.run_ms(100)
    assert leader.core is not None, "it runs"
    leader.core.step_down(leader.clock.now_ns())
    assert stage.run_until(lambda: _leads_another(stage, leader), within_ms=50), "its successor leads soon"
    successor = stage.leader()
    assert successor is not None, "it leads"
    stage.write(successor)
    leader.fsync_slowness = 1
    stage.run_ms(2_000)  # until the fsync that hung has ended
    stage.separate([successor], stage.others(successor))
    (third,) = stage.others(leader, successor)
    is_elected = stage.run_until(lambda: stage.leader() is third, within_ms=_REPLACED_MS_MAX)
    assert is_elected, "the first doesn't campaign, but votes"
    assert leader.core is not None, "it runs"
    leader.core.stand_again()
    stage.network.heal()
    require_recovery(stage)


def _leads_another(stage: Stage, former: Node) -> bool:
    leader = stage.leader()
    return leader is not None and leader is not former and stage.is_served()


def _require_unmoved(stage: Stage, leader: Node) -> None:
    """The leader leads on in its term, and commits."""
    assert leader.core is not None, "the leader runs"
    term = leader.core.current_term
    for _ in range(4):
        stage.run_ms(_LONG_MS // 4)
        stage.write(leader)
    assert stage.leader() is leader, f"node {leader.node_id} was healthy"
    assert leader.core.current_term == term, "nobody raised its term"
    stage.network.heal()
    require_recovery(stage)


def _require_replaced(stage: Stage, former: Node) -> None:
    """Another one leads soon, and then for good."""
    is_replaced = stage.run_until(lambda: _leads_another(stage, former), within_ms=_REPLACED_MS_MAX)
    assert is_replaced, f"node {former.node_id} could lead no longer"
    leader = stage.leader()
    assert leader is not None, "it was just there"
    _require_unmoved(stage, leader)


def _commits(stage: Stage, leader: Node) -> int:
    """How many writes one after the other the leader commits in a fixed time."""
    end_ns = stage.timeline.now_ns + _MEASURED_MS * MILLISECOND
    count = 0
    while stage.timeline.now_ns < end_ns:
        operation = stage.ask(leader, WRITE)
        stage.run_until(lambda: operation.outcome is not Outcome.PENDING, within_ms=1_000)  # noqa: B023
        assert operation.outcome is Outcome.DONE, "it has a majority"
        count += 1
    return count


def _require_as_many(count: int, healthy_count: int) -> None:
    """With two of three a write waits for the slower of two disks instead of the second of three."""
    assert count >= healthy_count * 8 // 10, f"{count} commits, {healthy_count} when all were well"
