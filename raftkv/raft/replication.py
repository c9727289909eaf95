"""Log replication and the commit rule (Raft §5.3, §5.4.2; batching and pipelining: thesis §10.2.1).

The leader sends entries before its own disk has them and counts itself once it does; a follower
answers once its own disk has them. Within a window AppendEntries follow each other without waiting.

Knows nothing of elections but that a leader was heard, and of reads but that rounds are carried.
"""

from __future__ import annotations

from collections.abc import Iterable

from raftkv.raft import read_index, reconfiguration
from raftkv.raft.election import hear_leader
from raftkv.raft.progress import PROBE, REPLICATE, Progress
from raftkv.raft.quorum import joint_value
from raftkv.raft.snapshot import maybe_leave_snapshot, want_snapshot
from raftkv.raft.state import LeaderState, RaftState
from raftkv.raft.transfer import maybe_send_timeout_now
from raftkv.raft.types import (
    COMMAND,
    LEADER,
    AppendEntries,
    AppendEntriesReply,
    Compacted,
    EntryId,
    Heartbeat,
    HeartbeatReply,
    Message,
    NotLeader,
    ProposalDropped,
    ProtocolError,
    ReadIndexReply,
)

# --- leader -------------------------------------------------------------------------------------


def propose(state: RaftState, payload: bytes) -> EntryId:
    """Append a command to the leader's log. Raises NotLeader, ProposalDropped."""
    if state.role is not LEADER:
        raise NotLeader(state.leader_id)
    leader = state.leading()
    if leader.transfer is not None:
        raise ProposalDropped(f"leadership is being handed to node {leader.transfer.to}")
    uncommitted_bytes = leader.uncommitted_bytes + len(payload)
    if uncommitted_bytes > state.config.uncommitted_bytes_max and leader.uncommitted_bytes > 0:
        raise ProposalDropped(f"{leader.uncommitted_bytes} bytes are uncommitted")
    entry = state.append_own(COMMAND, payload)
    return EntryId(entry.term, entry.index)


def maybe_commit(state: RaftState) -> bool:
    """Commit what a majority of disks has, if it is of the own term (Raft §5.4.2); say if it did.

    Figure 8 of the paper shows an entry of an earlier term on a majority being overwritten, so such
    entries are committed only along with one of the own term behind them.
    """
    leader = state.leading()
    log = state.log
    durable = {node_id: progress.match_index for node_id, progress in leader.progresses.items()}
    durable[state.node_id] = log.persisted_index
    index = joint_value(durable, state.halves)
    if index <= log.commit_index or index < leader.term_start_index:
        return False
    first = max(log.commit_index + 1, leader.term_start_index)
    while first <= index:
        entries = log.entries(first, index + 1, state.config.committed_bytes_max)
        leader.uncommitted_bytes -= sum([len(entry.payload) for entry in entries])
        first = entries[-1].index + 1
    log.commit_to(index)
    reconfiguration.on_committed(state)
    return True


def send_appends(state: RaftState) -> None:
    """Send every follower what it lacks, as far as its window has room."""
    leader = state.leading()
    leader.has_appends = False
    last_index = state.log.last_index
    for progress in leader.progresses.values():
        while progress.wants_append(last_index):
            _send_append(state, leader, progress)


def send_heartbeats(state: RaftState) -> None:
    """Send every follower a heartbeat of the present round."""
    leader = state.leading()
    leader.wants_heartbeats = False
    for progress in leader.progresses.values():
        _send_heartbeat(state, leader, progress)


def on_leader_tick(state: RaftState) -> None:
    """Begin a round of heartbeats if one is due, else tell idle followers what was committed."""
    leader = state.leading()
    if state.now_ns >= leader.heartbeat_due_ns:
        leader.heartbeat_due_ns = state.now_ns + state.heartbeat_interval_ns
        read_index.begin_round(state)
        send_heartbeats(state)
        return
    announce_commit(state, leader.progresses)


def announce_commit(state: RaftState, to: Iterable[int]) -> None:
    """Leader: tell those of the followers `to` what was committed who have it and weren't told."""
    leader = state.leading()
    commit_index = state.log.commit_index
    for node_id in to:
        progress = leader.progresses.get(node_id)
        if progress is not None and progress.sent_commit < min(progress.match_index, commit_index):
            _send_heartbeat(state, leader, progress)


