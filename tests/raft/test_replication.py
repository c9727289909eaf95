"""Rules of `raftkv.raft.replication` (Raft §5.3, §5.4.2, Figure 2; thesis §10.2.1)."""

from __future__ import annotations

import pytest

from raftkv.raft import (
    COMMAND,
    FOLLOWER,
    NOBODY,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryId,
    HardState,
    Heartbeat,
    HeartbeatReply,
    NotLeader,
    ProposalDropped,
    ProtocolError,
    Ready,
)
from tests.raft.nodes import (
    HEARTBEAT_MS,
    NS_PER_MS,
    TIMEOUT_MS,
    Node,
    append_reply,
    entries_of,
    follower,
    leader,
    new_leader,
    rejection,
)


def success(term: int, match_index: int, *, round_number: int = 1) -> AppendEntriesReply:
    """Return node 1's success to leader 2."""
    return AppendEntriesReply(term, 1, 2, round_number, True, match_index, 0, 0)


def failure(term: int, rejected: int, *, conflict_index: int, conflict_term: int) -> AppendEntriesReply:
    """Return node 1's rejection to leader 2."""
    return AppendEntriesReply(term, 1, 2, 1, False, rejected, conflict_index, conflict_term)


def append(
    term: int, prev: tuple[int, int], entries: list[Entry], *, commit: int = 0, round_number: int = 1
) -> AppendEntries:
    """Return leader 2's AppendEntries; `prev` is a (term, index)."""
    return AppendEntries(term, 2, 1, prev[1], prev[0], commit, round_number, entries)


def state_of(node: Node, peer: int) -> str:
    """Return a follower's state as a status page shows it."""
    return next(one.state for one in node.core.status(node.now_ns).peers if one.node_id == peer)


def appends_to(node: Node, peer: int) -> list[AppendEntries]:
    """Settle and return what went to one follower."""
    return [msg for msg in node.settled_messages() if isinstance(msg, AppendEntries) and msg.to == peer]


# --- follower -----------------------------------------------------------------------------------


def test_a_follower_answers_once_its_disk_has_the_entries() -> None:
    """Raft Figure 2: "updated on stable storage before responding to RPCs"; the term as well."""
    node = Node([1])
    entries = entries_of(3, 3, first=2)
    node.step(append(3, (1, 1), entries))
    assert node.take() == Ready(
        hard_state=HardState(3, NOBODY), entries=entries, messages_after_persist=[success(3, 3)]
    )
    assert (node.core.role, node.core.leader_id) == (FOLLOWER, 2)


def test_a_copy_of_entries_on_their_way_to_the_disk_is_not_answered_before_they_are_there() -> None:
    """Raft Figure 2: the second answer promises as much as the first."""
    node = Node()
    msg = append(1, (0, 0), entries_of(1))
    node.step(msg)
    node.take()
    node.step(msg)
    assert node.take() == Ready(messages_after_persist=[success(1, 1)])


def test_an_append_behind_a_gap_is_rejected_with_where_the_log_ends() -> None:
    """Raft Figure 2, AppendEntries 2. A rejection promises nothing, so it leaves at once."""
    node = follower([1, 1])
    node.step(append(1, (1, 5), entries_of(1, first=6)))
    assert node.take() == Ready(messages=[failure(1, 5, conflict_index=3, conflict_term=0)])


def test_an_append_behind_another_term_is_rejected_with_that_terms_first_entry() -> None:
    """Raft §5.3, last paragraphs: one round trip per term instead of one per entry."""
    node = follower([1, 2, 2, 2], term=4)
    node.step(append(4, (3, 4), entries_of(4, first=5)))
    assert node.take() == Ready(messages=[failure(4, 4, conflict_index=2, conflict_term=2)])


def test_a_conflicting_suffix_is_replaced() -> None:
    """Raft Figure 2, AppendEntries 3 and 4; Figure 7, a log with entries of other terms."""
    node = follower([1, 2, 2, 2], term=4)
    entries = entries_of(3, 4, first=2)
    node.step(append(4, (1, 1), entries))
    assert node.take() == Ready(entries=entries, messages_after_persist=[success(4, 3)])
    assert node.core.last_index == 3


