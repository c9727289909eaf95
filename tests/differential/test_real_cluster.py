"""A real cluster of three processes answers as redis-server does."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftkv.commands import build_table
from tests.differential.generator import STEPS_COUNT, Generator
from tests.differential.runner import Runner
from tests.differential.servers import CLUSTER, ClusterServer, running_redis
from tests.differential.shrinking import shrunk
from tests.integration.cluster import running_cluster

pytestmark = pytest.mark.needs_tool("redis-server")

_SEEDS = range(1_000_001, 1_000_021)


def test_a_real_cluster_answers_as_redis_does(tmp_path: Path) -> None:
    """Redis, with sockets, disks and three processes on our side too."""
    table = build_table()
    with running_redis(tmp_path, CLUSTER) as redis, running_cluster(tmp_path / "cluster") as cluster:
        runner = Runner(ours=ClusterServer(cluster), theirs=redis)
        for seed in _SEEDS:
            mismatch = runner.run(Generator(table, seed).case(STEPS_COUNT))
            if mismatch is not None:
                pytest.fail(f"seed {seed}:\n{shrunk(runner, mismatch).report()}", pytrace=False)
        cluster.wait_for_equal_digests()