def on_append_entries_reply(state: RaftState, msg: AppendEntriesReply) -> None:
    """Leader: advance a follower's match, or back up to where the logs may match (Raft §5.3)."""
    leader = state.leading()
    progress = leader.progresses.get(msg.sender)
    if progress is None:
        return  # it left the group, and this is late
    progress.heard_ns = state.now_ns
    read_index.on_round_ack(state, progress, msg.round)
    if msg.match_index > state.log.last_index:
        raise ProtocolError(f"node {msg.sender} answers for entry {msg.match_index}, which was never sent")
    if msg.is_success:
        if progress.maybe_match(msg.match_index, state.now_ns):
            maybe_leave_snapshot(state, progress)
            maybe_commit(state)
            maybe_send_timeout_now(state)
    elif _is_fresh_rejection(progress, msg.match_index):
        progress.become_probe(max(progress.match_index + 1, _next_after_rejection(state, msg)))
    if progress.wants_append(state.log.last_index):
        leader.has_appends = True


def on_heartbeat_reply(state: RaftState, msg: HeartbeatReply) -> None:
    """Leader: a follower lives; what it left unanswered for too long was lost, so send it again."""
    leader = state.leading()
    progress = leader.progresses.get(msg.sender)
    if progress is None:
        return  # it left the group, and this is late
    progress.heard_ns = state.now_ns
    read_index.on_round_ack(state, progress, msg.round)
    patience_ns = state.election_timeout_ns // 2
    if progress.is_waiting and state.now_ns - progress.waiting_since_ns >= patience_ns:
        if progress.state is REPLICATE:
            progress.become_probe(progress.match_index + 1)
        else:
            progress.become_probe(progress.next_index)
    if progress.wants_append(state.log.last_index):
        leader.has_appends = True


def _send_append(state: RaftState, leader: LeaderState, progress: Progress) -> None:
    log = state.log
    prev_log_index = progress.next_index - 1
    try:
        prev_log_term = log.term_at(prev_log_index)
        entries = []  # nothing, to a follower that is only to say whether its log ends as this one does
        if progress.next_index <= log.last_index:
            entries = log.entries(progress.next_index, log.last_index + 1, state.config.append_bytes_max)
    except Compacted:
        want_snapshot(state, progress)
        return
    last_index = prev_log_index + len(entries)
    leader.is_round_carried = True
    state.outbox.messages.append(
        AppendEntries(
            state.current_term,
            state.node_id,
            progress.node_id,
            prev_log_index,
            prev_log_term,
            log.commit_index,
            leader.round,
            entries,
        )
    )
    progress.sent(last_index, sum([len(entry.payload) for entry in entries]), state.now_ns)
    progress.sent_commit = max(progress.sent_commit, min(log.commit_index, last_index))


def _send_heartbeat(state: RaftState, leader: LeaderState, progress: Progress) -> None:
    # No more than the follower is known to have: its log may differ behind that.
    leader_commit = min(progress.match_index, state.log.commit_index)
    progress.sent_commit = max(progress.sent_commit, leader_commit)
    leader.is_round_carried = True
    state.outbox.messages.append(
        Heartbeat(state.current_term, state.node_id, progress.node_id, leader_commit, leader.round)
    )


def _is_fresh_rejection(progress: Progress, rejected_index: int) -> bool:
    """Tell whether a rejection says anything new; an old one must not move `next_index` back."""
    if rejected_index <= progress.match_index:
        return False
    if progress.state is PROBE:
        return rejected_index == progress.next_index - 1
    return progress.state is REPLICATE


def _next_after_rejection(state: RaftState, msg: AppendEntriesReply) -> int:
    """Return where to probe next: a whole term back, not one entry (Raft §5.3, last paragraphs).

    The follower has `conflict_term` from `conflict_index` up to the rejected index. If this log has
    that term too, they may match up to its last entry here; if not, only before it. Term 0, for a
    log that is too short, no entry has.
    """
    rejected_index = msg.match_index
    if not 1 <= msg.conflict_index <= rejected_index:
        raise ProtocolError(f"node {msg.sender} rejects {rejected_index}, conflict at {msg.conflict_index}")
    try:
        shared_index = state.log.last_index_of_term(msg.conflict_term, msg.conflict_index, rejected_index)
    except Compacted:
        shared_index = 0
    return shared_index + 1 if shared_index > 0 else msg.conflict_index


# --- follower -----------------------------------------------------------------------------------


