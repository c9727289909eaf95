"""Kills nodes with `kill -9` under load, round after round, and checks that nothing acknowledged is lost.

python -m tests.integration.kill_rounds --rounds 100 --seed 1     that many rounds
python -m tests.integration.kill_rounds --seconds 600 --seed 1    as many as fit

The seed decides whom and when to kill and what the clients send; what the processes do in between is
the machine's. A failing run keeps its directory (configuration, data, logs of every node).
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.integration.accounts import complaints_about, content_of
from tests.integration.cluster import Cluster, NodeProcess
from tests.integration.history import Operation
from tests.integration.workload import Board, Reader, Writer

_WRITER_COUNT = 8
_READER_COUNT = 2
_COUNTER_COUNT = 4
_LIST_COUNT = 8
#: Acknowledged operations by which a round begins, and ends once all nodes are back.
_WARM_UP_COUNT = 50
_COMPLAINTS_SHOWN = 20
_KINDS = ("leader", "any", "two", "all", "paused", "turned")
_KIND_WEIGHTS = (30, 20, 5, 20, 10, 15)


#: Small, so that flushes of state/ and evictions happen all the time, and a crash comes in between.
SETTINGS = {"flush_commands_max": 300, "cache_bytes_max": 16 << 10}


class RoundFailed(Exception):
    """What was read is not what clients had been told."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One round's kills, drawn from the seed."""

    #: "leader", "any", "two" or "all"; "paused": the leader is stopped and goes on; "turned": the followers
    #: die first, then the leader, and the followers have to serve without it.
    kind: str
    #: Seconds under load before the kill, before the restart, and before the second kill.
    load_seconds: float
    down_seconds: float
    #: Seconds after the restart, so that recovery is hit too; negative: no second kill.
    again_seconds: float

    @classmethod
    def draw(cls, source: random.Random) -> Plan:
        """Make one round's plan."""
        return cls(
            kind=source.choices(_KINDS, weights=_KIND_WEIGHTS)[0],
            load_seconds=source.uniform(0.05, 0.8),
            down_seconds=source.choice((0.0, source.uniform(0.0, 1.5))),
            again_seconds=source.uniform(0.0, 0.8) if source.random() < 0.3 else -1.0,
        )


@dataclass(slots=True)
class Tally:
    """What a run did so far."""

    rounds: int = 0
    acknowledged: int = 0
    uncertain: int = 0
    refused: int = 0
    reads: int = 0

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds, {self.acknowledged} acknowledged, {self.uncertain} uncertain, "
            f"{self.refused} refused, {self.reads} reads"
        )


