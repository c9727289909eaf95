"""Rules of `raftkv.raft.read_index` (thesis §6.4, §6.4.1)."""

from __future__ import annotations

import pytest

from raftkv.raft import (
    COMMAND,
    FOLLOWER,
    LEADER,
    NOBODY,
    Entry,
    Heartbeat,
    HeartbeatReply,
    NotLeader,
    ProtocolError,
    ReadIndexReply,
    ReadIndexRequest,
    ReadState,
    Ready,
)
from tests.raft.nodes import (
    FIRST_WIRE_CONTEXT,
    HEARTBEAT_MS,
    LEASE_MS,
    NS_PER_MS,
    TIMEOUT_MS,
    Node,
    append_reply,
    follower,
    leader,
    new_leader,
    pre_vote_reply,
    vote_reply,
)


def heartbeats(round_number: int, *, commit: int = 1) -> list[Heartbeat]:
    """Return leader 1's heartbeats of term 1."""
    return [Heartbeat(1, 1, peer, commit, round_number) for peer in (2, 3)]


def ack(sender: int, round_number: int) -> HeartbeatReply:
    """Return a follower's answer in term 1."""
    return HeartbeatReply(1, sender, 1, round_number)


def after_lease() -> Node:
    """Return a leader of term 1 whose lease has run out; it has begun round 5."""
    node = leader()
    for _ in range(4):
        node.tick_after(HEARTBEAT_MS)
        node.settle()
        node.core.step(ack(2, 0), node.now_ns)
    node.wait(LEASE_MS - 4 * HEARTBEAT_MS)
    assert not node.lease_is_valid()
    return node


# --- ReadIndex at the leader --------------------------------------------------------------------


def test_a_read_waits_for_a_majority_to_acknowledge_a_round_begun_after_it() -> None:
    """Thesis §6.4, steps 2 and 3."""
    node = leader()
    node.read(77)
    assert node.take() == Ready(messages=[*heartbeats(2)])
    node.step(ack(2, 1))
    assert not node.core.has_ready()
    node.step(ack(2, 2))
    assert node.take() == Ready(read_states=[ReadState(77, 1)])


def test_reads_of_one_turn_share_a_round() -> None:
    """Thesis §6.4: "one round of messages for any number of read-only requests"."""
    node = leader()
    node.read(1)
    node.read(2)
    assert node.take() == Ready(messages=[*heartbeats(2)])
    node.read(3)
    assert node.take() == Ready(messages=[*heartbeats(3)])
    node.step(ack(3, 2))
    assert node.take() == Ready(read_states=[ReadState(1, 1), ReadState(2, 1)])
    node.step(ack(3, 3))
    assert node.take() == Ready(read_states=[ReadState(3, 1)])


def test_an_answer_to_a_later_round_answers_the_earlier_ones() -> None:
    """HeartbeatReply.round: messages get lost; who follows later also followed after the request."""
    node = leader()
    node.read(1)
    node.settle()
    node.tick_after(HEARTBEAT_MS)
    node.settle()
    node.step(ack(2, 3))
    assert node.take() == Ready(read_states=[ReadState(1, 1)])


def test_an_append_answer_acknowledges_its_round_too() -> None:
    """AppendEntries.round: any message of the round shows who leads."""
    node = leader()
    node.read(1)
    node.settle()
    node.step(append_reply(node, 3, 1, round_number=2))
    assert node.take() == Ready(read_states=[ReadState(1, 1)])


def test_one_follower_acknowledging_twice_is_no_majority_of_five() -> None:
    """Thesis §6.4, step 3: a majority of the cluster."""
    node = leader(voters=(1, 2, 3, 4, 5))
    node.read(1)
    node.settle()
    node.step(ack(2, 2), ack(2, 2))
    assert not node.core.has_ready()
    node.step(ack(5, 2))
    assert node.take() == Ready(read_states=[ReadState(1, 1)])


def test_a_read_sees_what_was_committed_when_it_was_asked_for() -> None:
    """Thesis §6.4, step 2: the commit index then, not what is committed meanwhile."""
    node = leader()
    node.read(1)
    node.core.propose(b"a")
    node.settle()
    node.step(append_reply(node, 2, 2, round_number=2))
    assert node.take() == Ready(committed_entries=[Entry(1, 2, COMMAND, b"a")], read_states=[ReadState(1, 1)])


def test_a_read_before_the_terms_first_commit_waits_for_that_entry() -> None:
    """Thesis §6.4, step 1: till then the leader may not know what its predecessors committed.

    Entry 2 may have been committed by the leader of term 1. This leader doesn't know (its commit index
    is 0), but everything of the kind stands before its own entry 3.
    """
    node = new_leader([1, 1])
    node.settle()
    node.read(5)
    node.settle()
    node.step(HeartbeatReply(2, 2, 1, 2))
    assert node.core.commit_index == 0
    assert node.take().read_states == [ReadState(5, 3)]


