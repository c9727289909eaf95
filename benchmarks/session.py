"""One session of benchmarks: starts the systems, has them prove that they are durable, lets them take turns.

Knows in which order things are measured, nothing of how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks import durability, plan, slow_sync
from benchmarks.loaded_keys import measure_keys
from benchmarks.measuring import Turn
from benchmarks.plan import Delay, Pace
from benchmarks.results import Results
from benchmarks.systems.system import Surroundings, System
from benchmarks.takeover import takeover_seconds
from benchmarks.workload import LoadFailed, Unsupported, Workload

#: Makes a system anew in a directory of its own.
Factory = Callable[[Path, Surroundings], System]

#: Why etcd has no place among the delayed syncs.
_OWN_SYSCALLS = {"etcd": "is a Go program: its syncs don't go through the C library, and can't be delayed"}


class Session:
    """Measures section by section into `results`."""

    def __init__(
        self, factories: Sequence[Factory], directory: Path, *, pace: Pace, results: Results, console: Console
    ) -> None:
        """`directory` is where all data goes."""
        self._factories = factories
        self._directory = directory
        self._pace = pace
        self._results = results
        self._console = console
        self._starts = 0

    def measure_loads(self, sections: dict[str, list[Workload]], *, with_takeovers: bool) -> None:
        """Measure sections of loads, and how long a takeover takes, on one start of all systems.

        Raises NotDurable.
        """
        if not sections and not with_takeovers:
            return
        with self._running(Surroundings()) as systems:
            for section, workloads in sections.items():
                self._take_turns(systems, workloads, section=section)
            for system in systems if with_takeovers else ():
                self._measure_takeovers(system)

    def measure_delays(self) -> None:
        """Measure with late links, then with late syncs. Raises NotDurable."""
        for delay in plan.delays(self._pace):
            try:
                surroundings = self._delayed(delay)
            except Unsupported as reason:
                self._results.left_out.append(str(reason))
                continue
            without = _OWN_SYSCALLS if delay.kind == "fsync" else {}
            with self._running(surroundings, without=without) as systems:
                self._take_turns(systems, plan.delayed_loads(delay), section="delays", rounds=1)

    def measure_keys(self) -> None:
        """Measure what many keys cost, on a fresh start of each system. Raises NotDurable."""
        with self._running(Surroundings()) as systems:
            for system in systems:
                self._say(f"keys: {system.name} gets {self._pace.keys_loaded:,} keys")
                system.wake()
                self._results.keys.append(measure_keys(system, self._pace.keys_loaded))
                system.rest()

    @contextmanager
    def _running(
        self, surroundings: Surroundings, without: dict[str, str] | None = None
    ) -> Iterator[list[System]]:
        """Start all systems but some, prove that each is durable, and let them rest; end them afterwards."""
        self._starts += 1
        systems: list[System] = []
        try:
            for number, factory in enumerate(self._factories):
                directory = self._directory / f"{self._starts}-{number}"
                system = factory(directory, surroundings)
                if reason := (without or {}).get(system.name):
                    self._results.left_out.append(f"{system.name} {reason}")
                    continue
                systems.append(system)
                self._say(f"start of {system.name}")
                system.start()
                proof = durability.prove(system, self._directory)
                self._results.durability.setdefault(system.name, proof)
                system.rest()
            yield systems
        finally:
            for system in systems:
                system.close()

    def _take_turns(
        self, systems: Sequence[System], workloads: Sequence[Workload], *, section: str, rounds: int = 0
    ) -> None:
        """Let the systems take turns run by run; who begins rotates. What fails once is left out."""
        without: set[tuple[str, Workload]] = set()
        turn = Turn(seconds=self._pace.seconds)
        for round_number in range(1, (rounds or plan.rounds_of(section, self._pace)) + 1):
            for workload in workloads:
                first = round_number % len(systems)
                for system in (*systems[first:], *systems[:first]):
                    if (system.name, workload) in without:
                        continue
                    try:
                        system.check(workload)
                        run = turn.measure(system, workload, section=section, round_number=round_number)
                    except (Unsupported, LoadFailed) as reason:
                        without.add((system.name, workload))
                        self._results.left_out.append(f"{workload}: {system.name} {reason}")
                        self._say(self._results.left_out[-1])
                        continue
                    self._results.runs.append(run)
                    rate = f"{run.outcome.per_second:10,.0f} /s"
                    self._say(f"{section}, round {round_number}: {workload!s:30} {system.name:8} {rate}")

    def _measure_takeovers(self, system: System) -> None:
        self._say(f"failover: {system.name}")
        found: list[float] = []
        if system.takes_over:
            system.wake()
            found = takeover_seconds(system, times=self._pace.takeovers)
            system.rest()
        self._results.takeovers[system.name] = found

    def _delayed(self, delay: Delay) -> Surroundings:
        if delay.kind == "link":
            return Surroundings(link_ms=delay.milliseconds)
        return Surroundings(environment=slow_sync.environment(self._directory, delay_ms=delay.milliseconds))

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False)
