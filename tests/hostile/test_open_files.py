"""A crowd of connections on a node that may open few files."""

from __future__ import annotations

import resource
from pathlib import Path

from tests.hostile.bare import Bare
from tests.integration.cluster import Cluster

_FILES_MAX = 300


def test_connections_do_not_take_the_files_that_the_databases_need(tmp_path: Path) -> None:
    """open_files: a node that can't open a file of its databases has to stop."""
    cluster = Cluster(tmp_path, node_count=1, settings={"flush_commands_max": 100})
    crowd: list[Bare] = []
    try:
        cluster.start()
        (node,) = cluster.nodes
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (_FILES_MAX, _FILES_MAX))
        cluster.wait_until_whole()
        with node.connect() as wire:
            assert wire.call("CONFIG", "GET", "maxclients") == [b"maxclients", b"37"]
            crowd += [Bare(node.port) for _ in range(_FILES_MAX + 20)]
            for turn in range(5):
                wire.send(*[("SET", f"{turn}:{place}", "x" * 1000) for place in range(200)])
                assert [wire.receive() for _ in range(200)] == [b"OK"] * 200
            assert b"max number of clients reached" in crowd[-1].hear(100, seconds_max=1.0)
    finally:
        for bare in crowd:
            bare.close()
        cluster.close()
