"""Scenarios in which an old leader still answers while a new one may write.

The pattern: the leader's lease hangs on one follower, the voter. The third node, the rival, hears nothing
from the leader. Something makes the voter forget its promise; rival and voter form a majority and write,
and the old leader is read.
"""

from __future__ import annotations

from raftkv.raft.types import EMPTY, AppendEntries, Heartbeat, HeartbeatReply, Message, TimeoutNow
from tests.simulator.clock import MILLISECOND
from tests.simulator.node import Node
from tests.simulator.operations import INDEX_READ, LEASE_READ, WRITE
from tests.simulator.process import StopPoint, Transfer
from tests.simulator.profile import Profile
from tests.simulator.stage import ELECTION_TIMEOUT_MS, LEASE_MS_MAX, Stage


def drifting_profile() -> Profile:
    """Clocks may differ by so much that a scenario need not hit a window of milliseconds."""
    return Profile(clock_drift_percent=40, has_drift=True)


def _stand_between(stage: Stage) -> tuple[Node, Node, Node]:
    """Let a leader serve whom the rival no longer hears, the voter still does; the rival is past waiting."""
    leader = stage.elect()
    stage.write(leader)
    voter, rival = stage.others(leader)
    stage.separate([leader], [rival])
    stage.run_ms(ELECTION_TIMEOUT_MS + 100)
    return leader, voter, rival


def _read_at_the_deposed(stage: Stage, leader: Node, rival: Node) -> None:
    """Cut the leader off, let the rival lead and write if it can, read at the old leader."""
    stage.separate([leader], stage.others(leader))
    stage.let_lead(rival)
    stage.ask(rival, WRITE)
    stage.run_ms(5)
    stage.read(leader)


def voter_restarts(stage: Stage) -> None:
    """The voter crashes right after acknowledging a round, and is asked for its vote at once."""
    leader, voter, rival = _stand_between(stage)
    voter.crash()
    voter.start()
    _read_at_the_deposed(stage, leader, rival)


def voter_is_asked_while_the_leader_lives(stage: Stage) -> None:
    """The voter is asked for its vote right after acknowledging a round."""
    leader, _, rival = _stand_between(stage)
    _read_at_the_deposed(stage, leader, rival)


def pristine_voter_restarts(stage: Stage) -> None:
    """The voter answered the first leader's heartbeats, and crashed before it had synced anything.

    1. The voter misses the election and every AppendEntries, and its disk is slow. 2. It answers
    heartbeats of term 1. 3. The rival, which has all entries, is cut off and waits. 4. The voter crashes:
    term 0, empty log, as if it never took part in anything. 5. The rival asks it for its vote.
    """
    voter = stage.nodes[-1]
    voter.fsync_slowness = 10_000
    stage.network.lets_through = lambda message: (
        isinstance(message, Heartbeat | HeartbeatReply) or voter.node_id not in (message.sender, message.to)
    )
    assert stage.run_until(stage.is_served, within_ms=5_000), "two of three elect a leader"
    leader = stage.leader()
    assert leader is not None, "a served stage has a leader"
    rival = stage.others(leader, voter)[0]
    stage.separate([leader], [rival])
    stage.run_ms(ELECTION_TIMEOUT_MS + 100)
    voter.crash(kept_count=0)
    voter.fsync_slowness = 1
    voter.start()
    stage.network.lets_through = lambda _: True
    _read_at_the_deposed(stage, leader, rival)


def slow_answer(stage: Stage) -> None:
    """The answer to the last round before the leader is cut off takes most of an election timeout.

    A lease counted from the answer's arrival runs that much too long.
    """
    leader = stage.elect()
    stage.write(leader)
    voter, rival = stage.others(leader)
    stage.separate([leader], [rival])
    stage.run_ms(20)  # what is committed is passed on: the next heartbeat is a new round's
    answers: list[Message] = []

    def hold_answers(message: Message) -> bool:
        if isinstance(message, HeartbeatReply):
            answers.append(message)
        return not isinstance(message, HeartbeatReply)

    stage.network.lets_through = hold_answers
    stage.run_until(lambda: bool(answers), within_ms=300)
    stage.separate([leader], [voter])
    answer = answers[0]
    stage.timeline.after(350 * MILLISECOND, lambda: leader.receive(answer))
    stage.run_ms(ELECTION_TIMEOUT_MS + 20)
    stage.let_lead(rival)
    stage.write(rival)
    stage.read(leader)