def test_an_old_append_does_not_cut_what_came_after_it() -> None:
    """Raft Figure 2, AppendEntries 3: "if an existing entry conflicts". Its answer covers its own entries."""
    node = follower()
    node.step(append(1, (0, 0), entries_of(1, 1, 1)))
    node.settle()
    node.step(append(1, (0, 0), entries_of(1)))
    assert node.take() == Ready(messages_after_persist=[success(1, 1)])
    assert node.core.last_index == 3


def test_an_append_that_overlaps_adds_what_is_new() -> None:
    """Raft Figure 2, AppendEntries 4: "not already in the log"."""
    node = follower([1, 1])
    node.step(append(1, (1, 1), entries_of(1, 1, first=2)))
    assert node.take() == Ready(entries=entries_of(1, first=3), messages_after_persist=[success(1, 3)])


def test_a_follower_commits_no_further_than_the_last_new_entry() -> None:
    """Raft Figure 2, AppendEntries 5: what follows it here may be another leader's.

    Entries 2 and 3 of term 2 stand here; the leader of term 3 has committed up to 3, but sent only what
    comes before. Committing 2 and 3 here would apply what it is about to replace.
    """
    node = follower([1, 2, 2], term=3)
    node.step(append(3, (1, 1), [], commit=3))
    assert node.take() == Ready(messages_after_persist=[success(3, 1)], committed_entries=entries_of(1))
    assert node.core.commit_index == 1


def test_a_follower_applies_only_what_its_own_disk_has() -> None:
    """DESIGN.md: last_applied <= persisted."""
    node = follower()
    entries = entries_of(1, 1)
    node.step(append(1, (0, 0), entries, commit=2))
    ready = node.take()
    assert ready == Ready(entries=entries, messages_after_persist=[success(1, 2)])
    assert not node.core.has_ready()
    node.persist(ready)
    assert node.take() == Ready(committed_entries=entries)


def test_a_heartbeat_commits_and_is_answered_at_once() -> None:
    """Raft Figure 2, commitIndex; the answer gives the contact round back."""
    node = follower([1, 1])
    node.step(Heartbeat(1, 2, 1, 2, 17))
    assert node.take() == Ready(messages=[HeartbeatReply(1, 1, 2, 17)], committed_entries=entries_of(1, 1))


def test_the_commit_index_never_falls() -> None:
    """Raft Figure 2, commitIndex: "increases monotonically"; heartbeats may overtake each other."""
    node = follower([1, 1])
    node.step(Heartbeat(1, 2, 1, 2, 17), Heartbeat(1, 2, 1, 1, 16), append(1, (1, 2), [], commit=0))
    assert node.core.commit_index == 2


def test_a_heartbeat_of_an_old_term_commits_nothing() -> None:
    """Raft §5.1: its leader's log may have been replaced since."""
    node = follower([1, 1, 3], term=3)
    node.step(Heartbeat(2, 3, 1, 3, 1))
    assert node.take() == Ready(messages=[HeartbeatReply(3, 1, 3, 0)])
    assert node.core.commit_index == 0


def test_a_leader_that_knows_more_entries_here_than_there_are_is_refused() -> None:
    """Raft Figure 2: this node never acknowledged them, or its disk lost what it had promised."""
    node = follower([1])
    with pytest.raises(ProtocolError, match="knows entry 9 to be here, but the log ends at 1"):
        node.step(Heartbeat(1, 2, 1, 9, 1))


@pytest.mark.parametrize(
    "entries",
    [entries_of(1, first=3), entries_of(1, 1, first=2)[::-1], entries_of(2, first=2), entries_of(0, first=2)],
)
def test_entries_that_do_not_follow_each_other_are_refused(entries: list[Entry]) -> None:
    """Raft §5.3: indexes rise by one, terms never fall and are no later than the leader's."""
    node = follower([1])
    with pytest.raises(ProtocolError, match="node 2 sends entry"):
        node.step(append(1, (1, 1), entries))


