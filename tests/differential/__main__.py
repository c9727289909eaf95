"""Compare raftkv with a real redis-server.

python -m tests.differential --seed 1 --count 1000    cases of seeds 1 to 1000; stops at the first difference
python -m tests.differential --seed 7 --count 1       one seed again
python -m tests.differential --case FILE              a case as it was printed
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from raftkv.commands import build_table
from tests.differential.cases import case_of
from tests.differential.generator import STEPS_COUNT, Generator
from tests.differential.runner import Runner
from tests.differential.servers import FACES, DrivenServer, Face, running_redis
from tests.differential.shrinking import shrunk

_PROGRESS_SECONDS = 10


def main() -> int:
    """Parse the command line and run; 1 when there was a difference."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--count", type=int, default=1000, help="how many seeds")
    parser.add_argument(
        "--face", choices=sorted(FACES), default="cluster", help="as what both servers are run"
    )
    parser.add_argument("--case", type=Path, help="a file with a case, instead of seeds")
    parser.add_argument("--keep-going", action="store_true", help="don't stop at the first difference")
    arguments = parser.parse_args()
    face = FACES[arguments.face]
    with tempfile.TemporaryDirectory() as directory, running_redis(Path(directory), face) as redis:
        runner = Runner(ours=DrivenServer(face), theirs=redis)
        if arguments.case is not None:
            mismatch = runner.run(case_of(arguments.case.read_text()))
            _say(mismatch.report() if mismatch else "no difference")
            return int(mismatch is not None)
        return _run_seeds(runner, face, arguments)


def _run_seeds(runner: Runner, face: Face, arguments: argparse.Namespace) -> int:
    table = build_table()
    begin = last_progress = time.monotonic()
    failures = 0
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        mismatch = runner.run(Generator(table, seed).case(STEPS_COUNT))
        if mismatch is not None:
            failures += 1
            _say(shrunk(runner, mismatch).report())
            _say(f"python -m tests.differential --face {face.name} --seed {seed} --count 1")
            if not arguments.keep_going:
                break
        if time.monotonic() - last_progress > _PROGRESS_SECONDS:
            last_progress = time.monotonic()
            _say(f"seed {seed}, {runner.requests_count / (last_progress - begin):.0f} requests/s")
    seconds = time.monotonic() - begin
    _say(f"{runner.requests_count} requests in {seconds:.0f} s, {failures} cases differ")
    return int(failures > 0)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
