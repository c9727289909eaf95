"""Snapshots: a follower that lacks what the log no longer holds gets the state instead (Raft §7).

The core sees neither what is in a snapshot nor how it travels. A leader says in a Ready who needs one; the
driver brings any state that was applied somewhere, and is thereby committed, to the follower and hands it to
the follower's core once it is durable there. So it does not matter who sent it, in which term, or whether
that node still leads: the worst that can come of it is that the follower has it already, or that it follows
a leader who lacks it, and whose term is over (`replication` finds that out).

Knows nothing of files, of streams and of when a log is compacted; `RaftLog` only finds entries gone.
"""

from __future__ import annotations

from raftkv.raft import reconfiguration
from raftkv.raft.membership import Membership
from raftkv.raft.progress import SNAPSHOT, Progress
from raftkv.raft.state import RaftState
from raftkv.raft.types import LEADER, NOBODY, AppendEntriesReply, EntryId


def want_snapshot(state: RaftState, progress: Progress) -> None:
    """Leader: this follower lacks entries that are gone."""
    progress.become_snapshot()
    state.outbox.snapshots_wanted.append(progress.node_id)


def maybe_leave_snapshot(state: RaftState, progress: Progress) -> None:
    """Leader: go on with entries if the follower now has all that this log lacks."""
    if progress.state is SNAPSHOT and progress.match_index + 1 >= state.log.first_index:
        progress.become_replicate()


def end_snapshot(state: RaftState, node_id: int, index: int) -> None:
    """Leader: that follower has a snapshot up to `index`, or with 0 none came to it; look what it lacks."""
    if state.role is not LEADER:
        return
    leader = state.leading()
    progress = leader.progresses.get(node_id)
    if progress is not None and progress.state is SNAPSHOT:
        progress.become_probe(max(progress.match_index, min(index, state.log.last_index)) + 1)
        leader.has_appends = True


def restore(state: RaftState, snapshot: EntryId, membership: Membership) -> bool:
    """Take the place of state and log by a durable snapshot, if it is news; see `RaftCore.restore`.

    A log that holds the snapshot's entry keeps what follows it, which may be acknowledged, and only learns
    what is committed. Any other is given up: it ends before the snapshot or contradicts it.
    """
    log = state.log
    if snapshot.term > state.current_term or state.role is LEADER:
        return False
    is_news = snapshot.index > log.commit_index
    is_missing = is_news and not log.has_entry(index=snapshot.index, term=snapshot.term)
    if is_news:
        state.restored_in_term = state.current_term
    if is_missing:
        log.restore(snapshot)
        reconfiguration.on_restored(state, snapshot.index, membership)
        state.outbox.snapshot = snapshot
    else:
        log.commit_to(snapshot.index)
    if state.leader_id not in (NOBODY, state.node_id):
        # Whether or not it was news: the leader waits to hear that this node has at least so much.
        state.outbox.messages_after_persist.append(
            AppendEntriesReply(
                term=state.current_term,
                sender=state.node_id,
                to=state.leader_id,
                round=0,
                is_success=True,
                match_index=snapshot.index,
                conflict_index=0,
                conflict_term=0,
            )
        )
    return is_missing
