"""Writes on their way from a follower to the leader and back (`raftkv.node.forwarding`, `Gatherer`)."""

from __future__ import annotations

import pytest

from raftkv.machine import Batch, CorruptEntry, Origin, Run, decode_batch, encode_batch
from raftkv.node.entry_size import EntrySize
from raftkv.node.forwarding import ForwardInbox, ForwardOutbox, Settled
from raftkv.node.pending import Gatherer, PendingBatch
from raftkv.raft import Forward
from raftkv.resp.replies import OK, Reply

LIFE = 77


def batch_of(*names: bytes, deadline_ns: int = 1000) -> PendingBatch:
    """A batch of commands that nobody waits for."""
    return PendingBatch(deadline_ns=deadline_ns, runs=[Run(0, [[name] for name in names])], count=len(names))


def forward(outbox: ForwardOutbox, batch: PendingBatch, term: int = 5) -> Forward:
    return outbox.forward(batch, term=term, to=1, now_ns=0)


def applied(outbox: ForwardOutbox, *forwards: Forward, term: int = 5) -> list[Settled]:
    """Let one entry with these forwards be applied; each command's reply is its name."""
    runs = [run for each in forwards for run in decode_batch(each.payload).runs]
    replies: list[Reply] = [command[0] for run in runs for command in run.commands]
    return outbox.on_applied(term, runs, replies, 0)


# -- the origin ---------------------------------------------------------------------------


def test_a_batch_is_settled_by_the_entry_that_holds_it() -> None:
    """DESIGN.md: the origin builds the reply at its own apply."""
    outbox = ForwardOutbox(2, LIFE)
    one, two = batch_of(b"a", b"b"), batch_of(b"c")
    first, second = forward(outbox, one), forward(outbox, two)
    assert decode_batch(first.payload).runs == [Run(0, [[b"a"], [b"b"]], Origin(2, LIFE, 1))]
    assert (second.term, second.sender, second.to, second.life, second.number) == (5, 2, 1, LIFE, 2)
    assert outbox.size_bytes == len(first.payload) + len(second.payload)
    assert applied(outbox, first, second) == [Settled(one, [b"a", b"b"]), Settled(two, [b"c"])]
    assert (len(outbox), outbox.size_bytes) == (0, 0)
    assert applied(outbox, first) == [], "once"


def test_replies_of_others_between_the_own_are_not_taken() -> None:
    """An entry holds the leader's own commands first, then those of all origins."""
    outbox = ForwardOutbox(2, LIFE)
    batch = PendingBatch(
        deadline_ns=1000, runs=[Run(0, [[b"a"]]), Run(3, [[b"b"], [b"c"]]), Run(0, [[b"d"]])], count=4
    )
    own = decode_batch(forward(outbox, batch).payload).runs
    other = [Run(0, [[b"x"], [b"y"]]), Run(0, [[b"z"]], Origin(3, LIFE, 1))]
    earlier_life = [Run(0, [[b"z"]], Origin(2, LIFE + 1, 1))]
    replies: list[Reply] = [b"x", b"y", b"z", b"a", b"b", b"c", b"d", b"z"]
    assert outbox.on_applied(5, [*other, *own, *earlier_life], replies, 0) == [
        Settled(batch, [b"a", b"b", b"c", b"d"])
    ]


def test_a_batch_that_a_later_one_overtook_was_dropped() -> None:
    """They stand in the log in the order of their numbers."""
    outbox = ForwardOutbox(2, LIFE)
    one, two = batch_of(b"a"), batch_of(b"b")
    forward(outbox, one)
    assert applied(outbox, forward(outbox, two)) == [Settled(one, None), Settled(two, [b"b"])]


def test_an_entry_of_a_later_term_means_that_open_batches_were_not_done() -> None:
    """Terms never fall along the log; what was passed on in a term can only be in entries of that term."""
    outbox = ForwardOutbox(2, LIFE)
    one, two = batch_of(b"a"), batch_of(b"b")
    forward(outbox, one)
    second = forward(outbox, two)
    assert outbox.on_term(5) == []
    assert not outbox.may_forward(6), "until it is known what became of the older ones"
    assert outbox.on_term(6) == [one, two]
    assert outbox.may_forward(6)
    again = forward(outbox, one, term=6)
    assert again.number == 1
    assert applied(outbox, second) == [], "an entry of the old term tells nothing of the new numbers"
    assert applied(outbox, again, term=6) == [Settled(one, [b"a"])]


def test_open_batches_are_sent_again_when_nothing_was_heard_of_them() -> None:
    """A message may be lost, and the leader may have had no room."""
    outbox = ForwardOutbox(2, LIFE)
    first = forward(outbox, batch_of(b"a"))
    second = outbox.forward(batch_of(b"b"), term=5, to=1, now_ns=150_000_000)
    assert outbox.repeat(term=5, to=1, now_ns=199_999_999) == []
    assert outbox.repeat(term=6, to=3, now_ns=200_000_000) == [], "not to another leader"
    assert outbox.repeat(term=5, to=1, now_ns=200_000_000) == [first, second]
    assert outbox.repeat(term=5, to=1, now_ns=200_000_001) == []
    applied(outbox, first)
    outbox.on_applied(5, [], [], 300_000_000)
    assert outbox.repeat(term=5, to=1, now_ns=400_000_000) == [second]


