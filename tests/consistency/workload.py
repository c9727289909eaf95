"""The clients of a consistency run: they send commands and pipelines to few keys, and note the replies.

Nothing is ever sent twice. What a client can't know is noted as unknown, and its connection given up. Clients
differ in how long they wait for an answer, and now and then one is idle for a while and then uses the
connection that it has: so that somebody asks a node that was stopped, or cut off, just when it comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence

import hiredis

from tests.consistency.commands import Draw, drawn_mixed, drawn_read
from tests.consistency.faces import Face
from tests.consistency.history import Failure, Operation, Reply
from tests.consistency.recorder import Recorder
from tests.integration.cluster import NodeProcess
from tests.integration.wire import ANSWER_SECONDS_MAX, error_prefix

#: Errors after which nothing was done.
REFUSALS = frozenset({"MOVED", "CLUSTERDOWN", "TRYAGAIN", "LOADING", "MISCONF"})
#: An error after which nobody knows.
_UNKNOWN = "UNKNOWN"
_PIPELINE_MAX = 5
_CONNECT_SECONDS = 0.5
#: How long clients wait for the answers to what they sent at once; the last is longer than a node may take.
_PATIENCE_SECONDS = (0.3, 1.0, ANSWER_SECONDS_MAX)
_THINK_SECONDS = 0.012
_IDLE_SECONDS = (0.1, 1.5)
_IDLE_PART = 0.03
#: Before a client whose connection failed, or who was refused, goes on.
_PAUSE_SECONDS = 0.02
_READ_BYTES = 1 << 16


class Lost(Exception):
    """The connection is of no use any more; what was sent on it may have been done."""


class Late(Lost):
    """Nothing came in time on a connection that stands."""


class Connection:
    """One connection of a client; errors are returned as `hiredis.ReplyError`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = hiredis.Reader()

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        """Connect. Raises Lost."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return cls(*await asyncio.open_connection(host, port))
        except OSError as failure:
            raise Lost(str(failure)) from failure

    def send(self, commands: Sequence[tuple[str | bytes, ...]]) -> None:
        """Send commands in one piece."""
        self._writer.write(b"".join(map(hiredis.pack_command, commands)))  # type: ignore[arg-type]  # its stub

    async def receive(self, deadline: float) -> object:
        """Return the next reply; `deadline` is of the loop's clock. Raises Lost."""
        while (reply := self._parser.gets()) is False:
            try:
                async with asyncio.timeout_at(deadline):
                    data = await self._reader.read(_READ_BYTES)
            except TimeoutError as late:
                raise Late("no answer in time") from late
            except OSError as failure:
                raise Lost(str(failure)) from failure
            if not data:
                raise Lost("the node closed the connection")
            self._parser.feed(data)
        return reply

    def close(self) -> None:
        """End it at once; replies that still come are nobody's."""
        self._writer.transport.abort()


