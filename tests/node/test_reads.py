"""Reads that wait for a read index: every reader is told once, whatever gets lost."""

from __future__ import annotations

from collections.abc import Sequence

from raftkv.node.reads import ReadQueue
from raftkv.raft import ReadState
from tests.raft.nodes import NS_PER_MS, Node

RETRY_NS = 200 * NS_PER_MS


class Reader:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_read_confirmed(self) -> None:
        self.told.append("confirmed")

    def on_read_refused(self) -> None:
        self.told.append("refused")


def lonely_leader() -> Node:
    """A core that leads alone and has applied its first entry."""
    node = Node(voters=(1,))
    node.tick_after(1)
    while node.core.has_ready():
        ready = node.take()
        node.persist(ready)
        if ready.committed_entries:
            node.core.applied(ready.committed_entries[-1].index)
    assert node.core.is_serving
    return node


def queue_of(node: Node) -> ReadQueue[Queued]:
    return ReadQueue(node.core, retry_ns=RETRY_NS, look=lambda: (node.now_ns, 77), run=run_each)


class Queued:
    """Writes down when its reads were run, and by which clock."""

    def __init__(self, *, may_follow: bool = False) -> None:
        self.may_follow = may_follow
        self.runs: list[tuple[int, int]] = []


def run_each(readers: Sequence[Queued], now_ns: int, clock_ms: int) -> None:
    for reader in readers:
        reader.runs.append((now_ns, clock_ms))


def test_queued_readers_run_together() -> None:
    """Once, by the time that they are given."""
    queue = queue_of(lonely_leader())
    readers = [Queued(), Queued()]
    for reader in readers:
        queue.queue(reader)
    assert queue.has_queued
    queue.run_queued(5, 6)
    queue.run_queued(7, 8)
    assert [reader.runs for reader in readers] == [[(5, 6)]] * 2
    assert not queue.has_queued


def test_queued_readers_of_a_follower_share_a_read_index() -> None:
    """Those who may not be answered there run at once, without: they are sent to the leader."""
    node = lonely_leader()
    queue = queue_of(node)
    may, may_too, may_not = Queued(may_follow=True), Queued(may_follow=True), Queued()
    for reader in (may, may_not, may_too):
        queue.queue(reader)
    queue.bundle_queued(node.now_ns, 1000)
    assert (may.runs, may_not.runs) == ([], [(node.now_ns, 0)])
    queue.ask(node.now_ns)
    queue.on_read_states(node.take().read_states)
    assert may.runs == []
    queue.release(1)
    queue.release(2)
    assert may.runs == may_too.runs == [(node.now_ns, 77)]


def test_bundled_readers_give_up_in_time_and_are_run_once() -> None:
    """What comes after that finds nobody."""
    node = lonely_leader()
    queue = queue_of(node)
    reader = Queued(may_follow=True)
    queue.queue(reader)
    queue.bundle_queued(node.now_ns, 1000)
    queue.ask(node.now_ns)
    states = node.take().read_states
    queue.ask_again(node.now_ns + 999)
    assert reader.runs == []
    queue.ask_again(node.now_ns + 1000)
    assert reader.runs == [(node.now_ns, 0)]
    queue.on_read_states(states)
    queue.release(1)
    assert len(reader.runs) == 1


def test_readers_of_one_turn_share_a_request() -> None:
    """thesis §6.4: one round for all reads that came before it."""
    node = lonely_leader()
    queue = queue_of(node)
    readers = [Reader() for _ in range(3)]
    for reader in readers:
        queue.join(reader)
    queue.ask(node.now_ns)
    queue.ask(node.now_ns)
    states = node.take().read_states
    assert states == [ReadState(1, 1)]
    queue.on_read_states(states)
    queue.release(0)
    assert [reader.told for reader in readers] == [[], [], []]
    queue.release(1)
    queue.release(2)
    assert [reader.told for reader in readers] == [["confirmed"]] * 3


def test_who_joins_after_the_request_waits_for_the_next() -> None:
    """A request confirms only who joined before it was made."""
    node = lonely_leader()
    queue = queue_of(node)
    early, late = Reader(), Reader()
    queue.join(early)
    queue.ask(node.now_ns)
    queue.join(late)
    queue.on_read_states(node.take().read_states)
    queue.release(1)
    assert (early.told, late.told) == (["confirmed"], [])


def test_without_a_leader_readers_are_refused_at_once() -> None:
    """RaftCore.read_index raises NotLeader."""
    node = Node()
    queue = queue_of(node)
    reader = Reader()
    queue.join(reader)
    queue.ask(node.now_ns)
    assert reader.told == ["refused"]


def test_a_refusal_reaches_the_readers_of_its_request_alone() -> None:
    """ReadState with index 0."""
    node = lonely_leader()
    queue = queue_of(node)
    refused, other = Reader(), Reader()
    queue.join(refused)
    queue.ask(node.now_ns)
    queue.join(other)
    queue.ask(node.now_ns)
    queue.on_read_states([ReadState(1, 0)])
    queue.on_read_states([ReadState(2, 5)])
    queue.release(5)
    assert (refused.told, other.told) == (["refused"], ["confirmed"])


def test_what_is_not_answered_is_asked_again_and_the_late_answer_is_dropped() -> None:
    """Requests and answers get lost; the answer to one that was given up tells nobody twice."""
    node = lonely_leader()
    queue = queue_of(node)
    reader = Reader()
    queue.join(reader)
    queue.ask(node.now_ns)
    lost = node.take().read_states
    queue.ask_again(node.now_ns + RETRY_NS - 1)
    queue.ask(node.now_ns)
    assert not node.core.has_ready()
    queue.ask_again(node.now_ns + RETRY_NS)
    queue.ask(node.now_ns)
    queue.on_read_states(lost)
    queue.release(1)
    assert reader.told == []
    queue.on_read_states(node.take().read_states)
    queue.release(1)
    assert reader.told == ["confirmed"]


def test_a_reader_may_wait_for_an_index_alone() -> None:
    """join_at: under the lease no request is needed."""
    node = lonely_leader()
    queue = queue_of(node)
    reader = Reader()
    queue.join_at(3, reader)
    queue.release(2)
    assert reader.told == []
    queue.release(3)
    assert reader.told == ["confirmed"]


def test_a_reader_that_joins_while_others_are_released_is_kept() -> None:
    """Who is confirmed may read on at once, and wait again."""
    node = lonely_leader()
    queue = queue_of(node)
    again = Reader()

    class Eager(Reader):
        def on_read_confirmed(self) -> None:
            super().on_read_confirmed()
            queue.join_at(4, again)

    queue.join_at(3, Eager())
    queue.release(3)
    queue.release(4)
    assert again.told == ["confirmed"]
