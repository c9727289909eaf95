"""Scenarios of who counts, leads and campaigns: learners, who leaves, and changes that can't end."""

from __future__ import annotations

from raftkv.raft.membership import RemoveMember, decode_membership
from raftkv.raft.types import MEMBERSHIP, AppendEntries, Message, RequestVote
from tests.simulator.clock import MILLISECOND
from tests.simulator.node import Node
from tests.simulator.operations import WRITE, Operation, Outcome
from tests.simulator.profile import Profile
from tests.simulator.recovery import require_recovery
from tests.simulator.stage import ELECTION_TIMEOUT_MS, Stage


def slow_snapshot_profile() -> Profile:
    """A snapshot takes about half an hour."""
    return Profile(snapshot_ns_max=3_600_000 * MILLISECOND, core_limits={"log_cache_bytes_max": 1})


def _require_done(stage: Stage, operation: Operation, what: str) -> None:
    stage.require(lambda: operation.outcome is Outcome.DONE, what)


def group_is_idle(stage: Stage) -> None:
    """Nobody writes, and a node is taken in: it gets everything, and votes."""
    leader = stage.elect()
    newcomer = stage.add_learner(leader, is_staged=True)
    stage.require(
        lambda: newcomer.node_id in stage.ledger.membership.voters and not stage.ledger.membership.is_joint,
        "a new member is sent nothing while nobody writes",
    )


def learner_lags(stage: Stage) -> None:
    """A learner that is to vote needs a snapshot, which takes long: writes don't wait for it."""
    leader = stage.elect()
    for _ in range(100):
        stage.write(leader)
    stage.drop_log(leader)
    learner = stage.add_learner(leader, is_staged=True)
    stage.run_ms(ELECTION_TIMEOUT_MS)
    assert learner.state.applied.index == 0, "the snapshot is on its way"
    _require_done(stage, stage.ask(leader, WRITE), "a write waits for a learner")


def too_few_would_be_left(stage: Stage) -> None:
    """One of three voters is down, and another one is to be removed: the two that are left can't agree."""
    leader = stage.elect()
    alive, down = stage.others(leader)
    stage.write(leader)
    down.crash()
    stage.run_ms(2 * ELECTION_TIMEOUT_MS)
    stage.change(leader, RemoveMember(alive.node_id))
    stage.run_ms(20)
    _require_done(stage, stage.ask(leader, WRITE), "a change that can't be ended holds up a write")


def leader_removes_itself(stage: Stage) -> None:
    """The leader goes: who leads next ends the change, and the old leader learns that it is out."""
    leader = stage.elect()
    stage.write(leader)
    stage.change(leader, RemoveMember(leader.node_id))
    require_recovery(stage)
    stage.require(lambda: _is_removed(leader), "the leader that went doesn't know it")


def follower_is_removed(stage: Stage) -> None:
    """A follower goes: it is told, and troubles nobody from then on."""
    leader = stage.elect()
    removed = stage.others(leader)[0]
    stage.write(leader)
    stage.change(leader, RemoveMember(removed.node_id))
    stage.require(lambda: _is_removed(removed), "who was removed doesn't know it")
    requests: list[Message] = []

    def listen(message: Message) -> bool:
        if isinstance(message, RequestVote) and message.sender == removed.node_id:
            requests.append(message)
        return True

    stage.network.lets_through = listen
    stage.run_ms(5 * ELECTION_TIMEOUT_MS)
    stage.require(lambda: not requests, "who was removed campaigns", within_ms=0)


def _is_removed(node: Node) -> bool:
    return node.core is not None and node.core.is_removed


def only_the_removed_can_win(stage: Stage) -> None:
    """The leader forgets the end of a change that the removed node has; each needs the other's vote.

    1. The leader of two voters removes the other, and appends the membership without it, which only that one
    syncs. 2. The leader restarts without it.
    """
    leader = stage.elect()
    removed = stage.others(leader)[0]
    stage.write(leader)

    def slow_down(message: Message) -> bool:
        """Keep the leader from syncing the end of the change."""
        if isinstance(message, AppendEntries) and any(
            entry.kind is MEMBERSHIP and not decode_membership(entry.payload).is_joint
            for entry in message.entries
        ):
            leader.fsync_slowness = 100_000
        return True

    stage.network.lets_through = slow_down
    stage.change(leader, RemoveMember(removed.node_id))
    stage.wait_until(
        lambda: (
            removed.core is not None
            and removed.node_id not in removed.core.membership.member_ids
            and removed.core.persisted_index == removed.core.last_index
        ),
        "the removed node has the end of the change",
    )
    stage.network.lets_through = lambda _: True
    leader.crash(kept_count=0)
    leader.fsync_slowness = 1
    leader.start()
    assert leader.core is not None, "the leader runs"
    assert leader.core.membership.is_joint, "it forgot the end of the change"
    require_recovery(stage)


def two_learners_answer(stage: Stage) -> None:
    """A leader is left with its two learners: three of five nodes, one of three voters."""
    leader = stage.elect()
    learners = _take_in_learners(stage, leader)
    stage.separate(stage.others(leader, *learners), [leader, *learners])
    stage.ask(leader, WRITE)
    stage.run_ms(20)


def learners_restart_with_their_leader(stage: Stage) -> None:
    """All logs are dropped: who votes is known from the state alone, after a restart too."""
    leader = stage.elect()
    voters = stage.others(leader)
    learners = _take_in_learners(stage, leader)
    for node in stage.nodes:
        stage.drop_log(node)
    for node in (leader, *learners):
        node.crash()
        node.start()
    stage.separate(voters, [leader, *learners])
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    stage.let_lead(voters[0])
    stage.let_lead(leader)


def learner_meets_no_leader(stage: Stage) -> None:
    """The leader is gone: its learner waits, and campaigns neither before nor after a restart."""
    leader = stage.elect()
    learners = _take_in_learners(stage, leader)
    stage.drop_log(learners[0])
    learners[0].crash()
    learners[0].start()
    requests: list[Message] = []
    learner_ids = [node.node_id for node in learners]

    def listen(message: Message) -> bool:
        """Cut the learners off, and hear what they would say."""
        if isinstance(message, RequestVote) and message.sender in learner_ids:
            requests.append(message)
        return message.sender not in learner_ids and message.to not in learner_ids

    stage.network.lets_through = listen
    stage.run_ms(5 * ELECTION_TIMEOUT_MS)
    stage.require(lambda: not requests, "a learner campaigns", within_ms=0)


def _take_in_learners(stage: Stage, leader: Node) -> list[Node]:
    learners = []
    for _ in range(2):
        learner = stage.add_learner(leader)
        stage.wait_until(
            lambda: _is_learner(learner) and stage.ledger.last_index == learner.state.applied.index,  # noqa: B023
            "a learner is taken in and has everything",
        )
        learners.append(learner)
    return learners


def _is_learner(node: Node) -> bool:
    core = node.core
    return core is not None and node.node_id in core.committed_membership.learners


def sole_voter_crashes_after_its_vote(stage: Stage) -> None:
    """The only voter crashes before its vote is synced: it must not have led that term already."""
    (node,) = stage.nodes
    node.fsync_slowness = 10_000
    stage.run_ms(ELECTION_TIMEOUT_MS)
    node.crash(kept_count=0)
    node.fsync_slowness = 1
    node.start()
    stage.wait_until(stage.is_served, "it leads in the end")
