"""Reads that wait until their node may answer them (thesis §6.4).

A reader joins, its turn's readers share one ReadIndex request, and once the read index is
applied they are told so. Requests and answers get lost: what is asked too long ago is asked
again. Knows nothing of connections or commands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from raftkv.raft import NotLeader, RaftCore, ReadState


class Reader(Protocol):
    """Something that holds a read back until it is confirmed."""

    def on_read_confirmed(self) -> None:
        """The state as applied right now reflects all that was done before the reader joined."""

    def on_read_refused(self) -> None:
        """This node could not find out; nothing was read."""


class QueuedReader(Protocol):
    """Who has reads to run at the end of a turn."""

    @property
    def may_follow(self) -> bool:
        """A node that doesn't lead may answer them, once it has a read index."""


Q = TypeVar("Q", bound=QueuedReader)

#: Runs the reads of several readers, given now_ns and clock_ms, the log clock's time; 0: the state as it is
#: may not be read without further ado.
RunQueued = Callable[[Sequence[Q], int, int], None]


@dataclass(slots=True)
class _Request:
    asked_ns: int
    readers: list[Reader]


@dataclass(slots=True)
class _Bundle(Generic[Q]):
    """Queued readers of one turn on a node that doesn't lead: one `Reader` for all of them."""

    readers: list[Q]
    run: RunQueued[Q]
    #: Confirmed after this it is of no use.
    end_ns: int
    #: (now_ns, clock_ms) as of now.
    look: Callable[[], tuple[int, int]]
    is_done: bool = False

    def on_read_confirmed(self) -> None:
        self._run_once(*self.look())

    def on_read_refused(self) -> None:
        self._run_once(self.look()[0], 0)

    def _run_once(self, now_ns: int, clock_ms: int) -> None:
        if not self.is_done:
            self.is_done = True
            self.run(self.readers, now_ns, clock_ms)


class ReadQueue(Generic[Q]):
    """The readers of one Raft group on this node.

    Invariant: a reader stands in exactly one of `_joined`, `_asked` and `_confirmed`.
    """

    def __init__(
        self, core: RaftCore, *, retry_ns: int, look: Callable[[], tuple[int, int]], run: RunQueued[Q]
    ) -> None:
        """`look` gives the clock's and the log clock's time, in nano- and milliseconds."""
        self._core = core
        self._retry_ns = retry_ns
        self._look = look
        self._run = run
        self._context = 0
        self._queued: list[Q] = []
        #: Not run yet; oldest first.
        self._bundles: deque[_Bundle[Q]] = deque()
        self._joined: list[Reader] = []
        self._asked: dict[int, _Request] = {}
        #: (read index, readers), not yet applied that far.
        self._confirmed: list[tuple[int, list[Reader]]] = []

    def queue(self, reader: Q) -> None:
        """Have reads run at the end of this turn, with those of all other connections.

        What makes it safe to answer them is then looked at once. Replies leave one after the other, so
        clients are still awake when the next one comes: a third less CPU for a GET than read by read.
        """
        self._queued.append(reader)

    @property
    def has_queued(self) -> bool:
        """Whether reads are to run at the end of this turn."""
        return bool(self._queued)

    def run_queued(self, now_ns: int, clock_ms: int) -> None:
        """Run them. `now_ns` was sampled after they came; `clock_ms`: see `RunQueued`."""
        queued, self._queued = self._queued, []
        self._run(queued, now_ns, clock_ms)

    def bundle_queued(self, now_ns: int, patience_ns: int) -> None:
        """Have the readers that may be answered by a follower confirmed together; run the others.

        What isn't confirmed for `patience_ns` runs without: each then waits and gives up by itself.
        """
        queued, self._queued = self._queued, []
        readers = [reader for reader in queued if reader.may_follow]
        if readers:
            while self._bundles and self._bundles[0].is_done:
                self._bundles.popleft()
            self._bundles.append(_Bundle(readers, self._run, now_ns + patience_ns, self._look))
            self.join(self._bundles[-1])
        if len(readers) < len(queued):
            self._run([reader for reader in queued if not reader.may_follow], now_ns, 0)

    def join(self, reader: Reader) -> None:
        """Confirm `reader` by a request that is made after this call."""
        self._joined.append(reader)

    def join_at(self, index: int, reader: Reader) -> None:
        """Confirm `reader` once `index` is applied; the caller holds the lease, so no request is needed."""
        self._confirmed.append((index, [reader]))

    def ask(self, now_ns: int) -> None:
        """Make one request for all readers that joined since the last."""
        if not self._joined:
            return
        readers, self._joined = self._joined, []
        self._context += 1
        try:
            self._core.read_index(self._context, now_ns)
        except NotLeader:
            _refuse(readers)
            return
        self._asked[self._context] = _Request(now_ns, readers)

    def ask_again(self, now_ns: int) -> None:
        """Let the readers of unanswered requests join the next one."""
        late = [c for c, request in self._asked.items() if request.asked_ns + self._retry_ns <= now_ns]
        for context in late:
            self._joined.extend(self._asked.pop(context).readers)
        while self._bundles and (self._bundles[0].is_done or self._bundles[0].end_ns <= now_ns):
            self._bundles.popleft().on_read_refused()

    def on_read_states(self, states: Iterable[ReadState]) -> None:
        """Take the core's answers; those to requests already given up are dropped."""
        for state in states:
            request = self._asked.pop(state.context, None)
            if request is None:
                continue
            if state.index == 0:
                _refuse(request.readers)
            else:
                self._confirmed.append((state.index, request.readers))

    def release(self, applied_index: int) -> None:
        """Confirm the readers whose read index is applied."""
        if not self._confirmed:
            return
        due = [readers for index, readers in self._confirmed if index <= applied_index]
        self._confirmed = [waiting for waiting in self._confirmed if waiting[0] > applied_index]
        for readers in due:
            for reader in readers:
                reader.on_read_confirmed()


def _refuse(readers: list[Reader]) -> None:
    for reader in readers:
        reader.on_read_refused()
