"""A real cluster with a tap on every peer link, and what must hold of it after every storm.

Knows how a node is looked at from outside: its replies, its log and what /proc says of its process.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.hostile.standstill import StandstillWatch
from tests.hostile.taps import Taps
from tests.integration.cluster import Cluster, NodeProcess
from tests.integration.waiting import wait_until
from tests.integration.wire import NoAnswer, ask
from tests.ports import free_ports

_MB = 1 << 20
#: Small, so that limits are met soon and memory that grows for other reasons does not hide what matters.
SETTINGS: dict[str, int | str] = {
    "output_buffer_bytes_max": 4 * _MB,
    "query_buffer_bytes_max": 8 * _MB,
    "command_bytes_max": 2 * _MB,
    "uncommitted_bytes_max": 4 * _MB,
    "cache_bytes_max": 4 * _MB,
    "log_cache_bytes_max": 4 * _MB,
    "peer_queue_bytes_max": 8 * _MB,
}
#: By how much a node's resident memory may have grown since before the first storm, however many there were:
#: its caches and windows above, RocksDB's tables in memory (log and state fill one of 64 MB each, and
#: another one while the first is flushed), and what the allocator keeps of the worst moment.
GROWTH_BYTES_MAX = 256 * _MB
#: Beside the Raft log's and the state's own files, which come and go.
_SOCKET = "socket:"
_BAD_WORDS = ("Traceback", "never retrieved", "over a defect", "internal error", " failed\n")


@dataclass(frozen=True, slots=True)
class Look:
    """One node's process from outside."""

    memory_bytes: int
    sockets: int


class Arena:
    """The cluster, its taps, and what was before the storms."""

    def __init__(
        self, cluster: Cluster, taps: Taps, watch: StandstillWatch, peer_ports: dict[int, int]
    ) -> None:
        """`peer_ports` are the ports that nodes listen on for peers, behind the taps, by node id."""
        self.cluster = cluster
        self.taps = taps
        self.peer_ports = peer_ports
        self._watch = watch
        self._standstills_seen = 0
        self._checks = 0
        self._log_bytes_seen = dict.fromkeys(peer_ports, 0)
        self.leader = cluster.wait_until_whole()
        self.term = self._term()
        self.check("nothing")
        self._before = {node.node_id: look_at(node) for node in cluster.nodes}
        self.growth_bytes_max = 0

    @property
    def nodes(self) -> list[NodeProcess]:
        """All of them."""
        return self.cluster.nodes

    @property
    def standstills(self) -> int:
        """How often the machine stood still for so long that a new leader is no storm's fault."""
        return self._watch.count

    def client_ports(self) -> list[int]:
        """Both listeners of every node."""
        return [port for node in self.nodes for port in (node.port, node.standalone_port)]

    def check(self, storm: str) -> None:
        """Fail unless the cluster is as well as it was before anything."""
        if self._watch.count > self._standstills_seen:
            self._standstills_seen = self._watch.count
            self.leader = self.cluster.wait_until_whole()
            self.term = self._term()
        self._check_service()
        for node in self.nodes:
            assert node.is_running(), f"node {node.node_id} ended in {storm}\n{node.log_tail()}"
            self._check_log(node, storm)
        term = self._term()
        assert term == self.term or self._watch.count > self._standstills_seen, (
            f"{storm} led to an election: term {self.term} -> {term}"
        )
        if hasattr(self, "_before"):
            for node in self.nodes:
                self._check_process(node, storm)

    def _check_service(self) -> None:
        """Write on every face of every node, and read it back on all."""
        self._checks += 1
        for node in self.nodes:
            key, value = f"canary:{node.node_id}", f"{self._checks}:{node.node_id}".encode()
            assert ask(node.standalone_port, "SET", key, value) == b"OK"
            assert ask(self.leader.port, "GET", key) == value
            for other in self.nodes:
                assert ask(other.standalone_port, "GET", key) == value
        assert ask(self.leader.port, "SET", "canary", str(self._checks)) == b"OK"
        for node in self.nodes:
            with node.connect() as wire:
                wire.call("READONLY")
                assert wire.call("GET", "canary") == str(self._checks).encode()

    def _check_log(self, node: NodeProcess, storm: str) -> None:
        text = node.log_text()
        new = text[self._log_bytes_seen[node.node_id] :]
        self._log_bytes_seen[node.node_id] = len(text)
        for word in _BAD_WORDS:
            assert word not in new, f"node {node.node_id} logged {word!r} in {storm}:\n{new[-4000:]}"

    def _check_process(self, node: NodeProcess, storm: str) -> None:
        before = self._before[node.node_id]
        with contextlib.suppress(AssertionError):
            wait_until(lambda: look_at(node).sockets <= before.sockets, "sockets back")
        after = look_at(node)
        assert after.sockets <= before.sockets, (
            f"node {node.node_id} has {after.sockets} sockets after {storm}, {before.sockets} before"
        )
        grown = after.memory_bytes - before.memory_bytes
        self.growth_bytes_max = max(self.growth_bytes_max, grown)
        assert grown <= GROWTH_BYTES_MAX, (
            f"node {node.node_id} grew by {grown >> 20} MB up to {storm}, now {after.memory_bytes >> 20} MB"
        )

    def _term(self) -> int:
        """The newest term of all nodes."""
        return max(int(node.raft()["raft_current_term"]) for node in self.nodes)


def look_at(node: NodeProcess) -> Look:
    """Read a node's memory and sockets from /proc."""
    proc = Path("/proc") / str(node.pid)
    pages = int((proc / "statm").read_text().split()[1])
    sockets = 0
    for each in (proc / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            sockets += os.readlink(each).startswith(_SOCKET)
    return Look(pages * os.sysconf("SC_PAGE_SIZE"), sockets)


@contextlib.contextmanager
def arena(directory: Path, *, seed: int) -> Iterator[Arena]:
    """Run a cluster with taps until the end of the block; at its end all replicas must be equal."""
    cluster = Cluster(directory, settings=SETTINGS)
    ports = free_ports(len(cluster.nodes))
    peer_ports = {node.node_id: port for node, port in zip(cluster.nodes, ports, strict=True)}
    tapped = {_hide(node, peer_ports[node.node_id]): peer_ports[node.node_id] for node in cluster.nodes}
    with StandstillWatch() as watch, Taps(tapped, seed=seed) as taps:
        try:
            cluster.start_and_wait()
            yield Arena(cluster, taps, watch, peer_ports)
            cluster.wait_for_equal_digests()
        finally:
            cluster.close()


def _hide(node: NodeProcess, port: int) -> int:
    """Let a node listen for peers on another port than the one that it announces; return the latter."""
    path = node.directory / "node.toml"
    own, bracket, members = path.read_text().partition("[[members]]")
    lines = own.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("peer_port"))
    announced = int(lines[place].partition("=")[2])
    lines[place] = f"peer_port = {port}\nannounce_peer_port = {announced}"
    path.write_text("\n".join(lines) + "\n" + bracket + members)
    return announced


def in_turn(source: random.Random, count: int, ports: list[int]) -> list[int]:
    """Return `count` ports, each about equally often, in a random order."""
    chosen = [ports[place % len(ports)] for place in range(count)]
    source.shuffle(chosen)
    return chosen


def served(port: int) -> bool:
    """Whether a node answers a PING at the moment."""
    try:
        return bool(ask(port, "PING") == b"PONG")
    except NoAnswer:
        return False
