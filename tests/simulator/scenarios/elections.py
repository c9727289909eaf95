"""Scenarios in which a node could vote twice in one term, or be left behind in a term of its own."""

from __future__ import annotations

from raftkv.raft.types import Message, RequestVote, RequestVoteReply
from tests.simulator.process import Transfer
from tests.simulator.recovery import require_recovery
from tests.simulator.stage import ELECTION_TIMEOUT_MS, Stage


def _is_real_request(message: Message) -> bool:
    return isinstance(message, RequestVote) and not message.is_pre_vote


def voter_forgets_its_vote(stage: Stage) -> None:
    """Two nodes campaign in term 1; the voter votes for one, crashes, and then hears of the other."""
    first, second, voter = stage.nodes
    requests: dict[int, Message] = {}

    def hold_requests(message: Message) -> bool:
        """Let pre-votes alone through."""
        if _is_real_request(message) and message.to == voter.node_id:
            requests[message.sender] = message
        return isinstance(message, RequestVote | RequestVoteReply) and message.is_pre_vote

    stage.network.lets_through = hold_requests
    stage.let_time_out(first)
    stage.let_time_out(second)
    assert stage.run_until(lambda: len(requests) == 2, within_ms=ELECTION_TIMEOUT_MS), "both campaign"
    stage.network.lets_through = lambda _: False
    voter.receive(requests[first.node_id])
    stage.run_ms(5)
    voter.crash()
    voter.start()
    stage.run_ms(ELECTION_TIMEOUT_MS + 20)  # until it votes again
    voter.receive(requests[second.node_id])
    stage.run_ms(5)


def candidate_forgets_its_vote(stage: Stage) -> None:
    """A candidate crashes before its own vote is synced, and is then asked for it in the same term."""
    candidate, rival, _ = stage.nodes
    candidate.fsync_slowness = 1_000
    stage.network.lets_through = lambda message: (
        message.sender != candidate.node_id or not _is_real_request(message)
    )
    stage.let_time_out(candidate)
    is_reached = stage.run_until(
        lambda: candidate.core is not None and candidate.core.current_term == 1, within_ms=ELECTION_TIMEOUT_MS
    )
    assert is_reached, "it campaigns"
    candidate.crash(kept_count=0)
    candidate.fsync_slowness = 1
    candidate.start()
    stage.let_time_out(rival)
    stage.run_ms(100)


def transfer_leaves_its_target_alone(stage: Stage) -> None:
    """The target of a transfer campaigns, but nobody hears it: it stands in a higher term than the leader.

    It can't follow the leader, whose term is old to it; the others stick to that leader and don't listen.
    """
    leader = stage.elect()
    target = stage.others(leader)[0]
    stage.network.lets_through = lambda message: not _is_real_request(message)
    leader.receive(Transfer(target.node_id))
    is_alone = stage.run_until(
        lambda: target.core is not None and target.core.current_term == 2, within_ms=ELECTION_TIMEOUT_MS
    )
    assert is_alone, "the target campaigns"
    stage.run_ms(5)
    stage.network.lets_through = lambda _: True
    require_recovery(stage)