def test_a_leader_that_lacks_a_committed_entry_stops_the_node() -> None:
    """Raft Figure 3, Leader Completeness: nothing that follows could be right."""
    node = follower([1, 1], applied=2)
    with pytest.raises(AssertionError, match="entry 2 is committed"):
        node.step(append(3, (2, 2), entries_of(3, first=3)))


def test_a_message_of_the_leader_restarts_the_election_timer() -> None:
    """Raft §5.2: a follower stays one as long as it receives valid RPCs from a leader."""
    node = follower([1])
    for msg in (Heartbeat(1, 2, 1, 0, 2), append(1, (1, 1), []), append(1, (9, 9), [])):
        node.tick_after(TIMEOUT_MS - 2)
        assert node.core.role is FOLLOWER
        node.step(msg)


# --- leader: sending ----------------------------------------------------------------------------


def test_a_proposal_is_sent_before_the_leaders_own_disk_has_it() -> None:
    """Thesis §10.2.1: the leader writes to its disk in parallel."""
    node = leader()
    assert node.core.propose(b"a") == EntryId(1, 2)
    entry = Entry(1, 2, COMMAND, b"a")
    assert node.take() == Ready(
        entries=[entry],
        messages=[AppendEntries(1, 1, 2, 1, 1, 1, 1, [entry]), AppendEntries(1, 1, 3, 1, 1, 1, 1, [entry])],
    )


def test_proposals_of_one_turn_share_a_message() -> None:
    """Thesis §10.2.2, batching."""
    node = leader()
    node.core.propose(b"a")
    node.core.propose(b"b")
    ready = node.take()
    assert [len(msg.entries) for msg in ready.messages if isinstance(msg, AppendEntries)] == [2, 2]


def test_only_a_leader_takes_proposals() -> None:
    """Raft §5.1: others name the leader."""
    node = follower([1])
    with pytest.raises(NotLeader) as refused:
        node.core.propose(b"a")
    assert refused.value.leader_id == 2


def test_appends_follow_each_other_without_waiting_within_the_window() -> None:
    """Thesis §10.2.2, pipelining; RaftConfig.inflight_messages_max."""
    node = leader(inflight_messages_max=2)
    sent = []
    for payload in (b"a", b"b", b"c"):
        node.core.propose(payload)
        sent += [msg.prev_log_index for msg in appends_to(node, 2)]
    assert sent == [1, 2]
    node.step(append_reply(node, 2, 2))
    assert [msg.prev_log_index for msg in appends_to(node, 2)] == [3]


def test_the_window_is_bounded_in_bytes() -> None:
    """RaftConfig.inflight_bytes_max: one entry larger than all of it still goes."""
    node = leader(inflight_bytes_max=10)
    sent = []
    for payload in (b"x" * 20, b"b"):
        node.core.propose(payload)
        sent += [msg.prev_log_index for msg in appends_to(node, 2)]
    assert sent == [1]
    node.step(append_reply(node, 2, 2))
    assert [msg.prev_log_index for msg in appends_to(node, 2)] == [2]


def test_an_append_is_bounded_in_bytes() -> None:
    """RaftConfig.append_bytes_max: one larger entry travels alone."""
    node = leader(append_bytes_max=10)
    for size in (4, 4, 4, 30, 1):
        node.core.propose(b"x" * size)
    lengths = [[len(entry.payload) for entry in msg.entries] for msg in appends_to(node, 2)]
    assert lengths == [[4, 4], [4], [30], [1]]


def test_a_new_leader_probes_one_append_at_a_time() -> None:
    """Raft §5.3: where the logs match is unknown, so more would be wasted."""
    node = new_leader([1])
    assert len(appends_to(node, 2)) == 1
    node.core.propose(b"a")
    assert appends_to(node, 2) == []
    assert state_of(node, 2) == "probe"
    node.step(append_reply(node, 2, 2))
    assert state_of(node, 2) == "replicate"
    assert [msg.prev_log_index for msg in appends_to(node, 2)] == [2]


