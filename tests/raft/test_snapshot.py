"""Rules of `raftkv.raft.snapshot` (Raft §7), and of a log that begins behind one."""

from __future__ import annotations

import pytest

from raftkv.raft import (
    FOLLOWER,
    LEADER,
    AppendEntries,
    AppendEntriesReply,
    EntryId,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Membership,
    Ready,
    RequestVoteReply,
)
from tests.raft.nodes import (
    HEARTBEAT_MS,
    TIMEOUT_MS,
    Node,
    append_reply,
    entries_of,
    follower,
    leader,
    new_leader,
    rejection,
    vote_request,
)

MEMBERS = Membership((1, 2, 4), newest_id=4)


def leader_without(first_index: int) -> Node:
    """Return a new leader of five entries and its empty one, whose log begins at `first_index`.

    Follower 2 has everything and follower 3 nothing, which it has said.
    """
    node = new_leader([1] * 5, applied=5, log_cache_bytes_max=0)
    node.log.first_index = first_index
    node.settle()
    node.step(append_reply(node, 2, 6))
    node.settle()
    node.step(rejection(node, 3, 5, conflict_index=1, conflict_term=0))
    return node


def state_of(node: Node, follower_id: int) -> tuple[str, int]:
    """Return how a leader sends to a follower, and from where on."""
    peer = next(peer for peer in node.core.status(node.now_ns).peers if peer.node_id == follower_id)
    return peer.state, peer.next_index


def success(node: Node, match_index: int) -> AppendEntriesReply:
    """Return what a node that restored a snapshot says to leader 2."""
    return AppendEntriesReply(node.core.current_term, 1, 2, 0, True, match_index, 0, 0)


# --- leader -------------------------------------------------------------------------------------


def test_a_follower_that_lacks_what_is_gone_is_to_get_a_snapshot() -> None:
    """Raft §7: "when the leader has already discarded the next log entry that it needs to send"."""
    node = leader_without(3)
    assert node.take() == Ready(snapshots_wanted=[3])
    assert state_of(node, 3) == ("snapshot", 1)


def test_a_follower_whose_next_entry_is_still_there_gets_entries() -> None:
    """Raft §7: the term of the entry before the first one is known."""
    node = leader_without(1)
    sent = node.take().messages
    assert [type(msg) for msg in sent] == [AppendEntries]


def test_a_snapshot_is_wanted_once_and_only_heartbeats_go_meanwhile() -> None:
    """Ready.snapshots_wanted: until `snapshot_ended`."""
    node = leader_without(3)
    node.settle()
    node.core.propose(b"x")
    assert [msg.to for msg in node.settled_messages()] == [2]
    node.tick_after(HEARTBEAT_MS)
    assert Heartbeat(2, 1, 3, 0, 2) in node.settled_messages()
    node.step(HeartbeatReply(2, 3, 1, 2))
    assert not node.core.has_ready()


def test_a_snapshot_that_arrived_is_followed_by_entries() -> None:
    """RaftCore.snapshot_ended: what it covers is behind the follower."""
    node = leader_without(3)
    node.settle()
    node.core.snapshot_ended(3, 5)
    (msg,) = node.settled_messages()
    assert isinstance(msg, AppendEntries)
    assert (msg.to, msg.prev_log_index, len(msg.entries)) == (3, 5, 1)


@pytest.mark.parametrize("first_index", [3, 7])
def test_a_snapshot_of_everything_is_followed_by_the_question_whether_it_is_there(first_index: int) -> None:
    """RaftCore.snapshot_ended: the follower's own word is what counts, though the whole log may be gone."""
    node = leader_without(first_index)
    node.settle()
    node.core.snapshot_ended(3, 6)
    (msg,) = node.settled_messages()
    assert isinstance(msg, AppendEntries)
    assert (msg.prev_log_index, msg.prev_log_term, msg.entries) == (6, 2, [])
    assert not node.core.has_ready(), "one is enough"
    node.step(append_reply(node, 3, 6))
    assert state_of(node, 3) == ("replicate", 7)


def test_the_question_after_a_snapshot_of_everything_is_repeated() -> None:
    """Thesis §10.2.1: it or its answer may be lost, and nobody may write anything for hours."""
    node = leader_without(7)
    node.settle()
    node.core.snapshot_ended(3, 6)
    node.settle()
    node.wait(TIMEOUT_MS)
    node.settle()
    node.step(HeartbeatReply(2, 3, 1, 1))
    (msg,) = [msg for msg in node.settled_messages() if isinstance(msg, AppendEntries)]
    assert (msg.to, msg.prev_log_index, msg.entries) == (3, 6, [])


def test_who_has_not_a_snapshot_of_everything_gets_another() -> None:
    """RaftCore.snapshot_ended: who said that it has come was wrong."""
    node = leader_without(7)
    node.settle()
    node.core.snapshot_ended(3, 6)
    node.settle()
    node.step(rejection(node, 3, 6, conflict_index=1, conflict_term=0))
    assert node.take().snapshots_wanted == [3]


