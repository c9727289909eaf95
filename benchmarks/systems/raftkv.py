"""raftkv: three nodes at default settings, of this checkout or of another."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from benchmarks import redis_benchmark
from benchmarks.durability import NotDurable
from benchmarks.relay_process import RelayProcess
from benchmarks.systems import resp
from benchmarks.systems.system import Member, Surroundings
from benchmarks.workload import At, Disturbed, Outcome, Unsupported, Workload
from tests.integration.cluster import Cluster, NodeProcess
from tests.integration.wire import NoAnswer, Wire, ask
from tests.ports import free_ports

#: What its settings about syncs, if it had any, would be called. These two it shows to tools for Redis.
_SYNC_SETTINGS = {b"appendonly": b"yes", b"appendfsync": b"always"}
_NODE_COUNT = 3


class RaftkvMember:
    """One node."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node

    @property
    def pid(self) -> int:
        return self._node.pid

    def kill(self) -> None:
        self._node.send_kill()

    def start(self) -> None:
        self._node.wait_for_end()
        self._node.start()

    def writer(self) -> Callable[[], bool]:
        return resp.writer(self._node.port)

    def serves(self, key: str, value: str) -> bool:
        return resp.serves(self._node.standalone_port, key, value)


class Raftkv:
    """Every acknowledged write is synced by two of the nodes."""

    takes_over = True

    def __init__(self, name: str, directory: Path, checkout: Path, surroundings: Surroundings) -> None:
        """`checkout` is whose raftkv is run."""
        self.name = name
        self._relay = None
        relays = free_ports(_NODE_COUNT) if surroundings.link_ms is not None else []
        self.cluster = Cluster(directory, checkout=checkout, peer_relays=relays)
        for node in self.cluster.nodes:
            node.environment.update(surroundings.environment)
        if surroundings.link_ms is not None:
            targets = [node.peer_port for node in self.cluster.nodes]
            self._relay = RelayProcess(
                dict(zip(relays, targets, strict=True)), delay_ms=surroundings.link_ms, directory=directory
            )

    def start(self) -> None:
        if self._relay:
            self._relay.start()
        self.cluster.start_and_wait()

    def prove_durable(self) -> str:
        for node in self.cluster.nodes:
            with Wire(node.port) as wire:
                reply = wire.call("CONFIG", "GET", "*")
            settings = dict(zip(reply[::2], reply[1::2], strict=True))
            about = {name: text for name, text in settings.items() if b"sync" in name or b"append" in name}
            about = {name: text for name, text in about.items() if name in _SYNC_SETTINGS or b"sync" in name}
            if about != _SYNC_SETTINGS:
                raise NotDurable(f"{self.name}, node {node.node_id}: settings about syncs are {about}")
        return "no setting turns syncs off"

    def members(self) -> dict[str, Member]:
        leader = self.cluster.wait_for_leader()
        first, second = (node for node in self.cluster.nodes if node is not leader)
        parts = {"leader": leader, "follower 1": first, "follower 2": second}
        return {part: RaftkvMember(node) for part, node in parts.items()}

    def check(self, workload: Workload) -> None:
        if workload.at is not At.LEADER and not self.cluster.nodes[0].standalone_port:
            raise Unsupported("has no port for clients that know no cluster")

    def prepare(self, workload: Workload) -> None:
        resp.prepare(self.cluster.wait_for_leader().port, workload)

    def run(self, workload: Workload, *, requests: int) -> Outcome:
        port = self._port(workload.at)
        outcome = redis_benchmark.run(port, workload, requests=requests)
        if self._port(workload.at) != port:
            raise Disturbed(f"{self.name} changed its leader during a run")
        return outcome

    def load_keys(self, count: int, value: str) -> None:
        resp.load_keys(self.cluster.wait_for_leader().port, count, value)

    def wait_until_whole(self) -> None:
        self.cluster.wait_until_whole()

    def rest(self) -> None:
        for node in self.cluster.nodes:
            node.signal(signal.SIGSTOP)
        if self._relay:
            self._relay.signal(signal.SIGSTOP)

    def wake(self) -> None:
        if self._relay:
            self._relay.signal(signal.SIGCONT)
        for node in self.cluster.nodes:
            node.signal(signal.SIGCONT)
        # What nodes say of their leader may be from before the pause; a write takes a majority now.
        self.cluster.wait_for(self._is_write_acknowledged, "a write is acknowledged")
        self.cluster.wait_until_whole()

    def close(self) -> None:
        self.cluster.close()
        if self._relay:
            self._relay.close()

    def _port(self, at: At) -> int:
        leader = self.cluster.wait_for_leader()
        if at is At.LEADER:
            return leader.port
        if at is At.LEADER_STANDALONE:
            return leader.standalone_port
        return next(node.standalone_port for node in self.cluster.nodes if node is not leader)

    def _is_write_acknowledged(self) -> bool:
        try:
            return bool(ask(self.cluster.wait_for_leader().port, "SET", "awake", "1") == b"OK")
        except NoAnswer:
            return False
