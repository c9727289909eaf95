"""Raft Figure 2: the bullets that no other test shows by itself; `test_paper` has the whole table."""

from __future__ import annotations

import pytest

from raftkv.raft import (
    CANDIDATE,
    COMMAND,
    EMPTY,
    FOLLOWER,
    NOBODY,
    PRE_CANDIDATE,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    Forward,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Message,
    PeerStatus,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TransferRequest,
)
from tests.raft.nodes import (
    HEARTBEAT_MS,
    TIMEOUT_MS,
    Node,
    append_reply,
    candidate,
    entries_of,
    follower,
    leader,
    new_leader,
    pre_vote_reply,
    vote_reply,
    vote_request,
)

#: One of each, all of term 7.
MESSAGES: list[Message] = [
    RequestVote(7, 2, 1, 9, 6, is_pre_vote=False, is_transfer=True),
    RequestVoteReply(7, 2, 1, is_pre_vote=False, is_granted=False),
    AppendEntries(7, 2, 1, 0, 0, 0, 1, []),
    AppendEntriesReply(7, 2, 1, 0, False, 0, 0, 0),
    Heartbeat(7, 2, 1, 0, 1),
    HeartbeatReply(7, 2, 1, 0),
    TransferRequest(7, 2, 1),
    Forward(7, 2, 1, 1, 1, b""),
    ReadIndexRequest(7, 2, 1, 1),
    ReadIndexReply(7, 2, 1, 1, 0, 0),
]


def peer_of(node: Node, node_id: int) -> PeerStatus:
    """Return what a leader knows of a follower."""
    return next(peer for peer in node.core.status(node.now_ns).peers if peer.node_id == node_id)


# --- state --------------------------------------------------------------------------------------


def test_a_new_node_begins_with_nothing() -> None:
    """Figure 2, State: currentTerm, commitIndex and lastApplied 0, votedFor null, an empty log."""
    core = Node().core
    assert (core.current_term, core.commit_index, core.last_applied, core.last_index) == (0, 0, 0, 0)
    assert (core.role, core.leader_id) == (FOLLOWER, NOBODY)


def test_the_current_term_only_rises() -> None:
    """Figure 2, State, currentTerm: "increases monotonically"."""
    node = follower([1], term=5)
    for term in (4, 1):
        node.step(Heartbeat(term, 3, 1, 0, 1), vote_request(term, 3, (9, 9)))
    assert node.core.current_term == 5
    assert all(ready.hard_state is None for ready in node.settle())


def test_a_vote_belongs_to_its_term() -> None:
    """Figure 2, State, votedFor: "received vote in current term"; a new term has none yet."""
    node = Node([1], voted_for=2)
    node.wait(TIMEOUT_MS)
    node.step(Heartbeat(2, 3, 1, 0, 1))
    assert node.take().hard_state == HardState(2, NOBODY)


def test_the_first_entry_has_index_1() -> None:
    """Figure 2, State, log[]: "first index is 1"; each entry has the term in which a leader received it."""
    node = new_leader()
    assert node.take().entries == [Entry(1, 1, EMPTY, b"")]


def test_last_applied_only_rises() -> None:
    """Figure 2, State, lastApplied: "increases monotonically"."""
    node = leader([1, 1])
    with pytest.raises(AssertionError, match="applied 2 after 3"):
        node.core.applied(2)


def test_a_leader_begins_behind_its_log_and_knows_of_no_match() -> None:
    """Figure 2, State, nextIndex[] "initialized to leader last log index + 1", matchIndex[] to 0."""
    node = new_leader([1, 1, 1])
    assert [(peer.next_index, peer.match_index) for peer in node.core.status(0).peers] == [(4, 0), (4, 0)]


def test_a_leader_begins_anew_after_each_election() -> None:
    """Figure 2, State: "reinitialized after election"."""
    node = leader()
    assert peer_of(node, 2).match_index == 1
    node.step(Heartbeat(2, 3, 1, 0, 1))
    node.settle()
    node.tick_after(TIMEOUT_MS)
    node.step(pre_vote_reply(3, 2))
    node.settle()
    node.step(vote_reply(3, 2))
    assert (peer_of(node, 2).next_index, peer_of(node, 2).match_index) == (2, 0)


# --- RPCs ---------------------------------------------------------------------------------------


def test_an_append_carries_what_the_paper_says() -> None:
    """Figure 2, AppendEntries RPC, arguments; and the contact round of thesis §6.4."""
    node = leader([1])
    node.core.propose(b"x")
    assert node.take().messages[0] == AppendEntries(
        term=2,
        sender=1,
        to=2,
        prev_log_index=2,
        prev_log_term=2,
        leader_commit=2,
        round=1,
        entries=[Entry(2, 3, COMMAND, b"x")],
    )


def test_an_append_is_answered_with_the_current_term() -> None:
    """Figure 2, AppendEntries RPC, results: "currentTerm, for leader to update itself", success."""
    node = follower([1])
    node.step(AppendEntries(3, 2, 1, 1, 1, 0, 4, entries_of(3, first=2)))
    assert node.settled_messages() == [AppendEntriesReply(3, 1, 2, 4, True, 2, 0, 0)]


def test_a_vote_request_carries_what_the_paper_says() -> None:
    """Figure 2, RequestVote RPC, arguments; and the two flags of thesis §9.6 and §4.2.3."""
    node = Node([1, 2])
    node.tick_after(TIMEOUT_MS)
    node.step(pre_vote_reply(3, 2))
    assert node.take().messages_after_persist[0] == RequestVote(
        term=3, sender=1, to=2, last_log_index=2, last_log_term=2, is_pre_vote=False, is_transfer=False
    )


