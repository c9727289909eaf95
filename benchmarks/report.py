"""What was measured, as a table for the eye and as JSON for what comes later."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.load import Run, Workload


@dataclass(slots=True)
class Results:
    """Everything of one run of the benchmarks."""

    #: In the order of the table's columns; ratios are of the first one to each other.
    systems: Sequence[str]
    machine: Mapping[str, str]
    runs: list[Run] = field(default_factory=list)
    #: Seconds of each takeover, by system.
    takeovers: dict[str, list[float]] = field(default_factory=dict)

    def write_json(self, path: Path) -> None:
        """Write all runs, not only the medians."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def show(self, console: Console) -> None:
        """Print the tables."""
        for title, content in self.machine.items():
            console.print(f"{title}: {content}", highlight=False)
        if self.runs:
            console.print(self._throughput())
            console.print(self._processor())
        if self.takeovers:
            console.print(self._takeovers())

    def ratio(self, workload: Workload, other: str) -> float:
        """Return the median over the rounds of the first system's throughput to that of `other`."""
        first = {run.round: run.per_second for run in self._of(self.systems[0], workload)}
        pairs = [(first[run.round], run.per_second) for run in self._of(other, workload)]
        return statistics.median(mine / theirs for mine, theirs in pairs)

    def _workloads(self) -> list[Workload]:
        return list(dict.fromkeys(run.workload for run in self.runs))

    def _of(self, system: str, workload: Workload) -> list[Run]:
        return [run for run in self.runs if run.system == system and run.workload == workload]

    def _throughput(self) -> Table:
        first, *others = self.systems
        table = Table(title="requests per second: median (lowest - highest), p50 / p99 in ms")
        table.add_column("load")
        for name in self.systems:
            table.add_column(name, justify="right")
        for name in others:
            table.add_column(f"{first} / {name}", justify="right", style="bold")
        for workload in self._workloads():
            cells = [_throughput_cell(self._of(name, workload)) for name in self.systems]
            ratios = [f"{self.ratio(workload, name):.2f}" for name in others]
            table.add_row(str(workload), *cells, *ratios)
        return table

    def _processor(self) -> Table:
        table = Table(title="processor seconds per million requests: median, by process")
        table.add_column("load")
        for name in self.systems:
            table.add_column(name, justify="right")
        for workload in self._workloads():
            table.add_row(
                str(workload), *(_processor_cell(self._of(name, workload)) for name in self.systems)
            )
        return table

    def _takeovers(self) -> Table:
        table = Table(title="seconds from kill -9 of the leader to the first write on another node")
        for heading in ("system", "times", "median", "worst"):
            table.add_column(heading, justify="left" if heading == "system" else "right")
        for name, seconds in self.takeovers.items():
            table.add_row(name, str(len(seconds)), f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}")
        return table


def describe_machine(directory: Path, checkouts: Mapping[str, Path]) -> dict[str, str]:
    """Say what the figures depend on: processor, disk, versions."""
    described = {
        "machine": f"{os.cpu_count()} x {_processor_name()}, Linux {platform.release()}",
        "disk": f"{_filesystem_of(directory)} at {directory}",
        "python": platform.python_version(),
        "redis-server": _first_line("redis-server", "--version"),
    }
    for name, checkout in checkouts.items():
        described[name] = _first_line("git", "-C", str(checkout), "describe", "--always", "--dirty")
    return described


def _throughput_cell(runs: Sequence[Run]) -> str:
    rates = [run.per_second for run in runs]
    p50, p99 = (statistics.median(each) for each in ([r.p50_ms for r in runs], [r.p99_ms for r in runs]))
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f} - {max(rates):,.0f}), {p50:.1f} / {p99:.1f}"


def _processor_cell(runs: Sequence[Run]) -> str:
    parts = runs[0].cpu_seconds
    return ", ".join(f"{statistics.median(run.cpu_seconds[part] for run in runs):.1f}" for part in parts)


def _processor_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem_of(directory: Path) -> str:
    """Return the type of the filesystem; on a tmpfs a sync costs nothing, and figures say little."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    under = [(len(place), kind) for _, place, kind, *_ in mounts if directory.is_relative_to(place)]
    kind = max(under)[1]
    return f"{kind} (NOT A DISK: syncs are free here)" if kind in ("tmpfs", "ramfs") else kind


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0] or "unknown"
