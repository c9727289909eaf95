"""Real nodes that come, go, and come back after the log has moved on.

Source: Raft §6 and §7, DESIGN.md "Storage"; `raftkv serve --join`.
"""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis

from tests.integration.cluster import Cluster, NodeProcess

#: So small that a few thousand writes drop the log's beginning, and what is left in memory doesn't hide it.
SETTINGS = {
    "election_timeout_ms": 500,
    "log_cache_bytes_max": 64 << 10,
    "log_tail_bytes": 64 << 10,
    "flush_bytes_max": 64 << 10,
}
VALUE_BYTES = 1000


def write(node: NodeProcess, first: int, end: int) -> None:
    """Set the keys of [first, end) at the leader, to values that don't compress."""
    source = random.Random(first)
    with redis.Redis(port=node.port) as client:
        for start in range(first, end, 100):
            pipeline = client.pipeline(transaction=False)
            for number in range(start, min(start + 100, end)):
                pipeline.set(f"key-{number}", source.randbytes(VALUE_BYTES))
            pipeline.execute()


def key_count(node: NodeProcess) -> int:
    return int(node.ask("DBSIZE"))


def wait_for_compaction(cluster: Cluster, leader: NodeProcess) -> None:
    """Wait until the log no longer begins where it began."""

    def is_compacted() -> bool | None:
        raft = leader.raft()
        entries, newest = int(raft.get("raft_log_entries", 0)), int(raft.get("raft_current_index", 0))
        return True if 0 < entries < newest else None

    cluster.wait_for(is_compacted, "the leader's log is compacted")


def has_logged(cluster: Cluster, node: NodeProcess, text: str) -> None:
    """Wait until the node's log says so."""
    cluster.wait_for(lambda: text in node.log_text() or None, f"node {node.node_id} logs {text!r}")


def leave_one_behind(cluster: Cluster, count: int) -> tuple[NodeProcess, NodeProcess]:
    """Return the leader and a follower killed before `count` keys were written and the log was dropped."""
    leader = cluster.start_and_wait()
    absent = cluster.followers()[0]
    absent.kill()
    write(leader, 0, count)
    wait_for_compaction(cluster, leader)
    return leader, absent


def test_who_was_away_for_longer_than_the_log_gets_a_snapshot(tmp_path: Path) -> None:
    """Raft §7: what is missing is nowhere in the log any more."""
    cluster = Cluster(tmp_path, settings=SETTINGS)
    try:
        leader, absent = leave_one_behind(cluster, 3000)
        absent.start()
        has_logged(cluster, absent, "is in place")
        cluster.wait_for_equal_digests()
        assert key_count(absent) == 3000
        # It goes on from there as from any other state.
        absent.kill()
        write(leader, 3000, 3200)
        absent.start()
        cluster.wait_until_whole()
        cluster.wait_for_equal_digests()
        assert key_count(absent) == 3200
    finally:
        cluster.close()


def test_one_snapshot_is_enough_though_writes_go_on(tmp_path: Path) -> None:
    """Raft §7: what is written while it comes is more than the log's usual tail, and is kept all the same."""
    slowly = {"snapshot_rate_bytes_max": 4 << 20, "snapshot_chunk_bytes": 64 << 10}
    cluster = Cluster(tmp_path, settings={**SETTINGS, **slowly})
    has_caught_up = threading.Event()

    def write_on() -> None:
        while not has_caught_up.is_set():
            write(leader, 0, 500)

    try:
        leader, absent = leave_one_behind(cluster, 3000)
        with ThreadPoolExecutor() as pool:
            writing = pool.submit(write_on)
            try:
                absent.start()
                has_logged(cluster, absent, "is in place")
                index = int(leader.raft()["raft_commit_index"])
                cluster.wait_for(
                    lambda: int(absent.raft().get("raft_last_applied_index", 0)) > index or None,
                    "what was written meanwhile is there",
                )
            finally:
                has_caught_up.set()
            writing.result()
        cluster.wait_for_equal_digests()
        assert leader.log_text().count("needs a snapshot") == 1
    finally:
        has_caught_up.set()
        cluster.close()


