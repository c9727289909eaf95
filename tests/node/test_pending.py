"""Batches on their way into the log: who is told what, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from raftkv.commands import build_table
from raftkv.commands.table import Sliced
from raftkv.node.entry_size import COMMANDS_MAX, EntrySize
from raftkv.node.pending import Gatherer, OwnBatches, Pending, PendingBatch, WaitingRead
from raftkv.raft import EntryId
from raftkv.resp.replies import OK, Reply

GET = build_table().resolve([b"get", b"a"])


class Sink:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.on_told: Callable[[], object] = lambda: None

    def settle(self, first_slot: int, replies: Sequence[Reply]) -> None:
        self.on_told()
        self.told += enumerate(replies, first_slot)

    def settle_read(self, slot: int, reply: Reply | Sliced) -> None:
        self.told.append((slot, reply))

    def refuse(self, first_slot: int, commands: list[list[bytes]]) -> None:
        self.on_told()
        self.told += [(slot, "refused", args[0]) for slot, args in enumerate(commands, first_slot)]

    def lose_track(self, first_slot: int, count: int) -> None:
        self.on_told()
        self.told += [(slot, "unknown") for slot in range(first_slot, first_slot + count)]


def gatherer_of(batch_bytes_max: int) -> Gatherer:
    return Gatherer(batch_bytes_max, EntrySize(), deadline_ns=lambda: 100)


def add(
    gatherer: Gatherer, sink: Sink, first_slot: int, *names: bytes, db: int = 0, size_bytes: int = 10
) -> PendingBatch:
    commands = [[name] for name in names]
    return gatherer.add(sink, first_slot, db=db, commands=commands, size_bytes=size_bytes)


def place(batch: PendingBatch, sink: Sink, slot: int) -> WaitingRead:
    read = WaitingRead(sink, slot, 0, GET, [b"get", b"a"], 100, batch.count)
    batch.placed_reads.append(read)
    return read


def test_each_waiter_gets_its_own_replies() -> None:
    """PendingBatch.settle"""
    gatherer = gatherer_of(1000)
    one, other = Sink(), Sink()
    add(gatherer, one, 5, b"a", b"b")
    add(gatherer, other, 0, b"c")
    batch = add(gatherer, one, 7, b"d")
    batch.settle([OK, 1, 2, 3])
    assert one.told == [(5, OK), (6, 1), (7, 3)]
    assert other.told == [(0, 2)]
    assert batch.is_settled


def test_who_sent_in_pieces_is_told_once() -> None:
    """PendingBatch.add: a long pipeline comes in pieces of 64; each telling costs a system call."""
    gatherer = gatherer_of(1000)
    one, other = Sink(), Sink()
    add(gatherer, one, 0, b"a")
    add(gatherer, one, 1, b"b", b"c", db=1)
    add(gatherer, other, 7, b"d")
    batch = add(gatherer, one, 4, b"e")  # slot 3 is a read's
    assert [(first_slot, count) for _, first_slot, count in batch.waiters] == [(0, 3), (7, 1), (4, 1)]
    batch.settle([OK, 1, 2, 3, 4])
    assert one.told == [(0, OK), (1, 1), (2, 2), (4, 4)]
    assert other.told == [(7, 3)]


def test_a_refused_batch_names_each_waiters_own_commands() -> None:
    """PendingBatch.refuse: also when they are of several databases; the reads behind them go too."""
    gatherer = gatherer_of(1000)
    one, other = Sink(), Sink()
    add(gatherer, one, 0, b"a")
    add(gatherer, other, 0, b"b", b"c", db=1)
    batch = add(gatherer, one, 1, b"d")
    place(batch, one, 2)
    batch.refuse()
    assert one.told == [(0, "refused", b"a"), (1, "refused", b"d"), (2, "refused", b"get")]
    assert other.told == [(0, "refused", b"b"), (1, "refused", b"c")]
    assert [run.db for run in batch.runs] == [0, 1, 0]


def test_nobody_knows_of_a_lost_batch_but_its_reads_are_refused() -> None:
    """PendingBatch.lose_track: a read changes nothing, so its error is definite."""
    gatherer = gatherer_of(1000)
    sink = Sink()
    batch = add(gatherer, sink, 3, b"a", b"b")
    place(batch, sink, 5)
    batch.lose_track()
    assert sink.told == [(3, "unknown"), (4, "unknown"), (5, "refused", b"get")]


def test_a_batch_counts_as_settled_before_anybody_hears() -> None:
    """A client that is told all that it waited for goes on at once, and must not place reads behind it."""
    seen: list[bool] = []
    for end in ("settle", "lose_track", "refuse"):
        sink = Sink()
        batch = add(gatherer_of(1000), sink, 0, b"a")
        sink.on_told = partial(lambda batch: seen.append(batch.is_settled), batch)
        getattr(batch, end)(*([[OK]] if end == "settle" else []))
    assert seen == [True, True, True]


def test_a_batch_is_settled_once() -> None:
    """Never both replies and -UNKNOWN."""
    batch = add(gatherer_of(1000), Sink(), 0, b"a")
    batch.lose_track()
    with pytest.raises(AssertionError, match="settled once"):
        batch.settle([OK])


def test_a_read_is_answered_or_refused_once() -> None:
    """WaitingRead: one that was refused while its rows could not be stored stays refused."""
    sink = Sink()
    read = place(add(gatherer_of(1000), sink, 0, b"a"), sink, 1)
    read.refuse()
    read.settle(b"1")
    read.refuse()
    assert sink.told == [(1, "refused", b"get")]


def test_a_full_batch_is_closed() -> None:
    """batch_bytes_max: batches come out in the order in which they were begun; a large one is alone."""
    gatherer = gatherer_of(100)
    sink = Sink()
    first = add(gatherer, sink, 0, b"a", size_bytes=60)
    assert add(gatherer, sink, 1, b"b", size_bytes=40) is first
    second = add(gatherer, sink, 2, b"c", size_bytes=500)
    third = add(gatherer, sink, 3, b"d", size_bytes=1)
    assert (len(gatherer), gatherer.size_bytes) == (3, 601)
    assert [gatherer.pop() for _ in range(3)] == [first, second, third]
    assert (len(gatherer), gatherer.size_bytes) == (0, 0)


def test_a_batch_of_many_commands_is_closed() -> None:
    """An entry is applied in one piece, so it must not hold too many commands, however small they are."""
    gatherer = gatherer_of(1 << 20)
    names = [b"a"] * (COMMANDS_MAX - 1)
    first = add(gatherer, Sink(), 0, *names)
    assert add(gatherer, Sink(), 0, b"a") is first
    assert add(gatherer, Sink(), 0, b"a") is not first
    assert [gatherer.pop().count for _ in range(2)] == [COMMANDS_MAX, 1]


def test_overdue_batches_are_taken_out() -> None:
    """Gatherer and Pending: at the deadline, not before."""
    gatherer = gatherer_of(100)
    batch = add(gatherer, Sink(), 0, b"a")
    assert list(gatherer.pop_overdue(99)) == []
    assert list(gatherer.pop_overdue(100)) == [batch]
    assert len(gatherer) == 0
    pending = Pending()
    batch.entry_id = EntryId(1, 7)
    pending.add(batch)
    assert list(pending.pop_overdue(99)) == []
    assert list(pending.pop_overdue(100)) == [batch]
    assert len(pending) == 0


def test_several_batches_may_wait_for_one_index() -> None:
    """Pending: one that was cut from the log may yet be committed; what is applied at the index tells."""
    gatherer, pending = gatherer_of(1), Pending()
    batches = [add(gatherer, Sink(), 0, b"a") for _ in range(3)]
    for batch, entry_id in zip(batches, (EntryId(1, 5), EntryId(3, 5), EntryId(3, 6)), strict=True):
        batch.entry_id = entry_id
        pending.add(batch)
    batches[0].deadline_ns = 50
    assert list(pending.pop_overdue(60)) == [batches[0]]
    assert pending.pop(5) == [batches[1]]
    assert pending.pop(5) == []
    assert len(pending) == 1


def test_the_newest_batch_that_is_not_settled_is_known() -> None:
    """OwnBatches: whichever of a client's batches is settled first."""
    gatherer, own = gatherer_of(1), OwnBatches()
    batches = [add(gatherer, Sink(), 0, b"a") for _ in range(3)]
    for batch in (batches[0], batches[0], *batches):
        own.add(batch)
    assert own.newest_unsettled() is batches[2]
    batches[2].refuse()
    assert own.newest_unsettled() is batches[1]
    assert own.settled_index() == 0
    batches[0].entry_id = EntryId(1, 8)
    batches[1].entry_id = EntryId(1, 9)
    batches[1].settle([OK])
    batches[0].settle([OK])
    assert own.newest_unsettled() is None
    assert own.settled_index() == 9


def test_settled_batches_are_forgotten_while_others_follow() -> None:
    """OwnBatches: a client that always has a write under way holds no more than that."""
    gatherer, own = gatherer_of(1), OwnBatches()
    for index in range(1, 100):
        batch = add(gatherer, Sink(), 0, b"a")
        batch.entry_id = EntryId(1, index)
        own.add(batch)
        batch.settle([OK])
    assert len(own._batches) == 1
    assert own.settled_index() == 99
