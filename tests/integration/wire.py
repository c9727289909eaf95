"""A Redis client that never does anything twice: one socket, requests out, replies in.

Knows nothing of clusters: MOVED is a reply like any other. Whatever leaves a request's fate open is an
exception, so that a test which counts what was acknowledged can't mistake one for the other.
"""

from __future__ import annotations

import contextlib
import socket
from types import TracebackType
from typing import Any

import hiredis

LOOPBACK = "127.0.0.1"
_READ_BYTES = 1 << 16
#: Seconds; beyond every bound that a node promises, so that a node which hangs is caught.
ANSWER_SECONDS_MAX = 15.0


class NoAnswer(Exception):
    """The connection ended, or nothing came in time: what was sent may have been done."""


class Hang(NoAnswer):
    """Nothing came in time on a connection that stands: no node may do that to a client."""


class Wire:
    """A blocking connection to one node. Errors are returned as `hiredis.ReplyError`, never raised."""

    def __init__(
        self,
        port: int,
        *,
        host: str = LOOPBACK,
        protocol: int = 2,
        seconds_max: float = ANSWER_SECONDS_MAX,
    ) -> None:
        """Connect. Raises NoAnswer."""
        self.port = port
        self._parser = hiredis.Reader()
        try:
            self._socket = socket.create_connection((host, port), timeout=seconds_max)
        except OSError as failure:
            raise NoAnswer(f"port {port}: {failure}") from failure
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if protocol != 2:
            self.call("HELLO", protocol)

    def call(self, *args: str | bytes | int) -> Any:
        """Send one command and return its reply. Raises NoAnswer."""
        self.send(args)
        return self.receive()

    def send(self, *commands: tuple[str | bytes | int, ...]) -> None:
        """Send commands in one piece without waiting. Raises NoAnswer."""
        self.send_bytes(b"".join(_pack(command) for command in commands))

    def send_bytes(self, data: bytes) -> None:
        """Send what may be no request at all. Raises NoAnswer."""
        try:
            self._socket.sendall(data)
        except OSError as failure:
            raise NoAnswer(f"port {self.port}: {failure}") from failure

    def receive(self) -> Any:
        """Return the next reply. Raises NoAnswer."""
        while (reply := self._parser.gets()) is False:
            try:
                received = self._socket.recv(_READ_BYTES)
            except TimeoutError as late:
                raise Hang(f"port {self.port}: no answer in {self._socket.gettimeout()} s") from late
            except OSError as failure:
                raise NoAnswer(f"port {self.port}: {failure}") from failure
            if not received:
                raise NoAnswer(f"port {self.port}: the node closed the connection")
            self._parser.feed(received)
        return reply

    def shut_down(self) -> None:
        """End the connection under a thread that still sends or receives on it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _pack(command: tuple[str | bytes | int, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub knows tuples of one
    return packed


def error_prefix(reply: object) -> str:
    """Return an error reply's first word, "" for any other reply."""
    return str(reply).partition(" ")[0] if isinstance(reply, hiredis.ReplyError) else ""


def ask(
    port: int, *args: str | bytes | int, host: str = LOOPBACK, seconds_max: float = ANSWER_SECONDS_MAX
) -> Any:
    """Send one command on a connection of its own and return its reply. Raises NoAnswer."""
    with Wire(port, host=host, seconds_max=seconds_max) as wire:
        return wire.call(*args)
