"""Scenarios of logs that part, and of messages and reports that come late."""

from __future__ import annotations

from collections.abc import Callable

from raftkv.raft.types import AppendEntries, Heartbeat, Message, ReadIndexReply, RequestVote
from tests.simulator.node import Node
from tests.simulator.operations import INDEX_READ, WRITE, Outcome
from tests.simulator.profile import Profile
from tests.simulator.stage import ELECTION_TIMEOUT_MS, Stage


def one_entry_profile() -> Profile:
    """Every AppendEntries carries one entry."""
    return Profile(core_limits={"append_bytes_max": 1})


def _elect(stage: Stage, candidate: Node, may_append: Callable[[AppendEntries], bool]) -> None:
    """Let this node alone campaign, once no promise holds the others back, and lead.

    From then on only those AppendEntries arrive that `may_append` lets through.
    """

    def lets_through(message: Message) -> bool:
        if isinstance(message, RequestVote):
            return message.sender == candidate.node_id
        return not isinstance(message, AppendEntries) or may_append(message)

    stage.network.lets_through = lets_through
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)

    def leads() -> bool:
        assert candidate.core is not None, "the candidate runs"
        if candidate.core.leader_id == 0:
            stage.let_time_out(candidate)
        return stage.leader() is candidate

    assert stage.run_until(leads, within_ms=500), f"node {candidate.node_id} is elected"


def figure_8(stage: Stage) -> None:
    """Raft Figure 8: an entry of an older term, on a majority, is overwritten all the same."""
    s1 = stage.elect()
    s2, s3, s4, s5 = stage.others(s1)
    stage.run_ms(50)
    index = s1.log.last_index + 1
    _keep_appends_to(stage, s2)
    stage.ask(s1, WRITE)
    assert stage.run_until(lambda: _are_durable(index, s1, s2), within_ms=100), "(a) on S1 and S2"
    s1.crash()
    _elect(stage, s5, lambda _: False)
    assert stage.run_until(lambda: _are_durable(index, s5), within_ms=100), "(b) S5 has another entry there"
    s5.crash()
    s1.start()

    def may_append(message: AppendEntries) -> bool:
        is_lacking = stage.node(message.to).log.last_index < index
        return message.to in (s3.node_id, s4.node_id) and (is_lacking or message.entries[-1].index <= index)

    _elect(stage, s1, may_append)
    assert stage.run_until(lambda: _are_durable(index, s3, s4), within_ms=1_000), "(c) it has a majority"
    stage.run_ms(200)
    s1.crash()
    s5.start()
    _elect(stage, s5, lambda _: True)
    stage.run_ms(200)


def _keep_appends_to(stage: Stage, receiver: Node) -> None:
    stage.network.lets_through = lambda message: (
        not isinstance(message, AppendEntries) or message.to == receiver.node_id
    )


def _are_durable(index: int, *nodes: Node) -> bool:
    return all(node.log.durable_last_index >= index for node in nodes)


def old_append_comes_again(stage: Stage) -> None:
    """An AppendEntries arrives a second time when what followed it is acknowledged already."""
    leader = stage.elect()
    follower, third = stage.others(leader)
    stage.write(leader)
    third.crash()
    copies: list[AppendEntries] = []

    def keep_copies(message: Message) -> bool:
        if isinstance(message, AppendEntries) and message.to == follower.node_id:
            copies.append(message)
        return not isinstance(message, Heartbeat)

    stage.network.lets_through = keep_copies
    writes = [stage.ask(leader, WRITE), stage.ask(leader, WRITE)]
    stage.run_until(lambda: all(write.outcome is Outcome.DONE for write in writes), within_ms=100)
    first = next(copy for copy in copies if copy.entries[0].index == writes[0].index)
    follower.receive(first)
    stage.run_ms(5)


