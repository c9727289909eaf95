"""One run of redis-benchmark, and the processor time that it cost each process of the system."""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.systems import System

_CONNECTIONS = 50
_VALUE_BYTES = 64
#: Requests of the run that finds out how many a measured run takes.
_PROBE_REQUESTS = 5_000
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Disturbed(Exception):
    """Leadership moved during a run: it says nothing and has to be done again."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked, and how many requests a connection sends before it waits for the replies."""

    command: str
    pipeline: int

    def __str__(self) -> str:
        return f"{self.command.upper()} -P {self.pipeline}"


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run."""

    system: str
    workload: Workload
    round: int
    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    #: Processor seconds per million requests, by part of the system.
    cpu_seconds: Mapping[str, float]


def requests_for(system: System, workload: Workload, *, keys: int, seconds: float) -> int:
    """Try the load briefly; return how many requests take about `seconds`.

    The system must be awake. Raises Disturbed.
    """
    probe = _PROBE_REQUESTS * workload.pipeline
    line = _redis_benchmark(system.port(), workload, keys=keys, requests=probe)
    return max(probe, int(float(line["rps"]) * seconds))


def measure(system: System, workload: Workload, *, round_number: int, keys: int, requests: int) -> Run:
    """Run the load once. The system must be awake. Raises Disturbed."""
    pids = system.pids()
    port = system.port()
    before = {part: _cpu_seconds(pid) for part, pid in pids.items()}
    line = _redis_benchmark(port, workload, keys=keys, requests=requests)
    spent = {part: _cpu_seconds(pid) - before[part] for part, pid in pids.items()}
    if system.port() != port:
        raise Disturbed(f"{system.name} changed its leader during a run")
    return Run(
        system=system.name,
        workload=workload,
        round=round_number,
        requests=requests,
        per_second=float(line["rps"]),
        p50_ms=float(line["p50_latency_ms"]),
        p99_ms=float(line["p99_latency_ms"]),
        cpu_seconds={part: seconds / requests * 1e6 for part, seconds in spent.items()},
    )


def _redis_benchmark(port: int, workload: Workload, *, keys: int, requests: int) -> dict[str, str]:
    """Return the one line of its CSV output. `keys`: how many different ones, 1 for always the same."""
    options = ["-p", port, "-c", _CONNECTIONS, "-d", _VALUE_BYTES, "-P", workload.pipeline, "-n", requests]
    if keys > 1:
        options += ["-r", keys]
    command = ["redis-benchmark", "--csv", "-t", workload.command, *(str(option) for option in options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = list(csv.DictReader(done.stdout.splitlines()))
    if "MOVED" in done.stderr or "CLUSTERDOWN" in done.stderr:
        raise Disturbed(done.stderr.strip())
    if done.returncode != 0 or len(lines) != 1:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return lines[0]


def _cpu_seconds(pid: int) -> float:
    """Return user and system time of a process (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
