"""What all clients of a run share: the keys of the hour, the history as it grows, and the counts.

The run goes by turns, each with keys of its own. Once nobody waits for an answer about a turn's keys any
more, its history is whole: it is taken away, checked and, if all is well, forgotten.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from tests.consistency.figures import ANSWERED, REFUSED, UNCERTAIN, Figures
from tests.consistency.history import Fault, History, Operation, Reply
from tests.consistency.register import is_read

_KEYS_COUNT = 3
#: The kind of what is no fault, but shown as one.
_STALL = "stall of the clients"


@dataclass(slots=True)
class _Turn:
    """The operations on some keys."""

    operations: list[Operation] = field(default_factory=list)
    refused: list[Operation] = field(default_factory=list)
    #: Of them, and of those that are refused: how many nobody knows the outcome of yet.
    open_count: int = 0


class Recorder:
    """The notes of one run. A single thread uses it."""

    def __init__(self) -> None:
        self.figures = Figures()
        #: What no node may ever do, whatever a register says.
        self.complaints: list[str] = []
        #: Clear: clients are to send nothing.
        self.may_send = asyncio.Event()
        self.may_send.set()
        self._turn_number = 0
        self._turns: dict[int, _Turn] = {0: _Turn()}
        #: In order, as a dict keeps it.
        self._used_keys: dict[bytes, None] = {}
        self._faults: list[Fault] = []
        self._running: Fault | None = None
        self._values_count = 0
        self._connections_count = 0

    @property
    def keys(self) -> list[bytes]:
        """The keys in use."""
        return [self.key(b"%d" % place) for place in range(_KEYS_COUNT)]

    def key(self, name: bytes) -> bytes:
        """Return what a key is called in this turn."""
        return b"%d:%s" % (self._turn_number, name)

    @property
    def used_keys(self) -> Collection[bytes]:
        """Keys of this turn beside `keys` that somebody writes, the newest last."""
        return self._used_keys

    def use(self, key: bytes) -> bytes:
        """Note a key of this turn for those who read; return it."""
        self._used_keys[key] = None
        return key

    def turn(self) -> None:
        """Use new keys from now on."""
        self._turn_number += 1
        self._used_keys = {}
        self._turns[self._turn_number] = _Turn()

    def take_closed(self) -> list[History]:
        """Take the histories of the turns that are over for everybody, each with the faults of its time."""
        closed = [
            number
            for number, turn in self._turns.items()
            if number != self._turn_number and not turn.open_count
        ]
        return [self._with_faults(self._turns.pop(number)) for number in closed]

    def take_rest(self) -> History:
        """Take what was noted of all turns that were not taken yet, over or not."""
        rest = _Turn()
        for turn in self._turns.values():
            rest.operations += turn.operations
            rest.refused += turn.refused
        self._turns = {self._turn_number: _Turn()}
        return self._with_faults(rest)

    def next_connection(self) -> int:
        """Number a connection."""
        self._connections_count += 1
        return self._connections_count

    def next_token(self) -> bytes:
        """Make a value that nobody wrote before; all are of one length."""
        self._values_count += 1
        return b"v%08d;" % self._values_count

    def begin(self, operation: Operation) -> None:
        """Note that an operation is about to be sent. Those of one connection come in their order."""
        turn = self._turn_of(operation)
        turn.open_count += 1
        turn.operations.append(operation)

    def answer(self, operation: Operation, reply: Reply) -> None:
        """Note its reply, which just came."""
        operation.returned_ns, operation.reply = time.monotonic_ns(), reply
        self._end(operation, ANSWERED)
        if not is_read(operation.command):
            self.figures.on_write(invoked_ns=operation.invoked_ns, returned_ns=operation.returned_ns)

    def lose(self, operation: Operation) -> None:
        """Note that its outcome will never be known."""
        self._end(operation, UNCERTAIN)

    def refuse(self, operation: Operation) -> None:
        """Put it aside: it was not done, and never will be."""
        turn = self._turn_of(operation)
        turn.operations.remove(operation)
        turn.refused.append(operation)
        self._end(operation, REFUSED)

    def on_hang(self, operation: Operation) -> None:
        """Its node, which the client could reach, did not answer for longer than any may take.

        That is a complaint, unless the node was paused meanwhile, or the clients were.
        """
        running = [] if self._running is None else [self._running]
        over = [fault for fault in self._faults if fault.end_ns >= operation.invoked_ns]
        if not any(_excuses(fault, operation.node) for fault in (*running, *over)):
            self.complaints.append(f"never answered: {operation}")

    def on_stall(self, begin_ns: int) -> None:
        """The clients' own process stood still until now: nothing can be said about times."""
        now_ns = time.monotonic_ns()
        self._faults.append(Fault(_STALL, (), begin_ns, now_ns))
        self.figures.restart_silence(now_ns)

    def begin_fault(self, kind: str, nodes: tuple[int, ...]) -> None:
        """Something is about to be done to nodes."""
        now_ns = time.monotonic_ns()
        self._running = Fault(kind, nodes, now_ns, now_ns)
        self.figures.on_fault(kind, now_ns)

    def end_fault(self) -> None:
        """It is undone."""
        fault, self._running = self._running, None
        assert fault is not None, "a fault began"
        self._faults.append(Fault(fault.kind, fault.nodes, fault.begin_ns, time.monotonic_ns()))

    def note_fault(self, fault: Fault) -> None:
        """Take over what turns out to have happened."""
        self._faults.append(fault)
        self.figures.on_fault(fault.kind, fault.begin_ns)

    def _end(self, operation: Operation, outcome: str) -> None:
        self._turn_of(operation).open_count -= 1
        self.figures.count(operation.face, outcome)

    def _turn_of(self, operation: Operation) -> _Turn:
        return self._turns[int(operation.key.partition(b":")[0])]

    def _with_faults(self, turn: _Turn) -> History:
        """Add the faults; those before the oldest turn that is left are of no use any more."""
        faults = list(self._faults)
        if self._running is not None:
            fault = self._running
            faults.append(Fault(fault.kind, fault.nodes, fault.begin_ns, time.monotonic_ns()))
        begin_ns = min((each.invoked_ns for each in turn.operations), default=0)
        left = [turn.operations[0].invoked_ns for turn in self._turns.values() if turn.operations]
        oldest_ns = min([begin_ns, *left])
        self._faults = [fault for fault in self._faults if fault.end_ns >= oldest_ns]
        return History(turn.operations, [each for each in faults if each.end_ns >= begin_ns], turn.refused)


def _excuses(fault: Fault, node: int) -> bool:
    """Whether a node need not have answered during a fault."""
    return fault.kind == _STALL or (fault.kind.startswith("pause") and node in fault.nodes)
