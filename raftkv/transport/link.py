"""One way to one peer: dials, greets, sends frames, and dials again when the connection ends.

A link carries one channel's messages from this node to one peer; what the peer has to say comes on
its own links. Knows nothing of what messages mean. A message is dropped, never kept, while the
connection isn't there or when too much waits: Raft sends again what still matters.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import cast

from raftkv.raft.types import ProtocolError
from raftkv.transport.complaints import Complaints
from raftkv.transport.frames import HELLO, PREAMBLE, REFUSAL, WELCOME, FrameReader, encode_frame
from raftkv.transport.greeting import (
    SNAPSHOT,
    Address,
    Endpoint,
    Hello,
    Refusal,
    decode_refusal,
    decode_welcome,
    encode_hello,
    reason_to_leave,
)
from raftkv.transport.limits import TransportLimits
from raftkv.transport.outbox import Outbox
from raftkv.transport.sockets import addresses_checked, failure_text, tune

#: The listener's words when it turned this node away.
OnRefusal = Callable[[Refusal], None]


class Refused(Exception):
    """The connection is of no use, and `reason` says why; `refusal` if the other end itself said so."""

    def __init__(self, reason: str, refusal: Refusal | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refusal = refusal


class Dialed(asyncio.Protocol):
    """One dialed connection, from the hello to its end."""

    def __init__(self, hello: Hello, limits: TransportLimits) -> None:
        is_snapshot = hello.channel is SNAPSHOT
        self.outbox = Outbox(
            queue_bytes_max=limits.snapshot_queue_bytes_max if is_snapshot else limits.queue_bytes_max,
            chunk_bytes=limits.chunk_bytes,
            frame_bytes_max=limits.snapshot_frame_bytes_max if is_snapshot else limits.frame_bytes_max,
        )
        loop = asyncio.get_running_loop()
        #: The listener, or why there will be none.
        self.welcome: asyncio.Future[Endpoint] = loop.create_future()
        #: Done when the connection has ended; the reason.
        self.ended: asyncio.Future[str] = loop.create_future()
        self._hello = hello
        self._limits = limits
        self._reader = FrameReader(frame_bytes_max=limits.greeting_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        tune(transport, unacked_ms_max=self._limits.unacked_ms_max)
        # uvloop's low-water mark is 16 bytes otherwise: a pause per frame.
        transport.set_write_buffer_limits(
            high=self._limits.write_high_bytes, low=self._limits.write_low_bytes
        )
        transport.write(PREAMBLE + encode_frame(HELLO, encode_hello(self._hello)))

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._on_frame(frame.kind, frame.body)
        except ProtocolError as error:
            self.end(str(error))

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None  # asyncio loses a connection twice if it is aborted in here
        self.end(failure_text(exc) if isinstance(exc, OSError) else "closed by the peer")

    def flush(self) -> None:
        """Write what waits, as far as the connection takes it."""
        while self.outbox.queued_bytes and not self._is_paused and self._transport is not None:
            self._transport.write(self.outbox.take())

    async def finish(self) -> None:
        """Close once the kernel has taken what was written, or has had its time for it."""
        if self._transport is not None:
            self._transport.close()
            await asyncio.wait([self.ended], timeout=self._limits.closing_timeout_ms / 1000)

    def end(self, reason: str, refusal: Refusal | None = None) -> None:
        """Close at once; what waits is dropped."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if not self.ended.done():
            self.ended.set_result(reason)
        if not self.welcome.done():
            self.welcome.set_exception(Refused(reason, refusal))
            self.welcome.exception()  # seen, even if nobody waits for it any more

    def _on_frame(self, kind: int, body: memoryview) -> None:
        if self.ended.done():
            return
        if self.welcome.done():
            raise ProtocolError("the listener talks after its welcome")
        if kind == REFUSAL:
            refusal = decode_refusal(body)
            self.end(f"refused: {refusal.reason}", refusal)
        elif kind == WELCOME:
            self._on_welcome(decode_welcome(body))
        else:
            raise ProtocolError(f"frame kind {kind} instead of a welcome")

    def _on_welcome(self, listener: Endpoint) -> None:
        reason = reason_to_leave(listener, self._hello)
        if reason is None:
            self.welcome.set_result(listener)
        else:
            self.end(reason)


