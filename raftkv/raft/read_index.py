"""Linearizable reads: contact rounds, ReadIndex (thesis §6.4) and the leader's lease (§6.4.1).

A leader numbers its contact rounds. AppendEntries and Heartbeats carry the newest one, answers
give it back; every message of a round leaves after the round began. So an acknowledgement shows
that its sender took this node for the leader at some time after that.

* ReadIndex: a read that was asked for before its round began sees everything that was
  acknowledged to anybody before, once a majority has acknowledged the round.
* Lease: who acknowledged a round helps nobody else to be elected for an election timeout
  (stickiness, `election`), so no other leader exists until the round's START plus that time,
  less the clocks' drift. Counting from the answer's arrival would be wrong by the answer's way.

Knows nothing of how rounds travel; `replication` puts them into messages.
"""

from __future__ import annotations

from raftkv.raft.progress import Progress
from raftkv.raft.quorum import joint_value
from raftkv.raft.state import LeaderState, PendingRead, RaftState
from raftkv.raft.types import (
    LEADER,
    NOBODY,
    NotLeader,
    ProtocolError,
    ReadIndexReply,
    ReadIndexRequest,
    ReadState,
)


def begin_round(state: RaftState) -> None:
    """Begin a contact round now: whatever is sent from here on carries it."""
    leader = state.leading()
    leader.round += 1
    leader.is_round_carried = False
    leader.round_starts.append((leader.round, state.now_ns))
    if state.is_sole_voter:
        _settle_rounds(state, leader)


def on_round_ack(state: RaftState, progress: Progress, round_number: int) -> None:
    """Note that a follower acknowledged every round up to `round_number`. Raises ProtocolError."""
    if round_number <= progress.acked_round:
        return
    leader = state.leading()
    if round_number > leader.round:
        raise ProtocolError(f"node {progress.node_id} acknowledged round {round_number} of {leader.round}")
    progress.acked_round = round_number
    _settle_rounds(state, leader)


def is_lease_valid(state: RaftState, now_ns: int) -> bool:
    """Tell whether nobody else can have become leader by `now_ns`, and reads see all that came before.

    The second needs an entry of the own term applied: only then is it known, and in the state
    machine, what earlier leaders committed (thesis §6.4).
    """
    leader = state.leader
    if leader is None or not state.may_lease:
        return False
    if leader.has_sent_timeout_now or state.log.last_applied < leader.term_start_index:
        return False
    # The newer of the two readings: a clock that went back would lengthen the lease.
    return state.is_sole_voter or max(now_ns, state.now_ns) < leader.lease_end_ns


def read_index(state: RaftState, context: int) -> None:
    """Ask for a read index; a ReadState answers. Raises NotLeader when no leader is known."""
    if state.role is LEADER:
        _add_read(state, state.node_id, context)
    elif state.leader_id == NOBODY:
        raise NotLeader(NOBODY)
    else:
        _ask_leader(state, context)


def on_read_index_request(state: RaftState, msg: ReadIndexRequest) -> None:
    """Leader: answer a follower, at once under a lease, else after a round."""
    leader = state.leading()
    progress = leader.progresses.get(msg.sender)
    if progress is None:
        _answer(state, msg.sender, msg.context, 0)
        return
    progress.heard_ns = state.now_ns
    if is_lease_valid(state, state.now_ns):
        _answer(state, msg.sender, msg.context, state.log.commit_index)
    else:
        _add_read(state, msg.sender, msg.context)


def refuse_read_index_request(state: RaftState, msg: ReadIndexRequest) -> None:
    """Answer a follower that takes this node for the leader, which it isn't."""
    _answer(state, msg.sender, msg.context, 0)


def on_read_index_reply(state: RaftState, msg: ReadIndexReply) -> None:
    """Follower: the leader's answer, or one that came twice or too late."""
    context = state.follower_reads.pop(msg.context, None)
    if context is not None:
        state.outbox.read_states.append(ReadState(context, msg.read_index))


def refuse_leader_reads(state: RaftState) -> None:
    """Refuse what waits at this node, which stops leading: nobody will confirm it."""
    for read in state.leading().reads:
        _answer(state, read.asker, read.context, 0)


def refuse_follower_reads(state: RaftState) -> None:
    """Refuse what waits for a leader that this node no longer follows."""
    state.outbox.read_states.extend(ReadState(context, 0) for context in state.follower_reads.values())
    state.follower_reads.clear()


def _ask_leader(state: RaftState, context: int) -> None:
    """Send a follower's read to its leader."""
    waiting = state.follower_reads
    if len(waiting) >= state.config.pending_reads_max:
        # The oldest goes: its question or answer was most likely lost.
        state.outbox.read_states.append(ReadState(waiting.pop(next(iter(waiting))), 0))
    wire_context = state.next_wire_context
    state.next_wire_context += 1
    waiting[wire_context] = context
    request = ReadIndexRequest(state.current_term, state.node_id, state.leader_id, wire_context)
    state.outbox.messages.append(request)


def _add_read(state: RaftState, asker: int, context: int) -> None:
    """Queue a read behind a round that no message carries yet, so that it begins after the request."""
    leader = state.leading()
    if len(leader.reads) >= state.config.pending_reads_max:
        _answer(state, asker, context, 0)
        return
    if leader.is_round_carried:
        begin_round(state)
    leader.wants_heartbeats = True
    # Until an entry of the own term is committed, `commit_index` may lack what earlier leaders
    # committed; all of that stands before the term's first entry. Who waits for that entry to be
    # applied reads late enough.
    index = max(state.log.commit_index, leader.term_start_index)
    leader.reads.append(PendingRead(asker, context, index, leader.round))
    if state.is_sole_voter:
        _release_reads(state, leader)


def _settle_rounds(state: RaftState, leader: LeaderState) -> None:
    """Extend the lease and release reads as far as a majority has acknowledged."""
    acked = {node_id: progress.acked_round for node_id, progress in leader.progresses.items()}
    acked[state.node_id] = leader.round
    quorum_round = joint_value(acked, state.halves)
    if quorum_round <= leader.quorum_round:
        return
    leader.quorum_round = quorum_round
    starts = leader.round_starts
    while starts and starts[0][0] <= quorum_round:
        _, start_ns = starts.popleft()
        leader.lease_end_ns = start_ns + state.lease_ns
    _release_reads(state, leader)


def _release_reads(state: RaftState, leader: LeaderState) -> None:
    reads = leader.reads
    while reads and reads[0].round <= leader.quorum_round:
        read = reads.popleft()
        _answer(state, read.asker, read.context, read.read_index)


def _answer(state: RaftState, asker: int, context: int, index: int) -> None:
    """Give a read its index, 0 to refuse it: to the driver, or to the follower that asked."""
    if asker == state.node_id:
        state.outbox.read_states.append(ReadState(context, index))
        return
    leader_commit = 0
    if state.leader is not None and index > 0 and asker in state.leader.progresses:
        leader_commit = min(state.leader.progresses[asker].match_index, state.log.commit_index)
    reply = ReadIndexReply(state.current_term, state.node_id, asker, context, index, leader_commit)
    state.outbox.messages.append(reply)
