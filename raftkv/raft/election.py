"""Elections, and every change of role and term (Raft §5.2, §5.4.1; pre-vote: thesis §9.6).

Three rules on top of the paper's keep a working leader in place and its lease true:

* Pre-vote: a node asks whether it would win before it raises its term.
* Stickiness: who heard a leader less than an election timeout ago helps nobody else, except in a
  transfer that the leader itself asked for (thesis §4.2.3, §6.4.1).
* Quiet start: a node that was restarted forgot whom it heard, so it grants no vote for an
  election timeout, unless it never took part in anything.

A node whose driver told it to step down, as when its disk hangs, doesn't campaign, takes no leadership
over and asks for none; it votes and follows as before.

And check-quorum (thesis §6.2): a leader that heard no majority for an election timeout steps down;
without it a sticky minority would follow a leader that can commit nothing.

Invariants: `current_term` never falls; at most one vote per term; `state.leader` is set exactly
while role is LEADER; only a follower has a `leader_id` other than itself.
"""

from __future__ import annotations

from raftkv.raft import read_index
from raftkv.raft.quorum import LOST, WON, joint_value, joint_vote_result
from raftkv.raft.reconfiguration import is_active, may_campaign
from raftkv.raft.state import RaftState, new_leader_state
from raftkv.raft.types import (
    CANDIDATE,
    EMPTY,
    FOLLOWER,
    LEADER,
    NOBODY,
    PRE_CANDIDATE,
    AppendEntries,
    AppendEntriesReply,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Message,
    ProtocolError,
    ReadIndexRequest,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)

# --- timers -------------------------------------------------------------------------------------


def restart_election_timer(state: RaftState) -> None:
    """Let the next campaign begin in one to two election timeouts (Raft §5.2)."""
    state.election_timer_ns = state.now_ns
    if state.is_sole_voter:
        # Nobody else could lead, so there is nobody to wait for.
        state.election_wait_ns = 0
    else:
        timeout_ns = state.election_timeout_ns
        state.election_wait_ns = timeout_ns + state.random.randrange(timeout_ns)


def maybe_campaign(state: RaftState) -> bool:
    """Begin a pre-election if no leader was heard for long enough; say whether it did."""
    if state.now_ns - state.election_timer_ns < state.election_wait_ns:
        return False
    if not state.may_lead:
        become_follower(state, state.current_term, NOBODY)
        restart_election_timer(state)
        return False
    if not may_campaign(state):
        return False
    become_pre_candidate(state)
    return True


def campaign_now(state: RaftState) -> None:
    """Begin a pre-election now, unless a leader was heard lately (redis CLUSTER FAILOVER FORCE)."""
    is_free = state.role in (FOLLOWER, PRE_CANDIDATE) and not _has_heard_leader(state)
    if is_free and state.may_lead and may_campaign(state):
        become_pre_candidate(state)


def check_quorum(state: RaftState) -> None:
    """Leader: step down unless a majority was heard within an election timeout (thesis §6.2)."""
    leader = state.leading()
    heard = {state.node_id: state.now_ns}
    for node_id, progress in leader.progresses.items():
        heard[node_id] = leader.since_ns if progress.heard_ns is None else progress.heard_ns
    if state.now_ns - joint_value(heard, state.halves) >= state.election_timeout_ns:
        become_follower(state, state.current_term, NOBODY)


def step_down(state: RaftState) -> None:
    """Lead no more, nor try to, until `may_lead` is set again.

    A leader tells the follower that has most of the log to campaign at once: the others stick to the old
    leader for an election timeout otherwise. Its own disk has no part in that.
    """
    state.may_lead = False
    if state.role is LEADER:
        _name_successor(state)
    if state.role is not FOLLOWER:
        become_follower(state, state.current_term, NOBODY)


def _name_successor(state: RaftState) -> None:
    heard = [
        progress
        for progress in state.leading().progresses.values()
        if progress.node_id in state.membership.voters and is_active(state, progress)
    ]
    if heard:
        successor = max(heard, key=lambda progress: progress.match_index)
        state.outbox.messages.append(TimeoutNow(state.current_term, state.node_id, successor.node_id))


def distrust_clock(state: RaftState) -> None:
    """Take it that any time may have passed since the last tick, or none.

    Promises to a leader are kept for an election timeout from now on, as after a start, and no lease of
    the own is trusted until `may_lease` is set again.
    """
    state.may_lease = False
    state.quiet_until_ns = max(state.quiet_until_ns, state.now_ns + state.election_timeout_ns)
    if state.role is not LEADER:
        restart_election_timer(state)


# --- roles --------------------------------------------------------------------------------------