def drifting_clocks(stage: Stage) -> None:
    """The leader's clock runs as slow as is allowed, the others' as fast."""
    leader = stage.elect()
    voter, rival = stage.others(leader)
    drift_ppm_max = stage.profile.drift_ppm_max
    leader.clock.set_drift(-drift_ppm_max)
    voter.clock.set_drift(drift_ppm_max)
    rival.clock.set_drift(drift_ppm_max)
    stage.write(leader)
    stage.run_ms(300)
    stage.separate([leader], [voter, rival])
    stage.run_ms(ELECTION_TIMEOUT_MS * 85 // 100)  # all of a timeout and more on the fast clocks
    stage.let_lead(rival)
    stage.ask(rival, WRITE)
    stage.run_ms(5)
    stage.read(leader)


def transfer_succeeds_unseen(stage: Stage) -> None:
    """The leader hands over and hears nothing of it: its followers don't wait for its lease to end."""
    leader = stage.elect()
    stage.write(leader)
    target, _ = stage.others(leader)
    has_handed_over: list[Message] = []

    def let_through(message: Message) -> bool:
        if isinstance(message, TimeoutNow):
            has_handed_over.append(message)
        return not (has_handed_over and message.to == leader.node_id)

    stage.network.lets_through = let_through
    leader.receive(Transfer(target.node_id))
    stage.run_until(lambda: target.core is not None and target.core.is_serving, within_ms=100)
    stage.write(target)
    stage.read(leader)


def request_arrives_in_a_pause(stage: Stage) -> None:
    """The leader is stopped after it sampled the clock, deposed, and asked for a read meanwhile."""
    leader = stage.elect()
    stage.write(leader)
    rival = stage.others(leader)[0]
    leader.at_stop_point(StopPoint.CLOCK_SAMPLED, lambda: leader.pause(2_000 * MILLISECOND))
    stage.run_until(lambda: leader.is_paused, within_ms=50)
    stage.separate([leader], stage.others(leader))
    stage.run_ms(ELECTION_TIMEOUT_MS + 20)
    stage.let_lead(rival)
    stage.write(rival)
    stage.read(leader)
    stage.run_ms(2_000)


def heartbeat_arrives_in_a_pause(stage: Stage) -> None:
    """The voter is stopped after it sampled the clock; a heartbeat comes in while it stands still.

    Sampled first, heard afterwards: the voter must not believe that it heard the leader before it was
    stopped, or its promise ends too soon.
    """
    leader = stage.elect()
    stage.write(leader)
    voter, rival = stage.others(leader)
    stage.separate([leader], [rival])
    stage.run_ms(200)
    voter.at_stop_point(StopPoint.CLOCK_SAMPLED, lambda: voter.pause(350 * MILLISECOND))
    stage.run_until(lambda: voter.is_paused, within_ms=50)
    stage.run_ms(370)
    stage.separate([leader], [voter])
    stage.run_ms(ELECTION_TIMEOUT_MS + 10 - 370)
    _read_at_the_deposed(stage, leader, rival)


def leader_is_behind_its_followers(stage: Stage) -> None:
    """Followers commit, apply and show what the leader's own disk doesn't have yet."""
    leader = stage.elect()
    stage.write(leader)
    follower = stage.others(leader)[0]
    leader.fsync_slowness = 1_000
    stage.ask(leader, WRITE)
    stage.run_until(lambda: follower.state.applied.index > leader.state.applied.index, within_ms=200)
    stage.read(follower, INDEX_READ)
    stage.read(leader, LEASE_READ)


def new_leader_is_read_at_once(stage: Stage) -> None:
    """A new leader doesn't know yet what the old one committed and acknowledged.

    Its own first entry reaches nobody, so it can't learn it either.
    """
    leader = stage.elect()
    rival = stage.others(leader)[0]
    stage.network.lets_through = lambda message: not isinstance(message, Heartbeat)
    stage.write(leader)
    stage.separate([leader], stage.others(leader))
    stage.run_ms(LEASE_MS_MAX)
    stage.network.lets_through = lambda message: not _begins_a_term(message)
    stage.let_time_out(rival)
    assert stage.run_until(lambda: stage.leader() is rival, within_ms=200), "the rival is elected"
    stage.read(rival)
    stage.run_ms(ELECTION_TIMEOUT_MS // 2)  # its heartbeats are answered: it has a lease
    stage.read(rival)


def _begins_a_term(message: Message) -> bool:
    return isinstance(message, AppendEntries) and message.entries[-1].kind is EMPTY
