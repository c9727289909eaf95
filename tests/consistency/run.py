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

from tests.consistency.accounts import LAST_LOOK, complaints_by_key
from tests.consistency.checker import TooHard, Violation, check
from tests.consistency.drawing import draw, explain, span_of
from tests.consistency.faults import Faults
from tests.consistency.figures import Figures
from tests.consistency.history import History, Operation, by_key
from tests.consistency.last_look import LastLook
from tests.consistency.recorder import Recorder
from tests.consistency.stage import Stage, fork
from tests.integration.cluster import Cluster

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
    #: What is wrong with the sums, by key.
    complaints: dict[bytes, list[str]] = field(default_factory=dict)

    def write(self, directory: Path) -> list[Path]:
        """Write the history, and a picture of each violation and of each key whose sum is wrong."""
        directory.mkdir(parents=True, exist_ok=True)
        paths = [directory / "history.jsonl"]
        self.history.write(paths[0])
        for number, violation in enumerate(self.violations, 1):
            paths.append(directory / f"violation-{number}.svg")
            paths[-1].write_text(
                explain(self.history, violation.contradicting, key=violation.key, text=str(violation))
            )
        groups = by_key(self.history.operations)
        for number, (key, complaints) in enumerate(self.complaints.items(), 1):
            paths.append(directory / f"sum-{number}.svg")
            paths[-1].write_text(_picture(self.history, groups[key], "\n".join(complaints)))
        return paths


@dataclass(slots=True)
class Result:
    """What a run came to."""

    seed: int
    figures: Figures
    findings: list[Finding] = field(default_factory=list)
    #: What else was wrong.
    complaints: list[str] = field(default_factory=list)
    #: What happened at last, if that went wrong.
    last: History | None = None

    @property
    def violations(self) -> list[Violation]:
        """What no register could have answered."""
        return [violation for finding in self.findings for violation in finding.violations]

    @property
    def sum_complaints(self) -> list[str]:
        """What is wrong with sums."""
        return [
            f"key {key.decode('latin-1')} {text}"
            for finding in self.findings
            for key, texts in finding.complaints.items()
            for text in texts
        ]

    @property
    def is_good(self) -> bool:
        """Whether nothing was found; what could not be decided is told in the figures."""
        return not self.violations and not self.sum_complaints and not self.complaints

    def __str__(self) -> str:
        undecided = [f"NOT DECIDED: {text}" for each in self.findings for text in each.undecided]
        found = [*map(str, self.violations), *self.sum_complaints]
        return "\n".join([*found, *undecided, *self.complaints, self.figures.report()])

    def write(self, directory: Path) -> list[Path]:
        """Write all that was found; the nodes' directories hold their logs."""
        directory.mkdir(parents=True, exist_ok=True)
        paths = [directory / "result.txt"]
        paths[0].write_text(f"seed {self.seed}\n{self}\n")
        for number, finding in enumerate(self.findings, 1):
            paths += finding.write(directory / f"finding-{number}")
        if self.last is not None and self.last.operations:
            paths += [directory / "last.jsonl", directory / "last.svg"]
            self.last.write(paths[-2])
            paths[-1].write_text(_picture(self.last, self.last.operations, "\n".join(self.complaints)))
        return paths


def _picture(history: History, operations: Sequence[Operation], text: str) -> str:
    """Draw some operations of a history, and what was done to nodes meanwhile; last looks stand out."""
    shown = History(list(operations), history.faults)
    looks = [each for each in operations if each.client == LAST_LOOK]
    return draw(shown, span_of(operations), highlighted=looks, text=text)


