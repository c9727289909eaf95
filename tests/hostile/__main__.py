"""Storms on a real cluster of three nodes, one after the other, for as long as is asked for.

python -m tests.hostile --seconds 600 --seed 1         all kinds, in random orders
python -m tests.hostile --rounds 1 --only replays      one kind alone

The seed decides what is said and when; what the processes do in between is the machine's. A failing run keeps
its directory (configuration, data, logs of every node).
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.hostile import client_storms, peer_storms
from tests.hostile.arena import Arena, arena
from tests.integration.wire import NoAnswer

Storm = Callable[[Arena, random.Random], None]
STORMS: Sequence[Storm] = (*client_storms.STORMS, *peer_storms.STORMS)
#: Seconds between two lines of progress.
_PROGRESS_SECONDS = 30.0


def run_round(place: Arena, storms: Sequence[Storm], *, seed: int, number: int, tally: Counter[str]) -> None:
    """Raise every storm once, in an order that the seed decides, and look at the cluster after each."""
    order = list(storms)
    random.Random(f"{seed}:{number}").shuffle(order)
    for storm in order:
        name = storm.__name__
        print(f"round {number}: {name}", file=sys.stderr, flush=True)
        standstills = place.standstills
        try:
            storm(place, random.Random(f"{seed}:{number}:{name}"))
        except (AssertionError, NoAnswer):
            time.sleep(1.0)  # the watch may wake up after this
            if place.standstills == standstills:
                raise
            print(f"the machine stood still in {name}, which doesn't count", flush=True)
        place.check(name)
        tally[name] += 1


def main() -> int:
    """Parse the command line and run; 1 when the cluster was harmed."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=sys.maxsize)
    parser.add_argument("--seconds", type=float, default=60.0, help="begin no round after this long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=[storm.__name__ for storm in STORMS])
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    storms = [storm for storm in STORMS if not arguments.only or storm.__name__ in arguments.only]
    return _run(storms, arguments.rounds, arguments.seconds, seed=arguments.seed)


def _run(storms: Sequence[Storm], rounds_max: int, seconds_max: float, *, seed: int) -> int:
    directory = Path(tempfile.mkdtemp(prefix="raftkv-hostile-"))
    tally: Counter[str] = Counter()
    number = 0
    begin = said = time.monotonic()
    try:
        with arena(directory, seed=seed) as place:
            while number < rounds_max and time.monotonic() - begin < seconds_max:
                number += 1
                run_round(place, storms, seed=seed, number=number, tally=tally)
                if time.monotonic() - said > _PROGRESS_SECONDS:
                    said = time.monotonic()
                    print(f"{said - begin:.0f} s: {_figures(place, number, tally)}", flush=True)
            figures = _figures(place, number, tally)
    except Exception:  # noqa: BLE001 - told with what repeats it
        traceback.print_exc()
        print(f"FAILED in round {number}\nkept: {directory}")
        print(f"again: python -m tests.hostile --rounds {number} --seconds 86400 --seed {seed}")
        return 1
    print(f"ok: {figures} in {time.monotonic() - begin:.0f} s, seed {seed}; digests equal")
    shutil.rmtree(directory)
    return 0


def _figures(place: Arena, rounds: int, tally: Counter[str]) -> str:
    return (
        f"{rounds} rounds, {tally.total()} storms, term {place.term}, {place.standstills} standstills "
        f"of the machine, memory grew by {place.growth_bytes_max >> 20} MB at most"
    )


if __name__ == "__main__":
    sys.exit(main())
