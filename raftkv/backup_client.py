"""One connection to a node, for whoever backs it up: a request, its reply, and what can go wrong.

Knows RESP and AUTH, and nothing of what is asked. Blocks; every answer but that to `wait_for` has a deadline.
"""

from __future__ import annotations

import socket
from typing import cast

import hiredis

from raftkv.status import PasswordRefused, Place, StatusUnavailable

#: Seconds until an answer's next bytes must have come.
ANSWER_SECONDS_MAX = 30.0
_READ_BYTES = 1 << 18


class RequestRefused(Exception):
    """The node answered with an error."""


class ConnectionBroken(StatusUnavailable):
    """The node went away in the middle; it may be asked again over another connection."""


class NodeClient:
    """A connection that has said its password."""

    def __init__(self, place: Place, *, password: str) -> None:
        """Connect. Raises StatusUnavailable, PasswordRefused."""
        self._place = place
        self._reader = hiredis.Reader()
        try:
            self._socket = socket.create_connection((place.host, place.port), timeout=ANSWER_SECONDS_MAX)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as failure:
            raise ConnectionBroken(str(place), f"can't be reached: {failure.strerror or failure}") from None
        except UnicodeError:
            raise StatusUnavailable(str(place), "can't be reached: that is no host name") from None
        if password:
            try:
                self.ask("AUTH", "default", password)
            except RequestRefused as refusal:
                self.close()
                raise PasswordRefused(str(place), f"refuses the password: {refusal}") from None

    def ask(self, *words: str | bytes | int) -> object:
        """Send a request and return its reply. Raises RequestRefused, PasswordRefused, ConnectionBroken."""
        return self._converse(words, seconds_max=ANSWER_SECONDS_MAX)

    def wait_for(self, *words: str | bytes | int) -> object:
        """As `ask`, for what takes as long as it takes; a node that is gone is noticed all the same."""
        return self._converse(words, seconds_max=None)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _converse(self, words: tuple[str | bytes | int, ...], *, seconds_max: float | None) -> object:
        packed = cast(
            "bytes",
            hiredis.pack_command(
                tuple(
                    word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word
                    for word in words
                )  # type: ignore[arg-type]  # the stub allows one item
            ),
        )
        try:
            self._socket.settimeout(seconds_max)
            self._socket.sendall(packed)
            while (reply := self._reader.gets()) is False:
                received = self._socket.recv(_READ_BYTES)
                if not received:
                    raise ConnectionResetError("it closed the connection")
                self._reader.feed(received)
        except OSError as failure:
            self.close()
            raise ConnectionBroken(str(self._place), f"is gone: {failure.strerror or failure}") from None
        except hiredis.ProtocolError:
            self.close()
            raise StatusUnavailable(str(self._place), "does not speak Redis's protocol") from None
        if isinstance(reply, hiredis.ReplyError):
            text = str(reply)
            if text.startswith("NOAUTH"):
                raise PasswordRefused(str(self._place), f"asks for a password: {text}")
            raise RequestRefused(text)
        return reply