def become_follower(state: RaftState, term: int, leader_id: int) -> None:
    """Follow `leader_id`, or nobody, in `term`."""
    assert term >= state.current_term, f"term {term} after {state.current_term}"
    if state.role is LEADER:
        read_index.refuse_leader_reads(state)
    elif state.leader_id != leader_id or state.current_term != term:
        read_index.refuse_follower_reads(state)
    if term > state.current_term:
        state.current_term = term
        state.voted_for = NOBODY
        state.outbox.has_hard_state = True
    if state.role is not FOLLOWER:
        restart_election_timer(state)
    state.role = FOLLOWER
    state.leader_id = leader_id
    state.leader = None
    state.votes.clear()


def become_pre_candidate(state: RaftState) -> None:
    """Ask whether an election would be won, without disturbing anybody's term (thesis §9.6)."""
    assert state.role is not LEADER, f"leader of term {state.current_term} campaigns"
    read_index.refuse_follower_reads(state)
    state.role = PRE_CANDIDATE
    state.leader_id = NOBODY
    restart_election_timer(state)
    state.votes = {state.node_id: True}
    requests = _vote_requests(state, state.current_term + 1, is_pre_vote=True, is_transfer=False)
    state.outbox.messages.extend(requests)
    if joint_vote_result(state.votes, state.halves) is WON:
        become_candidate(state, is_transfer=False)


def become_candidate(state: RaftState, *, is_transfer: bool) -> None:
    """Run for leader of the next term (Raft §5.2)."""
    assert state.role is not LEADER, f"leader of term {state.current_term} campaigns"
    read_index.refuse_follower_reads(state)
    state.role = CANDIDATE
    state.leader_id = NOBODY
    state.current_term += 1
    state.voted_for = state.node_id
    state.outbox.has_hard_state = True
    restart_election_timer(state)
    state.votes = {state.node_id: True}
    # After the own vote is durable: until then it counts no more than anybody else's, which is why a sole
    # voter doesn't lead yet either: after a crash it could lead the same term again, with other entries.
    requests = _vote_requests(state, state.current_term, is_pre_vote=False, is_transfer=is_transfer)
    state.outbox.messages_after_persist.extend(requests)


def become_leader(state: RaftState) -> None:
    """Lead the term that was won, beginning with its empty entry (Raft §8)."""
    assert state.role is CANDIDATE, f"{state.role.name} becomes leader of term {state.current_term}"
    state.role = LEADER
    state.leader_id = state.node_id
    state.votes.clear()
    state.leader = new_leader_state(state)
    read_index.begin_round(state)
    state.append_own(EMPTY, b"")


# --- terms --------------------------------------------------------------------------------------


def maybe_adopt_term(state: RaftState, msg: Message) -> bool:
    """Deal with a message of a higher term (Raft §5.1); say whether it is to be handled any further."""
    if isinstance(msg, RequestVote):
        if msg.is_pre_vote:
            return True
        if _refuses_votes(state, msg):
            # Taking its term would depose the leader just as surely as voting.
            return False
    elif isinstance(msg, RequestVoteReply) and msg.is_pre_vote and msg.is_granted:
        return True
    become_follower(state, msg.term, NOBODY)
    return True


def answer_old_term(state: RaftState, msg: Message) -> None:
    """Tell who asks in a lower term of the own one (Raft Figure 2, "reply false if term < currentTerm").

    That is also what brings a node back that stands in a higher term than everybody else: it can't
    follow the leader, and stickiness keeps the others from hearing its requests. So the leader must
    learn of its term here, step down, and a new one be elected.
    """
    reply: Message
    if isinstance(msg, AppendEntries):
        reply = AppendEntriesReply(
            term=state.current_term,
            sender=state.node_id,
            to=msg.sender,
            round=0,
            is_success=False,
            match_index=0,
            conflict_index=0,
            conflict_term=0,
        )
    elif isinstance(msg, Heartbeat):
        reply = HeartbeatReply(state.current_term, state.node_id, msg.sender, round=0)
    elif isinstance(msg, RequestVote):
        reply = _vote_reply(state, msg, is_granted=False)
    elif isinstance(msg, ReadIndexRequest):
        read_index.refuse_read_index_request(state, msg)
        return
    else:
        return
    state.outbox.messages.append(reply)


def hear_leader(state: RaftState, leader_id: int) -> None:
    """Follow a leader of the current term that just sent something. Raises ProtocolError."""
    if state.role is LEADER or state.leader_id not in (leader_id, NOBODY):
        raise ProtocolError(f"nodes {state.leader_id} and {leader_id} both lead term {state.current_term}")
    if state.leader_id == NOBODY or state.role is not FOLLOWER:
        become_follower(state, state.current_term, leader_id)
    state.heard_leader_ns = state.election_timer_ns = state.now_ns