class Run:
    """One run: a stage, a seed, a time."""

    def __init__(
        self, stage: Stage, *, seed: int, seconds: float, say: Callable[[str], None] = print
    ) -> None:
        """It lasts for `seconds`, and until every kind of fault was done once, or something is found.

        `say` is handed a line of progress now and then.
        """
        self._stage = stage
        self._seed = seed
        self._source = random.Random(seed)
        self._seconds = seconds
        self._say = say
        self._recorder = Recorder()
        self._findings: list[Finding] = []
        self._backlog = asyncio.Queue[History]()
        self._stop = asyncio.Event()

    async def run(self) -> Result:
        """Run, and end every process that was started. Called once."""
        cluster = None
        try:
            cluster = await self._stage.open()
            await asyncio.to_thread(cluster.start_and_wait)
            await self._load(cluster)
            if self._recorder.complaints:
                for node in cluster.nodes:
                    node.end_with_stacks()
        finally:
            if cluster is not None:
                cluster.close()
            await self._stage.close()
        terms = {term for node in cluster.nodes for term in _LEADER_LINE.findall(node.log_text())}
        self._recorder.figures.elections_count = len(terms)
        last = self._recorder.take_rest() if self._recorder.complaints else None
        return Result(self._seed, self._recorder.figures, self._findings, self._recorder.complaints, last)

    async def _load(self, cluster: Cluster) -> None:
        faults = self._stage.faults(self._recorder, fork(self._source))
        clients = self._stage.clients(self._recorder, fork(self._source))
        last_look = LastLook(cluster.nodes, self._recorder)
        clients_stop = asyncio.Event()
        self._recorder.figures.restart_silence(time.monotonic_ns())
        async with asyncio.TaskGroup() as group:
            judging = group.create_task(self._judge_all(last_look))
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
                self._turn()
                await self._backlog.join()
                await self._end(cluster, last_look)
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

    async def _judge_all(self, last_look: LastLook) -> None:
        """Check turns that are over, in a process of its own: the relay must not wait."""
        spawn = multiprocessing.get_context("spawn")
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(1, mp_context=spawn, initializer=os.nice, initargs=(10,)) as judge:
            while True:
                history = await self._backlog.get()
                await last_look.end(history)
                verdict = await loop.run_in_executor(judge, judged, history)
                await self._take(history, verdict)
                self._backlog.task_done()

    async def _take(self, history: History, verdict: Verdict) -> None:
        figures = self._recorder.figures
        figures.undecided_count += verdict.undecided_count
        figures.checked_count += len(history.operations) - verdict.undecided_count
        if not verdict.violated_keys and not verdict.undecided and not verdict.complaints:
            return
        finding = Finding(history, undecided=verdict.undecided, complaints=verdict.complaints)
        for text in verdict.undecided:
            self._say(f"NOT DECIDED: {text}")
        groups = by_key(history.operations)
        for key in verdict.violated_keys:  # again, for the operations of this process
            finding.violations += await asyncio.to_thread(check, groups[key])
        if finding.violations or finding.complaints or len(self._findings) < _UNDECIDED_KEPT_MAX:
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

    async def _end(self, cluster: Cluster, last_look: LastLook) -> None:
        """Look at what was settled long ago, and compare the replicas, now that nobody writes."""
        complaints, figures = self._recorder.complaints, self._recorder.figures
        complaints += await last_look.complaints()
        figures.settled_count = last_look.settled_count
        try:
            figures.digest = (await asyncio.to_thread(cluster.wait_for_equal_digests)).decode()
        except AssertionError as failure:
            complaints.append(f"at the end: {failure}")

    @property
    def _is_found(self) -> bool:
        is_wrong = any(finding.violations or finding.complaints for finding in self._findings)
        return is_wrong or bool(self._recorder.complaints)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker says of one turn."""

    violated_keys: list[bytes]
    #: Of each key that could not be judged, why, and the operations on all such keys.
    undecided: list[str]
    undecided_count: int
    #: About sums, by key.
    complaints: dict[bytes, list[str]]


def judged(history: History) -> Verdict:
    """Judge each key by itself, so that one that is too hard hides no other."""
    violated, undecided, undecided_count = [], [], 0
    for key, group in by_key(history.operations).items():
        try:
            if check(group):
                violated.append(key)
        except TooHard as given_up:
            undecided.append(str(given_up))
            undecided_count += len(group)
    return Verdict(violated, undecided, undecided_count, complaints_by_key(history))
