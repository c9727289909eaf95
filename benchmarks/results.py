"""Everything that a run of the benchmarks found, and what follows from it by arithmetic."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.workload import Run, Workload


@dataclass(slots=True)
class Results:
    """Filled while the benchmarks run."""

    #: In the order of the tables' columns; ratios are of the first one to each other.
    systems: Sequence[str]
    machine: Mapping[str, str]
    #: Proofs that a system syncs before it answers, by system.
    durability: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    #: Seconds of each takeover, by system.
    takeovers: dict[str, list[float]] = field(default_factory=dict)
    keys: list[LoadedKeys] = field(default_factory=list)
    #: What was not measured, and why.
    left_out: list[str] = field(default_factory=list)

    def write_json(self, path: Path) -> None:
        """Write all runs, not only the medians."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def sections(self) -> list[str]:
        """Return the sections that have runs, in their order."""
        return list(dict.fromkeys(run.section for run in self.runs))

    def workloads(self, section: str) -> list[Workload]:
        """Return the section's loads in their order."""
        return list(dict.fromkeys(run.workload for run in self.runs if run.section == section))

    def of(self, section: str, system: str, workload: Workload) -> list[Run]:
        """Return the runs of one load on one system, round by round; none if it was left out."""
        return [
            run for run in self.runs if (run.section, run.system, run.workload) == (section, system, workload)
        ]

    def per_second(self, section: str, system: str, workload: Workload) -> float | None:
        """Return the median of the rounds; None where it was left out."""
        found = self.of(section, system, workload)
        return statistics.median(run.outcome.per_second for run in found) if found else None

    def ratio(self, section: str, workload: Workload, other: str) -> float | None:
        """Return the median over the rounds of the first system's throughput to that of `other`.

        None where one of the two was left out.
        """
        first = self.of(section, self.systems[0], workload)
        theirs = {run.round: run.outcome.per_second for run in self.of(section, other, workload)}
        pairs = [(run.outcome.per_second, theirs[run.round]) for run in first if run.round in theirs]
        return statistics.median(mine / their for mine, their in pairs) if pairs else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedKeys:
    """What many keys cost a system, and how long one of its processes takes to come back with them."""

    system: str
    count: int
    value_bytes: int
    #: Memory that each process grew by, per key.
    memory_bytes: dict[str, float]
    #: From the start of a process that was killed (kill -9) until it answers one of the keys correctly.
    restart_part: str
    restart_seconds: list[float]
