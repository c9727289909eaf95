"""Where a run takes place: makes the nodes and what is between them, and says who uses and who harms them."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from tests.consistency.faces import CLIENTS_BY_FACE
from tests.consistency.faults import LEADER_PART, Faults
from tests.consistency.recorder import Recorder
from tests.consistency.relay import Relay
from tests.consistency.workload import Client
from tests.integration import kill_rounds
from tests.integration.cluster import Cluster

#: Short times, so that much happens in little time; on a busy machine leaders may change without a fault.
SETTINGS = {
    **kill_rounds.SETTINGS,
    "election_timeout_ms": 300,
    "heartbeat_interval_ms": 60,
    "request_timeout_ms": 2000,
    "leader_wait_ms": 500,
}
ELECTION_TIMEOUT_SECONDS = SETTINGS["election_timeout_ms"] / 1000


class Stage(ABC):
    """What is different from run to run."""

    #: How to have the same again, but for time and seed.
    command: str

    @abstractmethod
    async def open(self) -> Cluster:
        """Make everything; no node runs yet."""

    @abstractmethod
    def faults(self, recorder: Recorder, source: random.Random) -> Faults:
        """Return what is done to the nodes."""

    @abstractmethod
    def clients(self, recorder: Recorder, source: random.Random) -> list[Client]:
        """Return who uses them."""

    @abstractmethod
    async def close(self) -> None:
        """End everything that `open` made, as far as it came."""


class Loopback(Stage):
    """Processes beside each other, and a relay between them."""

    def __init__(
        self,
        directory: Path,
        *,
        node_count: int = 3,
        module: str = "raftkv",
        kinds: Sequence[str] = (),
        leader_part: float = LEADER_PART,
    ) -> None:
        """`module` is what each node's process runs, `kinds` are the faults (none: all), `leader_part` is how
        often it is the leader that is picked on.
        """
        self.command = f"python -m tests.consistency --nodes {node_count} --module {module}"
        self._directory = directory
        self._node_count = node_count
        self._module = module
        self._kinds = kinds
        self._leader_part = leader_part
        self._relay = Relay()

    async def open(self) -> Cluster:
        """Make everything; no node runs yet."""
        node_ids = range(1, self._node_count + 1)
        ports = await self._relay.open(node_ids)
        self._cluster = Cluster(
            self._directory,
            node_count=self._node_count,
            settings=SETTINGS,
            module=self._module,
            peer_relays=ports,
        )
        self._relay.targets.update(
            zip(node_ids, [node.peer_port for node in self._cluster.nodes], strict=True)
        )
        return self._cluster

    def faults(self, recorder: Recorder, source: random.Random) -> Faults:
        """Return what is done to the nodes."""
        return Faults(
            self._cluster,
            self._relay,
            recorder,
            source,
            election_timeout_seconds=ELECTION_TIMEOUT_SECONDS,
            kinds=self._kinds,
            leader_part=self._leader_part,
        )

    def clients(self, recorder: Recorder, source: random.Random) -> list[Client]:
        """Return who uses them."""
        return mixed_clients(self._cluster, recorder, source)

    async def close(self) -> None:
        """End everything that `open` made, as far as it came."""
        await self._relay.close()


def mixed_clients(cluster: Cluster, recorder: Recorder, source: random.Random) -> list[Client]:
    """Return clients of all faces that do all kinds of things."""
    return [
        Client(f"{face.name}-{number}", face, cluster.nodes, fork(source), recorder)
        for face, count in CLIENTS_BY_FACE
        for number in range(1, count + 1)
    ]


def fork(source: random.Random) -> random.Random:
    """Return a source of chance of its own."""
    return random.Random(source.getrandbits(64))
