"""Changing the members while the group runs (Raft §6, thesis §4).

A membership is in force from the moment that it is appended, at the leader as at a follower, and falls with
its entry when the log is cut. A change of the voters is two entries: the joint membership, and once that is
committed the new one alone. Rules on top of the paper's:

* A change begins only when the one before is committed and left, and when this leader has committed an
  entry of its own term. (The second is what the thesis's single-server changes need, or two leaders could
  each commit by a majority that the other's change doesn't overlap with. Joint ones are safe without it.)
* It is refused if those who were heard lately are no majority of the new voters.
* A learner that is staged becomes a voter by itself once it has nearly caught up.
* A leader that isn't among the new voters hands over once the joint membership is committed; who leads then
  appends the new one. So nobody but a member ends a change.
* Who ceased to be a member is sent entries until it knows, or for a while.

Knows nothing of how entries travel; `replication` calls it where the log or the commit index moves.
"""

from __future__ import annotations

from collections.abc import Iterable

from raftkv.raft.log import RaftLog
from raftkv.raft.membership import (
    ChangeDeferred,
    ChangeRefused,
    Membership,
    MembershipChange,
    PromoteLearner,
    changed,
    decode_membership,
    encode_membership,
    left_joint,
)
from raftkv.raft.progress import REPLICATE, Progress
from raftkv.raft.state import LeaderState, MembershipAt, RaftState, new_progress
from raftkv.raft.transfer import transfer_leadership
from raftkv.raft.types import LEADER, MEMBERSHIP, Entry, EntryId, NotLeader, ProposalDropped

#: Election timeouts for which a node that ceased to be a member is told so.
_FAREWELL_TIMEOUTS = 10
_READ_BYTES_MAX = 1 << 20


# --- any node -----------------------------------------------------------------------------------


def find_memberships(log: RaftLog, base: Membership) -> list[MembershipAt]:
    """Return `base`, which the state machine has, and every later membership that the log holds."""
    memberships = [MembershipAt(0, base)]
    first = log.last_applied + 1
    while first <= log.last_index:
        entries = log.entries(first, log.last_index + 1, _READ_BYTES_MAX)
        memberships += memberships_in(entries)
        first = entries[-1].index + 1
    return memberships


def memberships_in(entries: Iterable[Entry]) -> list[MembershipAt]:
    """Return the memberships that entries bring. Raises ProtocolError."""
    return [
        MembershipAt(entry.index, decode_membership(entry.payload))
        for entry in entries
        if entry.kind is MEMBERSHIP
    ]


def on_appended(state: RaftState, first_index: int, brought: list[MembershipAt]) -> None:
    """Follower: the log was cut at `first_index`, and continues with entries that bring these memberships."""
    known = state.memberships
    if known[-1].index < first_index and not brought:
        return
    state.memberships = [at for at in known if at.index < first_index] + brought
    forget_superseded(state)
    state.adopt_newest_membership()


def on_restored(state: RaftState, index: int, membership: Membership) -> None:
    """A snapshot takes the place of everything: what the log said of members is gone with it."""
    state.memberships = [MembershipAt(index, membership)]
    state.adopt_newest_membership()


def forget_superseded(state: RaftState) -> None:
    """Forget memberships that no cut of the log can bring back."""
    memberships = state.memberships
    while len(memberships) > 1 and memberships[1].index <= state.log.commit_index:
        del memberships[0]


def committed_membership(state: RaftState) -> Membership:
    """Return the newest membership that is known to be committed."""
    forget_superseded(state)
    return state.memberships[0].membership


def may_campaign(state: RaftState) -> bool:
    """Tell whether this node may lead.

    A voter may, of course. One whose removal isn't known to be committed may too: it can be the only one
    whose log is long enough.

    1. The leader 1 of voters {1, 2} has appended the membership {1}; only 2 has synced it. 2. Node 1 restarts
    without it. 3. It needs 2's vote, by the joint membership that it knows, and doesn't get it: 2's log is
    longer. So 2 must be the one to be elected, by 1's vote; then it hands over.
    """
    node_id = state.node_id
    if node_id in state.membership.voter_ids:
        return True
    forget_superseded(state)
    return any(node_id in at.membership.voter_ids for at in state.memberships[:-1])


def is_removed(state: RaftState) -> bool:
    """Tell whether this node was a member and knows for sure that it is none any more."""
    membership = committed_membership(state)
    return state.node_id <= membership.newest_id and state.node_id not in membership.member_ids


# --- leader -------------------------------------------------------------------------------------


def change_membership(state: RaftState, change: MembershipChange) -> EntryId:
    """Begin a change and return the id of its entry. Raises NotLeader, ProposalDropped, ChangeRefused."""
    if state.role is not LEADER:
        raise NotLeader(state.leader_id)
    leader = state.leading()
    if leader.transfer is not None:
        raise ProposalDropped(f"leadership is being handed to node {leader.transfer.to}")
    if not _is_settled(state, leader):
        raise ChangeDeferred("another change of the membership is under way")
    membership = changed(state.membership, change)
    if isinstance(change, PromoteLearner) and not _has_caught_up(state, leader.progresses[change.node_id]):
        raise ChangeRefused(f"node {change.node_id} has not caught up")
    if membership.is_joint:
        _check_majority_lives(state, leader, membership)
    return _append(state, leader, membership)