def test_reads_of_a_leader_that_steps_down_are_refused() -> None:
    """ReadState.index: nobody will confirm them; followers hear it as well."""
    node = after_lease()
    node.settle()
    node.read(1)
    node.step(ReadIndexRequest(1, 3, 1, 9))
    node.settle()
    node.step(HeartbeatReply(4, 3, 1, 0))
    ready = node.take()
    assert ready.read_states == [ReadState(1, 0)]
    assert ready.messages == [ReadIndexReply(1, 1, 3, 9, 0, 0)]


def test_a_partitioned_leader_answers_no_read() -> None:
    """Thesis §6.4: another one may lead already; check-quorum ends the wait."""
    node = after_lease()
    node.read(1)
    answers: list[ReadState] = []
    while node.core.role is LEADER:
        assert answers == []
        node.tick_after(10)
        answers = [read_state for ready in node.settle() for read_state in ready.read_states]
    assert node.core.role is FOLLOWER
    assert answers == [ReadState(1, 0)]


def test_waiting_reads_are_bounded() -> None:
    """RaftConfig.pending_reads_max: the leader refuses what is too much."""
    node = leader(pending_reads_max=2)
    for context in (1, 2, 3):
        node.read(context)
    assert node.take().read_states == [ReadState(3, 0)]


def test_a_lone_voter_reads_at_once() -> None:
    """Thesis §6.4: its majority is itself."""
    node = Node(voters=(1,))
    node.tick_after(0)
    node.settle()
    node.read(1)
    node.read(2)
    assert node.take() == Ready(read_states=[ReadState(1, 1), ReadState(2, 1)])


def test_a_round_that_never_began_is_no_answer() -> None:
    """HeartbeatReply.round: only what was sent comes back."""
    node = leader()
    with pytest.raises(ProtocolError, match="acknowledged round 9 of 1"):
        node.step(ack(2, 9))


# --- ReadIndex at a follower --------------------------------------------------------------------


def test_a_follower_asks_its_leader() -> None:
    """Thesis §6.4, last paragraphs. The answer's commit index counts as a heartbeat's does."""
    node = follower([1, 1])
    node.read(7)
    wire_context = FIRST_WIRE_CONTEXT
    assert node.take() == Ready(messages=[ReadIndexRequest(1, 1, 2, wire_context)])
    node.step(ReadIndexReply(1, 2, 1, wire_context, 2, 1))
    ready = node.take()
    assert ready.read_states == [ReadState(7, 2)]
    assert [entry.index for entry in ready.committed_entries] == [1]


def test_an_answer_twice_or_to_another_life_is_dropped() -> None:
    """A restarted node begins its numbers anew: an old answer would be older than the question."""
    node = follower([1])
    node.read(7)
    node.settle()
    node.step(ReadIndexReply(1, 2, 1, 7, 1, 0))
    assert not node.core.has_ready()
    reply = ReadIndexReply(1, 2, 1, FIRST_WIRE_CONTEXT, 1, 0)
    node.step(reply, reply)
    assert node.take() == Ready(read_states=[ReadState(7, 1)])


def test_a_follower_without_a_leader_refuses() -> None:
    """NotLeader(NOBODY): there is nobody to ask."""
    node = Node([1])
    with pytest.raises(NotLeader) as refused:
        node.read(1)
    assert refused.value.leader_id == NOBODY


def test_reads_at_a_lost_leader_are_refused() -> None:
    """ReadState.index: at a new term, at a campaign, by the old leader's own word."""
    node = follower([1])
    node.read(1)
    node.settle()
    node.step(HeartbeatReply(5, 3, 1, 0))
    assert node.take().read_states == [ReadState(1, 0)]
    node = follower([1])
    node.read(1)
    node.settle()
    node.tick_after(TIMEOUT_MS)
    assert node.take().read_states == [ReadState(1, 0)]
    node = follower([1])
    node.read(1)
    node.settle()
    node.step(ReadIndexReply(1, 2, 1, FIRST_WIRE_CONTEXT, 0, 0))
    assert node.take() == Ready(read_states=[ReadState(1, 0)])


def test_a_followers_oldest_unanswered_read_makes_room() -> None:
    """RaftConfig.pending_reads_max: it was most likely lost."""
    node = follower([1], pending_reads_max=2)
    for context in (1, 2, 3):
        node.read(context)
    assert node.take().read_states == [ReadState(1, 0)]


def test_a_leader_answers_followers_after_a_round() -> None:
    """Thesis §6.4; leader_commit is bounded by what the asker is known to have."""
    node = after_lease()
    node.settle()
    node.step(ReadIndexRequest(1, 3, 1, 42))
    assert node.take() == Ready(messages=[*heartbeats(6)])
    node.step(ack(2, 6))
    assert node.take() == Ready(messages=[ReadIndexReply(1, 1, 3, 42, 1, 1)])


