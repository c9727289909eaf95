"""The messages that wait for one connection, and the frames made of them; no I/O.

Knows nothing of sockets. Messages leave in the order in which they came. Neighbours of one group
share a frame up to `chunk_bytes`; a message above that leaves in pieces, each made only when the
connection has room for it, so that one large entry never costs its whole copy and checksum at once.

Invariant: queued_bytes <= queue_bytes_max, or a single message waits.
"""

from __future__ import annotations

from collections import deque

from raftkv.transport.frames import (
    CHUNK_BYTES_MAX,
    LENGTH_BYTES,
    MESSAGES,
    MORE,
    Buffer,
    frame_header,
    pack_length,
)


class Outbox:
    """A bounded queue of encoded messages that gives out frames."""

    def __init__(self, *, queue_bytes_max: int, chunk_bytes: int, frame_bytes_max: int) -> None:
        assert LENGTH_BYTES < chunk_bytes <= CHUNK_BYTES_MAX, f"chunk_bytes {chunk_bytes} is out of range"
        #: Bytes of messages, or of the rest of one, not taken yet.
        self.queued_bytes = 0
        self._queue_bytes_max = queue_bytes_max
        self._chunk_bytes = chunk_bytes
        self._frame_bytes_max = frame_bytes_max
        #: (group id, encoded message)
        self._queue: deque[tuple[int, bytes]] = deque()
        #: The rest of a large message that is under way.
        self._rest: memoryview | None = None
        self._rest_group_id = 0

    def __len__(self) -> int:
        """How many messages wait, the one that is under way included."""
        return len(self._queue) + (self._rest is not None)

    def is_too_large(self, message: bytes) -> bool:
        """Whether no peer would take this message."""
        return LENGTH_BYTES + len(message) > self._frame_bytes_max

    def add(self, group_id: int, message: bytes) -> bool:
        """Queue one message; False: it was dropped, the queue is full or the message too large."""
        size = len(message)
        if self.queued_bytes and self.queued_bytes + size > self._queue_bytes_max:
            return False
        if LENGTH_BYTES + size > self._frame_bytes_max:
            return False
        self._queue.append((group_id, message))
        self.queued_bytes += size
        return True

    def take(self) -> bytes:
        """Give the next whole frames, fewer than two `chunk_bytes` and headers; empty when nothing waits."""
        out: list[Buffer] = []
        room = self._chunk_bytes
        while room > 0 and self.queued_bytes:
            parts = self._take_messages() if self._rest is None else self._take_piece()
            out += parts
            room -= sum(map(len, parts))
        return b"".join(out)

    def _take_messages(self) -> list[Buffer]:
        """Make one frame of what comes next: messages of one group, or the beginning of a large one."""
        queue = self._queue
        group_id, message = queue[0]
        if LENGTH_BYTES + len(message) > self._chunk_bytes:
            return self._begin_large()
        parts: list[Buffer] = []
        room = self._chunk_bytes
        while queue and queue[0][0] == group_id:
            message = queue[0][1]
            room -= LENGTH_BYTES + len(message)
            if room < 0:
                break
            queue.popleft()
            parts += (pack_length(len(message)), message)
            self.queued_bytes -= len(message)
        return [frame_header(MESSAGES, group_id, parts), *parts]

    def _begin_large(self) -> list[Buffer]:
        """Make the first piece of a message that doesn't fit in one frame."""
        self._rest_group_id, message = self._queue.popleft()
        first = self._chunk_bytes - LENGTH_BYTES
        view = memoryview(message)
        self._rest = view[first:]
        self.queued_bytes -= first
        parts: list[Buffer] = [pack_length(len(message)), view[:first]]
        return [frame_header(MESSAGES | MORE, self._rest_group_id, parts), *parts]

    def _take_piece(self) -> list[Buffer]:
        """Make the next piece of the large message that is under way."""
        assert self._rest is not None, "no large message is under way"
        piece = self._rest[: self._chunk_bytes]
        self._rest = self._rest[len(piece) :] if len(piece) < len(self._rest) else None
        self.queued_bytes -= len(piece)
        kind = MESSAGES if self._rest is None else MESSAGES | MORE
        return [frame_header(kind, self._rest_group_id, [piece]), piece]