class Client:
    """One client: one connection at a time, one pipeline at a time."""

    def __init__(
        self,
        name: str,
        face: Face,
        nodes: Sequence[NodeProcess],
        source: random.Random,
        recorder: Recorder,
        *,
        draw: Draw = drawn_mixed,
        patience_seconds: Sequence[float] = _PATIENCE_SECONDS,
    ) -> None:
        """`draw` makes its commands, unless the face is for reads.

        `patience_seconds` are drawn from; to wait for the last of them in vain is worth a complaint.
        """
        self.name = name
        self._face = face
        self._nodes = nodes
        self._node = source.choice(nodes)
        self._source = source
        self._recorder = recorder
        self._draw = drawn_read if face.is_for_reads else draw
        self._patiences = patience_seconds
        #: The connection's number, and how long its replies are waited for.
        self._number = 0
        self._patience_seconds = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until told to stop."""
        while not stop.is_set():
            with contextlib.suppress(Lost):
                await self._use_one_connection(stop)
            await _pause(stop, _PAUSE_SECONDS)

    async def _use_one_connection(self, stop: asyncio.Event) -> None:
        """Raises Lost; then another node may be the next."""
        connection = None
        try:
            connection = await self._connect()
            while not stop.is_set() and await self._step(connection):
                await self._think(stop)
        except Lost:
            self._node = self._source.choice((self._node, *self._nodes))
            raise
        finally:
            if connection is not None:
                connection.close()

    async def _connect(self) -> Connection:
        self._number = self._recorder.next_connection()
        self._patience_seconds = self._source.choice(self._patiences)
        connection = await Connection.open(self._node.host.address, self._face.port_of(self._node))
        if self._face.opening:
            connection.send(self._face.opening)
            for command in self._face.opening:
                try:
                    reply = await connection.receive(self._deadline())
                except Lost:
                    connection.close()
                    raise
                if reply != b"OK":
                    self._recorder.complaints.append(f"{command} was answered {reply!r}")
        return connection

    async def _step(self, connection: Connection) -> bool:
        """Send a pipeline and note its outcomes; False: leave this connection."""
        await self._recorder.may_send.wait()
        commands = self._draw_commands()
        now_ns = time.monotonic_ns()
        sent = [
            Operation(self.name, self._number, self._node.node_id, self._face.name, command, now_ns)
            for command in commands
        ]
        for operation in sent:
            self._recorder.begin(operation)
        connection.send(commands)
        refusal, has_unknown = await self._outcomes(connection, sent)
        if refusal is not None:
            self._follow(refusal)
        elif self._source.random() < self._face.leave_part:
            self._node = self._source.choice(self._nodes)
            return False
        return refusal is None and not has_unknown

    async def _outcomes(
        self, connection: Connection, sent: Sequence[Operation]
    ) -> tuple[hiredis.ReplyError | None, bool]:
        """Note what becomes of each; return a refusal, and whether any is unknown. Raises Lost."""
        refusal, has_unknown = None, False
        deadline = self._deadline()
        for place, operation in enumerate(sent):
            try:
                reply = await connection.receive(deadline)
            except Lost as lost:
                if isinstance(lost, Late) and self._patience_seconds == self._patiences[-1]:
                    self._recorder.on_hang(operation)
                for each in sent[place:]:
                    self._recorder.lose(each)
                raise
            prefix = error_prefix(reply)
            if isinstance(reply, hiredis.ReplyError) and prefix in REFUSALS:
                refusal = reply
                self._recorder.refuse(operation)
            elif prefix == _UNKNOWN:
                has_unknown = True
                self._recorder.lose(operation)
            else:
                self._recorder.answer(operation, self._reply_of(operation, reply))
        return refusal, has_unknown

    def _reply_of(self, operation: Operation, reply: object) -> Reply:
        if isinstance(reply, hiredis.ReplyError):
            return Failure(str(reply))
        if not (reply is None or isinstance(reply, int | bytes)):
            self._recorder.complaints.append(f"{operation} was answered {reply!r}")
            return None
        return reply

    def _follow(self, refusal: hiredis.ReplyError) -> None:
        """Go where MOVED says, else anywhere; who only reads is never sent away."""
        self._node = self._source.choice(self._nodes)
        if error_prefix(refusal) != "MOVED":
            return
        if not self._face.may_say_moved:
            self._recorder.complaints.append(f"{self.name} ({self._face.name}) was told {refusal}")
        if not self._face.is_for_reads:
            place = str(refusal).rpartition(" ")[2]
            self._node = next((node for node in self._nodes if self._place_of(node) == place), self._node)

    def _place_of(self, node: NodeProcess) -> str:
        return f"{node.host.address}:{self._face.port_of(node)}"

    def _draw_commands(self) -> list[tuple[bytes, ...]]:
        count = 1 if self._source.random() < 0.5 else self._source.randint(2, _PIPELINE_MAX)
        return [self._draw(self._source, self._recorder) for _ in range(count)]

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._patience_seconds

    async def _think(self, stop: asyncio.Event) -> None:
        is_idle = self._source.random() < _IDLE_PART
        seconds = (
            self._source.uniform(*_IDLE_SECONDS) if is_idle else self._source.expovariate(1 / _THINK_SECONDS)
        )
        await _pause(stop, seconds)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
