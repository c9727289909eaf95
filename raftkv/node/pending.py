"""Write commands on their way into the log, and who waits for their replies.

A `PendingBatch` gathers what clients sent until it is proposed as one entry. From then on its
fate is the log's to tell (`Pending`): the same (index, term) applied gives the replies, another
term at that index means that it was not done, and the deadline leaves only "unknown". A change
of leader by itself settles nothing.

Knows nothing of connections (they are `ReplySink`s) nor of Raft beyond entry ids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from raftkv.commands.table import CommandSpec, Sliced
from raftkv.machine import Batch, Run
from raftkv.node.entry_size import EntrySize
from raftkv.raft import EntryId
from raftkv.resp.replies import Reply


class ReplySink(Protocol):
    """Where replies go: one client connection. Every call is harmless after it closed."""

    def settle(self, first_slot: int, replies: Sequence[Reply]) -> None:
        """Take the replies of the slots from `first_slot` on."""

    def settle_read(self, slot: int, reply: Reply | Sliced) -> None:
        """Take the reply of one slot, which may have to be made in slices."""

    def refuse(self, first_slot: int, commands: list[list[bytes]]) -> None:
        """Nothing of `commands` was done nor ever will be: answer each with a definite error."""

    def lose_track(self, first_slot: int, count: int) -> None:
        """The commands may or may not take effect: answer each with -UNKNOWN."""


#: Consecutive commands of a batch that one client waits for: who, their first slot there, and how many.
#: A tuple, for one is made per chunk of requests: that takes a sixth of the time of an object of its own.
Waiter = tuple[ReplySink, int, int]


@dataclass(slots=True)
class WaitingRead:
    """A READ command that runs at a place in the log, between two writes of its connection."""

    sink: ReplySink
    slot: int
    db: int
    spec: CommandSpec
    args: list[bytes]
    deadline_ns: int
    #: How many commands of its batch come before it.
    after: int
    #: It was answered or refused.
    is_settled: bool = False

    def settle(self, reply: Reply | Sliced) -> None:
        """Answer, unless it was refused meanwhile."""
        if not self.is_settled:
            self.is_settled = True
            self.sink.settle_read(self.slot, reply)

    def refuse(self) -> None:
        """Answer with a definite error, unless it was answered."""
        if not self.is_settled:
            self.is_settled = True
            self.sink.refuse(self.slot, [self.args])


@dataclass(slots=True, eq=False)
class PendingBatch:
    """Commands that become, or have become, one entry of the log."""

    deadline_ns: int
    runs: list[Run] = field(default_factory=list)
    #: In the order of their commands.
    waiters: list[Waiter] = field(default_factory=list)
    #: Invariant: ascending by `after`.
    placed_reads: list[WaitingRead] = field(default_factory=list)
    count: int = 0
    size_bytes: int = 0
    #: None until proposed.
    entry_id: EntryId | None = None
    #: The decoded entry, once proposed.
    batch: Batch | None = None
    #: Other nodes whose clients wait for some of its commands.
    origins: frozenset[int] = frozenset()
    #: Replies, refusals or -UNKNOWN have gone out, or are on their way out.
    is_settled: bool = False

    def add(self, sink: ReplySink, first_slot: int, db: int, commands: list[list[bytes]]) -> None:
        """Append one client's consecutive commands."""
        if self.runs and self.runs[-1].db == db:
            self.runs[-1].commands.extend(commands)
        else:
            self.runs.append(Run(db, list(commands)))
        self.count += len(commands)
        waiters = self.waiters
        if waiters:
            last_sink, last_slot, last_count = waiters[-1]
            if last_sink is sink and last_slot + last_count == first_slot:
                waiters[-1] = (sink, last_slot, last_count + len(commands))  # so it is told, and sends, once
                return
        waiters.append((sink, first_slot, len(commands)))

    def settle(self, replies: list[Reply]) -> None:
        """Hand out the replies of all commands, in order; those of other nodes' commands come behind them."""
        assert len(replies) >= self.count, f"{len(replies)} replies for {self.count} commands"
        self._begin_to_settle()
        first = 0
        for sink, first_slot, count in self.waiters:
            end = first + count
            sink.settle(first_slot, replies[first:end])
            first = end

    def refuse(self) -> None:
        """Tell every waiter that nothing was done, nor ever will be."""
        self._begin_to_settle()
        commands = [command for run in self.runs for command in run.commands]
        first = 0
        for sink, first_slot, count in self.waiters:
            end = first + count
            sink.refuse(first_slot, commands[first:end])
            first = end
        self.refuse_reads()

    def lose_track(self) -> None:
        """Tell every waiter that nobody knows."""
        self._begin_to_settle()
        for sink, first_slot, count in self.waiters:
            sink.lose_track(first_slot, count)
        self.refuse_reads()

    def refuse_reads(self) -> None:
        """Tell those who wait for a read at a place in this batch that nothing was read."""
        for read in self.placed_reads:
            read.refuse()
        self.placed_reads.clear()

    def _begin_to_settle(self) -> None:
        """Before any sink hears: one that is told all that it waited for goes on at once."""
        assert not self.is_settled, "a batch is settled once"
        self.is_settled = True


