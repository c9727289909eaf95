"""Reads that wait for a read index: every reader is told once, whatever gets lost."""

from __future__ import annotations

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


def test_readers_of_one_turn_share_a_request() -> None:
    """thesis §6.4: one round for all reads that came before it."""
    node = lonely_leader()
    queue = ReadQueue(node.core, retry_ns=RETRY_NS)
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
    queue = ReadQueue(node.core, retry_ns=RETRY_NS)
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
    queue = ReadQueue(node.core, retry_ns=RETRY_NS)
    reader = Reader()
    queue.join(reader)
    queue.ask(node.now_ns)
    assert reader.told == ["refused"]


def test_a_refusal_reaches_the_readers_of_its_request_alone() -> None:
    """ReadState with index 0."""
    node = lonely_leader()
    queue = ReadQueue(node.core, retry_ns=RETRY_NS)
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
    queue = ReadQueue(node.core, retry_ns=RETRY_NS)
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
    queue = ReadQueue(node.core, retry_ns=RETRY_NS)
    reader = Reader()
    queue.join_at(3, reader)
    queue.release(2)
    assert reader.told == []
    queue.release(3)
    assert reader.told == ["confirmed"]


def test_a_reader_that_joins_while_others_are_released_is_kept() -> None:
    """Who is confirmed may read on at once, and wait again."""
    node = lonely_leader()
    queue = ReadQueue(node.core, retry_ns=RETRY_NS)
    again = Reader()

    class Eager(Reader):
        def on_read_confirmed(self) -> None:
            super().on_read_confirmed()
            queue.join_at(4, again)

    queue.join_at(3, Eager())
    queue.release(3)
    queue.release(4)
    assert again.told == ["confirmed"]
