"""One run: real nodes, clients of every face, faults, and a checker in a process of its own.

The seed decides what clients send and what is done to whom; what happens in between is the machine's, so a
failing seed may have to be run more than once. It goes by turns of a few seconds; the history of each is
checked while the next one runs, and only what was found is kept.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.consistency.checker import TooHard, Violation, check
from tests.consistency.drawing import explain
from tests.consistency.faces import CLIENTS_BY_FACE
from tests.consistency.faults import LEADER_PART, Faults
from tests.consistency.figures import Figures
from tests.consistency.history import History, Operation, by_key
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
#: Seconds after which clients turn to new keys, and the old ones are checked.
_TURN_SECONDS = 2.0
#: Turns that wait for the checker; more, and clients wait too.
_BACKLOG_MAX = 20
#: Histories that were too hard to check and are kept to be looked at.
_UNDECIDED_KEPT_MAX = 3
_PROGRESS_SECONDS = 10.0
#: A majority soon comes back after every fault: nobody being able to write for so long is a failure.
_SILENCE_SECONDS_MAX = 20.0
_STALL_LOOK_SECONDS = 0.02
#: Standing still for longer than this is taken into account.
_STALL_SECONDS_MAX = 1.0
_LEADER_LINE = re.compile(r": leader in term (\d+),")


@dataclass(slots=True)
class Finding:
    """A turn's history, and what is wrong with it."""

    history: History
    violations: list[Violation] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)

    def write(self, directory: Path) -> list[Path]:
        """Write the history, and a picture of each violation."""
        directory.mkdir(parents=True, exist_ok=True)
        paths = [directory / "history.jsonl"]
        self.history.write(paths[0])
        for number, violation in enumerate(self.violations, 1):
            paths.append(directory / f"violation-{number}.svg")
            paths[-1].write_text(
                explain(self.history, violation.contradicting, key=violation.key, text=str(violation))
            )
        return paths


@dataclass(slots=True)
class Result:
    """What a run came to."""

    seed: int
    figures: Figures
    findings: list[Finding] = field(default_factory=list)
    #: What else was wrong.
    complaints: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[Violation]:
        """What no register could have answered."""
        return [violation for finding in self.findings for violation in finding.violations]

    @property
    def is_good(self) -> bool:
        """Whether nothing was found; what could not be decided is told in the figures."""
        return not self.violations and not self.complaints

    def __str__(self) -> str:
        undecided = [f"NOT DECIDED: {text}" for each in self.findings for text in each.undecided]
        return "\n".join([*map(str, self.violations), *undecided, *self.complaints, self.figures.report()])

    def write(self, directory: Path) -> list[Path]:
        """Write all that was found; the nodes' directories hold their logs."""
        directory.mkdir(parents=True, exist_ok=True)
        paths = [directory / "result.txt"]
        paths[0].write_text(f"seed {self.seed}\n{self}\n")
        for number, finding in enumerate(self.findings, 1):
            paths += finding.write(directory / f"finding-{number}")
        return paths


