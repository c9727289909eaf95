"""Puts the hosts together: a node on each, with its own addresses, disk and clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from pathlib import Path

from tests.chaos.clocks import JumpingClocks
from tests.chaos.disks import SmallDisk
from tests.chaos.nemeses import Arsenal, Nemeses, missing
from tests.chaos.network import Hosts
from tests.chaos.slow_disks import SlowDisks
from tests.consistency.commands import (
    Draw,
    drawn_append,
    drawn_counter,
    drawn_member,
    drawn_mixed,
    drawn_read,
)
from tests.consistency.faces import CLUSTER, READONLY, STANDALONE, Face
from tests.consistency.recorder import Recorder
from tests.consistency.stage import ELECTION_TIMEOUT_SECONDS, SETTINGS, Stage, fork
from tests.consistency.workload import Client
from tests.integration.cluster import Cluster

#: Who uses the nodes: what they do, on which face, how many.
_CLIENTS: tuple[tuple[str, Draw, Face, int], ...] = (
    ("mixed", drawn_mixed, CLUSTER, 2),
    ("mixed", drawn_mixed, STANDALONE, 2),
    ("counter", drawn_counter, CLUSTER, 1),
    ("counter", drawn_counter, STANDALONE, 1),
    ("append", drawn_append, CLUSTER, 1),
    ("append", drawn_append, STANDALONE, 1),
    ("member", drawn_member, CLUSTER, 1),
    ("member", drawn_member, STANDALONE, 1),
    ("read", drawn_read, READONLY, 3),
)
#: Whoever is away for some seconds needs a snapshot.
_SMALL_LOGS = {"flush_bytes_max": 32 << 10, "log_tail_bytes": 32 << 10, "log_cache_bytes_max": 32 << 10}
#: A node's data that is copied from its disk, which ends with the run.
_KEPT_BYTES_MAX = 64 << 20


class HostsStage(Stage):
    """For use in namespaces of the run's own (`isolation`)."""

    def __init__(
        self,
        directory: Path,
        *,
        node_count: int,
        module: str,
        only: Collection[str],
        is_minority_only: bool,
        say: Callable[[str], None],
    ) -> None:
        """`only` and `is_minority_only` are explained at `Nemeses`; `say` is told what can't be done here."""
        words = [f"--nodes {node_count} --module {module}", *(f"--only '{kind}'" for kind in only)]
        words += ["--minority-only"] if is_minority_only else []
        self.command = f"python -m tests.chaos {' '.join(words)}"
        self._directory = directory
        self._node_count = node_count
        self._module = module
        self._only = only
        self._is_minority_only = is_minority_only
        self._say = say
        self._disks: dict[int, SmallDisk] = {}

    async def open(self) -> Cluster:
        """Make everything; no node runs yet."""
        hosts, clocks = Hosts(self._node_count), JumpingClocks(self._directory)
        slow_disks = SlowDisks(self._directory)
        places = hosts.open()
        self._cluster = cluster = Cluster(
            self._directory,
            node_count=self._node_count,
            settings={**SETTINGS, **_SMALL_LOGS},
            module=self._module,
            hosts=places,
        )
        absent = missing(clocks=clocks, slow_disks=slow_disks, hosts=hosts)
        self._arsenal = Arsenal(hosts, self._disks, clocks, slow_disks, absent)
        for node in cluster.nodes:
            disk = self._disks[node.node_id] = SmallDisk(node.data_dir)
            disk.open()
            made = [
                *([] if "clock jump" in absent else [clocks.environment(node.node_id)]),
                *([] if "slow disk" in absent else [slow_disks.environment(node.node_id)]),
            ]
            preloaded = ":".join(each.pop("LD_PRELOAD") for each in made)
            # Nobody else is in these namespaces.
            node.environment = {"RAFTKV_PROTECTED_MODE": "false", "LD_PRELOAD": preloaded}
            for each in made:
                node.environment |= each
        return cluster

    def faults(self, recorder: Recorder, source: random.Random) -> Nemeses:
        """Return what is done to the nodes."""
        nemeses = Nemeses(
            self._cluster,
            self._arsenal,
            recorder,
            source,
            election_timeout_seconds=ELECTION_TIMEOUT_SECONDS,
            only=self._only,
            is_minority_only=self._is_minority_only,
        )
        for kind, reason in self._arsenal.missing.items():
            self._say(f"left out: {kind}: {reason}")
        assert nemeses.kinds, f"nothing of {self._only} can be done here"
        self._say(f"kinds: {', '.join(nemeses.kinds)}")
        return nemeses

    def clients(self, recorder: Recorder, source: random.Random) -> list[Client]:
        """Return who uses them."""
        return [
            Client(
                f"{name}-{face.name}-{number}", face, self._cluster.nodes, fork(source), recorder, draw=draw
            )
            for name, draw, face, count in _CLIENTS
            for number in range(1, count + 1)
        ]

    async def close(self) -> None:
        """Keep the nodes' data beside their logs: their disks end with this process. All else just ends."""
        for node_id, disk in self._disks.items():
            disk.copy(self._cluster.node(node_id).directory / "data-kept", bytes_max=_KEPT_BYTES_MAX)
            disk.close()