def test_a_snapshot_on_its_way_survives_kill_9_of_either_end(tmp_path: Path) -> None:
    """What has come is kept; another leader's snapshot takes over what is the same."""
    slowly = {"snapshot_rate_bytes_max": 1 << 20, "snapshot_chunk_bytes": 64 << 10}
    cluster = Cluster(tmp_path, settings={**SETTINGS, **slowly})
    try:
        leader, absent = leave_one_behind(cluster, 4000)
        for _ in range(2):
            absent.start()
            cluster.wait_for(
                lambda: list((absent.data_dir / "incoming").glob("*/files/*.sst")) or None,
                "a part of the snapshot is here",
            )
            absent.kill()
        absent.start()
        leader.kill()
        leader.start()
        cluster.wait_until_whole()
        has_logged(cluster, absent, "is in place")
        cluster.wait_for_equal_digests()
        assert key_count(absent) == 4000
    finally:
        cluster.close()


def test_a_wiped_node_is_replaced_by_a_new_one(tmp_path: Path) -> None:
    """Thesis §4: a learner first, then in one step a voter in the other's place; ids are never used again."""
    cluster = Cluster(tmp_path, settings=SETTINGS)
    try:
        leader = cluster.start_and_wait()
        lost = cluster.followers()[0]
        lost.kill()
        write(leader, 0, 3000)
        newcomer = cluster.join(leader, join_in_place_of=lost.node_id)
        assert newcomer.node_id == 4
        has_logged(cluster, newcomer, f"voters {sorted({1, 2, 3, 4} - {lost.node_id})}, learners []")
        write(leader, 3000, 3100)
        cluster.nodes.remove(lost)
        cluster.wait_for_equal_digests()
        assert key_count(newcomer) == 3100
        # It keeps its id and its place when it is started again.
        newcomer.kill()
        newcomer.start()
        cluster.wait_for_equal_digests()
        # The one that it replaced learns of it when it comes back.
        lost.start()
        has_logged(cluster, lost, "this node was removed from the cluster for good")
        assert leader.raft()["raft_role"] == "leader"
    finally:
        lost.close()
        cluster.close()


def test_a_cluster_grows_from_one_node(tmp_path: Path) -> None:
    """A lone node takes others in, and is not needed for ever."""
    cluster = Cluster(tmp_path, node_count=1, settings=SETTINGS)
    try:
        first = cluster.start_and_wait()
        write(first, 0, 500)
        second = cluster.join(first)
        has_logged(cluster, second, "voters [1, 2], learners []")
        third = cluster.join(second)
        has_logged(cluster, third, "voters [1, 2, 3], learners []")
        cluster.wait_until_whole()
        first.kill()
        leader = cluster.wait_for(
            lambda: next(
                (node for node in (second, third) if node.raft().get("raft_role") == "leader"), None
            ),
            "one of the others leads",
        )
        write(leader, 500, 600)
        first.start()
        cluster.wait_until_whole()
        cluster.wait_for_equal_digests()
        assert key_count(first) == 600
    finally:
        cluster.close()


def test_a_node_that_may_not_join_says_why(tmp_path: Path) -> None:
    """The cluster's password; a voter to replace that there isn't."""
    cluster = Cluster(tmp_path, node_count=1, settings=SETTINGS)
    try:
        first = cluster.start_and_wait()
        for settings, reason in (
            ({"requirepass": "wrong"}, "the password is not the cluster's"),
            ({"join_in_place_of": 7}, "node 7 is no voter that could be replaced"),
        ):
            stranger = cluster.join(first, **settings)
            stranger.expect_end()
            assert stranger.wait_for_end() == 1
            assert reason in stranger.log_text()
    finally:
        cluster.close()