def test_a_repetition_is_bounded() -> None:
    """About a megabyte, but one batch at least."""
    outbox = ForwardOutbox(2, LIFE)
    forwards = [forward(outbox, batch_of(bytes(600_000))) for _ in range(4)]
    assert outbox.repeat(term=5, to=1, now_ns=1_000_000_000) == forwards[:1]


def test_an_overdue_batch_keeps_its_place() -> None:
    """Its clients are told that nobody knows, once; the log may still tell of it."""
    outbox = ForwardOutbox(2, LIFE)
    batch = batch_of(b"a", deadline_ns=100)
    first = forward(outbox, batch)
    assert outbox.overdue(99) == []
    assert outbox.overdue(100) == [batch]
    batch.lose_track()
    assert outbox.overdue(100) == []
    assert applied(outbox, first) == [Settled(batch, [b"a"])]


# -- the leader ---------------------------------------------------------------------------


def message(number: int, *, life: int = LIFE, term: int = 5, sender: int = 2) -> Forward:
    origin = Origin(sender, life, number)
    return Forward(term, sender, 1, life, number, encode_batch(Batch(0, [Run(0, [[b"x"]], origin)])))


def test_a_leader_takes_each_batch_once_and_in_order() -> None:
    """Copies and what comes after a gap are left; the origin sends again what is missing."""
    inbox = ForwardInbox()
    taken = [number for number in (2, 1, 1, 3, 2, 2, 4, 3, 1) if inbox.take(message(number)) is not None]
    assert taken == [1, 2, 3]


def test_every_origin_life_and_term_is_counted_apart() -> None:
    """What an ended life sent may come after the new one's first."""
    inbox = ForwardInbox()
    for life, sender in ((LIFE, 2), (LIFE, 3), (LIFE + 1, 2)):
        assert inbox.take(message(1, life=life, sender=sender)) is not None
    for life, sender in ((LIFE, 2), (LIFE, 3), (LIFE + 1, 2)):
        assert inbox.take(message(1, life=life, sender=sender)) is None
    assert inbox.take(message(1, term=6)) is not None


def test_garbage_is_not_taken() -> None:
    """Contract: CorruptEntry, and the number is still free."""
    inbox = ForwardInbox()
    with pytest.raises(CorruptEntry):
        inbox.take(Forward(5, 2, 1, LIFE, 1, b"\xc1"))
    assert inbox.take(message(1)) is not None


def test_what_was_passed_on_in_an_earlier_term_is_never_proposed() -> None:
    """Its origin passes it on again: proposed here too, it would be done twice."""
    gatherer = Gatherer(1000, EntrySize(), deadline_ns=lambda: 100)
    gatherer.add_forwarded(5, [Run(0, [[b"old"]])], size_bytes=10)
    gatherer.add_forwarded(6, [Run(0, [[b"new"]])], size_bytes=10)
    assert gatherer.has_any
    assert [each.runs for each in gatherer.take_forwarded(6, bytes_max=1000, count_max=9)] == [
        [Run(0, [[b"new"]])]
    ]
    assert not gatherer.has_any
    gatherer.add_forwarded(6, [Run(0, [[b"new"]])], size_bytes=10)
    gatherer.drop_forwarded()
    assert (gatherer.has_any, gatherer.size_bytes) == (False, 0)


def test_what_was_passed_on_is_taken_as_far_as_it_fits_and_put_back_in_order() -> None:
    """One at least, so that a large one is not kept for ever."""
    gatherer = Gatherer(1000, EntrySize(), deadline_ns=lambda: 100)
    for number in range(3):
        gatherer.add_forwarded(5, [Run(0, [[b"%d" % number]])], size_bytes=40)
    taken = gatherer.take_forwarded(5, bytes_max=80, count_max=9)
    assert [each.runs[0].commands for each in taken] == [[[b"0"]], [[b"1"]]]
    assert gatherer.size_bytes == 40
    gatherer.put_back_forwarded(taken)
    assert gatherer.size_bytes == 120
    taken = gatherer.take_forwarded(5, bytes_max=200, count_max=2)
    assert [each.runs[0].commands for each in taken] == [[[b"0"]], [[b"1"]]]
    gatherer.put_back_forwarded(taken)
    taken = gatherer.take_forwarded(5, bytes_max=0, count_max=0)
    assert [each.runs[0].commands for each in taken] == [[[b"0"]]]


def test_own_replies_come_before_those_of_other_nodes_commands() -> None:
    """`PendingBatch.settle` hands out the first `count` replies."""
    batch = batch_of(b"a")
    batch.settle([OK, b"another node's"])
    assert batch.is_settled
