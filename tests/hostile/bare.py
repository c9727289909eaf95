"""A bare socket to a port: says anything, hears to the end, and may leave in any way.

Knows no protocol but for telling whether what a client port said is RESP.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from types import TracebackType

import hiredis

#: Seconds within which a node has answered and closed what is to be closed.
END_SECONDS_MAX = 10.0
_READ_BYTES = 1 << 16
_LOOK_SECONDS = 0.1
_NO_LINGER = struct.pack("ii", 1, 0)


class Bare:
    """One connection. What goes wrong on it is never raised: the other end may close at any moment."""

    def __init__(self, port: int, *, receive_bytes: int | None = None) -> None:
        """Connect; `receive_bytes` is the size of the kernel's buffer for what isn't read. Raises OSError."""
        self._socket = socket.socket()
        if receive_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.settimeout(END_SECONDS_MAX)
        self._socket.connect(("127.0.0.1", port))
        #: The other end has reset the connection, and what it had said may be lost.
        self.is_reset = False

    def say(self, data: bytes) -> None:
        """Send it all, unless the connection ends before."""
        with contextlib.suppress(OSError):
            self._socket.sendall(data)

    def push(self, data: bytes, *, seconds_max: float) -> int:
        """Send as much as the other end takes in that time; return how much."""
        sent = 0
        deadline = time.monotonic() + seconds_max
        view = memoryview(data)
        try:
            while sent < len(data) and (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                sent += self._socket.send(view[sent : sent + _READ_BYTES])
        except TimeoutError:
            pass
        except OSError:
            self.is_reset = True
        self._socket.settimeout(END_SECONDS_MAX)
        return sent

    def hear(self, size_bytes: int, *, seconds_max: float = END_SECONDS_MAX) -> bytes:
        """Read that many bytes, or what comes before the end or the deadline."""
        heard = b""
        self._socket.settimeout(seconds_max)
        try:
            while len(heard) < size_bytes and (data := self._socket.recv(size_bytes - len(heard))):
                heard += data
        except TimeoutError:
            pass
        except OSError:
            self.is_reset = True
        return heard

    def hear_to_the_end(self, *, seconds_max: float = END_SECONDS_MAX) -> bytes:
        """Read until the other end closes. Fails if it doesn't."""
        heard: list[bytes] = []
        self._socket.settimeout(_LOOK_SECONDS)
        # Looks are counted, not seconds: a machine that stood still has had no time to close anything.
        looks_left = int(seconds_max / _LOOK_SECONDS)
        while looks_left:
            try:
                data = self._socket.recv(_READ_BYTES)
            except TimeoutError:
                looks_left -= 1
                continue
            except OSError:
                self.is_reset = True
                return b"".join(heard)
            if not data:
                return b"".join(heard)
            heard.append(data)
        raise AssertionError(
            f"open after {seconds_max:g} s; heard {sum(map(len, heard))} bytes up to {heard[-1:]!r:.200}"
        )

    def end(self) -> None:
        """End this side: nothing more is sent, everything still heard."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave as a process does that dies with unread data."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._socket.close()

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def __enter__(self) -> Bare:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def replies_in(heard: bytes, *, may_be_cut: bool) -> list[object]:
    """Read replies. Fails for what is no RESP, or ends within a reply unless `may_be_cut`."""
    parser = hiredis.Reader()
    parser.feed(heard)
    replies: list[object] = []
    try:
        while (reply := parser.gets()) is not False:
            replies.append(reply)
    except hiredis.ProtocolError as failure:
        raise AssertionError(f"no RESP: {failure}: {heard!r:.300}") from None
    if not may_be_cut:
        assert not parser.has_data(), f"the replies end within one: {heard[-100:]!r}"
    return replies
