"""Scenarios in which a node disturbs a working group, a useless leader stays, or a node forgets who it is.

Source: thesis §9.6 (pre-vote) and §6.2 (check-quorum); Raft §5.4.1; what raftkv's `formation` is for.
"""

from __future__ import annotations

from raftkv.node import formation
from raftkv.node.formation import NONCE_BYTES
from raftkv.raft.types import Message, RequestVote, RequestVoteReply
from raftkv.storage import Identity
from tests.simulator.node import Node
from tests.simulator.operations import INDEX_READ, LEASE_READ, WRITE
from tests.simulator.stage import ELECTION_TIMEOUT_MS, Stage


def cut_off_node_comes_back(stage: Stage) -> None:
    """A follower is alone for many election timeouts, and comes back: the leader stays, in its term."""
    leader = stage.elect()
    stage.write(leader)
    lonely = stage.others(leader)[0]
    assert leader.core is not None, "the leader runs"
    term = leader.core.current_term
    stage.separate([lonely], stage.others(lonely))
    stage.run_ms(10 * ELECTION_TIMEOUT_MS)
    stage.network.heal()
    stage.run_ms(4 * ELECTION_TIMEOUT_MS)
    core = leader.core
    stage.require(
        lambda: core is not None and core.is_serving and core.current_term == term,
        "who comes back deposes a healthy leader",
        within_ms=0,
    )


def leader_is_heard_and_hears_nobody(stage: Stage) -> None:
    """All hear the leader, which hears nobody: it must give up, or they wait for it for ever."""
    leader = stage.elect()
    stage.write(leader)
    others = stage.others(leader)
    for other in others:
        stage.network.cut(other.node_id, leader.node_id)
    stage.require(
        lambda: any(node.core is not None and node.core.is_serving for node in others),
        "no leader that can commit",
        within_ms=10 * ELECTION_TIMEOUT_MS,
    )


def longer_log_is_older(stage: Stage) -> None:
    """A deposed leader's log is the longest, but ends in an older term than what was committed since."""
    old = stage.elect()
    stage.write(old)
    rival, third = stage.others(old)
    stage.separate([old], [rival, third])
    for _ in range(10):
        stage.ask(old, WRITE)
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    stage.let_lead(rival)
    stage.write(rival)
    rival.crash()
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    stage.network.heal()
    stage.let_lead(old)
    stage.run_ms(20)


def leader_wakes_up_to_a_read(stage: Stage) -> None:
    """A leader stands still, is deposed, and finds a read waiting; its last tick was long ago."""
    leader = stage.elect()
    stage.write(leader)
    rival = stage.others(leader)[0]
    stage.separate([leader], stage.others(leader))
    leader.pause(10**12)
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    stage.let_lead(rival)
    stage.write(rival)
    assert leader.process is not None, "the leader stands still"
    leader.process.is_tick_due = False
    for kind in (LEASE_READ, LEASE_READ, INDEX_READ):
        stage.ask(leader, kind)
    leader.go_on()
    stage.run_ms(5)


def directory_is_lost(stage: Stage) -> None:
    """A voter loses its directory after it voted, and would be new to the group: it must not vote again.

    Two nodes campaign in term 1; both of their requests are on the way to the third.
    """
    first, second, voter = stage.nodes
    requests = _campaign_unheard(stage, first, second, voter)
    voter.receive(requests[first.node_id])
    stage.run_ms(5)
    _lose_directory(stage, voter)
    stage.run_ms(5)
    voter.receive(requests[second.node_id])
    stage.run_ms(5)


def _campaign_unheard(stage: Stage, first: Node, second: Node, voter: Node) -> dict[int, Message]:
    requests: dict[int, Message] = {}

    def hold_requests(message: Message) -> bool:
        if isinstance(message, RequestVote) and not message.is_pre_vote and message.to == voter.node_id:
            requests[message.sender] = message
        return isinstance(message, RequestVote | RequestVoteReply) and message.is_pre_vote

    stage.network.lets_through = hold_requests
    stage.let_time_out(first)
    stage.let_time_out(second)
    stage.wait_until(lambda: len(requests) == 2, "both campaign")
    stage.network.lets_through = lambda _: False
    return requests


def _lose_directory(stage: Stage, node: Node) -> None:
    """Empty the node's directory, and start it if that is let in beside peers whose cluster is formed."""
    node.crash()
    node.lose_directory()
    members = tuple((each.node_id, f"host:{each.node_id}") for each in stage.nodes)
    agreed = tuple((each.node_id, bytes([each.node_id]) * NONCE_BYTES) for each in stage.nodes)
    cluster_id = formation.cluster_id_of(agreed)
    reports = {
        each.node_id: Identity(each.node_id, members, dict(agreed)[each.node_id], agreed, cluster_id)
        for each in stage.others(node)
    }
    own = Identity(node.node_id, members, bytes(NONCE_BYTES))
    if not isinstance(formation.decide(own, reports), formation.Refused):
        node.start()


def directory_is_lost_under_a_leader(stage: Stage) -> None:
    """A follower loses its directory while the leader knows how much it had; the group goes on without it."""
    leader = stage.elect()
    stage.write(leader)
    stage.run_ms(20)
    _lose_directory(stage, stage.others(leader)[0])
    stage.run_ms(ELECTION_TIMEOUT_MS)
    stage.write(leader)
