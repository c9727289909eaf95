"""Writes that clients gave to a follower: to the leader in messages, back through the log.

    origin, a follower                leader of term 7                  the log, on every node
    batches 1, 2, 3  -- Forward -->   takes 1, 2, 3 in this order,  ->  runs of commands in entries of term 7,
    (again if it takes long)          each once                         marked (node, life, number)
    settles 1, 2, 3 as its own state machine applies them  <---------------'

The origin makes the replies itself, at its own apply; nothing but the log tells it what became of a batch.
Numbers begin at 1 in every term and every life of a node's process. Knows nothing of connections.

Invariants:
* Of one origin and term, a leader takes batches in the order of their numbers, each once, and they stand in
  the log in this order. So a batch that is not applied when a later one of its term is was dropped.
* Terms never fall along the log: what isn't applied when an entry of a later term is never will be. It is
  then passed on once more, to that term's leader.
* Nothing newer is passed on while a batch of an earlier term is open: one client's commands keep their order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from raftkv.machine import Batch, Origin, Run, decode_batch, encode_batch
from raftkv.node.pending import PendingBatch
from raftkv.raft import Forward
from raftkv.resp.replies import Reply

#: In place of a batch's number: it is none, its sender says that it is short of disk space.
SHORTAGE_NUMBER: Final = 0

#: Nanoseconds without progress after which open batches are sent again.
_RETRY_NS: Final = 200_000_000

#: Bytes that one repetition sends; the rest follows once these have made progress.
_REPEATED_BYTES_MAX: Final = 1 << 20


@dataclass(slots=True)
class _Open:
    """A batch on its way. It stays until the log tells, be its clients answered or not."""

    number: int
    batch: PendingBatch
    payload: bytes


@dataclass(slots=True)
class Settled:
    """A batch that the log has told about."""

    batch: PendingBatch
    #: None: it was not done, and never will be.
    replies: list[Reply] | None


class ForwardOutbox:
    """The batches that this node has passed on, as their origin."""

    def __init__(self, node_id: int, life: int) -> None:
        """`life` tells this run of the process from all others of the node."""
        self._node_id = node_id
        self._life = life
        self._term = 0
        self._newest_number = 0
        self._open: deque[_Open] = deque()
        self._progress_ns = 0
        #: Bytes of open batches.
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def batches(self) -> list[PendingBatch]:
        """Those that are open."""
        return [waiting.batch for waiting in self._open]

    def may_forward(self, term: int) -> bool:
        """Whether another batch may be passed on to the leader of `term`."""
        return not self._open or self._term == term

    def forward(self, batch: PendingBatch, *, term: int, to: int, now_ns: int) -> Forward:
        """Take over a batch; give the message that passes it on."""
        assert self.may_forward(term), "an older batch is open in an earlier term"
        if term != self._term:
            self._term, self._newest_number = term, 0
        if not self._open:
            self._progress_ns = now_ns
        self._newest_number += 1
        origin = Origin(self._node_id, self._life, self._newest_number)
        payload = encode_batch(Batch(0, [Run(run.db, run.commands, origin) for run in batch.runs]))
        self._open.append(_Open(self._newest_number, batch, payload))
        self.size_bytes += len(payload)
        return self._message(self._open[-1], to)

    def shortage(self, *, term: int, to: int) -> Forward:
        """The message that tells the leader that this node is short of disk space."""
        return Forward(term, self._node_id, to, self._life, SHORTAGE_NUMBER, b"")

    def repeat(self, *, term: int, to: int, now_ns: int) -> list[Forward]:
        """The oldest open batches once more, when nothing was heard of them for a while."""
        if not self._open or self._term != term or now_ns - self._progress_ns < _RETRY_NS:
            return []
        self._progress_ns = now_ns
        messages: list[Forward] = []
        size = 0
        for waiting in self._open:
            size += len(waiting.payload)
            if messages and size > _REPEATED_BYTES_MAX:
                break
            messages.append(self._message(waiting, to))
        return messages

    def on_applied(self, term: int, runs: list[Run], replies: list[Reply], now_ns: int) -> list[Settled]:
        """Take an applied entry's runs and replies; give what is settled by it, oldest first."""
        settled: list[Settled] = []
        for number, end in self._own_runs(term, runs):
            while self._open and self._open[0].number < number:
                settled.append(Settled(self._pop(now_ns), None))
            if self._open and self._open[0].number == number:
                batch = self._pop(now_ns)
                settled.append(Settled(batch, replies[end - batch.count : end]))
        return settled

    def _own_runs(self, term: int, runs: list[Run]) -> list[tuple[int, int]]:
        """(number, position behind its last command) of each batch of this life that an entry holds."""
        found: list[tuple[int, int]] = []
        if term != self._term:
            return found
        position = 0
        for run in runs:
            position += len(run.commands)
            origin = run.origin
            if origin is None or origin.node_id != self._node_id or origin.life != self._life:
                continue
            if found and found[-1][0] == origin.number:
                found[-1] = (origin.number, position)
            else:
                found.append((origin.number, position))
        return found

    def on_term(self, term: int) -> list[PendingBatch]:
        """Take note that an entry of `term` is applied; give the open batches of earlier terms, oldest first.

        They were not done, and never will be.
        """
        if term <= self._term:
            return []
        lost = [waiting.batch for waiting in self._open]
        self._open.clear()
        self.size_bytes = 0
        return lost

    def overdue(self, now_ns: int) -> list[PendingBatch]:
        """The batches whose deadline has passed and whose clients were not answered: nobody knows."""
        return [
            waiting.batch
            for waiting in self._open
            if waiting.batch.deadline_ns <= now_ns and not waiting.batch.is_settled
        ]

    def _message(self, waiting: _Open, to: int) -> Forward:
        return Forward(self._term, self._node_id, to, self._life, waiting.number, waiting.payload)

    def _pop(self, now_ns: int) -> PendingBatch:
        self._progress_ns = now_ns
        done = self._open.popleft()
        self.size_bytes -= len(done.payload)
        return done.batch


class ForwardInbox:
    """What a leader has taken from other nodes in its term."""

    def __init__(self) -> None:
        self._term = 0
        #: By node and life: the number of the newest batch taken. A life that has ended stays: what it sent
        #: may still come.
        self._taken: dict[tuple[int, int], int] = {}

    def take(self, forward: Forward) -> list[Run] | None:
        """Take a batch if it is the next one of its origin; None: it is a copy, or one before it was lost.

        `forward` is of the term that this node leads. Raises CorruptEntry.
        """
        if forward.term != self._term:
            self._term = forward.term
            self._taken.clear()
        origin = forward.sender, forward.life
        if forward.number != self._taken.get(origin, 0) + 1:
            return None
        runs = decode_batch(forward.payload).runs
        self._taken[origin] = forward.number
        return runs
