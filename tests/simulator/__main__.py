"""Soak: run seed after seed, or one seed again.

python -m tests.simulator --seed 123 --nodes 5 --steps 10000    one seed, its failure with the trace's end
python -m tests.simulator --seed 1 --seeds 500                  seeds 1..500: 3 and 5 nodes in turn
python -m tests.simulator --seed 1 --seconds 600                as many as fit
python -m tests.simulator --seed 1 --seconds 600 --profile churn    groups of 1 to 5, members come and go
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulator.profile import PROFILES
from tests.simulator.run import RunResult, RunSpec, run

_PROGRESS_SECONDS = 10
#: Lines kept of a soaked run's trace; a failing seed is run again for the rest.
_TRACE_LINES_MAX = 2_000

#: How many nodes found the group, in turn.
_NODE_COUNTS = {"rough": (3, 5), "churn": (3, 1, 2, 5, 4)}


def main() -> int:
    """Parse the command line and run; 1 when a seed failed."""
    arguments = _parse()
    if arguments.seeds is None and arguments.seconds is None:
        return _run_one(arguments)
    return _soak(arguments)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seed", type=int, default=1, help="the (first) seed")
    parser.add_argument("--seeds", type=int, help="how many seeds to run")
    parser.add_argument("--seconds", type=float, help="stop beginning seeds after this long")
    parser.add_argument("--nodes", type=int, choices=range(1, 6), help="default: 3, in a soak see above")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="rough", help="how rough it is")
    parser.add_argument("--steps", type=int, default=10_000, help="events before the faults end")
    parser.add_argument("--trace", action="store_true", help="print the whole trace of the one seed")
    return parser.parse_args()


def _run_one(arguments: argparse.Namespace) -> int:
    result = run(RunSpec(arguments.seed, arguments.nodes or 3, arguments.steps, arguments.profile))
    if arguments.trace:
        _say("\n".join(result.trace_lines))
    _say(result.report() if result.failure else f"ok: {result.tally}, recovered in {result.recovery_ms} ms")
    return 1 if result.failure else 0


def _soak(arguments: argparse.Namespace) -> int:
    begin = last_progress = time.monotonic()
    seed = arguments.seed
    failures = steps = 0
    recovery_ms_max = 0
    while arguments.seeds is None or seed < arguments.seed + arguments.seeds:
        now = time.monotonic()
        if arguments.seconds is not None and now - begin >= arguments.seconds:
            break
        if now - last_progress >= _PROGRESS_SECONDS:
            last_progress = now
            _say(f"seed {seed}, {steps / (now - begin):.0f} steps/s, {failures} failed")
        node_counts = _NODE_COUNTS[arguments.profile]
        node_count = arguments.nodes or node_counts[seed % len(node_counts)]
        result = _soak_one(RunSpec(seed, node_count, arguments.steps, arguments.profile))
        failures += result.failure is not None
        steps += result.tally.steps
        recovery_ms_max = max(recovery_ms_max, result.recovery_ms)
        seed += 1
    seconds = time.monotonic() - begin
    _say(
        f"{seed - arguments.seed} seeds from {arguments.seed}, {steps} steps in {seconds:.0f} s, "
        f"slowest recovery {recovery_ms_max} ms, {failures} failed"
    )
    return 1 if failures else 0


def _soak_one(spec: RunSpec) -> RunResult:
    result = run(spec, trace_lines_max=_TRACE_LINES_MAX)
    if result.failure:
        _say(result.report())
    return result


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