def answer_meets_the_next_term(stage: Stage) -> None:
    """A leader's old AppendEntries is refused when the same node leads again, in a later term.

    The refusal carries the later term, and names the place where the new leadership probes: the leader
    crashed and lost what it had appended behind it.
    """
    leader = stage.elect()
    follower = stage.others(leader)[0]
    stage.write(leader)
    stage.run_ms(50)
    held: list[AppendEntries] = []

    def hold(message: Message) -> bool:
        if isinstance(message, AppendEntries):
            held.append(message)
        return not isinstance(message, AppendEntries)

    stage.network.lets_through = hold
    stage.ask(leader, WRITE)
    stage.run_ms(0)
    leader.crash(kept_count=0)
    leader.start()
    old = next(message for message in held if message.to == follower.node_id)
    _elect(stage, leader, lambda _: False)
    follower.receive(old)
    stage.run_ms(5)
    stage.network.lets_through = lambda _: True
    stage.run_ms(ELECTION_TIMEOUT_MS)
    stage.write(stage.elect())


def leader_loses_what_it_counted(stage: Stage) -> None:
    """The leader's disk is slow, one follower has the entry, the leader crashes.

    Leader and third node make a majority that never had the entry on disk.
    """
    leader = stage.elect()
    follower, third = stage.others(leader)
    stage.write(leader)
    stage.run_ms(50)
    stage.separate([third], [leader, follower])
    leader.fsync_slowness = 1_000
    stage.ask(leader, WRITE)
    stage.run_ms(100)
    stage.read(follower, INDEX_READ)
    leader.crash(kept_count=0)
    leader.fsync_slowness = 1
    leader.start()
    stage.network.heal()
    stage.separate([follower], [leader, third])
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    stage.let_lead(third)


def follower_answers_from_a_slow_disk(stage: Stage) -> None:
    """The one follower that is reached has a slow disk: an acknowledgement has to wait for it."""
    leader = stage.elect()
    follower, third = stage.others(leader)
    stage.write(leader)
    stage.separate([third], [leader, follower])
    follower.fsync_slowness = 500
    stage.write(leader)


def report_of_a_cut_write(stage: Stage) -> None:
    """A sync's report comes when its entry was cut and came back (ABA).

    1. Entry 1/n is written at the follower; its sync takes long. 2. A leader of term 2 replaces it by 2/n.
    3. A leader of term 3 that has 1/n replaces it back and commits it. 4. The first sync ends. A crash
    may leave 2/n, so nothing from n on may be applied.
    """
    first = stage.elect()
    second, *voters, follower = stage.others(first)
    stage.run_ms(50)
    index = first.log.last_index + 1
    follower.fsync_slowness = 10_000
    _keep_appends_to(stage, follower)
    stage.ask(first, WRITE)
    assert stage.run_until(lambda: follower.log.last_index == index, within_ms=100), "1/n is written"
    assert stage.run_until(lambda: _are_durable(index, first), within_ms=100), "the leader keeps it"
    stage.separate([first], stage.others(first))
    _elect(stage, second, lambda message: message.to == follower.node_id)
    assert stage.run_until(lambda: follower.log.term_at(index) > 1, within_ms=200), "2/n replaces it"
    stage.network.heal()
    stage.separate([second], [first, *voters, follower])
    _elect(stage, first, lambda _: True)
    stage.run_until(lambda: follower.core is not None and follower.core.commit_index > index, within_ms=500)
    assert follower.log.term_at(index) == 1, "1/n is back"
    assert follower.state.applied.index < index, "the first sync is still running"
    stage.run_ms(2_000)


def old_answer_meets_the_next_life(stage: Stage) -> None:
    """The answer to a follower's read arrives after the follower was started again and reads anew."""
    leader = stage.elect()
    stage.write(leader)
    follower = stage.others(leader)[0]
    stage.run_ms(50)
    held: list[Message] = []

    def hold_answers(message: Message) -> bool:
        if isinstance(message, ReadIndexReply):
            held.append(message)
        return not isinstance(message, ReadIndexReply)

    stage.network.lets_through = hold_answers
    stage.ask(follower, INDEX_READ)
    stage.run_ms(5)
    follower.crash()
    follower.start()
    stage.network.lets_through = lambda message: (
        isinstance(message, Heartbeat) or message.to != follower.node_id
    )
    stage.write(leader)
    stage.run_ms(ELECTION_TIMEOUT_MS // 2)  # the follower hears heartbeats, but gets no entries
    stage.ask(follower, INDEX_READ)
    follower.receive(held[0])
    stage.run_ms(5)
