"""The numbers that bound what peers can cost a node, and how patient it is with them."""

from __future__ import annotations

from dataclasses import dataclass

from raftkv.transport.frames import CHUNK_BYTES_MAX
from raftkv.transport.greeting import SNAPSHOT, URGENT, Channel


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """How the peer connections of one node behave; `frame_bytes_max` must be the same on all,
    `snapshot_frame_bytes_max` too.
    """

    #: The longest message, and so the largest entry: command_bytes_max and some slack.
    frame_bytes_max: int = (64 << 20) + (1 << 20)
    #: Longer bodies travel in pieces of this size.
    chunk_bytes: int = CHUNK_BYTES_MAX
    #: Encoded messages that wait for one peer on one channel; more are dropped.
    queue_bytes_max: int = 64 << 20
    #: The longest frame of a snapshot transfer: a chunk of a file, or the list of all files.
    snapshot_frame_bytes_max: int = 16 << 20
    #: Such frames that wait for one peer; more are not taken.
    snapshot_queue_bytes_max: int = 4 << 20
    #: Bytes handed to a connection and not yet taken by the kernel: stop above, go on below.
    write_high_bytes: int = 512 << 10
    write_low_bytes: int = 128 << 10
    #: The longest frame from a peer that hasn't said who it is.
    greeting_bytes_max: int = 16 << 10
    #: Connections that haven't said who they are; one more and the oldest is closed.
    half_open_max: int = 64
    #: Time for a connection to open and to say who it is.
    greeting_timeout_ms: int = 2000
    #: Time for what was written to leave before a connection of a closing node is cut.
    closing_timeout_ms: int = 200
    #: Pauses between attempts to reach a peer double from one to the other.
    backoff_min_ms: int = 50
    backoff_max_ms: int = 2000
    #: A connection on which nothing was acknowledged for so long is dead.
    unacked_ms_max: int = 4000
    #: From a frame's first byte to its last, as long as any bytes come: a length that was spoiled on its way
    #: would make the reader wait for more than ever comes, and take heartbeats for a body.
    frame_ms_max: int = 4000
    #: The same log line is repeated no sooner.
    complaint_interval_ms: int = 5000

    def frame_bytes_from(self, channel: Channel) -> int:
        """Give the longest frame that a welcomed peer may send on a channel."""
        if channel is URGENT:
            return CHUNK_BYTES_MAX
        return self.snapshot_frame_bytes_max if channel is SNAPSHOT else self.frame_bytes_max
