"""A real node whose install was cut off by a crash takes part again, from the snapshot on."""

from __future__ import annotations

from pathlib import Path

from raftkv.raft.types import HardState
from raftkv.storage import DataDir, IncomingSnapshot, KvStore, LogStore, Snapshot, make_snapshot
from tests.integration.cluster import NodeProcess, running_cluster
from tests.integration.test_faults import check, put
from tests.storage.states import send

KEY_COUNT = 500


def make(node: NodeProcess, folder: Path) -> Snapshot:
    """Make a snapshot of a node that was stopped."""
    store = KvStore(node.data_dir / "state", create=False)
    snapshot = make_snapshot(store, folder)
    store.close()
    return snapshot


def install_and_crash(node: NodeProcess, snapshot: Snapshot) -> None:
    """Do what comes before the reset of the log, and no more."""
    data_dir = DataDir.open(node.data_dir, node.node_id)
    log_store = LogStore(data_dir.log_path, create=False)
    assert log_store.group(0).last_index < snapshot.manifest.index
    incoming = IncomingSnapshot(data_dir.incoming_path, snapshot.manifest, have=[data_dir.state_path])
    send(snapshot, incoming, chunk_bytes=1 << 16)
    assert incoming.finish() == []
    log_store.group(0).append(HardState(snapshot.manifest.term, 0), [])
    log_store.close()
    data_dir.install_state(incoming)
    data_dir.close()


def test_a_node_goes_on_from_an_install_that_a_crash_cut_off(tmp_path: Path) -> None:
    """It has none of the entries of the snapshot, answers with all of its data, and follows."""
    with running_cluster(tmp_path) as cluster:
        follower = cluster.followers()[0]
        follower.kill()
        leader = cluster.wait_for_leader()
        put(leader, KEY_COUNT)
        for node in cluster.nodes:
            if node is not follower:
                node.terminate()
        snapshot = make(leader, tmp_path / "snapshots")
        install_and_crash(follower, snapshot)
        cluster.start_and_wait()
        check(follower, KEY_COUNT)
        put(cluster.wait_for_leader(), KEY_COUNT + 10)
        cluster.wait_for_equal_digests()
        follower.kill()
        follower.start()
        cluster.wait_until_whole()
        check(follower, KEY_COUNT + 10)
        cluster.wait_for_equal_digests()
    log_store = LogStore(follower.data_dir / "log", create=False)
    assert log_store.group(0).boundary == snapshot.manifest.entry_id
    log_store.close()
    assert not (follower.data_dir / "state").exists()