def on_committed(state: RaftState) -> None:
    """Leader: the commit index moved, so a change may take its next step."""
    forget_superseded(state)
    leader = state.leading()
    if not state.membership.is_joint and state.node_id in state.membership.voters:
        return
    if state.memberships[-1].index > state.log.commit_index:
        return
    if state.node_id not in state.membership.voters:
        _maybe_hand_over(state, leader)
    elif state.membership.is_joint:
        _append(state, leader, left_joint(state.membership))


def on_leader_tick(state: RaftState) -> None:
    """Leader: promote who has caught up, hand over if this node is to go, forget who has left."""
    leader = state.leading()
    progresses = leader.progresses
    for node_id in [each.node_id for each in progresses.values() if each.has_left(state.now_ns)]:
        del progresses[node_id]
    if state.memberships[-1].index > state.log.commit_index:
        return
    if state.node_id not in state.membership.voters:
        _maybe_hand_over(state, leader)
    elif state.membership.staged:
        _maybe_promote(state, leader)


def is_active(state: RaftState, progress: Progress) -> bool:
    """Tell whether a follower was heard within an election timeout."""
    heard_ns = progress.heard_ns
    return heard_ns is not None and state.now_ns - heard_ns < state.election_timeout_ns


def _is_settled(state: RaftState, leader: LeaderState) -> bool:
    """Tell whether the last change is over and this leader may begin another."""
    commit_index = state.log.commit_index
    return (
        not state.membership.is_joint
        and state.memberships[-1].index <= commit_index
        and leader.term_start_index <= commit_index
    )


def _append(state: RaftState, leader: LeaderState, membership: Membership) -> EntryId:
    """Append a membership, which is in force from now on."""
    progresses = leader.progresses
    for node_id in sorted(membership.member_ids - {state.node_id} - progresses.keys()):
        # Made before the entry, which it therefore lacks: so it is probed though nothing else is proposed.
        progresses[node_id] = new_progress(state, node_id)
    entry = state.append_own(MEMBERSHIP, encode_membership(membership))
    state.memberships.append(MembershipAt(entry.index, membership))
    state.adopt_newest_membership()
    for progress in progresses.values():
        if progress.leaves_at_index == 0 and progress.node_id not in membership.member_ids:
            progress.leaves_at_index = entry.index
            progress.leaves_by_ns = state.now_ns + _FAREWELL_TIMEOUTS * state.election_timeout_ns
    return EntryId(entry.term, entry.index)


def _check_majority_lives(state: RaftState, leader: LeaderState, membership: Membership) -> None:
    """Refuse voters of whom too few would answer. Raises ChangeRefused."""
    voters = membership.voters
    silent = [
        voter for voter in voters if voter != state.node_id and not is_active(state, leader.progresses[voter])
    ]
    if 2 * (len(voters) - len(silent)) <= len(voters):
        raise ChangeRefused(
            f"the voters would be {_names(voters)}, and {_names(silent)} can't be reached: no majority"
        )


def _has_caught_up(state: RaftState, progress: Progress) -> bool:
    lag = state.log.commit_index - progress.match_index
    return (
        progress.state is REPLICATE
        and lag <= state.config.promotion_lag_entries_max
        and is_active(state, progress)
    )


def _maybe_promote(state: RaftState, leader: LeaderState) -> None:
    for staged in state.membership.staged:
        if _has_caught_up(state, leader.progresses[staged.node_id]):
            try:
                change_membership(state, PromoteLearner(staged.node_id))
            except (ChangeRefused, ProposalDropped):
                continue
            return


def _maybe_hand_over(state: RaftState, leader: LeaderState) -> None:
    """Leave the lead to the new voter that has most of the log, of those that live.

    Who was asked and did not take it may be unable to: so the next one is asked, after a pause in which
    clients are served.
    """
    if leader.transfer is not None or state.now_ns < leader.next_successor_ns:
        return
    candidates = [
        progress
        for progress in leader.progresses.values()
        if progress.node_id in state.membership.voters and is_active(state, progress)
    ]
    if not candidates:
        return
    asked = leader.successors_asked
    if all(progress.node_id in asked for progress in candidates):
        asked.clear()
    chosen = max(candidates, key=lambda each: (each.node_id not in asked, each.match_index, -each.node_id))
    asked.add(chosen.node_id)
    leader.next_successor_ns = state.now_ns + 2 * state.election_timeout_ns
    transfer_leadership(state, chosen.node_id)


def _names(node_ids: Iterable[int]) -> str:
    return ", ".join(str(node_id) for node_id in node_ids)