# --- votes --------------------------------------------------------------------------------------


def on_request_vote(state: RaftState, msg: RequestVote) -> None:
    """Grant or deny a vote (Raft Figure 2, RequestVote) or say what would be done (thesis §9.6)."""
    is_up_to_date = state.log.is_up_to_date(
        last_log_index=msg.last_log_index, last_log_term=msg.last_log_term
    )
    if not is_up_to_date or _refuses_votes(state, msg):
        state.outbox.messages.append(_vote_reply(state, msg, is_granted=False))
    elif msg.is_pre_vote:
        is_granted = msg.term > state.current_term
        state.outbox.messages.append(_vote_reply(state, msg, is_granted=is_granted))
    elif state.voted_for not in (NOBODY, msg.sender):
        state.outbox.messages.append(_vote_reply(state, msg, is_granted=False))
    else:
        _grant_vote(state, msg)


def on_pre_vote_reply(state: RaftState, msg: RequestVoteReply) -> None:
    """Pre-candidate: count an answer; with a majority run in earnest."""
    if not msg.is_pre_vote or (msg.is_granted and msg.term != state.current_term + 1):
        return
    state.votes.setdefault(msg.sender, msg.is_granted)
    result = joint_vote_result(state.votes, state.halves)
    if result is WON:
        become_candidate(state, is_transfer=False)
    elif result is LOST:
        become_follower(state, state.current_term, NOBODY)


def on_vote_reply(state: RaftState, msg: RequestVoteReply) -> None:
    """Candidate: count a vote; a granted pre-vote for this same term is none."""
    if msg.is_pre_vote:
        return
    state.votes.setdefault(msg.sender, msg.is_granted)
    result = joint_vote_result(state.votes, state.halves)
    if result is WON:
        become_leader(state)
    elif result is LOST:
        become_follower(state, state.current_term, NOBODY)


def on_hard_state_persisted(state: RaftState, hard_state: HardState) -> None:
    """Candidate: the own vote counts from now on; a sole voter needs no other."""
    is_own_vote = hard_state.current_term == state.current_term and hard_state.voted_for == state.node_id
    if state.role is CANDIDATE and is_own_vote and state.is_sole_voter:
        become_leader(state)


def on_timeout_now(state: RaftState, _msg: TimeoutNow) -> None:
    """Campaign at once: the leader hands over (thesis §3.10)."""
    if state.may_lead and not _is_quiet(state) and may_campaign(state):
        become_candidate(state, is_transfer=True)


def _is_quiet(state: RaftState) -> bool:
    return state.now_ns < state.quiet_until_ns


def _refuses_votes(state: RaftState, msg: RequestVote) -> bool:
    """Tell whether a vote for the sender now could break a lease that this node is part of.

    The time counts, not `leader_id`: a node that acknowledged a leader's round and learned of a
    higher term since knows no leader, but has promised all the same.
    """
    if _is_quiet(state):
        return True
    if msg.is_transfer:
        return False
    if state.role is LEADER:
        return True
    return _has_heard_leader(state)


def _has_heard_leader(state: RaftState) -> bool:
    heard_ns = state.heard_leader_ns
    return heard_ns is not None and state.now_ns - heard_ns < state.election_timeout_ns


def _grant_vote(state: RaftState, msg: RequestVote) -> None:
    if state.role is PRE_CANDIDATE:
        become_follower(state, state.current_term, NOBODY)
    if state.voted_for == NOBODY:
        state.voted_for = msg.sender
        state.outbox.has_hard_state = True
    state.election_timer_ns = state.now_ns
    state.outbox.messages_after_persist.append(_vote_reply(state, msg, is_granted=True))


def _vote_reply(state: RaftState, msg: RequestVote, *, is_granted: bool) -> RequestVoteReply:
    is_pre_grant = is_granted and msg.is_pre_vote
    return RequestVoteReply(
        term=msg.term if is_pre_grant else state.current_term,
        sender=state.node_id,
        to=msg.sender,
        is_pre_vote=msg.is_pre_vote,
        is_granted=is_granted,
    )


def _vote_requests(state: RaftState, term: int, *, is_pre_vote: bool, is_transfer: bool) -> list[RequestVote]:
    return [
        RequestVote(
            term=term,
            sender=state.node_id,
            to=peer,
            last_log_index=state.log.last_index,
            last_log_term=state.log.last_term,
            is_pre_vote=is_pre_vote,
            is_transfer=is_transfer,
        )
        for peer in state.voting_peers
    ]
