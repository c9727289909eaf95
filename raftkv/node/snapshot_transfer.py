"""What both ends of a snapshot's transfer share: its limits, its progress, and how fast it may go.

Pure: no clock, no files, no sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from raftkv.config import Config

#: A burst is what comes in this time: several ticks of a node.
_BURST_NS: Final = 50_000_000
_SECOND_NS: Final = 1_000_000_000

#: (node id, body of a frame) -> whether it was taken; if not, nothing of it is kept. As `send_snapshot`.
Send = Callable[[int, bytes], bool]


@dataclass(frozen=True, slots=True)
class TransferLimits:
    """How much a transfer may have under way, and how patient each end is with the other."""

    #: Chunks that a follower has asked for, or is writing.
    window_chunks: int = 16
    chunk_bytes: int = 256 << 10
    #: Bytes of chunks per second that a leader sends to all followers together; 0: as fast as it goes.
    rate_bytes: int = 64 << 20
    #: After so long without an answer the same is said again; a follower takes `rate_bytes` into account.
    silence_ms: int = 1000
    #: After so long without a sign of the other end a transfer is given up. What was written is kept.
    abandon_ms: int = 30_000


def transfer_limits(config: Config) -> TransferLimits:
    """Take the limits from a node's settings."""
    return TransferLimits(
        window_chunks=config.snapshot_window_chunks,
        chunk_bytes=config.snapshot_chunk_bytes,
        rate_bytes=config.snapshot_rate_bytes_max,
    )


@dataclass(slots=True)
class TransferProgress:
    """How far a transfer has come."""

    #: The node at the other end.
    node_id: int
    snapshot_id: bytes
    #: What the follower has; of a leader, as far as the follower told.
    bytes_done: int
    #: 0: not known yet.
    bytes_total: int
    #: Chunks that were asked for and have not come or, of a leader, not left; without those being written.
    chunks_open: int
    #: When it began at this end, by the clock handed in.
    started_ns: int


@dataclass(slots=True)
class FileRange:
    """Bytes of one file of a snapshot."""

    name: str
    offset: int
    length: int


class TokenBucket:
    """Says when the next chunk may go: `rate_bytes` per second on average, and short bursts.

    A chunk may go once anything is left, and what it is larger is owed; so large chunks pass at any rate.
    """

    def __init__(self, rate_bytes: int) -> None:
        """`rate_bytes`: 0 for no limit."""
        self._rate_bytes = rate_bytes
        self._burst_bytes = rate_bytes * _BURST_NS / _SECOND_NS
        self._left_bytes = self._burst_bytes
        #: None: nothing was asked yet.
        self._filled_ns: int | None = None

    def is_open(self, now_ns: int) -> bool:
        """Whether a chunk may go now."""
        if not self._rate_bytes:
            return True
        if self._filled_ns is not None and now_ns > self._filled_ns:
            gained = self._rate_bytes * (now_ns - self._filled_ns) / _SECOND_NS
            self._left_bytes = min(self._burst_bytes, self._left_bytes + gained)
        self._filled_ns = now_ns
        return self._left_bytes > 0

    def take(self, size_bytes: int) -> None:
        """Count a chunk that goes."""
        if self._rate_bytes:
            self._left_bytes -= size_bytes