def on_append_entries(state: RaftState, msg: AppendEntries) -> None:
    """Follower: append what the leader sends behind an entry that both have (Raft Figure 2)."""
    _check_entries(msg)
    hear_leader(state, msg.sender)
    log = state.log
    entries = msg.entries
    if _contradicts_committed(state, msg):
        return
    if msg.prev_log_index < log.boundary_index:
        # What this log no longer holds was committed, so the leader has it too: the logs match there, and as
        # far as anything is committed.
        entries = [entry for entry in entries if entry.index > log.commit_index]
    elif not log.has_entry(index=msg.prev_log_index, term=msg.prev_log_term):
        _reject(state, msg)
        return
    brought = reconfiguration.memberships_in(entries)
    appended = log.append_from_leader(entries)
    if appended:
        first_index = appended[0].index
        reconfiguration.on_appended(state, first_index, [at for at in brought if at.index >= first_index])
    # Entries behind the last new one may be another leader's: they commit nothing (Figure 2, 5).
    match_index = msg.prev_log_index + len(msg.entries)
    log.commit_to(min(msg.leader_commit, match_index))
    # After this Ready's persist also if nothing was appended: a first copy may be on its way to the disk.
    state.outbox.messages_after_persist.append(
        AppendEntriesReply(state.current_term, state.node_id, msg.sender, msg.round, True, match_index, 0, 0)
    )


def _contradicts_committed(state: RaftState, msg: AppendEntries) -> bool:
    """Tell whether the sender's log contradicts what a snapshot brought; then its term is over.

    A later leader has committed something else, and this node has it from a snapshot without ever having
    heard of that leader (Raft Figure 8, with a snapshot of S2's state after (c) for S4, which follows S5).
    In any other term a contradiction is a bug, at which the log stops the node.

    The last place that both know is enough to look at: logs that part never meet again.
    """
    if msg.term != state.restored_in_term:
        return False
    log = state.log
    prev_log_index = msg.prev_log_index
    index = min(log.commit_index, prev_log_index + len(msg.entries))
    if index < prev_log_index or index < log.boundary_index:
        return False
    term = msg.entries[index - prev_log_index - 1].term if index > prev_log_index else msg.prev_log_term
    return log.term_at(index) != term


def on_heartbeat(state: RaftState, msg: Heartbeat) -> None:
    """Follower: the leader lives, and has this much committed."""
    hear_leader(state, msg.sender)
    _commit_matched(state, msg.sender, msg.leader_commit)
    reply = HeartbeatReply(state.current_term, state.node_id, msg.sender, msg.round)
    _round_ack_outbox(state).append(reply)


def on_read_index_reply(state: RaftState, msg: ReadIndexReply) -> None:
    """Follower: the leader's answer to a read carries the commit index, as a heartbeat does."""
    _commit_matched(state, msg.sender, msg.leader_commit)
    read_index.on_read_index_reply(state, msg)


def _commit_matched(state: RaftState, sender: int, leader_commit: int) -> None:
    """Commit what the leader knows this node to have: it acknowledged that in this same term."""
    if leader_commit > state.log.last_index:
        raise ProtocolError(
            f"node {sender} knows entry {leader_commit} to be here, but the log ends at"
            f" {state.log.last_index}: was the data directory replaced?"
        )
    state.log.commit_to(leader_commit)


def _reject(state: RaftState, msg: AppendEntries) -> None:
    """Say where the logs part. Promises nothing of the log, so it needn't wait for the disk."""
    log = state.log
    if msg.prev_log_index > log.last_index:
        conflict_index, conflict_term = log.last_index + 1, 0
    else:
        conflict_term = log.term_at(msg.prev_log_index)
        conflict_index = log.first_index_of_term_at(msg.prev_log_index)
    _round_ack_outbox(state).append(
        AppendEntriesReply(
            term=state.current_term,
            sender=state.node_id,
            to=msg.sender,
            round=msg.round,
            is_success=False,
            match_index=msg.prev_log_index,
            conflict_index=conflict_index,
            conflict_term=conflict_term,
        )
    )


def _round_ack_outbox(state: RaftState) -> list[Message]:
    """Return where an acknowledgement of a round goes: out at once, unless a restart could disown it.

    A restarted node keeps quiet for as long as its promise to the leader may last, but for one that
    looks as if it had never taken part in anything. So until something of the log is durable here, the
    term has to be:

    1. A new node hears its first leader's heartbeat, acknowledges the round and crashes with nothing
    synced. 2. It starts as new and grants its vote at once. 3. The leader, cut off, still has its lease.
    """
    outbox = state.outbox
    return outbox.messages if state.log.persisted_index > 0 else outbox.messages_after_persist


def _check_entries(msg: AppendEntries) -> None:
    """Raise ProtocolError unless the entries follow each other and the one before them."""
    index = msg.prev_log_index
    term = msg.prev_log_term
    for entry in msg.entries:
        index += 1
        if entry.index != index or not term <= entry.term <= msg.term:
            raise ProtocolError(
                f"node {msg.sender} sends entry {entry.index} of term {entry.term}"
                f" behind {index - 1} of term {term} in term {msg.term}"
            )
        term = entry.term
