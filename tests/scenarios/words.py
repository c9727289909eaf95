"""Entries, memberships, messages and Readys in few words.

An entry is `term.index payload`; a message is `sender -> receiver: what it says`.
"""

from __future__ import annotations

from raftkv.raft import (
    EMPTY,
    MEMBERSHIP,
    NOBODY,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryId,
    Forward,
    Heartbeat,
    HeartbeatReply,
    Membership,
    Message,
    RaftCore,
    ReadIndexReply,
    ReadIndexRequest,
    ReadState,
    RequestVote,
    RequestVoteReply,
    Role,
    TimeoutNow,
    TransferRequest,
    decode_membership,
)
from tests.raft.nodes import FIRST_WIRE_CONTEXT


def numbers(ids: tuple[int, ...]) -> str:
    """Return ids side by side."""
    return " ".join(str(each) for each in ids)


def membership_words(membership: Membership) -> str:
    """Return who belongs to a group: `voters 1 2 4, outgoing 1 2 3, learner 5 (to vote in place of 2)`."""
    if not membership.member_ids:
        return "nobody"
    parts = [f"voters {numbers(membership.voters)}"]
    if membership.is_joint:
        parts.append(f"outgoing {numbers(membership.outgoing)}")
    staged = {each.node_id: each.takes_place_of for each in membership.staged}
    for learner in membership.learners:
        if learner not in staged:
            parts.append(f"learner {learner}")
        elif staged[learner] == NOBODY:
            parts.append(f"learner {learner} (to vote)")
        else:
            parts.append(f"learner {learner} (to vote in place of {staged[learner]})")
    return ", ".join(parts)


def id_words(entry_id: EntryId) -> str:
    """Return `term.index`."""
    return f"{entry_id.term}.{entry_id.index}"


def entry_words(entry: Entry) -> str:
    """Return an entry's id and what it is."""
    if entry.kind is EMPTY:
        what = "empty"
    elif entry.kind is MEMBERSHIP:
        what = f"[{membership_words(decode_membership(entry.payload))}]"
    else:
        what = entry.payload.decode()
    return f"{entry.term}.{entry.index} {what}"


def entries_words(entries: list[Entry]) -> str:
    """Return several entries."""
    return ", ".join(entry_words(entry) for entry in entries)


def read_words(read_state: ReadState) -> str:
    """Return what became of a read."""
    if read_state.index == 0:
        return f"read {read_state.context} is refused"
    return f"read {read_state.context} may run at {read_state.index}"


def role_words(core: RaftCore) -> str:
    """Return what a node is, in which term and whom it follows."""
    if core.role is not Role.FOLLOWER:
        return f"{core.role.name.lower().replace('_', '-')} in term {core.current_term}"
    return f"follower of {core.leader_id or 'nobody'} in term {core.current_term}"


def message_words(msg: Message) -> str:
    """Return sender, receiver and what a message says."""
    return f"{msg.sender} -> {msg.to}: {_content(msg)}, term {msg.term}"


def _content(msg: Message) -> str:
    match msg:
        case RequestVote():
            return _request_words(msg)
        case RequestVoteReply():
            kind = "pre-vote" if msg.is_pre_vote else "vote"
            return f"{kind} {'granted' if msg.is_granted else 'denied'}"
        case AppendEntries():
            entries = entries_words(msg.entries) or "nothing"
            behind = f"{msg.prev_log_term}.{msg.prev_log_index}"
            return f"append {entries} behind {behind}, commit {msg.leader_commit}, round {msg.round}"
        case AppendEntriesReply():
            return _append_reply_words(msg)
        case Heartbeat():
            return f"heartbeat, commit {msg.leader_commit}, round {msg.round}"
        case HeartbeatReply():
            return f"heard round {msg.round}"
        case TimeoutNow():
            return "campaign now"
        case TransferRequest():
            return "let me lead"
        case Forward():
            return f"forward {msg.payload.decode()}"
        case ReadIndexRequest():
            return f"where may question {_question(msg.context)} read"
        case ReadIndexReply():
            answer = f"may read at {msg.read_index}" if msg.read_index else "may not read"
            return f"question {_question(msg.context)} {answer}, commit {msg.leader_commit}"


def _request_words(msg: RequestVote) -> str:
    what = "would you vote for me" if msg.is_pre_vote else "vote for me"
    transfer = ", the leader asked for it" if msg.is_transfer else ""
    return f"{what}, my log ends with {msg.last_log_term}.{msg.last_log_index}{transfer}"


def _append_reply_words(msg: AppendEntriesReply) -> str:
    if msg.is_success:
        return f"has all up to {msg.match_index}, round {msg.round}"
    if msg.conflict_index == 0:
        return "your term is over"
    if msg.conflict_term == 0:
        return f"not behind {msg.match_index}, my log ends at {msg.conflict_index - 1}, round {msg.round}"
    where = f"I have term {msg.conflict_term} from {msg.conflict_index} on"
    return f"not behind {msg.match_index}, {where}, round {msg.round}"


def _question(context: int) -> int:
    return context - FIRST_WIRE_CONTEXT + 1