def test_a_shorter_log_is_probed_from_its_end() -> None:
    """Raft §5.3: nextIndex goes back until the logs match, here in one step."""
    node = new_leader([1, 1, 1, 1, 1])
    node.settle()
    node.step(rejection(node, 2, 5, conflict_index=2, conflict_term=0))
    (probe,) = appends_to(node, 2)
    assert (probe.prev_log_index, probe.prev_log_term) == (1, 1)
    assert [entry.index for entry in probe.entries] == [2, 3, 4, 5]


def test_a_term_that_the_leader_lacks_is_skipped_whole() -> None:
    """Raft §5.3, last paragraphs: Figure 7 (f)."""
    node = new_leader([1, 1, 1, 4, 4, 5, 5])
    node.settle()
    node.step(rejection(node, 2, 7, conflict_index=4, conflict_term=3))
    assert [msg.prev_log_index for msg in appends_to(node, 2)] == [3]


def test_a_term_that_both_have_is_probed_at_the_leaders_last_entry_of_it() -> None:
    """Raft §5.3, last paragraphs: the follower has more of the term than the leader does."""
    node = new_leader([1, 1, 4, 4, 5, 5])
    node.settle()
    node.step(rejection(node, 2, 6, conflict_index=3, conflict_term=4))
    assert [msg.prev_log_index for msg in appends_to(node, 2)] == [4]


def test_next_index_never_falls_to_the_match() -> None:
    """Raft Figure 2: matchIndex only rises; an old rejection must not bring it into question."""
    node = leader()
    node.core.propose(b"a")
    node.settle()
    node.step(rejection(node, 2, 1, conflict_index=1, conflict_term=0))
    assert state_of(node, 2) == "replicate"
    node.step(rejection(node, 2, 2, conflict_index=1, conflict_term=0))
    assert state_of(node, 2) == "probe"
    assert [msg.prev_log_index for msg in appends_to(node, 2)] == [1]


def test_a_rejection_of_an_earlier_probe_is_old_news() -> None:
    """Raft §5.3: messages may come twice and in any order."""
    node = new_leader([1, 1, 1, 1])
    node.settle()
    msg = rejection(node, 2, 4, conflict_index=3, conflict_term=0)
    node.step(msg)
    assert [probe.prev_log_index for probe in appends_to(node, 2)] == [2]
    node.step(msg)
    assert appends_to(node, 2) == []


def test_a_rejection_that_points_ahead_is_refused() -> None:
    """Raft §5.3: a follower conflicts where it was asked or before."""
    node = new_leader([1, 1])
    node.settle()
    with pytest.raises(ProtocolError, match="node 2 rejects 2, conflict at 3"):
        node.step(rejection(node, 2, 2, conflict_index=3, conflict_term=0))


def test_an_answer_to_an_older_term_says_nothing_of_the_logs() -> None:
    """Raft Figure 2, AppendEntries 1: it may come late, to the same node's next leadership.

    The term is the new one, since the follower had taken it from the node's own RequestVote already.
    """
    node = leader()
    node.core.propose(b"a")
    node.settle()
    node.step(AppendEntriesReply(1, 2, 1, 0, False, 0, 0, 0))
    assert state_of(node, 2) == "replicate"
    assert not node.core.has_ready()


def test_an_answer_for_what_was_never_sent_is_refused() -> None:
    """Raft Figure 2, matchIndex: it would commit what does not exist."""
    node = leader()
    with pytest.raises(ProtocolError, match="answers for entry 7"):
        node.step(append_reply(node, 2, 7))


