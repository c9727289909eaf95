"""How long a raftkv cluster is without a leader: from kill -9 of the old one to the first write elsewhere."""

from __future__ import annotations

import time

from benchmarks.systems import Raftkv
from tests.integration.failover import Survivors


def takeover_seconds(system: Raftkv, *, times: int) -> list[float]:
    """Kill the leader that often, each time out of a cluster that is whole. The system must be awake."""
    cluster = system.cluster
    found: list[float] = []
    for _ in range(times):
        leader = cluster.wait_until_whole()
        survivors = Survivors([node.port for node in cluster.nodes if node is not leader])
        begin = time.monotonic()
        leader.send_kill()
        found.append(survivors.seconds_to_first_write(begin))
        leader.wait_for_end()
        leader.start()
    cluster.wait_until_whole()
    return found
