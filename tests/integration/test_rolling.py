"""Upgrading and exchanging all machines while clients use the cluster loses nothing.

Source: thesis §4, DESIGN.md "Raft core".
"""

from __future__ import annotations

from pathlib import Path

from tests.integration.cluster import Cluster
from tests.integration.rolling import SETTINGS, Rolling


def test_nothing_is_lost_while_all_nodes_are_restarted_and_then_replaced(tmp_path: Path) -> None:
    """Thesis §4: each change leaves majorities that overlap; a leader that goes hands over."""
    cluster = Cluster(tmp_path, settings=SETTINGS)
    run = Rolling(cluster, seed=1)
    try:
        run.begin()
        run.restart_all()
        run.replace_all()
        assert run.end() == []
    finally:
        cluster.close()