def test_a_leader_answers_followers_at_once_under_its_lease() -> None:
    """Thesis §6.4.1: the lease confirms what a round would."""
    node = leader()
    node.step(ReadIndexRequest(1, 3, 1, 42))
    assert node.take() == Ready(messages=[ReadIndexReply(1, 1, 3, 42, 1, 1)])


def test_an_answer_commits_no_more_than_the_asker_has() -> None:
    """ReadIndexReply.leader_commit: behind its match an asker's log may be another one."""
    node = leader()
    node.core.propose(b"a")
    node.settle()
    node.step(append_reply(node, 2, 2))
    node.settle()
    node.step(ReadIndexRequest(1, 3, 1, 42))
    assert node.take() == Ready(messages=[ReadIndexReply(1, 1, 3, 42, 2, 1)])


def test_a_follower_that_asks_was_heard() -> None:
    """Thesis §6.2: any message of the term shows that it follows."""
    node = leader()
    for _ in range(20):
        node.tick_after(HEARTBEAT_MS)
        node.settle()
        node.step(ReadIndexRequest(1, 3, 1, 42))
    assert node.core.role is LEADER


def test_who_does_not_lead_refuses_a_followers_read() -> None:
    """ReadIndexReply.read_index 0; to an asker of a lower term with the own one."""
    node = follower([1], term=3)
    node.step(ReadIndexRequest(3, 3, 1, 42), ReadIndexRequest(2, 3, 1, 43))
    assert node.take() == Ready(
        messages=[ReadIndexReply(3, 1, 3, 42, 0, 0), ReadIndexReply(3, 1, 3, 43, 0, 0)]
    )


# --- lease --------------------------------------------------------------------------------------


def test_a_lease_runs_from_the_start_of_the_acknowledged_round() -> None:
    """Thesis §6.4.1 and DESIGN.md: not from the answer's arrival, and shorter by the clocks' drift."""
    node = leader()
    node.tick_after(HEARTBEAT_MS)
    began_ns = node.now_ns
    node.settle()
    node.wait(80)
    node.step(ack(2, 2))
    end_ns = began_ns + LEASE_MS * NS_PER_MS
    assert node.core.lease_is_valid(end_ns - 1)
    assert not node.core.lease_is_valid(end_ns)


def test_a_lease_ends_rounded_down() -> None:
    """DESIGN.md: minus rounding; 333 ms less 7 % is 309.69 ms."""
    node = leader(clock_drift_percent=7, election_timeout_ms=333)
    node.tick_after(HEARTBEAT_MS)
    began_ns = node.now_ns
    node.settle()
    node.step(ack(2, 2))
    assert node.core.lease_is_valid(began_ns + 309_689_999)
    assert not node.core.lease_is_valid(began_ns + 309_690_000)


def test_a_lease_needs_a_majority() -> None:
    """Thesis §6.4.1."""
    node = leader(voters=(1, 2, 3, 4, 5))
    node.tick_after(LEASE_MS - 50)
    node.settle()
    node.wait(50)
    node.step(ack(2, 2))
    assert not node.lease_is_valid()
    node.step(ack(3, 2))
    assert node.lease_is_valid()


def test_a_new_leader_has_no_lease_before_its_first_entry_is_applied() -> None:
    """Thesis §6.4, step 1, for leases too: the state machine may lack what predecessors committed."""
    node = new_leader([1])
    node.settle()
    assert not node.lease_is_valid()
    node.step(HeartbeatReply(2, 2, 1, 1))
    assert not node.lease_is_valid()
    node.step(append_reply(node, 2, 2))
    node.take()
    node.take()
    node.core.applied(1)
    assert not node.lease_is_valid()
    node.core.applied(2)
    assert node.lease_is_valid()


def test_a_lease_ends_with_the_leadership() -> None:
    """Thesis §6.4.1."""
    node = leader()
    assert node.lease_is_valid()
    node.step(HeartbeatReply(2, 2, 1, 0))
    assert not node.lease_is_valid()


def test_a_lease_of_an_earlier_term_is_worth_nothing() -> None:
    """Raft contract: a lease in a new term starts from nothing; others may have led in between."""
    node = leader()
    assert node.lease_is_valid()
    node.step(HeartbeatReply(2, 2, 1, 0))
    node.settle()
    node.tick_after(TIMEOUT_MS)
    node.step(pre_vote_reply(3, 2), vote_reply(3, 2))
    node.settle()
    assert (node.core.role, node.core.current_term) == (LEADER, 3)
    assert not node.lease_is_valid()


def test_a_lone_voter_always_holds_its_lease() -> None:
    """Thesis §6.4.1: nobody else can be elected."""
    node = Node(voters=(1,))
    node.tick_after(0)
    assert not node.lease_is_valid()
    node.settle()
    assert node.lease_is_valid()
    node.wait(60_000)
    assert node.lease_is_valid()


def test_clocks_that_drift_at_will_allow_no_lease() -> None:
    """RaftConfig.clock_drift_percent: 100 leaves ReadIndex alone."""
    node = leader(clock_drift_percent=100)
    assert not node.lease_is_valid()