def test_a_snapshot_that_failed_is_wanted_again() -> None:
    """RaftCore.snapshot_ended: 0."""
    node = leader_without(3)
    node.settle()
    node.core.snapshot_ended(3, 0)
    assert node.take().snapshots_wanted == [3]


def test_a_snapshot_that_is_too_old_by_now_is_followed_by_another() -> None:
    """Raft §7: the log was compacted past it meanwhile."""
    node = leader_without(5)
    node.settle()
    node.core.snapshot_ended(3, 2)
    assert node.take().snapshots_wanted == [3]


def test_a_followers_word_ends_a_snapshot_as_well() -> None:
    """Raft §7: whoever brought it; entries go on behind the match."""
    node = leader_without(3)
    node.settle()
    node.step(append_reply(node, 3, 5))
    assert state_of(node, 3) == ("replicate", 6)
    node.core.snapshot_ended(3, 5)
    assert state_of(node, 3)[0] == "replicate"


def test_a_followers_word_that_leaves_a_gap_ends_nothing() -> None:
    """Raft §7: it still lacks what is gone."""
    node = leader_without(5)
    node.settle()
    node.step(append_reply(node, 3, 3))
    assert state_of(node, 3)[0] == "snapshot"
    node.step(append_reply(node, 3, 4))
    assert state_of(node, 3) == ("replicate", 5)


def test_the_end_of_a_snapshot_that_nobody_waits_for_is_no_news() -> None:
    """RaftCore.snapshot_ended: to a member in another state, a stranger, or at a follower."""
    node = leader()
    node.core.snapshot_ended(2, 1)
    node.core.snapshot_ended(9, 1)
    assert not node.core.has_ready()
    node = follower([1])
    node.core.snapshot_ended(2, 1)
    assert not node.core.has_ready()


def test_a_conflict_whose_term_is_gone_is_probed_where_the_follower_says() -> None:
    """Raft §5.3, last paragraphs: that leads below the log, so to a snapshot."""
    node = new_leader([1, 2, 2, 2], applied=4, log_cache_bytes_max=0)
    node.log.first_index = 4
    node.settle()
    node.step(rejection(node, 3, 4, conflict_index=2, conflict_term=1))
    assert node.take().snapshots_wanted == [3]


# --- follower -----------------------------------------------------------------------------------


def test_a_snapshot_takes_the_place_of_a_log_that_ends_before_it() -> None:
    """Raft §7, Figure 13, 7: "discard the entire log"; the leader is told once it is done."""
    node = follower([1, 1], term=2)
    assert node.core.restore(EntryId(2, 9), MEMBERS)
    assert node.take() == Ready(snapshot=EntryId(2, 9), messages_after_persist=[success(node, 9)])
    status = node.core.status(node.now_ns)
    cursors = (status.first_index, status.last_index, status.persisted_index)
    assert (*cursors, status.commit_index, status.last_applied) == (10, 9, 9, 9, 9)
    assert node.core.membership == node.core.committed_membership == MEMBERS


def test_a_snapshot_takes_the_place_of_a_log_that_contradicts_it() -> None:
    """Raft §7, Figure 13, 6: an entry with the same index and another term is none."""
    node = follower([1, 1, 1, 1, 1], term=2)
    assert node.core.restore(EntryId(2, 3), MEMBERS)
    assert node.core.last_index == 3


def test_a_snapshot_keeps_what_follows_it() -> None:
    """Raft §7, Figure 13, 6: "retain log entries following it"; they may be acknowledged."""
    node = follower([1, 1, 1, 1, 1])
    assert not node.core.restore(EntryId(1, 3), MEMBERS)
    ready = node.take()
    assert (ready.snapshot, ready.messages_after_persist) == (None, [success(node, 3)])
    assert [entry.index for entry in ready.committed_entries] == [1, 2, 3]
    assert node.core.last_index == 5
    assert node.core.membership.voters == (1, 2, 3), "its own log says who belongs to the group"


def test_an_old_snapshot_is_answered_and_goes() -> None:
    """RaftCore.restore: the leader waits to hear that this node has so much."""
    node = follower([1, 1, 1], applied=3)
    assert not node.core.restore(EntryId(1, 2), MEMBERS)
    assert node.take() == Ready(messages_after_persist=[success(node, 2)])


def test_a_snapshot_of_a_later_term_than_this_node_knows_is_left() -> None:
    """Raft Figure 2: current_term is never below the log's last term; a message of the term comes first."""
    node = follower([1])
    assert not node.core.restore(EntryId(2, 9), MEMBERS)
    assert not node.core.has_ready()


def test_a_leader_restores_nothing() -> None:
    """Raft Figure 3, Leader Completeness: it has what is committed."""
    node = leader()
    assert not node.core.restore(EntryId(1, 9), MEMBERS)
    assert (node.core.role, node.core.last_index) == (LEADER, 1)


def test_nobody_is_answered_where_no_leader_is_known() -> None:
    """RaftCore.restore: a leader that comes will ask."""
    node = Node([1])
    assert node.core.restore(EntryId(1, 9), MEMBERS)
    assert node.take() == Ready(snapshot=EntryId(1, 9))


