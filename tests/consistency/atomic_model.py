"""Histories that are linearizable by construction: a register that takes each operation at one moment.

Clients send pipelines; each operation takes effect between its call and its return, in its connection's
order; connections break, and what was on its way then takes effect later or never.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.consistency.history import Operation
from tests.consistency.register import State, step_of

_KEY = b"k"


@dataclass(slots=True)
class _Connection:
    number: int
    client: str
    #: Sent, and not done yet.
    waiting: deque[Operation] = field(default_factory=deque)
    #: Done, and not answered yet.
    done: deque[Operation] = field(default_factory=deque)


class AtomicModel:
    """One register and its clients, driven by a source of chance."""

    def __init__(
        self,
        source: random.Random,
        *,
        client_count: int,
        pipeline_max: int,
        loss: float,
        silence: float = 0.0,
    ) -> None:
        """How often, 0 to 1, a connection breaks (`loss`) or goes on after a reply that says nothing."""
        self.operations: list[Operation] = []
        self._source = source
        self._pipeline_max = pipeline_max
        self._loss = loss
        self._silence = silence
        self._state: State = None
        self._now_ns = 0
        self._connection_count = 0
        self._value_count = 0
        self._connections = [self._connect(f"c{place}") for place in range(client_count)]
        #: Broken connections with operations that may still take effect.
        self._broken: list[_Connection] = []

    def run(self, operation_count: int) -> list[Operation]:
        """Go on until that many operations were sent and all connections are at rest; give them all."""
        while len(self.operations) < operation_count:
            self._happen(self._source.choice(self._connections), may_send=True)
        while busy := [each for each in self._connections if each.waiting or each.done]:
            self._happen(self._source.choice(busy), may_send=False)
        return self.operations

    def _connect(self, client: str) -> _Connection:
        self._connection_count += 1
        return _Connection(self._connection_count, client)

    def _happen(self, connection: _Connection, *, may_send: bool) -> None:
        """Let one thing happen to a connection."""
        self._now_ns += self._source.choice((0, 1, 1))
        if self._broken and self._source.random() < 0.2:
            self._take_effect(self._source.choice(self._broken))
        if connection.done and self._source.random() < 0.5:
            answered = connection.done.popleft()
            if self._source.random() >= self._silence:
                answered.returned_ns = self._now_ns
        elif connection.waiting:
            if self._source.random() < self._loss:
                self._break(connection)
            elif self._source.random() < self._silence:
                connection.waiting.popleft()  # answered as if it might have been done
            else:
                self._take_effect(connection)
        elif may_send and not connection.done:
            self._send(connection)

    def _send(self, connection: _Connection) -> None:
        for _ in range(self._source.randint(1, self._pipeline_max)):
            operation = Operation(
                connection.client, connection.number, 1, "model", self._command(), self._now_ns
            )
            connection.waiting.append(operation)
            self.operations.append(operation)

    def _take_effect(self, connection: _Connection) -> None:
        if connection.waiting:
            operation = connection.waiting.popleft()
            self._state, operation.reply = step_of(operation.command)(self._state)
            connection.done.append(operation)

    def _break(self, connection: _Connection) -> None:
        self._broken.append(connection)
        self._connections[self._connections.index(connection)] = self._connect(connection.client)

    def _command(self) -> tuple[bytes, ...]:
        return drawn_command(self._source, _KEY, self._value())

    def _value(self) -> bytes:
        self._value_count += 1
        return b"v%05d;" % self._value_count


def drawn_command(source: random.Random, key: bytes, token: bytes) -> tuple[bytes, ...]:
    """Draw one of the register's commands; `token` is written if it takes a value, now and then 0 instead."""
    name = source.choices(_NAMES, weights=_WEIGHTS)[0]
    if name == b"APPEND":
        return (name, key, token)
    if name != b"SET":
        return (name, key)
    options: Sequence[bytes] = source.choice(((), (), (b"NX",), (b"XX",), (b"GET",), (b"NX", b"GET")))
    return (name, key, b"0" if source.random() < 0.2 else token, *options)


_NAMES = (b"SET", b"GET", b"INCR", b"DEL", b"APPEND")
_WEIGHTS = (3, 4, 2, 1, 2)
