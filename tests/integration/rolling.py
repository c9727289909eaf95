"""Restarts every node under load, then replaces every node by a new one, and checks what clients were told.

python -m tests.integration.rolling --rounds 3 --seed 1

Prints the longest time in which no write was acknowledged, for each of the two. A failing run keeps its
directory (configuration, data, logs of every node).
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.accounts import complaints_about
from tests.integration.cluster import Cluster, NodeProcess
from tests.integration.wire import NoAnswer
from tests.integration.workload import Board, Reader, Writer

#: So small that newcomers need a snapshot.
SETTINGS = {"flush_bytes_max": 64 << 10, "log_tail_bytes": 64 << 10, "log_cache_bytes_max": 64 << 10}
_WRITERS_COUNT = 6
_READERS_COUNT = 2
_COUNTERS = [f"counter:{number}".encode() for number in range(4)]
_LISTS = [f"list:{number}".encode() for number in range(6)]


class Rolling:
    """One cluster under load, whose nodes are restarted and replaced."""

    def __init__(self, cluster: Cluster, *, seed: int) -> None:
        self._cluster = cluster
        self._source = random.Random(seed)
        self._stop = threading.Event()
        self.board = Board()
        #: What clients know; it changes as nodes come and go.
        self._ports: list[int] = []
        self._standalone_ports: list[int] = []
        self._note_ports()
        faces = (self._ports, self._standalone_ports)
        self._writers = [
            Writer(
                f"w{place}",
                faces[place % 2],
                self._fork(),
                self.board,
                self._stop,
                counters=_COUNTERS,
                lists=_LISTS,
            )
            for place in range(_WRITERS_COUNT)
        ]
        self._readers = [
            Reader(f"r{place}", faces[place % 2], self._fork(), self.board, self._stop, counters=_COUNTERS)
            for place in range(_READERS_COUNT)
        ]

    def begin(self) -> None:
        """Start the cluster, and the clients."""
        self._cluster.start_and_wait()
        for client in (*self._writers, *self._readers):
            client.start()
        self._wait_for_progress()

    def end(self) -> list[str]:
        """Stop the clients and say what is wrong."""
        self._stop.set()
        for client in (*self._writers, *self._readers):
            client.join()
        with self._cluster.wait_until_whole().connect() as wire:
            histories = [writer.operations for writer in self._writers]
            complaints = complaints_about(wire, histories, counters=_COUNTERS, lists=_LISTS)
        self._cluster.wait_for_equal_digests()
        return [*self.board.complaints, *complaints]

    def restart_all(self) -> float:
        """Restart every node as an upgrade does (SIGTERM); give the longest time without a write."""
        return self._measure(self._restart)

    def replace_all(self) -> float:
        """Replace every node by a new one that joins; give the longest time without a write."""
        return self._measure(self._replace)

    def _measure(self, change: Callable[[NodeProcess], None]) -> float:
        self.board.restart_silence()
        for node in list(self._cluster.nodes):
            change(node)
            self._wait_for_progress()
        return self.board.silence_seconds_max

    def _restart(self, node: NodeProcess) -> None:
        assert node.terminate() == 0, f"node {node.node_id} did not end cleanly"
        node.start()
        self._cluster.wait_until_whole()

    def _replace(self, node: NodeProcess) -> None:
        """The old one goes on until the new one votes; its process is ended after that."""
        others = [each for each in self._cluster.nodes if each is not node]
        newcomer = self._cluster.join(others[0], join_in_place_of=node.node_id)
        self._cluster.wait_for(lambda: _has_been_replaced(newcomer, node), f"node {node.node_id} is replaced")
        self._cluster.nodes.remove(node)
        self._note_ports()
        self._cluster.wait_for(
            lambda: "for good" in node.log_text() or None, f"node {node.node_id} knows that it was removed"
        )
        node.terminate()
        self._cluster.wait_until_whole()

    def _note_ports(self) -> None:
        self._ports[:] = [node.port for node in self._cluster.nodes]
        self._standalone_ports[:] = [node.standalone_port for node in self._cluster.nodes]

    def _wait_for_progress(self) -> None:
        count = self.board.acknowledged_count + 50
        self._cluster.wait_for(
            lambda: self.board.acknowledged_count >= count or self.board.complaints,
            f"{count} acknowledged writes",
        )

    def _fork(self) -> random.Random:
        return random.Random(self._source.getrandbits(64))


def _has_been_replaced(newcomer: NodeProcess, old: NodeProcess) -> bool | None:
    """Tell whether the newcomer votes, and the old one doesn't any more."""
    try:
        nodes = newcomer.ask("CLUSTER", "NODES")
    except NoAnswer:
        return None
    lines = nodes.decode().splitlines() if isinstance(nodes, bytes) else []
    is_in = any(f":{newcomer.port}@" in line for line in lines)
    return True if is_in and len(lines) > 1 and not any(f":{old.port}@" in line for line in lines) else None


def main() -> int:
    """Parse the command line and run; 1 when something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.rolling", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = Path(tempfile.mkdtemp(prefix="raftkv-rolling-"))
    cluster = Cluster(directory, settings=SETTINGS)
    run = Rolling(cluster, seed=arguments.seed)
    begin = time.monotonic()
    try:
        run.begin()
        for number in range(1, arguments.rounds + 1):
            restarts, replacements = run.restart_all(), run.replace_all()
            print(
                f"round {number}: longest without a write {restarts:.2f} s while restarted,"
                f" {replacements:.2f} s while replaced; {run.board.acknowledged_count} acknowledged",
                flush=True,
            )
        complaints = run.end()
    finally:
        cluster.close()
    if complaints:
        print(f"FAILED: {len(complaints)} complaints", *complaints[:20], f"kept: {directory}", sep="\n  ")
        return 1
    print(f"ok in {time.monotonic() - begin:.0f} s, seed {arguments.seed}; digests equal")
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
