"""Scenarios of snapshots and dropped logs: what a follower gives up and keeps, and crashes in between."""

from __future__ import annotations

from raftkv.raft.membership import RemoveMember
from raftkv.raft.types import COMMAND, AppendEntries, AppendEntriesReply, Heartbeat, Message, RequestVote
from tests.simulator.network import SnapshotStream
from tests.simulator.node import Node
from tests.simulator.operations import WRITE, Outcome
from tests.simulator.process import StopPoint
from tests.simulator.profile import Profile
from tests.simulator.recovery import require_recovery
from tests.simulator.stage import ELECTION_TIMEOUT_MS, Stage


def no_cache_profile() -> Profile:
    """What is dropped from the log is gone from memory too; one AppendEntries brings one entry."""
    return Profile(core_limits={"log_cache_bytes_max": 1, "append_bytes_max": 1})


def _write_many(stage: Stage, leader: Node, count: int) -> None:
    for _ in range(count):
        stage.write(leader)


def _is_caught_up(stage: Stage, node: Node) -> bool:
    return node.state.applied.index == stage.ledger.last_index


def _fall_behind(stage: Stage, leader: Node) -> Node:
    """Let a follower miss what the others write and then drop from their logs."""
    follower, third = stage.others(leader)
    stage.write(leader)
    stage.separate([follower], [leader, third])
    _write_many(stage, leader, 5)
    stage.run_ms(20)
    for node in (leader, third):
        stage.drop_log(node)
    return follower


def _require_snapshot(stage: Stage, node: Node) -> None:
    count = stage.tally.snapshots
    stage.wait_until(lambda: stage.tally.snapshots > count, "a snapshot is installed")
    stage.require(lambda: _is_caught_up(stage, node), "it gets what comes after the snapshot")


def tail_contradicts_the_snapshot(stage: Stage) -> None:
    """A deposed leader has entries that nobody else has, at and behind the place where the snapshot ends."""
    old = stage.elect()
    stage.write(old)
    rival, third = stage.others(old)
    stage.separate([old], [rival, third])
    for _ in range(20):
        stage.ask(old, WRITE)
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    stage.let_lead(rival)
    _write_many(stage, rival, 5)
    stage.run_ms(20)
    for node in (rival, third):
        stage.drop_log(node)
    assert old.log.last_index > rival.log.last_index, "the old leader's log is longer"
    stage.network.heal()
    _require_snapshot(stage, old)


def tail_follows_the_snapshot(stage: Stage) -> None:
    """A snapshot comes when the follower has its last entry, and another one behind it that is acknowledged.

    1. Two entries are on the disks of leader and follower; the follower's first answer arrives, so the leader
    commits and applies the first entry. A snapshot is made. 2. The second answer arrives; the second write is
    acknowledged. The follower knows of no commit.
    """
    leader = stage.elect()
    follower, third = stage.others(leader)
    stage.write(leader)
    stage.run_ms(20)
    third.crash()
    answers: list[AppendEntriesReply] = []

    def hold_answers(message: Message) -> bool:
        if isinstance(message, AppendEntriesReply):
            answers.append(message)
        return not isinstance(message, AppendEntriesReply | Heartbeat)

    stage.network.lets_through = hold_answers
    first = stage.ask(leader, WRITE)
    second = stage.ask(leader, WRITE)
    stage.wait_until(lambda: len(answers) == 2, "both entries are on the follower's disk", within_ms=50)
    leader.receive(answers[0])
    stage.wait_until(lambda: first.outcome is Outcome.DONE, "the first is acknowledged", within_ms=5)
    snapshot = leader.state.newest
    leader.receive(answers[1])
    stage.wait_until(lambda: second.outcome is Outcome.DONE, "so is the second", within_ms=5)
    assert follower.core is not None, "the follower runs"
    assert follower.core.commit_index < snapshot.entry_id.index, "and the follower knows nothing of it"
    follower.receive(SnapshotStream(leader.node_id, follower.node_id, snapshot))
    stage.run_ms(5)


def snapshot_comes_from_a_later_term(stage: Stage) -> None:
    """A snapshot holds what a leader committed of whose term its receiver never heard (Raft Figure 8, (c)).

    Index n has an entry of term 1 on S1 and S2; S3 is their third.

    1. S5 leads term 2 and has another entry at n, which the follower gets. What comes next is on its way.
    2. S1 leads term 3 and commits n of term 1, by an entry of its own behind it. S2's state ends with n.
    3. The follower, still in term 2, gets that state, and then what was on its way.
    """
    s1 = stage.elect()
    s2, s3, follower, s5 = stage.others(s1)
    stage.write(s1)
    stage.run_ms(20)
    n = s1.log.last_index + 1
    stage.network.lets_through = lambda message: (
        not isinstance(message, AppendEntries) or message.to == s2.node_id
    )
    stage.ask(s1, WRITE)
    stage.wait_until(lambda: _has_entry(s2, n), "(1) S2 has n of term 1")
    s1.crash()
    held = _lead_alone(stage, s5, follower)
    stage.ask(s5, WRITE)
    stage.wait_until(lambda: bool(held), "S5 sends more")
    s5.crash()
    s1.start()
    stage.network.lets_through = lambda message: follower.node_id not in (message.sender, message.to)
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    stage.let_lead(s1)
    stage.wait_until(lambda: s2.state.applied.index > n, "(2) n is committed")
    stage.run_ms(20)
    snapshot = next(at for at in s2.state.since_flush if at.entry_id.index == n)
    follower.receive(SnapshotStream(s2.node_id, follower.node_id, snapshot))
    stage.run_ms(1)
    assert follower.state.applied.index == n, "(3) the follower has the snapshot"
    for message in held:
        follower.receive(message)
    stage.run_ms(20)
    stage.network.lets_through = lambda _: True
    s5.start()
    require_recovery(stage)
    del s3