class KillRounds:
    """A run: one cluster, one seed. Nothing runs before the first round."""

    def __init__(self, cluster: Cluster, *, seed: int) -> None:
        self._cluster = cluster
        self._seed = seed
        #: Every key that was checked, with a hash of what it held then and must hold for good.
        self._settled: dict[bytes, bytes] = {}
        self.tally = Tally()

    def run_round(self) -> None:
        """Load, kill, restart, stop the load, check. Raises RoundFailed."""
        self.tally.rounds += 1
        number = self.tally.rounds
        source = random.Random(f"{self._seed}:{number}")
        plan = Plan.draw(source)
        self._cluster.start_and_wait()
        counters = [f"counter:{number}:{place}".encode() for place in range(_COUNTER_COUNT)]
        lists = [f"list:{number}:{place}".encode() for place in range(_LIST_COUNT)]
        board, stop = Board(), threading.Event()
        # Half of the clients know a cluster, to the others every node is a single Redis.
        faces = (
            [node.port for node in self._cluster.nodes],
            [node.standalone_port for node in self._cluster.nodes],
        )
        writers = [
            Writer(
                f"w{number}.{place}",
                faces[place % 2],
                _fork(source),
                board,
                stop,
                counters=counters,
                lists=lists,
            )
            for place in range(_WRITER_COUNT)
        ]
        readers = [
            Reader(f"r{number}.{place}", faces[place % 2], _fork(source), board, stop, counters=counters)
            for place in range(_READER_COUNT)
        ]
        clients = [*writers, *readers]
        for client in clients:
            client.start()
        try:
            self._kill_and_restart(plan, source, board)
        finally:
            stop.set()
            for client in clients:
                client.join()
        self._check(number, plan, board, [writer.operations for writer in writers], counters, lists)

    def finish(self) -> None:
        """Kill all once more; every key of every round must still be what it was. Raises RoundFailed."""
        self._cluster.start_and_wait()
        self._wait_until_expired()
        before = self._cluster.wait_for_equal_digests()
        _kill(self._cluster.nodes)
        leader = self._restarted_leader()
        after = self._cluster.wait_for_equal_digests()
        complaints = [] if before == after else [f"the digest changed from {before!r} to {after!r}"]
        with leader.connect() as wire:
            complaints += [
                f"{key!r} changed after its round"
                for key, digest in self._settled.items()
                if _digest(content_of(wire, key)) != digest
            ]
        if complaints:
            raise RoundFailed(_report("the last look", complaints))

    def _kill_and_restart(self, plan: Plan, source: random.Random, board: Board) -> None:
        self._wait_for_acknowledged(board, _WARM_UP_COUNT)
        time.sleep(plan.load_seconds)
        leader = self._cluster.wait_for_leader()
        followers = [node for node in self._cluster.nodes if node is not leader]
        if plan.kind == "paused":
            _pause(leader, plan.down_seconds)
        elif plan.kind == "turned":
            _kill(followers)
            time.sleep(plan.down_seconds / 4)
            _kill([leader])
            for node in followers:
                node.start()
            self._cluster.wait_for_leader()
        else:
            _kill(self._victims(plan, source, leader))
            time.sleep(plan.down_seconds)
        self._cluster.start()
        if plan.again_seconds >= 0:
            time.sleep(plan.again_seconds)
            _kill([source.choice(self._cluster.nodes)])
            self._cluster.start()
        self._cluster.wait_until_whole()
        self._wait_for_acknowledged(board, board.acknowledged_count + _WARM_UP_COUNT)

    def _victims(self, plan: Plan, source: random.Random, leader: NodeProcess) -> Sequence[NodeProcess]:
        nodes = self._cluster.nodes
        if plan.kind == "leader":
            return [leader]
        if plan.kind == "all":
            return nodes
        return source.sample(nodes, 1 if plan.kind == "any" else 2)

    def _wait_for_acknowledged(self, board: Board, count: int) -> None:
        self._cluster.wait_for(
            lambda: board.acknowledged_count >= count or board.complaints, f"{count} acknowledged operations"
        )

    def _wait_until_expired(self) -> None:
        """Wait until nothing is left but the keys that stay."""
        expected = sum(digest != _digest(b"") for digest in self._settled.values())
        with self._cluster.wait_for_leader().connect() as wire:
            self._cluster.wait_for(
                lambda: wire.call("DBSIZE") == expected, f"{expected} keys left once all others expired"
            )

    def _restarted_leader(self) -> NodeProcess:
        self._cluster.start()
        return self._cluster.wait_until_whole()

    def _check(
        self,
        number: int,
        plan: Plan,
        board: Board,
        histories: Sequence[Sequence[Operation]],
        counters: Sequence[bytes],
        lists: Sequence[bytes],
    ) -> None:
        """Compare what the store holds with what every client was told, and the replicas."""
        complaints = list(board.complaints)
        with self._cluster.wait_until_whole().connect() as wire:
            complaints += complaints_about(wire, histories, counters=counters, lists=lists)
            self._settled |= {key: _digest(content_of(wire, key)) for key in (*counters, *lists)}
        self._cluster.wait_for_equal_digests()
        self._count(histories, board)
        if complaints:
            raise RoundFailed(_report(f"round {number} ({plan})", complaints))

    def _count(self, histories: Sequence[Sequence[Operation]], board: Board) -> None:
        outcomes = [each.outcome.value for operations in histories for each in operations]
        self.tally.acknowledged += outcomes.count("acknowledged")
        self.tally.uncertain += outcomes.count("uncertain")
        self.tally.refused += outcomes.count("refused")
        self.tally.reads += board.read_count


def _fork(source: random.Random) -> random.Random:
    return random.Random(source.getrandbits(64))


def _kill(nodes: Sequence[NodeProcess]) -> None:
    """Kill all before waiting for any."""
    for node in nodes:
        if node.is_running():
            node.send_kill()
    for node in nodes:
        node.wait_for_end()


def _pause(node: NodeProcess, seconds: float) -> None:
    """Stop a process for a while; it may have lost its place when it goes on."""
    node.signal(signal.SIGSTOP)
    time.sleep(seconds)
    node.signal(signal.SIGCONT)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _report(where: str, complaints: Sequence[str]) -> str:
    lines = [f"{where}: {len(complaints)} complaints", *complaints[:_COMPLAINTS_SHOWN]]
    return "\n  ".join(lines)


def main() -> int:
    """Parse the command line and run; 1 when a round failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.kill_rounds", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, help="default: 100, unless --seconds is given")
    parser.add_argument("--seconds", type=float, help="begin no round after this long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=3, choices=(3, 5, 7))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rounds_max = arguments.rounds or (sys.maxsize if arguments.seconds else 100)
    seconds_max = arguments.seconds or float("inf")
    return _run(rounds_max, seconds_max, seed=arguments.seed, node_count=arguments.nodes)


def _run(rounds_max: int, seconds_max: float, *, seed: int, node_count: int) -> int:
    directory = Path(tempfile.mkdtemp(prefix="raftkv-kill-rounds-"))
    cluster = Cluster(directory, node_count=node_count, settings=SETTINGS)
    run = KillRounds(cluster, seed=seed)
    begin = time.monotonic()
    try:
        while run.tally.rounds < rounds_max and time.monotonic() - begin < seconds_max:
            run.run_round()
            if run.tally.rounds % 10 == 0:
                print(f"{time.monotonic() - begin:.0f} s: {run.tally}", flush=True)
        run.finish()
    except (RoundFailed, AssertionError) as failure:
        print(f"FAILED in round {run.tally.rounds}: {failure}\nkept: {directory}")
        options = f"--rounds {run.tally.rounds} --seed {seed} --nodes {node_count}"
        print(f"again: python -m tests.integration.kill_rounds {options}")
        return 1
    finally:
        cluster.close()
    print(f"ok: {run.tally} in {time.monotonic() - begin:.0f} s, seed {seed}")
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
