"""Rules of `raftkv.raft.election` (Raft §5.1, §5.2, §5.4.1; thesis §4.2.3, §6.2, §6.4.1, §9.6)."""

from __future__ import annotations

import random

import pytest

from raftkv.raft import (
    CANDIDATE,
    EMPTY,
    FOLLOWER,
    LEADER,
    NOBODY,
    PRE_CANDIDATE,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryId,
    HardState,
    Heartbeat,
    HeartbeatReply,
    ProtocolError,
    RaftConfig,
    RaftCore,
    Ready,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from tests.raft.nodes import (
    HEARTBEAT_MS,
    NS_PER_MS,
    TIMEOUT_MS,
    MemoryLog,
    Node,
    append_reply,
    candidate,
    follower,
    leader,
    new_leader,
    pre_vote_reply,
    vote_reply,
    vote_request,
)


def denial(term: int, to: int, *, is_pre_vote: bool = False) -> RequestVoteReply:
    """Return node 1's answer when it denies."""
    return RequestVoteReply(term, 1, to, is_pre_vote, is_granted=False)


def grant(term: int, to: int, *, is_pre_vote: bool = False) -> RequestVoteReply:
    """Return node 1's answer when it grants."""
    return RequestVoteReply(term, 1, to, is_pre_vote, is_granted=True)


# --- campaigning --------------------------------------------------------------------------------


def test_a_follower_without_a_leader_asks_for_pre_votes_and_keeps_its_term() -> None:
    """Thesis §9.6: the pre-vote names the next term, and nothing is made durable for it."""
    node = Node([1, 2])
    node.tick_after(TIMEOUT_MS)
    assert node.core.role is PRE_CANDIDATE
    assert node.core.current_term == 2
    assert node.take() == Ready(
        messages=[
            RequestVote(3, 1, 2, 2, 2, is_pre_vote=True, is_transfer=False),
            RequestVote(3, 1, 3, 2, 2, is_pre_vote=True, is_transfer=False),
        ]
    )


def test_no_follower_campaigns_before_an_election_timeout() -> None:
    """Raft §5.2."""
    node = Node([1])
    node.tick_after(TIMEOUT_MS - 1)
    assert node.core.role is FOLLOWER
    assert not node.core.has_ready()


def test_election_timeouts_are_spread_over_one_to_two_timeouts() -> None:
    """Raft §5.2: randomized, so that votes are rarely split; the generator is the one handed in."""
    waits = set()
    for seed in range(60):
        core = RaftCore(
            RaftConfig(node_id=1, voters=(1, 2, 3)),
            HardState(),
            MemoryLog(),
            applied=EntryId(0, 0),
            random=random.Random(seed),
            now_ns=0,
        )
        wait_ms = 0
        while core.role is FOLLOWER:
            wait_ms += 10
            core.tick(wait_ms * NS_PER_MS)
        waits.add(wait_ms)
    assert TIMEOUT_MS <= min(waits) < TIMEOUT_MS + 100
    assert 2 * TIMEOUT_MS - 100 < max(waits) <= 2 * TIMEOUT_MS


def test_a_majority_of_pre_votes_starts_the_election() -> None:
    """Raft §5.2: raise the term, vote for itself, ask. The requests wait for the own vote's disk."""
    node = Node([1, 2])
    node.tick_after(TIMEOUT_MS)
    node.settle()
    node.step(pre_vote_reply(3, 2))
    assert node.core.role is CANDIDATE
    assert node.take() == Ready(
        hard_state=HardState(3, 1),
        messages_after_persist=[
            RequestVote(3, 1, 2, 2, 2, is_pre_vote=False, is_transfer=False),
            RequestVote(3, 1, 3, 2, 2, is_pre_vote=False, is_transfer=False),
        ],
    )


def test_a_majority_of_votes_makes_a_leader_that_appends_an_empty_entry() -> None:
    """Raft §5.2, §8: the new leader claims its place at once, with its first entry."""
    node = candidate([1, 2])
    node.step(vote_reply(3, 3))
    assert node.core.role is LEADER
    assert node.core.leader_id == 1
    empty = Entry(3, 3, EMPTY, b"")
    assert node.take() == Ready(
        entries=[empty],
        messages=[AppendEntries(3, 1, 2, 2, 2, 0, 1, [empty]), AppendEntries(3, 1, 3, 2, 2, 0, 1, [empty])],
    )


def test_a_pre_vote_counts_once() -> None:
    """Thesis §9.6: a duplicated message is no second vote."""
    node = Node([1], voters=(1, 2, 3, 4, 5))
    node.tick_after(TIMEOUT_MS)
    node.step(pre_vote_reply(2, 2), pre_vote_reply(2, 2), pre_vote_reply(2, 2))
    assert node.core.role is PRE_CANDIDATE
    node.step(pre_vote_reply(2, 3))
    assert node.core.role is CANDIDATE


def test_a_vote_counts_once() -> None:
    """Raft §5.2: a duplicated message is no second vote."""
    node = candidate(voters=(1, 2, 3, 4, 5))
    node.step(vote_reply(1, 2), vote_reply(1, 2), vote_reply(1, 2))
    assert node.core.role is CANDIDATE
    node.step(vote_reply(1, 3))
    assert node.core.role is LEADER


def test_a_granted_pre_vote_is_no_vote() -> None:
    """Thesis §9.6: it names the very term that the candidate now runs in, but promises nothing."""
    node = candidate()
    node.step(pre_vote_reply(1, 2), pre_vote_reply(1, 3))
    assert node.core.role is CANDIDATE


def test_a_vote_of_an_earlier_election_is_no_pre_vote() -> None:
    """Thesis §9.6: the answers of both kinds are kept apart."""
    node = candidate()
    node.tick_after(TIMEOUT_MS)
    node.step(vote_reply(1, 2))
    assert node.core.role is PRE_CANDIDATE


def test_a_pre_vote_for_an_earlier_term_does_not_count() -> None:
    """Thesis §9.6: the granted term is the asked one."""
    node = candidate()
    node.tick_after(TIMEOUT_MS)
    assert node.core.current_term == 1
    node.step(pre_vote_reply(1, 2))
    assert node.core.role is PRE_CANDIDATE
    node.step(pre_vote_reply(2, 2))
    assert node.core.role is CANDIDATE


def test_a_candidate_that_a_majority_denies_goes_back_to_following() -> None:
    """Raft §5.2: it can't win any more."""
    node = candidate()
    node.step(vote_reply(1, 2, is_granted=False))
    assert node.core.role is CANDIDATE
    node.step(vote_reply(1, 3, is_granted=False))
    assert node.core.role is FOLLOWER
    assert node.core.current_term == 1


def test_a_pre_candidate_that_a_majority_denies_goes_back_to_following() -> None:
    """Thesis §9.6."""
    node = Node([1])
    node.tick_after(TIMEOUT_MS)
    node.step(pre_vote_reply(1, 2, is_granted=False), pre_vote_reply(1, 3, is_granted=False))
    assert node.core.role is FOLLOWER
    assert node.core.current_term == 1


@pytest.mark.parametrize("is_pre", [True, False])
def test_a_candidate_tries_again_after_a_timeout(is_pre: bool) -> None:
    """Raft §5.2: split votes; again a pre-vote first."""
    if is_pre:
        node = Node([1])
        node.tick_after(TIMEOUT_MS)
    else:
        node = candidate([1])
    term = node.core.current_term
    node.settle()
    node.tick_after(TIMEOUT_MS - 1)
    assert not node.core.has_ready()
    node.tick_after(1)
    assert node.core.role is PRE_CANDIDATE
    assert [msg.term for msg in node.take().messages] == [term + 1, term + 1]


def test_a_candidate_follows_the_leader_of_its_term() -> None:
    """Raft §5.2, (b) another server establishes itself as leader."""
    node = candidate()
    node.step(Heartbeat(1, 3, 1, 0, 4))
    assert (node.core.role, node.core.leader_id, node.core.current_term) == (FOLLOWER, 3, 1)
    # Nothing of its log is durable, so a restart could make it look new: the answer waits for the term.
    assert node.take() == Ready(messages_after_persist=[HeartbeatReply(1, 1, 3, 4)])


@pytest.mark.parametrize("make", [candidate, leader])
def test_a_higher_term_makes_a_follower(make: type) -> None:
    """Raft §5.1: whatever the message is, and whoever sends it."""
    node = make()
    node.step(HeartbeatReply(9, 2, 1, 0))
    assert (node.core.role, node.core.leader_id, node.core.current_term) == (FOLLOWER, NOBODY, 9)
    assert node.take() == Ready(hard_state=HardState(9, NOBODY))


def test_a_leader_never_overwrites_its_log_on_election() -> None:
    """Raft Figure 3, Leader Append-Only."""
    node = new_leader([1, 1, 2])
    ready = node.take()
    assert [entry.index for entry in ready.entries] == [4]
    assert [node.log.term_at(index) for index in range(1, 5)] == [1, 1, 2, 3]


# --- granting -----------------------------------------------------------------------------------


def free_follower(terms: list[int], *, term: int = 0) -> Node:
    """Return a follower that heard no leader for a timeout, and whose quiet start is over."""
    node = Node(terms, current_term=term or None)
    node.wait(TIMEOUT_MS)
    return node


def test_a_granted_vote_leaves_after_it_is_durable() -> None:
    """Raft Figure 2: votedFor is updated on stable storage before responding."""
    node = free_follower([1, 2])
    node.step(vote_request(3, 2, (2, 2)))
    assert node.take() == Ready(hard_state=HardState(3, 2), messages_after_persist=[grant(3, 2)])


def test_a_node_votes_once_in_a_term() -> None:
    """Raft §5.2, first come first served; the same candidate is answered again, as answers get lost."""
    node = free_follower([1])
    node.step(vote_request(2, 2, (1, 1)))
    node.settle()
    node.step(vote_request(2, 3, (1, 1)), vote_request(2, 2, (1, 1)))
    assert node.take() == Ready(messages=[denial(2, 3)], messages_after_persist=[grant(2, 2)])


def test_a_vote_is_remembered_over_a_restart() -> None:
    """Raft Figure 2, persistent state."""
    node = Node([1], current_term=2, voted_for=3)
    node.wait(TIMEOUT_MS)
    node.step(vote_request(2, 2, (1, 1)))
    assert node.take() == Ready(messages=[denial(2, 2)])


def test_a_vote_is_denied_to_a_lower_term() -> None:
    """Raft Figure 2, RequestVote 1; the answer carries the own term."""
    node = free_follower([1], term=5)
    node.step(vote_request(4, 2, (3, 9)))
    assert node.take() == Ready(messages=[denial(5, 2)])


def test_a_vote_is_denied_to_an_earlier_last_term_though_its_log_is_longer() -> None:
    """Raft §5.4.1: terms are compared first. The candidate's term is taken all the same (§5.1)."""
    node = free_follower([1, 3])
    node.step(vote_request(4, 2, (2, 9)))
    assert node.take() == Ready(hard_state=HardState(4, NOBODY), messages=[denial(4, 2)])


def test_a_vote_is_denied_to_a_shorter_log() -> None:
    """Raft §5.4.1."""
    node = free_follower([1, 3])
    node.step(vote_request(4, 2, (3, 1)))
    assert node.take() == Ready(hard_state=HardState(4, NOBODY), messages=[denial(4, 2)])


def test_a_granted_vote_restarts_the_election_timer_and_a_denied_one_does_not() -> None:
    """Raft Figure 2, Rules for Servers, Followers: "or granting vote to candidate"."""
    node = Node([1])
    node.wait(TIMEOUT_MS)
    node.step(vote_request(2, 2, (1, 1)))
    node.tick_after(TIMEOUT_MS - 1)
    assert node.core.role is FOLLOWER
    node = Node([1])
    node.wait(TIMEOUT_MS)
    node.step(vote_request(2, 2, (0, 0)))
    node.tick_after(0)
    assert node.core.role is PRE_CANDIDATE


def test_a_pre_vote_is_granted_without_a_promise() -> None:
    """Thesis §9.6: no term, no vote, no timer changes; the answer names the asked term."""
    node = free_follower([1, 2])
    node.step(vote_request(3, 2, (2, 2), is_pre_vote=True), vote_request(9, 3, (2, 2), is_pre_vote=True))
    assert node.take() == Ready(
        messages=[grant(3, 2, is_pre_vote=True), grant(9, 3, is_pre_vote=True)],
    )
    assert node.core.current_term == 2
    node.tick_after(0)
    assert node.core.role is PRE_CANDIDATE


def test_a_pre_vote_is_denied_to_a_log_that_is_behind() -> None:
    """Thesis §9.6 with Raft §5.4.1."""
    node = free_follower([1, 2])
    node.step(vote_request(3, 2, (2, 1), is_pre_vote=True))
    assert node.take() == Ready(messages=[denial(2, 2, is_pre_vote=True)])


@pytest.mark.parametrize("asked_term", [3, 5])
def test_a_pre_vote_for_a_term_that_is_over_is_denied_with_the_own_term(asked_term: int) -> None:
    """etcd issue 8243: a node in an earlier term must learn of the later one, or none ever wins."""
    node = free_follower([1, 2], term=5)
    node.step(vote_request(asked_term, 2, (2, 9), is_pre_vote=True))
    assert node.take() == Ready(messages=[denial(5, 2, is_pre_vote=True)])


def test_a_pre_candidate_takes_the_higher_term_of_a_denial() -> None:
    """openraft issue 1796: the longest log in an earlier term, the latest term with a shorter log."""
    node = Node([1, 1, 1])
    node.tick_after(TIMEOUT_MS)
    node.settle()
    node.step(pre_vote_reply(5, 2, is_granted=False))
    assert (node.core.role, node.core.current_term) == (FOLLOWER, 5)
    node.settle()
    node.tick_after(TIMEOUT_MS)
    assert [msg.term for msg in node.take().messages] == [6, 6]


def test_a_pre_candidate_that_votes_for_another_stops_its_own_attempt() -> None:
    """Raft §5.2: its next term would only disturb the one that it helped to elect."""
    node = Node([1], current_term=2)
    node.tick_after(TIMEOUT_MS)
    node.settle()
    node.step(vote_request(2, 2, (1, 1)))
    assert node.core.role is FOLLOWER
    assert node.take() == Ready(hard_state=HardState(2, 2), messages_after_persist=[grant(2, 2)])


# --- stickiness ---------------------------------------------------------------------------------


def test_who_heard_a_leader_ignores_a_candidate() -> None:
    """Thesis §4.2.3: neither its term nor its request is taken within the smallest election timeout."""
    node = follower([1])
    node.step(Heartbeat(1, 2, 1, 0, 2))
    node.settle()
    node.wait(TIMEOUT_MS - 1)
    node.step(vote_request(7, 3, (1, 5)))
    assert not node.core.has_ready()
    assert node.core.current_term == 1
    node.wait(1)
    node.step(vote_request(7, 3, (1, 5)))
    assert node.take() == Ready(hard_state=HardState(7, 3), messages_after_persist=[grant(7, 3)])


def test_who_heard_a_leader_denies_pre_votes() -> None:
    """Thesis §9.6 with §4.2.3."""
    node = follower([1])
    node.step(vote_request(2, 3, (1, 5), is_pre_vote=True))
    assert node.take() == Ready(messages=[denial(1, 3, is_pre_vote=True)])


def test_a_promise_to_a_leader_outlives_a_change_of_term() -> None:
    """Thesis §6.4.1: the time counts, not whether a leader is known.

    1. Node 1 acknowledges a round of leader 2; 2. it learns of a higher term; 3. node 3 asks for its vote
    in a yet higher one. Leader 2 may still count on its lease.
    """
    node = follower([1])
    node.step(HeartbeatReply(4, 3, 1, 0))
    node.settle()
    assert (node.core.current_term, node.core.leader_id) == (4, NOBODY)
    node.step(vote_request(5, 3, (1, 5)))
    assert not node.core.has_ready()


def test_a_leader_ignores_candidates() -> None:
    """Thesis §6.4.1: while check-quorum keeps it, it is itself one of those that heard a leader."""
    node = leader()
    node.step(vote_request(9, 2, (9, 9)), vote_request(9, 3, (9, 9), is_pre_vote=True))
    assert node.take() == Ready(messages=[denial(1, 3, is_pre_vote=True)])
    assert (node.core.role, node.core.current_term) == (LEADER, 1)


def test_a_transfer_waives_stickiness() -> None:
    """Thesis §4.2.3: the leader itself asked for this election."""
    node = follower([1])
    node.step(vote_request(2, 3, (1, 1), is_transfer=True))
    assert node.take() == Ready(hard_state=HardState(2, 3), messages_after_persist=[grant(2, 3)])


# --- quiet start --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_transfer", [False, True])
def test_a_restarted_node_grants_no_vote_in_its_first_timeout(is_transfer: bool) -> None:
    """DESIGN.md: it may have acknowledged a leader's round just before it died."""
    node = Node([1], started_ms=7000)
    node.wait(TIMEOUT_MS - 1)
    node.step(vote_request(2, 2, (1, 5), is_transfer=is_transfer))
    assert not node.core.has_ready()
    node.wait(1)
    node.step(vote_request(2, 2, (1, 5), is_transfer=is_transfer))
    assert node.take() == Ready(hard_state=HardState(2, 2), messages_after_persist=[grant(2, 2)])


def test_a_restarted_node_denies_pre_votes_in_its_first_timeout() -> None:
    """DESIGN.md."""
    node = Node([1])
    node.step(vote_request(2, 2, (1, 5), is_pre_vote=True))
    assert node.take() == Ready(messages=[denial(1, 2, is_pre_vote=True)])


def test_a_restarted_node_takes_no_leadership_in_its_first_timeout() -> None:
    """DESIGN.md: its own vote is a vote."""
    node = Node([1])
    node.step(TimeoutNow(1, 2, 1))
    assert node.core.role is FOLLOWER
    assert not node.core.has_ready()


@pytest.mark.parametrize(("terms", "current_term"), [([], 1), ([1], 1)])
def test_only_a_node_that_took_part_in_nothing_is_excused(terms: list[int], current_term: int) -> None:
    """DESIGN.md: a brand-new group has no lease to protect."""
    node = Node()
    node.step(vote_request(1, 2, (0, 0)))
    assert node.take() == Ready(hard_state=HardState(1, 2), messages_after_persist=[grant(1, 2)])
    node = Node(terms, current_term=current_term)
    node.step(vote_request(2, 2, (5, 5)))
    assert not node.core.has_ready()


# --- check-quorum and rejoining -----------------------------------------------------------------


def test_a_leader_that_hears_no_majority_steps_down() -> None:
    """Thesis §6.2: within an election timeout, so that clients look elsewhere."""
    node = leader()
    node.tick_after(TIMEOUT_MS - 2)
    assert node.core.role is LEADER
    node.tick_after(1)
    assert (node.core.role, node.core.leader_id, node.core.current_term) == (FOLLOWER, NOBODY, 1)


def test_a_leader_that_steps_down_waits_an_election_timeout() -> None:
    """Raft §5.2: its own timer stood still while it led."""
    node = leader()
    node.tick_after(10 * TIMEOUT_MS)
    node.tick_after(TIMEOUT_MS - 1)
    assert node.core.role is FOLLOWER
    node.tick_after(1)
    assert node.core.role is PRE_CANDIDATE


def test_a_leader_that_hears_a_majority_stays() -> None:
    """Thesis §6.2: two of three, itself included, suffice."""
    node = leader()
    for round_number in range(2, 30):
        node.tick_after(HEARTBEAT_MS)
        node.settle()
        node.step(HeartbeatReply(1, 3, 1, round_number))
        assert node.core.role is LEADER


def test_a_leader_of_five_needs_two_others() -> None:
    """Thesis §6.2."""
    node = leader(voters=(1, 2, 3, 4, 5))
    for _ in range(4):
        node.tick_after(HEARTBEAT_MS)
        node.settle()
        node.step(append_reply(node, 3, 1))
        assert node.core.role is LEADER
    node.tick_after(HEARTBEAT_MS)
    assert node.core.role is FOLLOWER


def test_a_new_leader_has_a_timeout_to_be_heard() -> None:
    """Thesis §6.2: what was heard in earlier terms doesn't count, nor does silence before its own."""
    node = new_leader()
    node.tick_after(TIMEOUT_MS - 1)
    assert node.core.role is LEADER
    node.tick_after(1)
    assert node.core.role is FOLLOWER


def test_a_leader_of_a_lower_term_learns_the_own_term() -> None:
    """Raft Figure 2, AppendEntries 1; etcd: frees a node stuck in a higher term than its leader's."""
    node = free_follower([1], term=5)
    node.step(Heartbeat(1, 2, 1, 1, 8), AppendEntries(1, 2, 1, 1, 1, 1, 8, []))
    assert node.take() == Ready(
        messages=[HeartbeatReply(5, 1, 2, 0), AppendEntriesReply(5, 1, 2, 0, False, 0, 0, 0)],
    )
    assert node.core.leader_id == NOBODY
    assert node.core.commit_index == 0


def test_answers_of_a_lower_term_are_dropped() -> None:
    """Raft §5.1: they answer what is over."""
    node = candidate([1])
    node.step(vote_reply(1, 2), vote_reply(1, 3), HeartbeatReply(1, 2, 1, 5), TimeoutNow(1, 2, 1))
    assert node.core.role is CANDIDATE
    assert not node.core.has_ready()


def test_two_leaders_of_one_term_are_refused() -> None:
    """Raft Figure 3, Election Safety."""
    node = leader()
    with pytest.raises(ProtocolError, match="nodes 1 and 2 both lead term 1"):
        node.step(Heartbeat(1, 2, 1, 0, 1))
    node = follower([1])
    with pytest.raises(ProtocolError, match="nodes 2 and 3 both lead term 1"):
        node.step(Heartbeat(1, 3, 1, 0, 1))


# --- a group of one -----------------------------------------------------------------------------


def test_a_lone_voter_leads_as_soon_as_its_vote_is_durable() -> None:
    """Raft §5.2: it is its own majority, and has nobody to wait for but its disk, which commits too.

    Had it led before, then after a crash it might lead the same term again, with other entries that learners
    would take for those that they have.
    """
    node = Node(voters=(1,))
    node.tick_after(0)
    ready = node.take()
    assert ready == Ready(hard_state=HardState(1, 1))
    assert node.core.role is CANDIDATE
    node.persist(ready)
    assert node.core.role is LEADER
    empty = Entry(1, 1, EMPTY, b"")
    ready = node.take()
    assert ready == Ready(entries=[empty])
    assert node.core.commit_index == 0
    node.persist(ready)
    assert node.take() == Ready(committed_entries=[empty])
    node.tick_after(10 * TIMEOUT_MS)
    assert node.core.role is LEADER
