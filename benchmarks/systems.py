"""The systems that are measured: three processes each, durable, on loopback.

Knows how each is started and where its clients go, nothing of what is measured. Only the one that is
being measured is awake: what rests is paused by SIGSTOP, so that its timers cost the other nothing.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Protocol

from tests.integration.cluster import Cluster, free_ports
from tests.integration.waiting import wait_until
from tests.integration.wire import NoAnswer, ask


class System(Protocol):
    """Three processes that serve one data set."""

    name: str

    def start(self) -> None:
        """Start and wait until it serves."""

    def port(self) -> int:
        """Return where writes go now."""

    def pids(self) -> dict[str, int]:
        """Return each process by its part: the one that takes the writes, then the others."""

    def rest(self) -> None:
        """Pause all processes."""

    def wake(self) -> None:
        """Let them go on, and wait until it serves again."""

    def close(self) -> None:
        """End all processes."""


class Raftkv:
    """Three nodes at default settings: every acknowledged write is synced by two of them."""

    def __init__(self, name: str, directory: Path, checkout: Path) -> None:
        """`checkout` is whose raftkv is run."""
        self.name = name
        self.cluster = Cluster(directory, checkout=checkout)

    def start(self) -> None:
        self.cluster.start_and_wait()

    def port(self) -> int:
        return self.cluster.wait_for_leader().port

    def pids(self) -> dict[str, int]:
        leader = self.cluster.wait_for_leader()
        first, second = (node for node in self.cluster.nodes if node is not leader)
        return {"leader": leader.pid, "follower 1": first.pid, "follower 2": second.pid}

    def rest(self) -> None:
        for node in self.cluster.nodes:
            node.signal(signal.SIGSTOP)

    def wake(self) -> None:
        for node in self.cluster.nodes:
            node.signal(signal.SIGCONT)
        # What nodes say of their leader may be from before the pause; a write takes a majority now.
        self.cluster.wait_for(self._is_write_acknowledged, "a write is acknowledged")
        self.cluster.wait_until_whole()

    def close(self) -> None:
        self.cluster.close()

    def _is_write_acknowledged(self) -> bool:
        try:
            return bool(ask(self.port(), "SET", "awake", "1") == b"OK")
        except NoAnswer:
            return False


class Redis:
    """A master that syncs every write before it answers, and two asynchronous replicas of the same kind."""

    def __init__(self, directory: Path) -> None:
        self.name = "Redis"
        self._directory = directory
        self._ports = free_ports(3)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        master, *_ = self._ports
        for port in self._ports:
            directory = self._directory / str(port)
            directory.mkdir(parents=True)
            options = ["--port", port, "--dir", directory, "--save", "", "--bind", "127.0.0.1"]
            options += ["--appendonly", "yes", "--appendfsync", "always"]
            if port != master:
                options += ["--replicaof", f"127.0.0.1 {master}"]
            with (directory / "redis.log").open("wb") as log:
                command = ["redis-server", *(str(option) for option in options)]
                self._processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
        self._wait_until_served()

    def port(self) -> int:
        return self._ports[0]

    def pids(self) -> dict[str, int]:
        parts = ("master", "replica 1", "replica 2")
        return {part: process.pid for part, process in zip(parts, self._processes, strict=True)}

    def rest(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGCONT)
        self._wait_until_served()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _wait_until_served(self) -> None:
        def both_follow() -> bool:
            try:
                reply = ask(self._ports[0], "INFO", "replication")
            except NoAnswer:
                return False
            return isinstance(reply, bytes) and reply.count(b"state=online") == 2

        wait_until(both_follow, "Redis serves with two replicas")