def test_a_lost_append_is_sent_again() -> None:
    """Raft §5.3, "retries AppendEntries RPCs indefinitely"; here once a live follower stays silent on it."""
    node = leader()
    node.core.propose(b"lost")
    node.settle()
    node.wait(TIMEOUT_MS // 2 - 1)
    node.step(HeartbeatReply(1, 2, 1, 1))
    assert appends_to(node, 2) == []
    node.wait(1)
    node.step(HeartbeatReply(1, 2, 1, 1))
    assert [(msg.prev_log_index, len(msg.entries)) for msg in appends_to(node, 2)] == [(1, 1)]
    assert state_of(node, 2) == "probe"


def test_a_lost_probe_is_sent_again() -> None:
    """Raft §5.3, as above."""
    node = new_leader([1])
    node.settle()
    node.wait(TIMEOUT_MS // 2)
    node.step(HeartbeatReply(2, 2, 1, 1))
    assert [msg.prev_log_index for msg in appends_to(node, 2)] == [1]


def test_the_patience_counts_from_the_oldest_append_under_way() -> None:
    """Raft §5.3, as above: what was sent since doesn't make the lost one younger."""
    node = leader()
    for _ in range(2):
        node.core.propose(b"a")
        node.settle()
        node.tick_after(TIMEOUT_MS // 4)
    node.step(HeartbeatReply(1, 2, 1, 1))
    assert state_of(node, 2) == "probe"


def test_a_follower_that_keeps_answering_is_not_probed_again() -> None:
    """The patience counts from the last answer, not from the first of many appends under way."""
    node = leader()
    for index in range(2, 9):
        node.core.propose(b"a")
        node.settle()
        node.wait(TIMEOUT_MS // 5)
        node.step(HeartbeatReply(1, 2, 1, 1), HeartbeatReply(1, 3, 1, 1))
        assert state_of(node, 2) == "replicate"
        if index > 2:
            node.step(append_reply(node, 2, index - 1))


def test_a_late_success_from_before_a_probe_moves_the_next_index_too() -> None:
    """Raft Figure 2: nextIndex stays above matchIndex, in whatever order answers come."""
    node = leader()
    for _ in range(3):
        node.core.propose(b"a")
        node.settle()
    node.wait(TIMEOUT_MS // 2)
    node.step(HeartbeatReply(1, 2, 1, 1))
    node.step(append_reply(node, 2, 2), append_reply(node, 2, 4))
    assert appends_to(node, 2) == []
    assert node.core.status(node.now_ns).peers[0].next_index == 5


def test_a_late_rejection_of_what_matches_since_is_old_news() -> None:
    """Raft Figure 2, matchIndex: no second probe goes out for it."""
    node = leader()
    node.core.propose(b"a")
    node.settle()
    node.wait(TIMEOUT_MS // 2)
    node.step(HeartbeatReply(1, 2, 1, 1))
    assert len(appends_to(node, 2)) == 1
    node.step(rejection(node, 2, 1, conflict_index=1, conflict_term=0))
    assert appends_to(node, 2) == []


# --- leader: committing -------------------------------------------------------------------------


def test_an_entry_is_committed_once_a_majority_of_disks_has_it() -> None:
    """Raft §5.3; thesis §10.2.1: the leader's own disk is one of them."""
    node = leader()
    node.core.propose(b"a")
    ready = node.take()
    node.step(append_reply(node, 2, 2))
    assert node.core.commit_index == 1
    node.persist(ready)
    assert node.core.commit_index == 2
    assert node.take() == Ready(committed_entries=[Entry(1, 2, COMMAND, b"a")])


def test_followers_commit_without_the_leaders_disk() -> None:
    """Thesis §10.2.1: "may even commit before it has been written to its own disk"; it is applied after."""
    node = leader()
    node.core.propose(b"a")
    ready = node.take()
    node.step(append_reply(node, 2, 2), append_reply(node, 3, 2))
    assert node.core.commit_index == 2
    assert not node.core.has_ready()
    node.persist(ready)
    assert node.take() == Ready(committed_entries=[Entry(1, 2, COMMAND, b"a")])


def test_an_entry_of_an_earlier_term_is_not_committed_by_counting() -> None:
    """Raft §5.4.2, Figure 8: only along with an entry of the leader's own term."""
    node = new_leader([1, 2])
    node.settle()
    node.step(append_reply(node, 2, 2), append_reply(node, 3, 2))
    assert node.core.commit_index == 0
    node.step(append_reply(node, 3, 3))
    assert node.core.commit_index == 3


def test_an_answer_twice_is_one_answer() -> None:
    """Raft §5.3: a majority of servers, not of messages."""
    node = leader(voters=(1, 2, 3, 4, 5))
    node.core.propose(b"a")
    node.settle()
    node.step(append_reply(node, 2, 2), append_reply(node, 2, 2))
    assert node.core.commit_index == 1


def test_a_report_of_a_write_that_a_new_leader_cut_commits_nothing() -> None:
    """etcd: an ex-leader's write ends after its entries were replaced."""
    node = leader()
    node.core.propose(b"a")
    old = node.take()
    node.step(append(2, (1, 1), entries_of(2, first=2)))
    new = node.take()
    node.persist(old)
    assert (node.core.commit_index, node.core.persisted_index) == (1, 1)
    node.persist(new)
    assert node.core.persisted_index == 2


def test_too_many_uncommitted_bytes_refuse_proposals() -> None:
    """RaftConfig.uncommitted_bytes_max: one larger proposal alone is taken; commits make room."""
    node = leader(uncommitted_bytes_max=10)
    node.core.propose(b"x" * 50)
    with pytest.raises(ProposalDropped, match="50 bytes are uncommitted"):
        node.core.propose(b"y")
    assert node.core.last_index == 2
    node.settle()
    node.step(append_reply(node, 2, 2))
    node.core.propose(b"y" * 10)
    with pytest.raises(ProposalDropped):
        node.core.propose(b"z")


# --- heartbeats ---------------------------------------------------------------------------------


def test_a_leader_sends_heartbeats_at_their_interval() -> None:
    """Raft §5.2: periodically, each in a new contact round."""
    node = leader()
    node.tick_after(HEARTBEAT_MS - 2)
    assert not node.core.has_ready()
    node.tick_after(1)
    assert node.take() == Ready(messages=[Heartbeat(1, 1, 2, 1, 2), Heartbeat(1, 1, 3, 1, 2)])


def test_a_heartbeat_commits_no_more_than_the_follower_has() -> None:
    """etcd: min(match, commit); behind its match a follower's log may be another one."""
    node = leader()
    node.core.propose(b"a")
    node.settle()
    node.step(append_reply(node, 2, 2))
    node.settle()
    node.tick_after(HEARTBEAT_MS)
    assert node.take() == Ready(messages=[Heartbeat(1, 1, 2, 2, 2), Heartbeat(1, 1, 3, 1, 2)])


def test_an_idle_follower_learns_of_a_commit_at_the_next_tick() -> None:
    """The contract of `tick`: it needn't wait for the next heartbeat. It is told once."""
    node = leader()
    node.core.propose(b"a")
    node.settle()
    node.step(append_reply(node, 2, 2))
    node.settle()
    node.tick_after(10)
    assert node.take() == Ready(messages=[Heartbeat(1, 1, 2, 2, 1)])
    node.tick_after(10)
    assert not node.core.has_ready()
    node.step(append_reply(node, 3, 2))
    node.tick_after(10)
    assert node.take() == Ready(messages=[Heartbeat(1, 1, 3, 2, 1)])


def test_a_commit_that_an_append_carried_needs_no_heartbeat() -> None:
    """The contract of `tick`: idle followers alone are told apart."""
    node = leader()
    node.core.propose(b"a")
    node.settle()
    node.step(append_reply(node, 2, 2))
    node.core.propose(b"b")
    node.settle()
    node.step(append_reply(node, 2, 3), append_reply(node, 3, 2))
    node.settle()
    node.tick_after(10)
    assert node.take() == Ready(messages=[Heartbeat(1, 1, 2, 3, 1)])


def test_a_status_shows_what_the_leader_knows() -> None:
    """RaftStatus; node 2 answered 5 ms ago, node 3 never."""
    node = new_leader([1])
    node.settle()
    node.step(append_reply(node, 2, 2))
    node.settle()
    status = node.core.status(node.now_ns + 5 * NS_PER_MS)
    assert [(peer.match_index, peer.next_index, peer.state, peer.heard_ms_ago) for peer in status.peers] == [
        (2, 3, "replicate", 5),
        (0, 2, "probe", None),
    ]
    assert (status.commit_index, status.last_applied, status.persisted_index, status.last_index) == (
        2,
        2,
        2,
        2,
    )