def test_a_term_is_saved_before_a_snapshot_of_it() -> None:
    """Raft Figure 2: one Ready carries both, the hard state first."""
    node = Node([1])
    node.step(Heartbeat(3, 2, 1, 0, 1))
    node.core.restore(EntryId(3, 9), MEMBERS)
    ready = node.take()
    assert (ready.hard_state, ready.snapshot) == (HardState(3, 0), EntryId(3, 9))


def test_committed_entries_that_a_snapshot_covers_are_not_handed_out() -> None:
    """Ready.snapshot: they are part of it."""
    node = follower([1, 1])
    node.step(Heartbeat(1, 2, 1, 2, 1))
    node.core.restore(EntryId(1, 9), MEMBERS)
    assert node.take().committed_entries == []


def test_a_snapshot_without_a_membership_has_the_founders() -> None:
    """RaftCore.restore: None if no MEMBERSHIP entry was applied."""
    node = follower([1])
    node.core.restore(EntryId(1, 9), None)
    assert node.core.membership.voters == (1, 2, 3)


def test_a_late_report_of_a_write_before_the_snapshot_is_ignored() -> None:
    """RaftCore.persisted: what it is about is gone."""
    node = follower([1])
    node.step(AppendEntries(1, 2, 1, 1, 1, 0, 1, entries_of(1, first=2)))
    node.take()
    node.core.restore(EntryId(1, 9), MEMBERS)
    node.take()
    node.core.persisted(EntryId(1, 2))
    assert node.core.persisted_index == 9


# --- a log behind a snapshot --------------------------------------------------------------------


def restored() -> Node:
    """Return a follower of node 2 in term 2 whose log begins behind a snapshot up to 9."""
    node = follower([1], term=2)
    node.core.restore(EntryId(2, 9), MEMBERS)
    node.settle()
    return node


def test_entries_follow_a_snapshot() -> None:
    """Raft §7: its last entry is what the consistency check of the next one needs."""
    node = restored()
    node.step(AppendEntries(2, 2, 1, 9, 2, 10, 3, entries_of(2, first=10)))
    assert node.settled_messages() == [AppendEntriesReply(2, 1, 2, 3, True, 10, 0, 0)]
    assert node.core.commit_index == 10


def test_entries_behind_a_gap_are_rejected() -> None:
    """Raft §5.3: the log ends with the snapshot."""
    node = restored()
    node.step(AppendEntries(2, 2, 1, 10, 2, 10, 3, entries_of(2, first=11)))
    assert node.settled_messages() == [AppendEntriesReply(2, 1, 2, 3, False, 10, 10, 0)]


def test_a_leader_that_contradicts_a_snapshot_is_not_answered() -> None:
    """RaftCore.restore: it was made in the term of a later leader, whom this node will hear of."""
    node = restored()
    node.step(AppendEntries(2, 2, 1, 9, 1, 9, 3, entries_of(2, first=10)))
    assert node.settled_messages() == []
    assert node.core.last_index == 9


def test_entries_from_before_a_snapshot_match_as_far_as_it_goes() -> None:
    """Raft Figure 3, Leader Completeness: what was dropped was committed, so any leader has it too."""
    node = restored()
    node.step(AppendEntries(2, 2, 1, 7, 1, 9, 3, entries_of(1, 2, 2, first=8)))
    assert node.settled_messages() == [AppendEntriesReply(2, 1, 2, 3, True, 10, 0, 0)]
    assert node.core.last_index == 10


def test_entries_from_before_a_compacted_log_match_as_far_as_it_went() -> None:
    """Raft Figure 3, Leader Completeness: the same where the driver dropped them."""
    node = follower([1, 1, 1], applied=3, log_cache_bytes_max=0)
    node.log.first_index = 4
    node.step(AppendEntries(1, 2, 1, 1, 1, 3, 3, entries_of(1, 1, 1, first=2)))
    assert node.settled_messages() == [AppendEntriesReply(1, 1, 2, 3, True, 4, 0, 0)]
    assert node.core.last_index == 4


@pytest.mark.parametrize(("last", "is_granted"), [((2, 9), True), ((2, 8), False), ((1, 99), False)])
def test_a_vote_compares_with_the_snapshots_last_entry(last: tuple[int, int], is_granted: bool) -> None:
    """Raft §5.4.1 and §7: an empty log ends where the snapshot does."""
    node = restored()
    node.wait(TIMEOUT_MS)
    node.step(vote_request(3, 3, last))
    assert node.settled_messages() == [RequestVoteReply(3, 1, 3, False, is_granted)]


def test_a_follower_counts_the_snapshots_members() -> None:
    """Raft §7: "the latest configuration in the log as of last included index"."""
    node = restored()
    node.tick_after(TIMEOUT_MS)
    assert [msg.to for msg in node.settled_messages()] == [2, 4]


def test_a_node_that_the_snapshot_does_not_name_knows_that_it_left() -> None:
    """RaftCore.is_removed: what is in a snapshot is committed."""
    node = follower([1])
    node.core.restore(EntryId(1, 9), Membership((2, 3), newest_id=3))
    assert node.core.is_removed
    node.settle()
    node.tick_after(TIMEOUT_MS)
    assert node.core.role is FOLLOWER