class Link:
    """Keeps one connection to one peer; the only owner of its counters."""

    def __init__(
        self,
        hello: Hello,
        address: Address,
        *,
        limits: TransportLimits,
        complaints: Complaints,
        random: random.Random,
        clock_ns: Callable[[], int],
        on_refusal: OnRefusal,
    ) -> None:
        #: Times that a connection could not be made, was refused or ended.
        self.conn_errors = 0
        #: Times that the peer said welcome.
        self.conn_oks = 0
        #: When the peer last said welcome, by the clock handed in; 0: never.
        self.last_connected_ns = 0
        #: Messages not sent: no connection, too much waiting, too large, or lost with a connection.
        self.dropped = 0
        #: Why there is no connection; empty while there is one.
        self.last_error = "not connected yet"
        self._hello = hello
        self._address = address
        self._limits = limits
        self._complaints = complaints
        self._random = random
        self._clock_ns = clock_ns
        self._on_refusal = on_refusal
        #: The same for all channels, so that they share their log lines.
        self._name = f"node {hello.sender.node_id}: link to node {hello.to} at {address[0]}:{address[1]}"
        #: The connection; not None only between welcome and end.
        self._dialed: Dialed | None = None
        self._peer_run_id = b""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        #: Nobody wants this link any more.
        self._is_closing = False

    @property
    def is_up(self) -> bool:
        """Whether the peer said welcome and the connection still stands, as far as is known."""
        return self._dialed is not None and not self._dialed.ended.done()

    @property
    def queued_bytes(self) -> int:
        """Bytes of messages that wait for the connection to take them."""
        return self._dialed.outbox.queued_bytes if self._dialed is not None else 0

    def start(self) -> None:
        """Begin to dial, and go on for good."""
        assert self._task is None, f"{self._name} was started twice"
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    async def close(self) -> None:
        """End the connection and the dialing; what was flushed still leaves if it can."""
        self._is_closing = True
        if self._task is None:
            return
        if self._dialed is not None:
            await self._dialed.finish()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def send(self, group_id: int, message: bytes) -> bool:
        """Queue one encoded message for the next `flush`; False: it was dropped and counted."""
        if self.maybe_send(group_id, message):
            return True
        self.dropped += 1
        if self._dialed is not None:
            self._complain_of_drop(self._dialed.outbox, message)
        return False

    def maybe_send(self, group_id: int, message: bytes) -> bool:
        """Queue one encoded message for the next `flush`; False: no connection or no room, try later."""
        dialed = self._dialed
        return dialed is not None and not dialed.ended.done() and dialed.outbox.add(group_id, message)

    def flush(self) -> None:
        """Write what was queued."""
        if self._dialed is not None:
            self._dialed.flush()

    def on_peer_hello(self, run_id: bytes) -> None:
        """The peer just dialed us: it can be reached, and an older process of it is gone."""
        if self._dialed is None:
            self._wake.set()
        elif run_id != self._peer_run_id:
            self._wake.set()
            self._dialed.end("the peer was started again")

    async def _run(self) -> None:
        delay_ms = self._limits.backoff_min_ms
        while True:
            if await self._stay_connected():
                delay_ms = self._limits.backoff_min_ms
            if await self._pause(delay_ms):
                delay_ms = self._limits.backoff_min_ms
            else:
                delay_ms = min(2 * delay_ms, self._limits.backoff_max_ms)

    async def _stay_connected(self) -> bool:
        """Dial, and return when the connection has ended; False: the peer never said welcome."""
        dialed = Dialed(self._hello, self._limits)
        try:
            self._on_welcome(dialed, await self._dial(dialed))
            self._on_failure(await dialed.ended)
        except OSError as error:
            self._on_failure(failure_text(error))
        except Refused as error:
            self._on_failure(error.reason)
            if error.refusal is not None:
                self._on_refusal(error.refusal)
        finally:
            is_greeted = self._dialed is not None
            self._dialed = None
            self.dropped += len(dialed.outbox)
            dialed.end("the link is closed")
        return is_greeted

    async def _dial(self, dialed: Dialed) -> Endpoint:
        host, port = self._address
        async with asyncio.timeout(self._limits.greeting_timeout_ms / 1000):
            with addresses_checked(host, port):
                await asyncio.get_running_loop().create_connection(lambda: dialed, host, port)
            return await dialed.welcome

    def _on_welcome(self, dialed: Dialed, listener: Endpoint) -> None:
        self._dialed = dialed
        self._peer_run_id = listener.run_id
        self._wake.clear()
        self.conn_oks += 1
        self.last_connected_ns = self._clock_ns()
        self.last_error = ""
        self._complaints.inform(f"up {self._hello.to}", f"{self._name} is up")

    def _on_failure(self, reason: str) -> None:
        if self._is_closing:
            return
        self.conn_errors += 1
        self.last_error = reason
        self._complaints.warn(f"down {self._hello.to} {reason}", f"{self._name} is down: {reason}")

    async def _pause(self, delay_ms: int) -> bool:
        """Wait before the next attempt, with jitter; True: the peer showed up meanwhile."""
        delay_s = delay_ms * self._random.uniform(0.5, 1.0) / 1000
        try:
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    def _complain_of_drop(self, outbox: Outbox, message: bytes) -> None:
        if outbox.is_too_large(message):
            text = f"a message of {len(message)} bytes is larger than frame_bytes_max and was dropped"
        else:
            text = f"messages are dropped, {outbox.queued_bytes} bytes wait already"
        self._complaints.warn(f"drop {self._hello.to}", f"{self._name}: {text}")
