"""A process that stood still (a large entry, SIGSTOP, a starved machine) and goes on."""

from __future__ import annotations

from raftkv.raft import FOLLOWER, PRE_CANDIDATE
from tests.node.driven_cluster import three_nodes


def test_a_follower_that_stood_still_reads_its_leaders_heartbeats_before_it_campaigns() -> None:
    """DESIGN.md, Raft core: a big entry never delays a heartbeat past the election timeout."""
    cluster = three_nodes()
    follower = cluster[2]
    follower.clock.advance(5_000)
    follower.tick()
    assert follower.core.role is FOLLOWER
    cluster[1].clock.advance(100)  # its next heartbeat is due, as many were meanwhile
    cluster[1].tick()
    cluster.settle()
    follower.clock.advance(10)
    follower.tick()
    cluster.settle()
    assert follower.core.role is FOLLOWER
    assert cluster.leader is cluster[1]


def test_a_follower_that_always_stands_still_campaigns_all_the_same() -> None:
    """Ticks that are far apart are left out every other time at most, or a slow machine had no leader."""
    cluster = three_nodes()
    cluster.isolate(1)
    follower = cluster[2]
    for _ in range(2):
        follower.clock.advance(5_000)
        follower.tick()
    assert follower.core.role is PRE_CANDIDATE
