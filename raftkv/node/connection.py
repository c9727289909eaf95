"""One client's connection: its socket, its bytes in both directions, and how much of either may wait.

What the bytes ask for is carried out by its `Executor`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, cast

from raftkv.commands.session import Session
from raftkv.node import refusals
from raftkv.node.executor import Executor
from raftkv.node.holds import Hold
from raftkv.node.requests import size_of
from raftkv.resp.guarded import GuardedParser
from raftkv.resp.parser import RequestParser
from raftkv.transport.sockets import end_address, probe_when_silent

if TYPE_CHECKING:
    from raftkv.node.clients import Clients

log = logging.getLogger(__name__)

#: Requests of one connection that wait or whose replies are owed; past it no more bytes are read (but for
#: what comes between two looks).
_REQUESTS_MAX: Final = 20_000
#: Bytes that come in between two looks at how much waits.
_LOOK_BYTES: Final = 64 << 10
#: Reply bytes that the socket takes before the connection counts as slow; fewer if a limit is lower.
_SLOW_BYTES: Final = 1 << 20
#: No limit on what waits for a client is lower (redis PROTO_REPLY_CHUNK_BYTES, which it does not count).
_OUTPUT_BYTES_MIN: Final = 16 << 10
_NS_PER_S: Final = 1_000_000_000


class Connection(asyncio.Protocol):
    """A RESP connection."""

    def __init__(self, clients: Clients, client_id: int, *, is_standalone: bool = False) -> None:
        self.client_id = client_id
        self.session = Session(client_id, clients.node, is_standalone=is_standalone)
        self.session.is_authenticated = not clients.config.requirepass
        self.executor = Executor(clients, self, self.session)
        self.replies = self.executor.replies
        self._clients = clients
        self._now_ns = clients.clock.now_ns
        self._parser = self._make_parser()
        self._transport: asyncio.Transport | None = None
        self.is_reading_paused = self._is_slow = False
        #: The client has ended its side: it sends nothing more, but takes what it is owed.
        self.has_ended = False
        #: See `_look_at_input`.
        self._next_look_bytes = _LOOK_BYTES
        self._active_ns = self._now_ns()
        #: Reply bytes that had left at the last look, and when that was found to be more than before.
        self._left_bytes = 0
        self._left_ns = self._active_ns
        #: Since when more than the soft limit has waited for the client; None: less does.
        self._above_since_ns: int | None = None
        #: Since the connection was made.
        self.input_bytes = 0

    # -- the socket -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of asyncio's
        self._set_slow_bytes(self._transport)
        self.session.address = end_address(transport, "peername")
        self.session.local_address = end_address(transport, "sockname")
        self.session.created_ms = self._clients.clock.wall_ms()
        if self._clients.config.tcp_keepalive_s:
            probe_when_silent(transport, after_s=self._clients.config.tcp_keepalive_s)
        if not self._clients.add(self):
            self._transport.write(refusals.TOO_MANY_CLIENTS)
            self._transport.close()
            self._transport = None

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self.executor.end()
        self._clients.remove(self)

    def data_received(self, data: bytes) -> None:
        now_ns = self._now_ns()  # after the bytes were read: see Group.has_lease
        executor = self.executor
        if executor.garbage is not None or self.session.is_closing:
            return
        self._active_ns = now_ns
        self.input_bytes += len(data)
        parser = self._parser
        size_bytes = parser.buffered_bytes + len(data)
        requests = parser.read(data)
        garbage = executor.garbage = parser.garbage
        if executor.hold is not None or executor.queued:
            executor.backlog.extend(requests)
        elif garbage is not None or not executor.carry_out_alike(requests, size_bytes):
            executor.backlog.extend(requests)
            executor.process(now_ns)
        if self.input_bytes > self._next_look_bytes:
            self._look_at_input()

    def change_parser(self) -> None:
        """Read on with the limits that fit the client, now that it has authenticated or forgone that."""
        former, self._parser = self._parser, self._make_parser()
        self._parser.take_over(former)
        self.executor.backlog.extend(self._parser.drain())
        self.executor.garbage = self._parser.garbage

    def adopt_limits(self) -> None:
        """Take note that limits have changed."""
        self._parser.limits = self._clients.parser_limits
        if self._transport is not None and not self._transport.is_closing():
            self._set_slow_bytes(self._transport)

    def _set_slow_bytes(self, transport: asyncio.Transport) -> None:
        """Have `pause_writing` called before any limit on the output is reached."""
        config = self._clients.config
        limits = (config.output_buffer_bytes_max, config.output_buffer_soft_bytes_max)
        high = min([_SLOW_BYTES, *(max(limit, _OUTPUT_BYTES_MIN) for limit in limits if limit)])
        transport.set_write_buffer_limits(high=high, low=high // 4)

    def _make_parser(self) -> RequestParser:
        kind = GuardedParser if self.executor.lookup.is_locked else RequestParser
        return kind(limits=self._clients.parser_limits)

    def eof_received(self) -> bool:
        """Keep the connection until its last reply has left, if there is one to come."""
        self.has_ended = True
        return not self.executor.is_idle or self.replies.pending > 0

    def pause_writing(self) -> None:
        self._is_slow = True
        self.throttle()

    def resume_writing(self) -> None:
        self._is_slow = False
        self._above_since_ns = None
        self.throttle()

    def close(self) -> None:
        """Close once what is written so far has left."""
        if self._transport is not None:
            self._transport.close()

    def look(self, now_ns: int) -> None:
        """Close a client that takes its replies too slowly, or that has been silent both ways for long."""
        transport = self._transport
        if transport is None:
            return
        if self._is_slow:
            self._look_at_output(transport)
        if self._clients.config.idle_timeout_s:
            self._close_if_idle(transport, now_ns)

    def _close_if_idle(self, transport: asyncio.Transport, now_ns: int) -> None:
        """Close if nothing came or left in time and nothing is to come (redis clientsCronHandleTimeout)."""
        unsent_bytes = transport.get_write_buffer_size()
        left_bytes = self.replies.output_bytes - unsent_bytes
        if left_bytes != self._left_bytes:
            self._left_bytes, self._left_ns = left_bytes, now_ns
        since_ns = now_ns - self._clients.config.idle_timeout_s * _NS_PER_S
        if max(self._active_ns, self._left_ns) >= since_ns:
            return
        if unsent_bytes or (self.executor.is_idle and not self.replies.pending):
            log.debug("client %s has been idle for long, closed", self.session.address)
            self.kill()

    def kill(self) -> None:
        """Close at once, and carry out nothing more."""
        self.session.is_closing = True
        self.abort()

    def abort(self) -> None:
        """Close at once, whatever has not left."""
        if self._transport is not None:
            self._transport.abort()

    # -- flow -------------------------------------------------------------------------------

    def send(self) -> None:
        """Write all replies that are next in order."""
        self.write(self.replies.take())

    def write(self, data: bytes | None) -> None:
        """Write bytes of replies, and close if they were the last to come."""
        transport = self._transport
        if transport is None:
            return
        if data:
            transport.write(data)
            if self._is_slow:
                self._look_at_output(transport)
        if self.session.is_closing or self.has_ended:
            self._maybe_close(transport)

    def _maybe_close(self, transport: asyncio.Transport) -> None:
        """Close if no reply is to come."""
        if (self.executor.is_idle or self.session.is_closing) and not self.replies.pending:
            transport.close()

    def _look_at_output(self, transport: asyncio.Transport) -> None:
        """Cut off whom too much waits for, or much for long (redis client-output-buffer-limit)."""
        config = self._clients.config
        size_bytes = transport.get_write_buffer_size()
        hard, soft = (
            limit and max(limit, _OUTPUT_BYTES_MIN)
            for limit in (config.output_buffer_bytes_max, config.output_buffer_soft_bytes_max)
        )
        if 0 < hard < size_bytes:
            self._cut_off("reads too slowly")
        elif not 0 < soft < size_bytes:
            self._above_since_ns = None
        elif self._above_since_ns is None:
            self._above_since_ns = self._now_ns()
        elif self._now_ns() - self._above_since_ns > config.output_buffer_soft_s * _NS_PER_S:
            self._cut_off("has read too slowly for long")

    def _look_at_input(self) -> None:
        """Read no further, or cut the client off, if too much waits (redis client-query-buffer-limit).

        Not at every chunk: what waits grows by no more than what comes in.
        """
        self._next_look_bytes = self.input_bytes + _LOOK_BYTES
        if self._waiting_bytes() > self._clients.config.query_buffer_bytes_max:
            self._cut_off("has too many requests waiting")
        self.throttle()

    def _waiting_bytes(self) -> int:
        return self._parser.buffered_bytes + size_of(self.executor.backlog)

    def _cut_off(self, reason: str) -> None:
        """Close at once: nothing more is read, carried out or sent."""
        log.warning("client %s %s, closed", self.session.address, reason)
        self.session.is_closing = True
        self.abort()

    def looked_at_session(self) -> Session:
        """The session, with the fields that only change when somebody looks."""
        session, clock, transport = self.session, self._clients.clock, self._transport
        session.active_ms = clock.wall_ms() - (clock.now_ns() - self._active_ns) // 1_000_000
        session.is_blocked = self.executor.hold in (Hold.AWAITED, Hold.PAUSE)
        session.input_bytes = self._waiting_bytes()
        session.output_bytes = self.replies.buffered_bytes
        if transport is not None:
            session.output_bytes += transport.get_write_buffer_size()
            socket = transport.get_extra_info("socket")
            session.file_descriptor = -1 if socket is None else socket.fileno()
        return session

    def throttle(self) -> None:
        """Read no further bytes while too much waits here or the client does not take its replies."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        waiting = len(self.executor.backlog) + self.replies.pending
        is_full = (
            self._is_slow
            or self.executor.is_deferred
            or waiting > (_REQUESTS_MAX // 2 if self.is_reading_paused else _REQUESTS_MAX)
        )
        if is_full is not self.is_reading_paused:
            self.is_reading_paused = is_full
            if is_full:
                transport.pause_reading()
            else:
                transport.resume_reading()
