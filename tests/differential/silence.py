"""Which requests of a connection are answered at all: CLIENT REPLY, as the comparison expects it.

Whoever waits for replies has to know how many come. Knows nothing of the servers, which both must do so.
"""

from __future__ import annotations

from tests.differential.cases import Request

#: Ends any silence, with a reply; until it has come, nobody knows how far a server is.
BARRIER: Request = (b"CLIENT", b"REPLY", b"ON")


class Silence:
    """One connection's (redis CLIENT REPLY)."""

    def __init__(self) -> None:
        self._is_off = False
        self._skips_next = False

    @property
    def holds(self) -> bool:
        """Whether the next request gets no reply, whatever most requests are."""
        return self._is_off or self._skips_next

    def breaks(self, request: Request) -> bool:
        """Take the next request; say whether it is answered."""
        mode = _mode_of(request)
        if mode == b"on" or tuple(map(bytes.lower, request)) == (b"reset",):
            self._is_off = self._skips_next = False
            return True
        is_answered = not (self.holds or mode)
        self._skips_next = mode == b"skip" and not self._is_off
        self._is_off = self._is_off or mode == b"off"
        return is_answered


def _mode_of(request: Request) -> bytes:
    """What a CLIENT REPLY asks for; "": it is no such request, or a wrong one."""
    if len(request) != 3 or (request[0].lower(), request[1].lower()) != (b"client", b"reply"):
        return b""
    mode = request[2].lower()
    return mode if mode in (b"on", b"off", b"skip") else b""
