"""Benchmarks raftkv on this machine, beside Redis, and beside another checkout if asked to.

python -m benchmarks                                        raftkv and Redis, about 7 minutes
python -m benchmarks --quick                                the same in about 1 minute, less sure
python -m benchmarks --against ../before --no-redis         what a change gained, by ratio
python -m benchmarks --command set --pipeline 1 16          part of the loads

Three durable nodes each, redis-benchmark with 50 connections and values of 64 bytes, always the same key
unless --keys says otherwise. The systems take turns run by run, so that a machine which slows down slows
down all of them. Compare ratios, not figures of different runs.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.load import Disturbed, Run, Workload, measure, requests_for
from benchmarks.report import Results, describe_machine
from benchmarks.systems import Raftkv, Redis, System
from benchmarks.takeover import takeover_seconds
from tests.integration.cluster import CHECKOUT

_COMMANDS = ("set", "get", "incr")
_PIPELINES = (1, 16, 64)
#: How often a run is tried while leadership moves under it.
_TRIES = 4


def main() -> int:
    """Parse the command line, measure, print and write."""
    arguments = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if sys.stdout.isatty() else 160)
    directory = Path(tempfile.mkdtemp(prefix="raftkv-bench-", dir=arguments.dir))
    checkouts = {"raftkv": CHECKOUT}
    if arguments.against:
        checkouts["against"] = arguments.against.resolve()
    raftkvs = [Raftkv(name, directory / name, checkout) for name, checkout in checkouts.items()]
    systems: list[System] = [*raftkvs, *([] if arguments.no_redis else [Redis(directory / "redis")])]
    results = Results([system.name for system in systems], describe_machine(directory, checkouts))
    try:
        for system in systems:
            system.start()
            system.rest()
        _measure_throughput(systems, arguments, results, console)
        for system in raftkvs if arguments.takeovers else ():
            system.wake()
            results.takeovers[system.name] = takeover_seconds(system, times=arguments.takeovers)
            system.rest()
    finally:
        for system in systems:
            system.close()
    shutil.rmtree(directory)
    results.show(console)
    results.write_json(arguments.json)
    console.print(f"all runs: {arguments.json}", highlight=False)
    return 0


def _measure_throughput(
    systems: Sequence[System], arguments: argparse.Namespace, results: Results, console: Console
) -> None:
    """Let the systems take turns run by run; who begins rotates."""
    workloads = [
        Workload(command, pipeline) for command in arguments.command for pipeline in arguments.pipeline
    ]
    turn = _Turn(arguments)
    for round_number in range(1, arguments.rounds + 1):
        for workload in workloads:
            first = round_number % len(systems)
            for system in (*systems[first:], *systems[:first]):
                run = turn.measure(system, workload, round_number)
                results.runs.append(run)
                console.print(
                    f"round {round_number}: {workload!s:12} {run.system:8} {run.per_second:10,.0f} /s",
                    highlight=False,
                )


class _Turn:
    """One system's turn with one load; remembers how many requests make a run of the wanted length."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._requests: dict[tuple[str, Workload], int] = {}

    def measure(self, system: System, workload: Workload, round_number: int) -> Run:
        """Wake the system, measure, and let it rest; what was disturbed is measured again."""
        for _ in range(_TRIES):
            system.wake()
            try:
                return self._measure(system, workload, round_number)
            except Disturbed as disturbed:
                print(f"again: {disturbed}", file=sys.stderr)
            finally:
                system.rest()
        raise SystemExit(f"{system.name} was disturbed {_TRIES} times in a row")

    def _measure(self, system: System, workload: Workload, round_number: int) -> Run:
        arguments, key = self._arguments, (system.name, workload)
        if key not in self._requests:
            self._requests[key] = requests_for(
                system, workload, keys=arguments.keys, seconds=arguments.seconds
            )
        requests = self._requests[key]
        return measure(system, workload, round_number=round_number, keys=arguments.keys, requests=requests)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--against", type=Path, help="another checkout of raftkv to compare with")
    parser.add_argument("--no-redis", action="store_true", help="leave Redis out")
    parser.add_argument("--command", nargs="+", default=_COMMANDS, choices=_COMMANDS)
    parser.add_argument("--pipeline", nargs="+", type=int, default=_PIPELINES)
    parser.add_argument("--keys", type=int, default=1, help="how many different keys (default 1)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each load (default 3)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one run (default 4)")
    parser.add_argument("--takeovers", type=int, default=7, help="how often the leader is killed (default 7)")
    parser.add_argument("--quick", action="store_true", help="one round of short runs, 3 kills")
    parser.add_argument(
        "--dir", type=Path, help="where data goes (default: the directory for temporary files)"
    )
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="default: bench.json")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds, arguments.takeovers = 1, 1.0, 3
    return arguments


if __name__ == "__main__":
    sys.exit(main())
