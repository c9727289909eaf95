"""Thesis 3, 4, 6.4, 10.2.1: the rules that no other test shows by itself; `test_paper` has the table."""

from __future__ import annotations

import pytest

from raftkv.raft import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    AddMember,
    AppendEntries,
    AppendEntriesReply,
    EntryId,
    Heartbeat,
    HeartbeatReply,
    Membership,
    RaftConfig,
    ReadState,
    RemoveMember,
    RequestVote,
    TimeoutNow,
)
from tests.raft.nodes import (
    HEARTBEAT_MS,
    LEASE_MS,
    TIMEOUT_MS,
    Node,
    append_reply,
    entries_of,
    follower,
    leader,
    new_leader,
    vote_request,
)

# --- chapter 3, basic Raft ----------------------------------------------------------------------


def test_an_append_that_comes_twice_is_answered_twice_and_appended_once() -> None:
    """Thesis §3.7: RPCs have the same effect if they are repeated."""
    node = follower([1])
    msg = AppendEntries(1, 2, 1, 1, 1, 0, 1, entries_of(1, first=2))
    node.step(msg, msg)
    assert node.settled_messages() == [AppendEntriesReply(1, 1, 2, 1, True, 2, 0, 0)] * 2
    assert node.core.last_index == 2


def test_a_restarted_node_commits_anew_what_its_leader_says() -> None:
    """Thesis §3.8: the commit index needn't be saved; it starts from what the state machine has."""
    node = Node([1, 1, 1], applied=1)
    assert node.core.commit_index == 1
    node.step(Heartbeat(1, 2, 1, 3, 1))
    assert node.take().committed_entries == entries_of(1, 1, 1)[1:]


def test_the_log_outlives_a_restart() -> None:
    """Thesis §3.8: term, vote and log are what a server needs to be safe; it goes on where it was."""
    node = Node([1, 2, 2], current_term=4, voted_for=3)
    node.wait(TIMEOUT_MS)
    node.step(vote_request(4, 2, (9, 9)), vote_request(4, 3, (2, 3)))
    granted = [getattr(msg, "is_granted", None) for msg in node.settled_messages()]
    assert (granted, node.core.last_index) == ([False, True], 3)


def test_a_follower_misses_a_few_heartbeats_without_campaigning() -> None:
    """Thesis §3.9: broadcasts take far less than an election timeout; here one of five must arrive."""
    config = RaftConfig(node_id=1, voters=(1, 2, 3))
    assert config.election_timeout_ms >= 5 * config.heartbeat_interval_ms
    node = follower([1])
    node.tick_after(4 * HEARTBEAT_MS)
    assert node.core.role is FOLLOWER


def test_a_transfer_takes_its_steps_in_order() -> None:
    """Thesis §3.10: stop proposals, bring the target up to date, tell it; the target runs at once."""
    node = leader()
    node.core.propose(b"x")
    node.settle()
    node.step(append_reply(node, 2, 2))
    node.settle()
    node.core.transfer_leadership(3, node.now_ns)
    assert node.settled_messages() == []
    node.step(append_reply(node, 3, 2))
    assert node.settled_messages() == [TimeoutNow(1, 1, 3)]
    target = follower([1])
    target.step(TimeoutNow(1, 2, 1))
    assert target.core.role is CANDIDATE


# --- chapter 4, membership ----------------------------------------------------------------------


def test_a_follower_takes_entries_of_a_leader_that_it_does_not_know_as_a_member() -> None:
    """Thesis §4.1: its own membership plays no part in whose appends a node accepts."""
    node = Node([1], applied=1, membership=Membership((1, 2, 3), newest_id=3))
    node.step(AppendEntries(2, 9, 1, 1, 1, 0, 1, entries_of(2, first=2)))
    assert node.core.leader_id == 9
    assert node.core.last_index == 2


def test_a_node_that_knows_nobody_takes_entries() -> None:
    """Thesis §4.1: otherwise nobody could ever be added."""
    node = Node(voters=())
    node.step(AppendEntries(2, 2, 1, 0, 0, 0, 1, entries_of(2)))
    assert node.settled_messages() == [AppendEntriesReply(2, 1, 2, 1, True, 1, 0, 0)]