class OwnBatches:
    """The batches of one client's writes."""

    __slots__ = ("_batches", "_settled_index")

    def __init__(self) -> None:
        #: Oldest first. Those in front are settled first, but for batches that are refused.
        self._batches: deque[PendingBatch] = deque()
        self._settled_index = 0

    def add(self, batch: PendingBatch) -> None:
        """Take note of the batch that the newest write is in."""
        batches = self._batches
        if batches:
            if batches[-1] is batch:
                return
            while batches and batches[0].is_settled:
                self._note(batches.popleft())
        batches.append(batch)

    def newest_unsettled(self) -> PendingBatch | None:
        """The batch of the newest write whose reply is not out.

        A newer one may have been refused before it, as when leadership is handed over.
        """
        batches = self._batches
        while batches and batches[-1].is_settled:
            self._note(batches.pop())
        return batches[-1] if batches else None

    def settled_index(self) -> int:
        """The log index of the newest write that was settled; 0: none was."""
        self.newest_unsettled()
        return self._settled_index

    def _note(self, batch: PendingBatch) -> None:
        if batch.entry_id is not None and batch.entry_id.index > self._settled_index:
            self._settled_index = batch.entry_id.index


@dataclass(slots=True)
class ForwardedRuns:
    """Commands that another node passed on to this one as the leader of `term`."""

    term: int
    runs: list[Run]
    size_bytes: int

    @property
    def count(self) -> int:
        """How many commands there are."""
        return sum(len(run.commands) for run in self.runs)


