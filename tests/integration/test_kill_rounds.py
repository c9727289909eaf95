"""The short form of `python -m tests.integration.kill_rounds`: kill -9 under load loses nothing."""

from __future__ import annotations

import random
from pathlib import Path

from tests.integration.cluster import Cluster
from tests.integration.kill_rounds import SETTINGS, KillRounds

_ROUNDS = 5


def test_nothing_acknowledged_is_lost_or_done_twice(tmp_path: Path) -> None:
    """Every promise of the README under `kill -9` of any node, the leader included, and of all at once."""
    seed = random.SystemRandom().randrange(1 << 31)
    print(f"again: python -m tests.integration.kill_rounds --rounds {_ROUNDS} --seed {seed}")
    cluster = Cluster(tmp_path, settings=SETTINGS)
    run = KillRounds(cluster, seed=seed)
    try:
        for _ in range(_ROUNDS):
            run.run_round()
        run.finish()
    finally:
        cluster.close()
    print(run.tally)
