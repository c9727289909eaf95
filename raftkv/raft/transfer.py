"""Handing leadership over to a chosen follower (thesis §3.10).

The leader stops taking proposals, lets the target catch up, then sends it a TimeoutNow; the target
campaigns at once, without a pre-vote, and the others' stickiness is waived. After an election
timeout without a new leader the old one carries on.

From the first TimeoutNow on the leader trusts no lease in its term: the message may reach the target late.
"""

from __future__ import annotations

from raftkv.raft.state import RaftState, Transfer
from raftkv.raft.types import LEADER, NOBODY, NotLeader, TimeoutNow, TransferRequest


def transfer_leadership(state: RaftState, to: int) -> None:
    """Begin a transfer, in place of an earlier one. Raises NotLeader, ValueError."""
    if state.role is not LEADER:
        raise NotLeader(state.leader_id)
    if to == state.node_id or to not in state.membership.voters:
        raise ValueError(f"leadership goes to another voter of {state.membership.voters}, not to node {to}")
    leader = state.leading()
    leader.transfer = Transfer(to, deadline_ns=state.now_ns + state.election_timeout_ns)
    maybe_send_timeout_now(state)


def request_leadership(state: RaftState) -> None:
    """Ask the leader to hand over to this node. Raises NotLeader(NOBODY) when none is known."""
    if state.leader_id == NOBODY:
        raise NotLeader(NOBODY)
    if state.role is not LEADER and state.may_lead:
        request = TransferRequest(state.current_term, state.node_id, state.leader_id)
        state.outbox.messages.append(request)


def on_transfer_request(state: RaftState, msg: TransferRequest) -> None:
    """Leader: hand over to the follower that asks, unless another transfer is under way."""
    if state.leading().transfer is None and msg.sender in state.membership.voters:
        transfer_leadership(state, msg.sender)


def maybe_send_timeout_now(state: RaftState) -> None:
    """Tell the target to campaign, once its log is as long as the own one."""
    leader = state.leading()
    transfer = leader.transfer
    if transfer is None or leader.progresses[transfer.to].match_index < state.log.last_index:
        return
    leader.has_sent_timeout_now = True
    state.outbox.messages.append(TimeoutNow(state.current_term, state.node_id, transfer.to))


def maybe_give_up_transfer(state: RaftState) -> None:
    """Take proposals again if the transfer has had its time."""
    leader = state.leading()
    if leader.transfer is not None and state.now_ns >= leader.transfer.deadline_ns:
        leader.transfer = None