def _has_entry(node: Node, index: int) -> bool:
    return node.log.durable_last_index >= index


def _lead_alone(stage: Stage, leader: Node, follower: Node) -> list[AppendEntries]:
    """Let a node be elected, and bring its first entry to one follower; return where the others go."""
    held: list[AppendEntries] = []

    def lets_through(message: Message) -> bool:
        if isinstance(message, RequestVote):
            return message.sender == leader.node_id
        if not isinstance(message, AppendEntries):
            return True
        if message.to == follower.node_id and message.entries[-1].kind is COMMAND:
            held.append(message)
            return False
        return message.to == follower.node_id

    stage.network.lets_through = lets_through
    stage.run_ms(ELECTION_TIMEOUT_MS + 50)
    index = follower.log.last_index + 1
    stage.let_time_out(leader)
    stage.wait_until(lambda: stage.leader() is leader, "it is elected", within_ms=100)
    stage.wait_until(lambda: _has_entry(follower, index), "the follower has its entry", within_ms=100)
    return held


def append_begins_before_the_log(stage: Stage) -> None:
    """An AppendEntries arrives again whose place the follower has dropped; behind it stands what matters."""
    leader = stage.elect()
    follower, third = stage.others(leader)
    copies: list[AppendEntries] = []

    def keep_copies(message: Message) -> bool:
        if isinstance(message, AppendEntries) and message.to == follower.node_id:
            copies.append(message)
        return True

    stage.network.lets_through = keep_copies
    _write_many(stage, leader, 3)
    stage.run_ms(20)
    stage.drop_log(follower)
    third.crash()
    stage.network.lets_through = lambda message: not isinstance(message, Heartbeat)
    stage.write(leader)
    follower.receive(copies[0])
    stage.run_ms(5)
    stage.network.lets_through = lambda _: True
    third.start()
    require_recovery(stage)


def snapshot_meets_unapplied_entries(stage: Stage) -> None:
    """A follower's state machine stands still while entries are committed, and gets a snapshot then."""
    leader = stage.elect()
    follower, third = stage.others(leader)
    stage.write(leader)
    stage.run_ms(20)
    assert follower.process is not None, "the follower runs"
    follower.process.is_apply_stalled = True
    stage.write(leader)
    stage.run_ms(20)
    stage.separate([follower], [leader, third])
    _write_many(stage, leader, 5)
    stage.run_ms(20)
    for node in (leader, third):
        stage.drop_log(node)
    stage.network.heal()
    count = stage.tally.snapshots
    stage.wait_until(lambda: stage.tally.snapshots > count, "a snapshot is installed")
    follower.process.is_apply_stalled = False
    stage.run_ms(50)
    require_recovery(stage)


def crash_with_the_term_synced(stage: Stage) -> None:
    """The follower crashes once the term of a snapshot is synced, and installs it later."""
    _crash_at(stage, StopPoint.TERM_SYNCED)


def crash_with_the_state_installed(stage: Stage) -> None:
    """The follower crashes with the snapshot installed; its log begins anew at the next start."""
    _crash_at(stage, StopPoint.INSTALLED)


def _crash_at(stage: Stage, point: StopPoint) -> None:
    leader = stage.elect()
    follower = _fall_behind(stage, leader)
    third = stage.others(leader, follower)[0]
    stage.run_ms(2 * ELECTION_TIMEOUT_MS)
    # A later term's entries are in the snapshot; the follower hears of that term right before it.
    leader.crash()
    stage.network.heal()
    stage.separate([follower], [third])
    leader.start()
    stage.wait_until(stage.is_served, "somebody leads", within_ms=10_000)
    new_leader = stage.leader()
    assert new_leader is not None, "a served stage has a leader"
    _write_many(stage, new_leader, 2)
    stage.run_ms(20)
    for node in (leader, third):
        stage.drop_log(node)
    follower.fsync_slowness = 10_000
    follower.at_stop_point(point, lambda: follower.crash(kept_count=0))
    stage.network.heal()
    stage.wait_until(lambda: follower.process is None, "it crashes", within_ms=10_000)
    follower.fsync_slowness = 1
    follower.start()
    stage.run_ms(5)
    require_recovery(stage)


def member_leaves_before_the_snapshot(stage: Stage) -> None:
    """What a follower's log says of the members is outdated by the snapshot that takes the log's place."""
    leader = stage.elect()
    follower, third = stage.others(leader)
    stage.write(leader)
    stage.separate([follower], [leader, third])
    learner = stage.add_learner(leader)
    stage.wait_until(lambda: _is_caught_up(stage, learner), "a learner is taken in")
    stage.change(leader, RemoveMember(learner.node_id))
    stage.run_ms(20)
    _write_many(stage, leader, 5)
    for node in (leader, third):
        stage.drop_log(node)
    stage.network.heal()
    _require_snapshot(stage, follower)
    follower.crash()
    follower.start()
    stage.run_ms(20)


def log_is_dropped_before_a_crash(stage: Stage) -> None:
    """What was flushed is dropped from the log, and what was not flushed comes back from it."""
    leader = stage.elect()
    follower = stage.others(leader)[0]
    stage.write(leader)
    stage.run_ms(20)
    stage.drop_log(follower)
    _write_many(stage, leader, 5)
    stage.run_ms(20)
    stage.drop_log_unflushed(follower)
    for _ in range(5):
        follower.crash()
        follower.start()
        stage.run_ms(5)
    require_recovery(stage)