class Run:
    """One run: a directory, a seed, a time."""

    def __init__(
        self,
        directory: Path,
        *,
        seed: int,
        seconds: float,
        node_count: int = 3,
        module: str = "raftkv",
        kinds: Sequence[str] = (),
        leader_part: float = LEADER_PART,
        say: Callable[[str], None] = print,
    ) -> None:
        """It lasts for `seconds`, and until every kind of fault was done once, or something is found.

        `module` is what each node's process runs, `kinds` are the faults (none: all), `leader_part` is how
        often it is the leader that is picked on, and `say` is handed a line of progress now and then.
        """
        self._directory = directory
        self._seed = seed
        self._source = random.Random(seed)
        self._seconds = seconds
        self._node_count = node_count
        self._module = module
        self._kinds = kinds
        self._leader_part = leader_part
        self._say = say
        self._relay = Relay()
        self._recorder = Recorder()
        self._findings: list[Finding] = []
        self._backlog = asyncio.Queue[History]()
        self._stop = asyncio.Event()

    async def run(self) -> Result:
        """Run, and end every process that was started. Called once."""
        node_ids = range(1, self._node_count + 1)
        ports = await self._relay.open(node_ids)
        cluster = Cluster(
            self._directory,
            node_count=self._node_count,
            settings=SETTINGS,
            module=self._module,
            peer_relays=ports,
        )
        self._relay.targets.update(zip(node_ids, [node.peer_port for node in cluster.nodes], strict=True))
        try:
            await asyncio.to_thread(cluster.start_and_wait)
            await self._load(cluster)
            if self._recorder.complaints:
                for node in cluster.nodes:
                    node.end_with_stacks()
        finally:
            cluster.close()
            await self._relay.close()
        terms = {term for node in cluster.nodes for term in _LEADER_LINE.findall(node.log_text())}
        self._recorder.figures.elections_count = len(terms)
        return Result(self._seed, self._recorder.figures, self._findings, self._recorder.complaints)

    async def _load(self, cluster: Cluster) -> None:
        timeout_seconds = SETTINGS["election_timeout_ms"] / 1000
        faults = Faults(
            cluster,
            self._relay,
            self._recorder,
            self._fork(),
            election_timeout_seconds=timeout_seconds,
            kinds=self._kinds,
            leader_part=self._leader_part,
        )
        clients = [
            Client(f"{face.name}-{number}", face, cluster.nodes, self._fork(), self._recorder)
            for face, count in CLIENTS_BY_FACE
            for number in range(1, count + 1)
        ]
        clients_stop = asyncio.Event()
        self._recorder.figures.restart_silence(time.monotonic_ns())
        async with asyncio.TaskGroup() as group:
            judging = group.create_task(self._judge_all())
            measuring = group.create_task(self._measure_stalls())
            watching = group.create_task(self._watch(cluster, faults))
            using = [group.create_task(client.run(clients_stop)) for client in clients]
            await self._do_faults(faults)
            await watching
            if not self._is_found:
                await self._settle(cluster)
            clients_stop.set()
            await asyncio.wait(using)
            measuring.cancel()
            if not self._is_found:
                await self._compare_replicas(cluster)
                self._turn()
                await self._backlog.join()
            judging.cancel()

    async def _do_faults(self, faults: Faults) -> None:
        try:
            await faults.run(self._stop)
        except AssertionError as failure:  # a node that doesn't end, or ended by itself
            self._recorder.complaints.append(str(failure))

    async def _watch(self, cluster: Cluster, faults: Faults) -> None:
        """Turn to new keys again and again, until the time is over or something is found."""
        figures, begin, turned = self._recorder.figures, time.monotonic(), 0.0
        said = begin
        while not self._is_found and not (faults.is_complete and time.monotonic() - begin >= self._seconds):
            await asyncio.sleep(_STALL_LOOK_SECONDS)
            now = time.monotonic()
            if now - turned >= _TURN_SECONDS:
                turned = now
                self._turn()
                await self._hold_clients()
            if figures.silence_seconds(time.monotonic_ns()) > _SILENCE_SECONDS_MAX:
                states = ", ".join(f"node {node.node_id} {node.process_state()}" for node in cluster.nodes)
                self._recorder.complaints.append(
                    f"nobody could write for {_SILENCE_SECONDS_MAX:g} s: {states}"
                )
            for node in cluster.nodes:
                if node.has_died():
                    self._recorder.complaints.append(f"node {node.node_id} ended by itself")
            if now - said >= _PROGRESS_SECONDS:
                said = now
                self._say(f"{now - begin:.0f} s: {figures}")
        self._stop.set()

    def _turn(self) -> None:
        self._recorder.turn()
        for history in self._recorder.take_closed():
            self._backlog.put_nowait(history)

    async def _hold_clients(self) -> None:
        """Let the checker come up with the clients, if it doesn't by itself: memory is bounded."""
        if self._backlog.qsize() < _BACKLOG_MAX:
            return
        self._say(f"clients wait for the checker: {self._backlog.qsize()} turns are not checked yet")
        self._recorder.may_send.clear()
        while self._backlog.qsize() > _BACKLOG_MAX // 2 and not self._is_found:
            await asyncio.sleep(_STALL_LOOK_SECONDS)
        self._recorder.may_send.set()
        self._recorder.figures.restart_silence(time.monotonic_ns())

    async def _judge_all(self) -> None:
        """Check turns that are over, in a process of its own: the relay must not wait."""
        spawn = multiprocessing.get_context("spawn")
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(1, mp_context=spawn, initializer=os.nice, initargs=(10,)) as judge:
            while True:
                history = await self._backlog.get()
                verdict = await loop.run_in_executor(judge, judged, history.operations)
                await self._take(history, verdict)
                self._backlog.task_done()

    async def _take(self, history: History, verdict: Verdict) -> None:
        figures = self._recorder.figures
        figures.undecided_count += verdict.undecided_count
        figures.checked_count += len(history.operations) - verdict.undecided_count
        if not verdict.violated_keys and not verdict.undecided:
            return
        finding = Finding(history, undecided=verdict.undecided)
        for text in verdict.undecided:
            self._say(f"NOT DECIDED: {text}")
        groups = by_key(history.operations)
        for key in verdict.violated_keys:  # again, for the operations of this process
            finding.violations += await asyncio.to_thread(check, groups[key])
        if finding.violations or len(self._findings) < _UNDECIDED_KEPT_MAX:
            self._findings.append(finding)

    async def _measure_stalls(self) -> None:
        figures = self._recorder.figures
        while True:
            begin_ns = time.monotonic_ns()
            await asyncio.sleep(_STALL_LOOK_SECONDS)
            stall_seconds = (time.monotonic_ns() - begin_ns) / 1e9 - _STALL_LOOK_SECONDS
            figures.stall_seconds_max = max(figures.stall_seconds_max, stall_seconds)
            if stall_seconds > _STALL_SECONDS_MAX:
                self._recorder.on_stall(begin_ns)

    async def _settle(self, cluster: Cluster) -> None:
        """Wait until the cluster is whole, with clients still at it."""
        try:
            await asyncio.to_thread(cluster.wait_until_whole)
        except AssertionError as failure:
            self._recorder.complaints.append(str(failure))

    async def _compare_replicas(self, cluster: Cluster) -> None:
        """Compare the replicas, now that nobody writes."""
        try:
            await asyncio.to_thread(cluster.wait_for_equal_digests)
        except AssertionError as failure:
            self._recorder.complaints.append(f"at the end: {failure}")

    @property
    def _is_found(self) -> bool:
        return any(finding.violations for finding in self._findings) or bool(self._recorder.complaints)

    def _fork(self) -> random.Random:
        return random.Random(self._source.getrandbits(64))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker says of one turn."""

    violated_keys: list[bytes]
    #: Of each key that could not be judged, why, and the operations on all such keys.
    undecided: list[str]
    undecided_count: int


def judged(operations: Sequence[Operation]) -> Verdict:
    """Judge each key by itself, so that one that is too hard hides no other."""
    violated, undecided, undecided_count = [], [], 0
    for key, group in by_key(operations).items():
        try:
            if check(group):
                violated.append(key)
        except TooHard as given_up:
            undecided.append(str(given_up))
            undecided_count += len(group)
    return Verdict(violated, undecided, undecided_count)
