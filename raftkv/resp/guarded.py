"""The requests of clients that have not authenticated: they may not make the node hold much.

Knows no passwords: whoever owns the parser says when others' limits hold, by taking another parser.
"""

from __future__ import annotations

from typing import Final

from raftkv.resp.integers import parse_integer
from raftkv.resp.parser import ProtocolError, RequestParser

#: Redis's (processMultibulkBuffer): enough for HELLO 3 AUTH <user> <password> SETNAME <name>.
_ARGS_MAX: Final = 10
_BULK_BYTES_MAX: Final = 16384


class GuardedParser(RequestParser):
    """Reads header by header, and stops before the first that announces too much.

    Invariant: what stands behind that place is kept, for a parser that takes over after all.
    """

    __slots__ = ()

    def read(self, data: bytes) -> list[list[bytes]]:
        """Take what arrived, and give the requests that are complete by it."""
        self.feed(data)
        return self.drain()

    def feed(self, data: bytes) -> None:
        """Take what arrived; ignored after garbage."""
        if self.garbage is None:
            self._read_exactly(data)

    def _read_multibulk_header(self, buffer: bytes, position: int) -> int:
        end = super()._read_multibulk_header(buffer, position)
        if self._args_missing > _ARGS_MAX:
            self._args_missing = 0
            self.garbage = ProtocolError("unauthenticated multibulk length")
            return position
        return end

    def _read_bulk(self, buffer: bytes, position: int) -> int:
        line_end = self._end_of_header(buffer, position, "too big bulk count string")
        length = parse_integer(buffer[position + 1 : line_end]) if line_end > 0 else None
        if length is not None and _BULK_BYTES_MAX < length <= self.limits.bulk_bytes_max:
            self.garbage = ProtocolError("unauthenticated bulk length")
            return position
        return super()._read_bulk(buffer, position)