def test_a_vote_is_answered_with_the_current_term() -> None:
    """Figure 2, RequestVote RPC, results: "currentTerm, for candidate to update itself", voteGranted."""
    node = Node([1])
    node.wait(TIMEOUT_MS)
    node.step(vote_request(4, 2, (1, 1)))
    assert node.settled_messages() == [RequestVoteReply(4, 1, 2, is_pre_vote=False, is_granted=True)]


def test_a_vote_is_given_again_to_who_has_it() -> None:
    """Figure 2, RequestVote RPC, receiver 2: "votedFor is null or candidateId"; answers get lost."""
    node = Node([1])
    node.wait(TIMEOUT_MS)
    node.step(vote_request(4, 2, (1, 1)), vote_request(4, 2, (1, 1)))
    granted = [msg.is_granted for msg in node.settled_messages() if isinstance(msg, RequestVoteReply)]
    assert granted == [True, True]


# --- rules for servers --------------------------------------------------------------------------


def test_what_is_committed_is_applied_in_the_logs_order() -> None:
    """Figure 2, all servers: "increment lastApplied, apply log[lastApplied] to state machine"."""
    node = follower([1, 1, 1])
    node.step(Heartbeat(1, 2, 1, 2, 2))
    assert node.take().committed_entries == entries_of(1, 1)
    node.core.applied(2)
    assert (node.core.commit_index, node.core.last_applied) == (2, 2)


@pytest.mark.parametrize("msg", MESSAGES, ids=lambda msg: type(msg).__name__)
@pytest.mark.parametrize("make", [candidate, leader])
def test_a_message_of_a_higher_term_makes_a_follower(make: type, msg: Message) -> None:
    """Figure 2, all servers: "if RPC request or response contains term T > currentTerm"."""
    node = make()
    node.wait(TIMEOUT_MS)
    node.step(msg)
    assert (node.core.role, node.core.current_term) == (FOLLOWER, 7)


def test_a_message_to_campaign_in_a_higher_term_raises_the_term_first() -> None:
    """Figure 2, all servers, with thesis §3.10: the target runs for the term after the leader's."""
    node = follower([1])
    node.step(TimeoutNow(7, 2, 1))
    assert (node.core.role, node.core.current_term) == (CANDIDATE, 8)


def test_a_follower_only_answers() -> None:
    """Figure 2, followers: "respond to RPCs from candidates and leaders"; nothing is sent otherwise."""
    node = follower([1])
    node.tick_after(1)
    assert not node.core.has_ready()
    node.step(Heartbeat(1, 2, 1, 0, 2))
    assert node.settled_messages() == [HeartbeatReply(1, 1, 2, 2)]


def test_a_candidate_raises_its_term_votes_for_itself_and_asks_all_others() -> None:
    """Figure 2, candidates, on conversion: four steps, the vote durable before it is asked for others'."""
    node = Node([1])
    node.tick_after(TIMEOUT_MS)
    node.step(pre_vote_reply(2, 2))
    ready = node.take()
    assert ready.hard_state == HardState(2, 1)
    assert [msg.to for msg in ready.messages_after_persist] == [2, 3]
    node.tick_after(TIMEOUT_MS - 1)
    assert node.core.role is CANDIDATE
    node.tick_after(1)
    assert node.core.role is PRE_CANDIDATE


def test_a_new_leader_is_heard_at_once() -> None:
    """Figure 2, leaders: "send initial empty AppendEntries RPCs"; here with its empty entry."""
    node = new_leader()
    assert [(type(msg), msg.to) for msg in node.take().messages] == [(AppendEntries, 2), (AppendEntries, 3)]


def test_an_idle_leader_is_heard_before_anybody_campaigns() -> None:
    """Figure 2, leaders: "repeat during idle periods to prevent election timeouts"."""
    node = leader()
    for _ in range(TIMEOUT_MS // HEARTBEAT_MS):
        node.tick_after(HEARTBEAT_MS)
        assert [msg.to for msg in node.settled_messages()] == [2, 3]
        node.step(HeartbeatReply(1, 2, 1, 1))


def test_a_command_is_appended_and_comes_back_once_it_is_committed() -> None:
    """Figure 2, leaders: "append entry to local log, respond after entry applied to state machine"."""
    node = leader()
    entry_id = node.core.propose(b"x")
    ready = node.take()
    assert [(entry.term, entry.index) for entry in ready.entries] == [(entry_id.term, entry_id.index)]
    node.persist(ready)
    node.step(append_reply(node, 3, entry_id.index))
    assert node.take().committed_entries == ready.entries


def test_a_follower_that_lacks_entries_is_sent_them_from_its_next_index_on() -> None:
    """Figure 2, leaders: "if last log index >= nextIndex for a follower"; who has all is sent none."""
    node = leader()
    node.settle()
    assert not node.core.has_ready()
    node.core.propose(b"x")
    assert [msg.prev_log_index for msg in node.take().messages if isinstance(msg, AppendEntries)] == [1, 1]


def test_a_success_moves_the_match_and_the_next_index() -> None:
    """Figure 2, leaders: "if successful: update nextIndex and matchIndex for follower"."""
    node = new_leader([1, 1])
    node.settle()
    node.step(append_reply(node, 2, 3))
    assert (peer_of(node, 2).match_index, peer_of(node, 2).next_index) == (3, 4)
    assert (peer_of(node, 3).match_index, peer_of(node, 3).next_index) == (0, 3)
