"""The clients of the kill rounds: threads that write and read while nodes die, and note what they are told.

No operation is ever sent twice. A writer sends short pipelines of INCR and APPEND wherever it believes the
leader is, and now and then a key that soon expires; a reader asks any node for a counter and compares it
with what had been acknowledged before, or for such a key, which must not come back once somebody missed it.
"""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from tests.integration.history import ACKNOWLEDGED, END_OF_VALUE, REFUSED, Operation
from tests.integration.wire import Hang, NoAnswer, Wire, error_prefix

#: Errors after which nothing was done.
_REFUSALS = frozenset({"MOVED", "CLUSTERDOWN", "TRYAGAIN", "LOADING", "MISCONF"})
_PIPELINE_MAX = 4
#: Milliseconds that an expiring key lives at most, and how many of the newest ones readers look at.
_EXPIRY_MS_MAX = 400
_EXPIRING_WATCHED = 20
#: Seconds before a client whose connection failed, or who was refused, goes on.
_PAUSE_SECONDS = 0.02


class Board:
    """What all clients share: the largest acknowledged result of each key, and what was wrong."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._results: dict[bytes, int] = {}
        #: Keys that were set once, to expire soon, and those of them that a reader found gone.
        self._expiring: list[bytes] = []
        self._gone: set[bytes] = set()
        self.acknowledged_count = 0
        self._answered_time = time.monotonic()
        #: The longest time in which no write was acknowledged.
        self.silence_seconds_max = 0.0
        self.read_count = 0
        self.complaints: list[str] = []

    def floor(self, key: bytes) -> int:
        """Return the largest result that anybody was told."""
        return self._results.get(key, 0)

    def acknowledge(self, operation: Operation) -> None:
        """Take over an answer."""
        with self._lock:
            self.acknowledged_count += 1
            now = time.monotonic()
            self.silence_seconds_max = max(self.silence_seconds_max, now - self._answered_time)
            self._answered_time = now
            self._results[operation.key] = max(self.floor(operation.key), operation.result)

    def restart_silence(self) -> None:
        """Measure silence from now on."""
        with self._lock:
            self._answered_time = time.monotonic()
            self.silence_seconds_max = 0.0

    def expect_expiry(self, key: bytes) -> None:
        """Take over a key whose one SET was acknowledged."""
        with self._lock:
            self._expiring.append(key)

    def expiring_key(self, source: random.Random) -> bytes | None:
        """Return one of the newest keys that expire."""
        newest = self._expiring[-_EXPIRING_WATCHED:]
        return source.choice(newest) if newest else None

    def is_gone(self, key: bytes) -> bool:
        """Whether anybody was told that it expired."""
        return key in self._gone

    def note_gone(self, key: bytes) -> None:
        """Somebody was told that it expired."""
        with self._lock:
            self._gone.add(key)

    def complain(self, text: str) -> None:
        """Note what no node may do."""
        with self._lock:
            self.complaints.append(text)


class _Client(ABC):
    """A thread that does one step after the other until it is told to stop."""

    def __init__(
        self, name: str, ports: Sequence[int], source: random.Random, board: Board, stop: threading.Event
    ) -> None:
        self.name = name
        self._ports = ports
        self._source = source
        self._board = board
        self._stop = stop
        self._wire: Wire | None = None
        self._port = source.choice(ports)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the last step."""
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._wire is None:
                    self._wire = self._connect()
                self._step(self._wire)
            except NoAnswer as lost:
                if isinstance(lost, Hang):
                    self._board.complain(f"{self.name}: {lost}")
                self._move_to(self._source.choice(self._ports))
            except Exception as defect:  # noqa: BLE001  # a thread's end must not look like success
                self._board.complain(f"{self.name}: {defect!r}")
                return
        self._disconnect()

    def _connect(self) -> Wire:
        return Wire(self._port)

    @abstractmethod
    def _step(self, wire: Wire) -> None:
        """Send one request or a few, and note what came of them."""

    def _disconnect(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _move_to(self, port: int) -> None:
        """Go on at another node, not too fast."""
        self._disconnect()
        self._port = port
        self._stop.wait(_PAUSE_SECONDS)

    def _on_refusal(self, reply: object) -> None:
        """Follow MOVED; else try any node."""
        if error_prefix(reply) == "MOVED":
            port = int(str(reply).rpartition(":")[2])
            if port != self._port:
                self._disconnect()
                self._port = port
                return
        self._move_to(self._source.choice(self._ports))


class Writer(_Client):
    """Increments and appends; `operations` is its history in the order of sending."""

    def __init__(
        self,
        name: str,
        ports: Sequence[int],
        source: random.Random,
        board: Board,
        stop: threading.Event,
        *,
        counters: Sequence[bytes],
        lists: Sequence[bytes],
    ) -> None:
        super().__init__(name, ports, source, board, stop)
        self._counters = counters
        self._lists = lists
        self._value_count = 0
        self.operations: list[Operation] = []

    def _step(self, wire: Wire) -> None:
        sent = [self._next_operation() for _ in range(self._source.randint(1, _PIPELINE_MAX))]
        self.operations += sent
        wire.send(*(self._command(each) for each in sent))
        refusal = None
        for each in sent:
            reply = wire.receive()
            if isinstance(reply, int):
                each.outcome, each.result = ACKNOWLEDGED, reply
                self._board.acknowledge(each)
            elif error_prefix(reply) in _REFUSALS:
                each.outcome, refusal = REFUSED, reply
            elif error_prefix(reply) != "UNKNOWN":
                self._board.complain(f"{self.name}: {self._command(each)!r} was answered {reply!r}")
        if refusal is not None:
            self._on_refusal(refusal)
        elif self._source.random() < 0.1:
            self._set_expiring(wire)

    def _set_expiring(self, wire: Wire) -> None:
        self._value_count += 1
        key = f"expiring:{self.name}:{self._value_count}".encode()
        if wire.call("SET", key, "1", "PX", self._source.randint(1, _EXPIRY_MS_MAX)) == b"OK":
            self._board.expect_expiry(key)

    def _next_operation(self) -> Operation:
        if self._source.random() < 0.5:
            key, value = self._source.choice(self._counters), b""
        else:
            key = self._source.choice(self._lists)
            self._value_count += 1
            value = f"{self.name}-{self._value_count}".encode() + END_OF_VALUE
        return Operation(key, value, self._board.floor(key))

    @staticmethod
    def _command(operation: Operation) -> tuple[str | bytes, ...]:
        if operation.value:
            return ("APPEND", operation.key, operation.value)
        return ("INCR", operation.key)


class Reader(_Client):
    """Reads counters at any node under READONLY; none may be behind what was acknowledged."""

    def __init__(
        self,
        name: str,
        ports: Sequence[int],
        source: random.Random,
        board: Board,
        stop: threading.Event,
        *,
        counters: Sequence[bytes],
    ) -> None:
        super().__init__(name, ports, source, board, stop)
        self._counters = counters

    def _connect(self) -> Wire:
        wire = super()._connect()
        wire.call("READONLY")
        return wire

    def _step(self, wire: Wire) -> None:
        expiring = self._board.expiring_key(self._source)
        if expiring is not None and self._source.random() < 0.5:
            self._read_expiring(wire, expiring)
        else:
            self._read_counter(wire, self._source.choice(self._counters))

    def _read_expiring(self, wire: Wire, key: bytes) -> None:
        was_gone = self._board.is_gone(key)
        reply = wire.call("GET", key)
        if reply is None:
            self._board.read_count += 1
            self._board.note_gone(key)
        elif was_gone and isinstance(reply, bytes):
            self._board.complain(f"{self.name}: {key!r} came back at {self._port} after it had expired")

    def _read_counter(self, wire: Wire, key: bytes) -> None:
        floor = self._board.floor(key)
        reply = wire.call("GET", key)
        if reply is None or isinstance(reply, bytes):
            self._board.read_count += 1
            if int(reply or 0) < floor:
                self._board.complain(
                    f"{self.name}: stale read at {self._port}: {key!r} is {reply!r}, acknowledged was {floor}"
                )
            if self._source.random() < 0.1:
                self._move_to(self._source.choice(self._ports))
        elif error_prefix(reply) in _REFUSALS:
            self._move_to(self._source.choice(self._ports))
        else:
            self._board.complain(f"{self.name}: GET was answered {reply!r}")
