"""Redis: a master that syncs every write before it answers, and two asynchronous replicas of the same kind.

That is a weaker promise than raftkv's: what a client was told may be on the master's disk alone.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from benchmarks import redis_benchmark
from benchmarks.durability import NotDurable
from benchmarks.relay_process import RelayProcess
from benchmarks.systems import resp
from benchmarks.systems.server_process import ServerProcess
from benchmarks.systems.system import Member, Surroundings
from benchmarks.workload import At, Outcome, Unsupported, Workload
from tests.integration.waiting import wait_until
from tests.integration.wire import NoAnswer, ask
from tests.ports import free_ports

_DURABLE = {"appendonly": "yes", "appendfsync": "always"}


class RedisMember(ServerProcess):
    """One redis-server."""

    port = 0

    def writer(self) -> Callable[[], bool]:
        return resp.writer(self.port)

    def serves(self, key: str, value: str) -> bool:
        return resp.serves(self.port, key, value)


class Redis:
    """Nobody takes over by itself: that needs Redis Sentinel or Redis Cluster."""

    takes_over = False

    def __init__(self, directory: Path, surroundings: Surroundings, *, appendfsync: str = "always") -> None:
        self.name = "Redis"
        self._relay = None
        self._servers: list[RedisMember] = []
        master, *replicas = free_ports(3)
        source = master
        if surroundings.link_ms is not None:
            (source,) = free_ports(1)
            self._relay = RelayProcess({source: master}, delay_ms=surroundings.link_ms, directory=directory)
        for port in (master, *replicas):
            own = directory / str(port)
            own.mkdir(parents=True)
            options = ["--port", port, "--dir", own, "--save", "", "--bind", "127.0.0.1"]
            options += ["--appendonly", "yes", "--appendfsync", appendfsync]
            # A replica waits 5 s for others to join it in its first synchronisation, unless told not to.
            options += ["--repl-diskless-sync-delay", "0"]
            if port != master:
                options += ["--replicaof", f"127.0.0.1 {source}"]
            command = ["redis-server", *map(str, options)]
            server = RedisMember(command, log=own / "redis.log", environment=surroundings.environment)
            server.port = port
            self._servers.append(server)

    def start(self) -> None:
        if self._relay:
            self._relay.start()
        for server in self._servers:
            server.start()
        self.wait_until_whole()

    def prove_durable(self) -> str:
        for server in self._servers:
            for name, wanted in _DURABLE.items():
                _, found = ask(server.port, "CONFIG", "GET", name)
                if found.decode() != wanted:
                    raise NotDurable(f"{self.name} at port {server.port} has {name} {found.decode()}")
        return ", ".join(f"{name} {value}" for name, value in _DURABLE.items())

    def members(self) -> dict[str, Member]:
        return dict(zip(("master", "replica 1", "replica 2"), self._servers, strict=True))

    def check(self, workload: Workload) -> None:
        if workload.at is At.FOLLOWER_STANDALONE and workload.command != "get":
            raise Unsupported("a replica takes no writes")

    def prepare(self, workload: Workload) -> None:
        resp.prepare(self._servers[0].port, workload)

    def run(self, workload: Workload, *, requests: int) -> Outcome:
        at_follower = workload.at is At.FOLLOWER_STANDALONE
        return redis_benchmark.run(self._servers[int(at_follower)].port, workload, requests=requests)

    def load_keys(self, count: int, value: str) -> None:
        resp.load_keys(self._servers[0].port, count, value)

    def wait_until_whole(self) -> None:
        def both_follow() -> bool:
            try:
                reply = ask(self._servers[0].port, "INFO", "replication")
            except NoAnswer:
                return False
            return isinstance(reply, bytes) and reply.count(b"state=online") == 2

        wait_until(both_follow, "Redis serves with two replicas")

    def rest(self) -> None:
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._signal(signal.SIGCONT)
        self.wait_until_whole()

    def close(self) -> None:
        for server in self._servers:
            server.close()
        if self._relay:
            self._relay.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._relay:
            self._relay.signal(number)
        for server in self._servers:
            server.signal(number)
