"""The client listener and all of its connections.

Knows nothing of what requests mean: each connection's `Executor` carries them out. Those that are held
are looked at on every tick, so that none waits for ever.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from raftkv.commands.session import NodeView, Session
from raftkv.commands.table import CommandTable
from raftkv.config import Config, Member
from raftkv.node.clock import Clock
from raftkv.node.connection import Connection
from raftkv.node.executor import Executor
from raftkv.node.group import Group
from raftkv.node.open_files import backlog
from raftkv.node.pauses import Pause
from raftkv.node.roster import Roster
from raftkv.resp.parser import Limits
from raftkv.resp.replies import Error

#: Seconds that clients get to take their last replies when the node stops.
_PATIENCE_SECONDS: Final = 1.0
#: A turn of the event loop that has worked for so long lets the tick go first, and the heartbeats with it.
_TURN_NS: Final = 20_000_000
#: Between two looks for clients that are idle or take their replies slowly.
_LOOK_NS: Final = 1_000_000_000


def bind_socket(host: str, port: int) -> socket.socket:
    """Take an address without listening yet, so that a busy one is known before anything else is done.

    Raises OSError that names the address.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"can't listen on {host}:{port} for clients: {error.strerror}") from None
    return bound


def _parser_limits(config: Config) -> Limits:
    return Limits(
        multibulk_max=config.multibulk_max,
        bulk_bytes_max=config.bulk_bytes_max,
        inline_bytes_max=config.inline_bytes_max,
    )


@dataclass(slots=True)
class Traffic:
    """What connections have had since they were made."""

    input_bytes: int = 0
    output_bytes: int = 0

    def add(self, connection: Connection) -> None:
        """Add one connection's."""
        self.input_bytes += connection.input_bytes
        self.output_bytes += connection.replies.output_bytes


class Clients:
    """Accepts clients of both listeners and keeps them."""

    def __init__(
        self,
        *,
        config: Config,
        table: CommandTable,
        group: Group,
        clock: Clock,
        node: NodeView,
        roster: Roster,
    ) -> None:
        #: Replaced as a whole when a setting changes, see `adopt`.
        self.config = config
        self.table = table
        self.group = group
        self.clock = clock
        self.node = node
        self.parser_limits = _parser_limits(config)
        self.pause = Pause()
        self._next_look_ns = 0
        self._roster = roster
        self._ids = itertools.count(1)
        self._connections: dict[int, Connection] = {}
        #: Connections that wait for something. A dict: their order is that of their waiting.
        self._held: dict[int, Executor] = {}
        #: Connections whose long pipelines were interrupted, in the order of their next turns.
        self._deferred: dict[int, Executor] = {}
        #: When the tick is overdue; far off until the first one.
        self._turn_end_ns = 1 << 62
        self._listeners: list[asyncio.Server] = []
        self._is_closing = False
        #: While closing: the last connection has gone.
        self._emptied = asyncio.Event()
        self.accepted_count = 0
        self.rejected_count = 0
        #: Error replies by prefix.
        self.errors: Counter[str] = Counter()
        #: Commands carried out, by full name; connections add to it.
        self.calls: Counter[bytes] = Counter()
        #: Of the connections that are gone.
        self._past = Traffic()

    def adopt(self, config: Config) -> None:
        """Go on with other settings, for the connections that there are, too."""
        self.config = config
        self.parser_limits = _parser_limits(config)
        for connection in self._connections.values():
            connection.adopt_limits()

    # -- the listener -----------------------------------------------------------------------

    async def listen(self, bound: socket.socket, *, is_standalone: bool) -> None:
        """Begin to accept on a socket of `bind_socket`'s, as a node of a cluster or as one single Redis."""
        loop = asyncio.get_running_loop()
        factory = partial(self._make_connection, is_standalone=is_standalone)
        self._listeners.append(await loop.create_server(factory, sock=bound, backlog=backlog()))

    async def close(self, *, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        """Stop accepting, and close every connection once its written replies have left.

        Who does not take them in time is cut off.
        """
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections.values()):
            connection.close()
        self._is_closing = True
        try:
            async with asyncio.timeout(patience_seconds):
                if self._connections:
                    await self._emptied.wait()
        except TimeoutError:
            for connection in list(self._connections.values()):
                connection.abort()
        for listener in self._listeners:
            await listener.wait_closed()

    def _make_connection(self, *, is_standalone: bool = False) -> Connection:
        return Connection(self, next(self._ids), is_standalone=is_standalone)

    # -- what connections report ------------------------------------------------------------

    def add(self, connection: Connection) -> bool:
        """Keep a new connection; False: there are too many."""
        if len(self._connections) >= self.config.clients_max:
            self.rejected_count += 1
            return False
        self.accepted_count += 1
        self._connections[connection.client_id] = connection
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        if self._connections.pop(connection.client_id, None) is not None:
            self._past.add(connection)
        if self._is_closing and not self._connections:
            self._emptied.set()
        self._held.pop(connection.client_id, None)
        self._deferred.pop(connection.client_id, None)

    def find(self, client_id: int) -> Connection | None:
        """The connection with that number, if there is one."""
        return self._connections.get(client_id)

    def count_error(self, error: Error) -> None:
        """Note an error reply."""
        self.errors[error.prefix] += 1

    def hold(self, executor: Executor) -> None:
        """Look at a connection's requests on every tick, until `release`."""
        self._held[executor.session.client_id] = executor

    def is_overdue(self) -> bool:
        """Whether what else the node has to do should go first now."""
        return self.clock.now_ns() > self._turn_end_ns

    def defer(self, executor: Executor) -> None:
        """Let a connection go on after the next tick, behind those that wait for that already."""
        self._deferred[executor.session.client_id] = executor

    def release(self, executor: Executor) -> None:
        """The connection waits for nothing any more."""
        self._held.pop(executor.session.client_id, None)

    # -- what connections ask ---------------------------------------------------------------

    def other_leader(self) -> Member | None:
        """The node that clients are sent to: the leader, if it is known and isn't this node."""
        leader_id = self.group.leader_id
        return None if leader_id == self.config.node_id else self._roster.member(leader_id)

    def sessions(self) -> Iterator[Session]:
        """The sessions of all connections, oldest first."""
        return (connection.looked_at_session() for connection in self._connections.values())

    def traffic(self) -> Traffic:
        """What all connections have had so far."""
        total = replace(self._past)
        for connection in self._connections.values():
            total.add(connection)
        return total

    @property
    def held_count(self) -> int:
        """Connections that wait for something."""
        return len(self._held)

    def on_tick(self) -> None:
        """Let held connections see whether what they wait for has come."""
        now_ns = self.clock.now_ns()
        if self.pause.end_ns:
            self.pause.on_tick(now_ns)
        config = self.config
        if (config.idle_timeout_s or config.output_buffer_soft_bytes_max) and now_ns >= self._next_look_ns:
            self._next_look_ns = now_ns + _LOOK_NS
            for connection in list(self._connections.values()):
                connection.look(now_ns)
        for executor in list(self._held.values()):
            executor.on_tick(now_ns)
        self._turn_end_ns = now_ns + _TURN_NS
        for client_id, executor in list(self._deferred.items()):
            if self.is_overdue():
                break
            del self._deferred[client_id]
            executor.go_on()
        self._turn_end_ns = self.clock.now_ns() + _TURN_NS
