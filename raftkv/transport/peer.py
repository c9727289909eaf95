"""The links to one peer: one for each channel, made, closed and looked at together.

Knows nothing of messages and of other peers. A peer whose address changes is another one: its links are
closed and new ones made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from raftkv.transport.greeting import BULK, SNAPSHOT, URGENT, Address, Channel
from raftkv.transport.link import Link


@dataclass(slots=True)
class PeerLinkStatus:
    """What is known of the way to one peer: of both channels of messages, unless the third one is named."""

    node_id: int
    #: Both channels are up, as far as is known.
    is_connected: bool
    #: The channel of snapshots is up, as far as is known.
    is_snapshot_connected: bool
    #: When the peer last said welcome, by the clock handed in; 0: never.
    last_connected_ns: int
    #: Times that a connection was not made, was refused or ended.
    conn_errors: int
    #: Times that the peer said welcome.
    conn_oks: int
    #: Messages not sent.
    dropped: int
    #: Bytes of messages that wait.
    queued_bytes: int
    #: Why it is not connected; empty while it is.
    last_error: str


def status_without_links(node_id: int, last_error: str) -> PeerLinkStatus:
    """Say of a node that there is no way to it."""
    return PeerLinkStatus(
        node_id=node_id,
        is_connected=False,
        is_snapshot_connected=False,
        last_connected_ns=0,
        conn_errors=0,
        conn_oks=0,
        dropped=0,
        queued_bytes=0,
        last_error=last_error,
    )


class Peer:
    """One peer's links; they dial once `start` was called."""

    def __init__(self, address: Address, make_link: Callable[[Channel], Link]) -> None:
        self.address = address
        self.urgent = make_link(URGENT)
        self.bulk = make_link(BULK)
        # Kept like the others rather than dialed when a snapshot is to be sent: it costs nothing while
        # nobody speaks, and what is wrong with it shows before a follower depends on it.
        self.snapshot = make_link(SNAPSHOT)
        self._links = (self.urgent, self.bulk, self.snapshot)

    @property
    def is_connected(self) -> bool:
        """Whether messages of both channels can be sent."""
        return self.urgent.is_up and self.bulk.is_up

    def start(self) -> None:
        """Begin to dial, and go on until `close`."""
        for link in self._links:
            link.start()

    def flush(self) -> None:
        """Write what was queued."""
        for link in self._links:
            link.flush()

    async def close(self) -> None:
        """End all of it; what was flushed still leaves if it can."""
        await asyncio.gather(*(link.close() for link in self._links))

    def on_peer_hello(self, run_id: bytes) -> None:
        """The peer just dialed us."""
        for link in self._links:
            link.on_peer_hello(run_id)

    def status(self, node_id: int) -> PeerLinkStatus:
        """Look at all of it."""
        urgent, bulk = self.urgent, self.bulk
        return PeerLinkStatus(
            node_id=node_id,
            is_connected=self.is_connected,
            is_snapshot_connected=self.snapshot.is_up,
            last_connected_ns=max(urgent.last_connected_ns, bulk.last_connected_ns),
            conn_errors=urgent.conn_errors + bulk.conn_errors,
            conn_oks=urgent.conn_oks + bulk.conn_oks,
            dropped=urgent.dropped + bulk.dropped,
            queued_bytes=urgent.queued_bytes + bulk.queued_bytes,
            last_error=urgent.last_error or bulk.last_error,
        )