class Gatherer:
    """Commands that wait for their turn to be proposed.

    Invariant: every batch but the newest is closed to further commands; batches are proposed in
    the order in which they were begun, so one client's commands keep theirs.
    """

    def __init__(self, batch_bytes_max: int, size: EntrySize, *, deadline_ns: Callable[[], int]) -> None:
        """`size` bounds the commands of a batch; `deadline_ns` gives that of a batch which is begun now."""
        self._batch_bytes_max = batch_bytes_max
        self._size = size
        self._deadline_ns = deadline_ns
        self._batches: deque[PendingBatch] = deque()
        #: What clients of other nodes wait for; oldest first.
        self._forwarded: deque[ForwardedRuns] = deque()
        #: Bytes of commands gathered and not yet proposed.
        self.size_bytes = 0
        #: How often something was added, ever.
        self.added_count = 0

    def __len__(self) -> int:
        """Batches of this node's own clients."""
        return len(self._batches)

    @property
    def has_any(self) -> bool:
        """Whether anything was gathered, for whichever node's clients."""
        return bool(self._batches or self._forwarded)

    def add(
        self,
        sink: ReplySink,
        first_slot: int,
        *,
        db: int,
        commands: list[list[bytes]],
        size_bytes: int,
    ) -> PendingBatch:
        """Gather one client's consecutive commands; give the batch that they went into.

        A batch that `size_bytes` would push over the limit is closed first, so commands that are
        larger than a whole batch travel alone.
        """
        batches = self._batches
        if (
            not batches
            or batches[-1].size_bytes + size_bytes > self._batch_bytes_max
            or batches[-1].count + len(commands) > self._size.commands_max
        ):
            batches.append(PendingBatch(deadline_ns=self._deadline_ns()))
        batch = batches[-1]
        batch.add(sink, first_slot, db, commands)
        batch.size_bytes += size_bytes
        self.size_bytes += size_bytes
        self.added_count += 1
        return batch

    def add_forwarded(self, term: int, runs: list[Run], *, size_bytes: int) -> None:
        """Gather what another node passed on in `term`."""
        self._forwarded.append(ForwardedRuns(term, runs, size_bytes))
        self.size_bytes += size_bytes
        self.added_count += 1

    def take_forwarded(self, term: int, *, bytes_max: int, count_max: int) -> list[ForwardedRuns]:
        """Take out what was passed on in `term`, up to the bounds but for the first; drop what is older."""
        taken: list[ForwardedRuns] = []
        size = count = 0
        while self._forwarded:
            forwarded = self._forwarded[0]
            size += forwarded.size_bytes
            count += forwarded.count
            if taken and (size > bytes_max or count > count_max):
                break
            self._forwarded.popleft()
            self.size_bytes -= forwarded.size_bytes
            if forwarded.term == term:
                taken.append(forwarded)
        return taken

    def put_back_forwarded(self, forwarded: list[ForwardedRuns]) -> None:
        """Put back, in front, what `take_forwarded` gave."""
        self._forwarded.extendleft(reversed(forwarded))
        self.size_bytes += sum(each.size_bytes for each in forwarded)

    def drop_forwarded(self) -> None:
        """Drop all that other nodes passed on."""
        self.size_bytes -= sum(forwarded.size_bytes for forwarded in self._forwarded)
        self._forwarded.clear()

    def put_back(self, batches: list[PendingBatch]) -> None:
        """Put batches, oldest first, in front of all others: they were not done."""
        self._batches.extendleft(reversed(batches))
        self.size_bytes += sum(batch.size_bytes for batch in batches)
        self.added_count += len(batches)

    def pop(self) -> PendingBatch:
        """Take the oldest batch out."""
        batch = self._batches.popleft()
        self.size_bytes -= batch.size_bytes
        return batch

    def pop_overdue(self, now_ns: int) -> Iterator[PendingBatch]:
        """Take out the batches whose deadline has passed: they were never proposed."""
        while self._batches and self._batches[0].deadline_ns <= now_ns:
            yield self.pop()


class Pending:
    """Proposed batches by entry id, until the log or the deadline settles them.

    A batch whose entry was cut from the own log stays here: with five nodes, one that still holds
    the entry may yet be elected and commit it. Only what is applied at the index tells.
    """

    def __init__(self) -> None:
        self._by_index: dict[int, list[PendingBatch]] = {}

    def __len__(self) -> int:
        return len(self._by_index)

    def add(self, batch: PendingBatch) -> None:
        """Keep a batch that was just proposed."""
        assert batch.entry_id is not None, "a pending batch has an entry id"
        self._by_index.setdefault(batch.entry_id.index, []).append(batch)

    def pop(self, index: int) -> list[PendingBatch]:
        """Take out what was proposed for `index`, now that an entry is applied there.

        The batch with that entry's id was done; any other lost its place and never will be.
        """
        return self._by_index.pop(index, [])

    def pop_to(self, index: int) -> list[PendingBatch]:
        """Take out what was proposed for any place up to `index`."""
        places = sorted(place for place in self._by_index if place <= index)
        return [batch for place in places for batch in self._by_index.pop(place)]

    def pop_overdue(self, now_ns: int) -> Iterator[PendingBatch]:
        """Take out the batches whose deadline has passed: their outcome is unknown."""
        for index in list(self._by_index):
            batches = self._by_index[index]
            kept = [batch for batch in batches if batch.deadline_ns > now_ns]
            if len(kept) == len(batches):
                continue
            if kept:
                self._by_index[index] = kept
            else:
                del self._by_index[index]
            yield from (batch for batch in batches if batch.deadline_ns <= now_ns)
