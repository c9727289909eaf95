"""Runs real nodes under faults and real clients, and checks that every reply is one that a single register
per key could have given.

python -m tests.consistency --seconds 3600 --seed 1        for that long
python -m tests.consistency --history history.jsonl        checks and draws a history that was written

A failing run keeps its directory: the configuration, data and log of every node, the seed, the history, and
a picture of the operations that contradict each other.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.consistency.checker import check
from tests.consistency.history import History
from tests.consistency.run import Finding, Run
from tests.consistency.stage import Loopback, Stage


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.consistency", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=3, choices=(3, 5, 7))
    parser.add_argument("--module", default="raftkv", help="what each node runs; see broken_node")
    parser.add_argument("--history", type=Path, help="check this instead of running anything")
    parsed = parser.parse_args(arguments)
    if parsed.history is not None:
        return _check_file(parsed.history)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return _run(parsed)


def _run(parsed: argparse.Namespace) -> int:
    directory = Path(tempfile.mkdtemp(prefix="raftkv-consistency-"))
    _say(f"in {directory}")
    stage = Loopback(directory, node_count=parsed.nodes, module=parsed.module)
    return run_and_tell(stage, directory, seed=parsed.seed, seconds=parsed.seconds)


def run_and_tell(stage: Stage, directory: Path, *, seed: int, seconds: float) -> int:
    """Run, and print what came of it; 1 when something was found, which is then kept in the directory."""
    result = asyncio.run(Run(stage, seed=seed, seconds=seconds, say=_say).run())
    if result.is_good and not result.findings:
        _say(f"ok: {result}\nseed {seed}")
        shutil.rmtree(directory)
        return 0
    _say(f"{'ok, but not all of it was decided' if result.is_good else 'FAILED'}: {result}")
    _say("\n".join(f"kept: {path}" for path in result.write(directory / "found")))
    _say(f"again: {stage.command} --seconds {seconds:g} --seed {seed}")
    return 0 if result.is_good else 1


def _check_file(path: Path) -> int:
    history = History.read(path)
    finding = Finding(history, check(history.operations))
    _say(f"{len(history.operations)} operations, {len(finding.violations)} violations")
    if not finding.violations:
        return 0
    _say("\n".join(map(str, finding.violations)))
    _say("\n".join(f"written: {each}" for each in finding.write(path.parent / "checked")))
    return 1


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