def test_a_node_votes_for_a_candidate_that_it_does_not_know_as_a_member() -> None:
    """Thesis §4.1: nor whom it votes for; it may be needed for a majority without knowing it yet."""
    node = Node([1], applied=1, membership=Membership((2, 3), learners=(1,), newest_id=3))
    node.wait(TIMEOUT_MS)
    node.step(vote_request(2, 9, (1, 1)))
    assert [getattr(msg, "is_granted", None) for msg in node.settled_messages()] == [True]


def test_a_new_server_joins_without_delaying_what_is_committed() -> None:
    """Thesis §4.2.1, Figure 4.4 (a): while it catches up the old voters alone commit."""
    node = leader()
    node.change(AddMember(b""))
    node.core.propose(b"x")
    node.settle()
    node.step(append_reply(node, 2, 3))
    assert node.core.commit_index == 3


def test_a_leader_replicates_to_a_group_that_it_is_to_leave() -> None:
    """Thesis §4.2.2: for a while it manages a group without itself."""
    node = leader()
    node.change(RemoveMember(1))
    sent = [msg for msg in node.settled_messages() if isinstance(msg, AppendEntries)]
    assert [(msg.to, msg.entries[0].index) for msg in sent] == [(2, 2), (3, 2)]
    assert node.core.role is LEADER


def test_a_removed_server_cannot_disturb_a_group_with_a_leader() -> None:
    """Thesis §4.2.3: who hears a leader neither votes nor takes the term of who asks."""
    node = follower([1])
    node.step(vote_request(9, 9, (9, 9)), vote_request(9, 9, (9, 9), is_pre_vote=True))
    assert node.core.current_term == 1
    assert [getattr(msg, "is_granted", None) for msg in node.settled_messages()] == [False]


def test_any_number_of_voters_differs_between_two_memberships() -> None:
    """Thesis §4.3: joint consensus allows what single-server changes don't; here two of three at once."""
    joint = Membership((1, 4, 5), outgoing=(1, 2, 3), newest_id=5)
    node = Node([1], applied=1, membership=joint)
    node.tick_after(TIMEOUT_MS)
    asked = [(type(msg), msg.to) for msg in node.settled_messages()]
    assert asked == [(RequestVote, 2), (RequestVote, 3), (RequestVote, 4), (RequestVote, 5)]


# --- §6.4, reads --------------------------------------------------------------------------------


def test_a_read_takes_its_steps_in_order() -> None:
    """Thesis §6.4: an entry of the term is committed; the commit index; a round; applied: then it is read."""
    node = leader([1])
    node.wait(TIMEOUT_MS)
    node.read(7)
    assert [type(msg) for msg in node.take().messages] == [Heartbeat, Heartbeat]
    node.step(HeartbeatReply(2, 2, 1, 2))
    assert node.take().read_states == [ReadState(7, 2)]
    assert node.core.last_applied == 2


@pytest.mark.parametrize(("after_ms", "is_valid"), [(LEASE_MS - 1, True), (LEASE_MS, False)])
def test_a_lease_is_shorter_than_the_election_timeout_by_the_clocks_drift(
    after_ms: int, is_valid: bool
) -> None:
    """Thesis §6.4.1: counted from the start of the round."""
    node = leader()
    node.tick_after(HEARTBEAT_MS)
    node.settle()
    node.step(HeartbeatReply(1, 2, 1, 2))
    node.wait(after_ms)
    assert node.lease_is_valid() == is_valid


# --- §10.2.1, the leader's disk -----------------------------------------------------------------


def test_a_leader_writes_its_disk_while_it_replicates() -> None:
    """Thesis §10.2.1: entries and appends leave in one Ready, the messages first."""
    node = leader()
    node.core.propose(b"x")
    ready = node.take()
    assert len(ready.entries) == 1
    assert [type(msg) for msg in ready.messages] == [AppendEntries, AppendEntries]
    assert ready.messages_after_persist == []


def test_a_leaders_disk_counts_once_it_is_done() -> None:
    """Thesis §10.2.1: its own match index moves when the write has completed, not before."""
    node = new_leader()
    ready = node.take()
    node.step(append_reply(node, 2, 1))
    assert node.core.commit_index == 0
    node.core.persisted(EntryId(1, 1))
    assert (ready.entries[-1].index, node.core.commit_index) == (1, 1)
