"""What a node without a process has around it instead of sockets, stores and snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftkv.raft import EntryId, Message, encode
from raftkv.transport import Address

if TYPE_CHECKING:
    from tests.node.driven_cluster import Cluster


@dataclass
class LinkStatus:
    """What `View` asks of a peer link."""

    is_connected: bool = True
    conn_oks: int = 1
    conn_errors: int = 0


class Links:
    """One node's way out; satisfies `group.Links`, and `Transport.status`."""

    def __init__(self, cluster: Cluster, node_id: int) -> None:
        self._cluster = cluster
        self._node_id = node_id
        self._queued: list[tuple[int, bytes]] = []

    def send(self, to: int, group_id: int, messages: list[Message]) -> None:
        assert group_id == 0
        self._queued += [(to, encode(message)) for message in messages]

    def flush(self) -> None:
        queued, self._queued = self._queued, []
        self._cluster.network.extend((self._node_id, to, data) for to, data in queued)

    def status(self, _node_id: int) -> LinkStatus:
        return LinkStatus()

    def set_peers(self, peers: dict[int, Address]) -> None:
        """Every node reaches every node here."""


class Sized:
    """What `View` asks of the stores."""

    durable_index = 0

    def size_bytes(self) -> int:
        return 1000


class NoSnapshots:
    """For a log that is never dropped."""

    def send_to(self, node_id: int) -> None:
        raise AssertionError(f"node {node_id} lacks what no log here has dropped")

    def install(self, entry_id: EntryId) -> None:
        raise AssertionError(f"nobody sent a snapshot of {entry_id}")
