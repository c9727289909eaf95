"""Benchmarks raftkv on this machine, beside Redis and etcd, and beside another checkout if asked to.

python -m benchmarks                                        everything, about 25 minutes
python -m benchmarks --quick                                the same in about 4 minutes, less sure
python -m benchmarks --section pipelines failover           part of it
python -m benchmarks --against ../before --no-redis --no-etcd --section pipelines
                                                            what a change gained, by ratio
python -m benchmarks --command set --pipeline 1 16 --value-bytes 1024
                                                            loads of your own, each with each

Three durable nodes each; 50 connections, values of 64 bytes, always the same key unless the load says
otherwise. The systems take turns run by run, so that a machine which slows down slows down all of them.
Compare ratios, not figures of different runs.

Sections: pipelines; connections (1 to 1,000); values (64 B to 1 MB); follower (where clients connect to);
costs (processor time, bytes written); delays (0, 1 and 10 ms more for links and for fsync); keys (memory per
key, restart); failover.

Exits with 2 when a system does not prove that it is durable.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks import plan, report
from benchmarks.durability import NotDurable
from benchmarks.machine import describe_machine
from benchmarks.results import Results
from benchmarks.session import Factory, Session
from benchmarks.systems.etcd import Etcd
from benchmarks.systems.raftkv import Raftkv
from benchmarks.systems.redis import Redis
from benchmarks.systems.system import Surroundings
from benchmarks.workload import COMMANDS, At, Workload
from tests.integration.cluster import CHECKOUT

#: Programs that a system takes, and the Debian packages that have them.
_PROGRAMS = {
    "Redis": {"redis-server": "redis-server"},
    "etcd": {"etcd": "etcd-server", "h2load": "nghttp2-client"},
}


#: Exit codes.
REFUSED = 2
_INTERRUPTED = 130


def main() -> int:
    """Parse the command line, measure, print and write."""
    arguments = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if sys.stdout.isatty() else 200)
    if shutil.which("redis-benchmark") is None:
        console.print("redis-benchmark is missing, and nothing loads without it: apt-get install redis-tools")
        return 1
    directory = Path(tempfile.mkdtemp(prefix="raftkv-bench-", dir=arguments.dir))
    checkouts = {"raftkv": CHECKOUT}
    if arguments.against:
        checkouts["against"] = arguments.against.resolve()
    factories = _factories(checkouts, arguments)
    results = Results(list(factories), describe_machine(directory, checkouts))
    for name, why in _missing(arguments).items():
        results.left_out.append(f"{name}: {why}")
    session = Session(
        list(factories.values()), directory, pace=_pace(arguments), results=results, console=console
    )
    try:
        code = measured(lambda: _measure(session, arguments), console)
    except BaseException:
        console.print("failed: what follows is a part, and the reason")
        _write(results, arguments.out, console)
        raise
    finally:
        shutil.rmtree(directory)
    if code != REFUSED:
        _write(results, arguments.out, console)
    return code


def measured(measure: Callable[[], None], console: Console) -> int:
    """Measure; return the exit code: 2 when a system does not prove that it is durable."""
    try:
        measure()
    except NotDurable as refusal:
        console.print(f"refused, since only durable systems are compared: {refusal}", highlight=False)
        return REFUSED
    except KeyboardInterrupt:
        console.print("interrupted: what follows is a part")
        return _INTERRUPTED
    return 0


def _measure(session: Session, arguments: argparse.Namespace) -> None:
    given = _given_loads(arguments)
    sections = arguments.section or ([] if given else plan.SECTIONS)
    loads = {name: plan.loads(name, _pace(arguments)) for name in plan.LOAD_SECTIONS if name in sections}
    if given:
        loads["given"] = given
    session.measure_loads(loads, with_takeovers="failover" in sections or arguments.takeovers is not None)
    if "delays" in sections:
        session.measure_delays()
    if "keys" in sections:
        session.measure_keys()


def _write(results: Results, directory: Path, console: Console) -> None:
    report.show(results, console)
    directory.mkdir(parents=True, exist_ok=True)
    results.write_json(directory / "bench.json")
    console.print(f"all runs: {directory / 'bench.json'}", highlight=False)
    try:
        from benchmarks import plots
    except ImportError:
        console.print("no plots without matplotlib: pip install '.[dev]'", markup=False)
        return
    for path in plots.draw(results, directory):
        console.print(f"plot: {path}", highlight=False)


def _factories(checkouts: dict[str, Path], arguments: argparse.Namespace) -> dict[str, Factory]:
    def raftkv(name: str, checkout: Path, directory: Path, surroundings: Surroundings) -> Raftkv:
        return Raftkv(name, directory, checkout, surroundings)

    found: dict[str, Factory] = {
        name: functools.partial(raftkv, name, checkout) for name, checkout in checkouts.items()
    }
    missing = _missing(arguments)
    if not arguments.no_redis and "Redis" not in missing:
        found["Redis"] = Redis
    if not arguments.no_etcd and "etcd" not in missing:
        found["etcd"] = Etcd
    return found


def _missing(arguments: argparse.Namespace) -> dict[str, str]:
    """Say of each system that was asked for what it lacks."""
    unasked = {"Redis": arguments.no_redis, "etcd": arguments.no_etcd}
    found: dict[str, str] = {}
    for name, programs in _PROGRAMS.items():
        packages = [package for program, package in programs.items() if shutil.which(program) is None]
        if packages and not unasked[name]:
            found[name] = f"apt-get install {' '.join(packages)}"
    return found


def _given_loads(arguments: argparse.Namespace) -> list[Workload]:
    """Return each with each of what the command line names; nothing if it names none."""
    given = (
        arguments.command,
        arguments.pipeline,
        arguments.connections,
        arguments.value_bytes,
        arguments.at,
    )
    if not any(given):
        return []
    return [
        Workload(
            command=command,
            pipeline=pipeline,
            connections=connections,
            value_bytes=value_bytes,
            keys=arguments.keys,
            at=At(at),
        )
        for command in arguments.command or ("set", "get", "incr")
        for at in arguments.at or (At.LEADER,)
        for connections in arguments.connections or (50,)
        for value_bytes in arguments.value_bytes or (64,)
        for pipeline in arguments.pipeline or (1, 16, 64)
    ]


def _pace(arguments: argparse.Namespace) -> plan.Pace:
    pace = plan.QUICK if arguments.quick else plan.FULL
    given = {name: getattr(arguments, name) for name in ("rounds", "seconds", "takeovers", "keys_loaded")}
    return replace(pace, **{name: value for name, value in given.items() if value is not None})


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--section", nargs="+", choices=plan.SECTIONS, help="default: all")
    parser.add_argument("--quick", action="store_true", help="one round of short runs")
    parser.add_argument("--against", type=Path, help="another checkout of raftkv to compare with")
    parser.add_argument("--no-redis", action="store_true", help="leave Redis out")
    parser.add_argument("--no-etcd", action="store_true", help="leave etcd out")
    own = parser.add_argument_group("loads of your own, each with each")
    own.add_argument("--command", nargs="+", choices=COMMANDS, help="default: set get incr")
    own.add_argument("--pipeline", nargs="+", type=int, help="default: 1 16 64")
    own.add_argument("--connections", nargs="+", type=int, help="default: 50")
    own.add_argument("--value-bytes", nargs="+", type=int, help="default: 64")
    own.add_argument("--at", nargs="+", choices=[str(at) for at in At], help="default: leader")
    own.add_argument("--keys", type=int, default=1, help="how many different keys (default 1)")
    pace = parser.add_argument_group("how long")
    pace.add_argument("--rounds", type=int, help="runs of each load (default 3, of most sections one less)")
    pace.add_argument("--seconds", type=float, help="length of one run (default 2)")
    pace.add_argument("--takeovers", type=int, help="how often the leader is killed (default 7)")
    pace.add_argument("--keys-loaded", type=int, help="keys of the section keys (default 1,000,000)")
    parser.add_argument(
        "--dir", type=Path, help="where data goes (default: the directory for temporary files)"
    )
    parser.add_argument("--out", type=Path, default=Path("bench"), help="where results go (default: bench/)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
