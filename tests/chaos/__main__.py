"""Chaos on real nodes: five hosts in network namespaces, all kinds of faults, and every reply is checked.

python -m tests.chaos --seconds 1800 --seed 7                all kinds, in turn
python -m tests.chaos --only cut --only "full disk"           some kinds alone
python -m tests.chaos --minority-only                         a majority is well at any time

The seed decides what clients send and X
run keeps its directory: the seed, the histories, a picture of them, and each node's log and data.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.isolation import is_inside, reason_against, run_inside
from tests.chaos.stage import HostsStage
from tests.consistency.__main__ import run_and_tell

#: What this machine can't do at all: nothing was checked.
EXIT_SKIPPED = 77


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run; 1 when something was found."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=float, default=60.0, help="at least; every kind is done once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=5, choices=(3, 5, 7))
    parser.add_argument("--only", action="append", default=[], help="a kind, or the first word of kinds")
    parser.add_argument("--minority-only", action="store_true")
    parser.add_argument("--module", default="raftkv", help="what each node runs; see broken_node")
    parser.add_argument("--directory", type=Path, help="what is kept of a failing run goes here")
    parsed = parser.parse_args(words)
    if not is_inside():
        reason = reason_against()
        if reason:
            _say(f"skipped: {reason}")
            return EXIT_SKIPPED
        return run_inside("tests.chaos", words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return _run(parsed)


def _run(parsed: argparse.Namespace) -> int:
    directory = parsed.directory or Path(tempfile.mkdtemp(prefix="raftkv-chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    _say(f"in {directory}")
    stage = HostsStage(
        directory,
        node_count=parsed.nodes,
        module=parsed.module,
        only=parsed.only,
        is_minority_only=parsed.minority_only,
        say=_say,
    )
    return run_and_tell(stage, directory, seed=parsed.seed, seconds=parsed.seconds)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
