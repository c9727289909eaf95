"""A real cluster of three processes answers as redis-server does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftkv.commands import build_table
from tests.differential.generator import STEPS_COUNT, Generator
from tests.differential.runner import Runner
from tests.differential.servers import ClusterServer, Face, RedisServer
from tests.differential.shrinking import shrunk
from tests.integration.cluster import Cluster, running_cluster

pytestmark = pytest.mark.needs_tool("redis-server")

_SEEDS = range(1_000_001, 1_000_013)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One for all faces."""
    # No change of leader in a case, however busy the machine is: redis-server has none either.
    patient = {"election_timeout_ms": 3000}
    with running_cluster(tmp_path_factory.mktemp("cluster"), settings=patient) as cluster:
        yield cluster


def test_a_real_cluster_answers_as_redis_does(face: Face, redis: RedisServer, cluster: Cluster) -> None:
    """Redis, with sockets, disks and three processes on our side too."""
    table = build_table()
    runner = Runner(ours=ClusterServer(cluster, face), theirs=redis)
    for seed in _SEEDS:
        mismatch = runner.run(Generator(table, seed).case(STEPS_COUNT))
        if mismatch is not None:
            pytest.fail(f"seed {seed}:\n{shrunk(runner, mismatch).report()}", pytrace=False)
    cluster.wait_for_equal_digests()
