"""Backups of running clusters, and new clusters made of them, with real processes."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import raftkv
from tests.integration.cluster import Cluster, NodeProcess, running_cluster
from tests.integration.waiting import wait_until
from tests.integration.wire import NoAnswer, Wire, ask

KEYS_PER_DATABASE = 100
DATABASES = (0, 3, 15)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes with keys and expiries in several databases, some of them swapped; nobody writes."""
    with running_cluster(tmp_path_factory.mktemp("filled")) as cluster:
        leader = cluster.wait_for_leader()
        wire = Wire(leader.standalone_port)
        for database in DATABASES:
            wire.call("SELECT", database)
            for number in range(KEYS_PER_DATABASE):
                expiry = ("PX", "100000000") if number % 3 == 0 else ()
                assert wire.call("SET", f"key:{database}:{number}", "v" * 500, *expiry) == b"OK"
        assert wire.call("SWAPDB", 3, 7) == b"OK"
        wire.close()
        cluster.wait_for_equal_digests()
        yield cluster


def backed_up(node: NodeProcess, target: Path) -> Path:
    """Run `raftkv backup`."""
    told = raftkv("backup", "--node", f"127.0.0.1:{node.port}", str(target), cwd=target.parent)
    assert told.returncode == 0, told.stderr
    assert str(target) in told.stdout
    assert not target.with_name(target.name + ".part").exists()
    return target


def restore(node: NodeProcess, backup: Path) -> None:
    """Run `raftkv restore`."""
    config = str(node.directory / "node.toml")
    told = raftkv("restore", str(backup), "--config", config, cwd=node.directory)
    assert told.returncode == 0, told.stderr


def test_new_cluster_holds_what_the_old_one_held(filled: Cluster, tmp_path: Path) -> None:
    """From a follower, as one file: all databases, all expiries, byte for byte."""
    digest = filled.wait_for_equal_digests()
    backup = backed_up(filled.followers()[0], tmp_path / "backup.tar")
    fresh = Cluster(tmp_path / "fresh")
    try:
        for node in fresh.nodes:
            restore(node, backup)
        fresh.start_and_wait()
        assert fresh.wait_for_equal_digests() == digest
        wire = Wire(fresh.wait_for_leader().standalone_port)
        wire.call("SELECT", 7)
        assert wire.call("DBSIZE") == KEYS_PER_DATABASE
        assert 0 < wire.call("PTTL", "key:3:0") <= 100_000_000
        assert wire.call("PTTL", "key:3:1") == -1
        wire.call("SELECT", 0)
        assert wire.call("SET", "more", "1") == b"OK"
        wire.close()
        fresh.wait_for_equal_digests()
        old, new = (cluster.node(1).raft()["raft_cluster_id"] for cluster in (filled, fresh))
        assert old != new
        for node in fresh.nodes:
            node.terminate()
            told = raftkv("check", str(node.data_dir), cwd=tmp_path)
            assert told.returncode == 0, told.stdout
        # What was restored is found again at the next start.
        fresh.start_and_wait()
        assert ask(fresh.wait_for_leader().port, "GET", "more") == b"1"
    finally:
        fresh.close()


def test_backup_under_load_is_a_moment_of_the_log(cluster: Cluster, tmp_path: Path) -> None:
    """It holds the first so many writes of a client, and all that were acknowledged before it began."""
    leader = cluster.wait_for_leader()
    acknowledged: list[int] = []
    is_over = threading.Event()

    def write() -> None:
        wire = Wire(leader.port)
        while not is_over.is_set():
            number = len(acknowledged)
            assert wire.call("SET", f"{{k}}{number}", "v" * 2000) == b"OK"
            acknowledged.append(number)
        wire.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: len(acknowledged) > 200 or None, "writes")
        before = len(acknowledged)
        backup = backed_up(leader, tmp_path / "backup")
        after = len(acknowledged) + 1
    finally:
        is_over.set()
        writer.join()
    told = raftkv("backup", "--verify", str(backup), cwd=tmp_path)
    assert told.returncode == 0, told.stdout
    alone = Cluster(tmp_path / "alone", node_count=1)
    try:
        restore(alone.node(1), backup)
        alone.start_and_wait()
        count = ask(alone.node(1).port, "DBSIZE")
        assert before <= count <= after
        assert ask(alone.node(1).port, "EXISTS", *(f"{{k}}{number}" for number in range(count))) == count
    finally:
        alone.close()


def test_founders_of_different_data_form_no_cluster(filled: Cluster, tmp_path: Path) -> None:
    """One was restored, one of another moment, and one is empty: each says what is wrong."""
    first = backed_up(filled.node(1), tmp_path / "first")
    assert ask(filled.wait_for_leader().port, "SET", "after", "1") == b"OK"
    filled.wait_for_equal_digests()
    second = backed_up(filled.node(1), tmp_path / "second")
    fresh = Cluster(tmp_path / "fresh")
    try:
        restore(fresh.node(1), first)
        restore(fresh.node(2), second)
        fresh.start()
        for node in fresh.nodes:
            fresh.wait_for(
                lambda node=node: "was restored from the backup" in node.log_text() or None, "the reason"
            )
            with pytest.raises(NoAnswer):
                ask(node.port, "PING")
        # The way out that the message tells.
        for node in fresh.nodes:
            node.terminate()
        for node in fresh.nodes[1:]:
            shutil.rmtree(node.data_dir)
            restore(node, first)
        fresh.start_and_wait()
        assert ask(fresh.wait_for_leader().port, "GET", "after") is None
    finally:
        fresh.close()


def test_second_backup_waits_for_its_turn(filled: Cluster) -> None:
    """Each keeps files that would be gone otherwise; END and a wrong id are told apart."""
    node = filled.followers()[0]
    wire, other = Wire(node.port), Wire(node.port)
    backup_id, manifest, _, node_id = wire.call("RAFT", "BACKUP", "BEGIN")
    assert node_id == node.node_id
    assert (node.data_dir / "snapshots").is_dir()
    assert "there is a backup already" in str(other.call("RAFT", "BACKUP", "BEGIN"))
    assert "no such backup" in str(other.call("RAFT", "BACKUP", "READ", "x", "CURRENT", 0, 1))
    assert other.call("RAFT", "BACKUP", "READ", backup_id, "CURRENT", 0, 8) == b"MANIFEST"
    assert "in no snapshot" in str(other.call("RAFT", "BACKUP", "READ", backup_id, "../IDENTITY", 0, 8))
    assert other.call("RAFT", "BACKUP", "END", backup_id) == b"OK"
    assert "no such backup" in str(other.call("RAFT", "BACKUP", "END", backup_id))
    wait_until(lambda: not any((node.data_dir / "snapshots").iterdir()) or None, "no snapshot")
    assert manifest
    wire.close()
    other.close()


def test_backup_goes_on_where_it_was_cut_off(filled: Cluster, tmp_path: Path) -> None:
    """Tables that have come are not asked for again."""
    node = filled.node(2)
    whole = backed_up(node, tmp_path / "whole")
    part = tmp_path / "again.part" / "0123"
    shutil.copytree(whole / "files", part / "files")
    inodes = {file.stat().st_ino for file in (part / "files").glob("*.sst")}
    again = backed_up(node, tmp_path / "again")
    assert inodes & {file.stat().st_ino for file in (again / "files").glob("*.sst")}


def test_backup_needs_the_password(tmp_path: Path) -> None:
    """As `raftkv status` does."""
    cluster = Cluster(tmp_path, node_count=1, settings={"requirepass": "secret"})
    try:
        cluster.start()
        cluster.wait_for(lambda: "leader in term" in cluster.node(1).log_text() or None, "a leader")
        node = f"127.0.0.1:{cluster.node(1).port}"
        told = raftkv("backup", "--node", node, "b", cwd=tmp_path)
        assert told.returncode == 1
        assert "asks for a password" in told.stderr
        told = raftkv("backup", "--node", node, "b", cwd=tmp_path, RAFTKV_PASSWORD="wrong")
        assert "refuses the password" in told.stderr
        told = raftkv("backup", "--node", node, "b", cwd=tmp_path, RAFTKV_PASSWORD="secret")
        assert told.returncode == 0, told.stderr
    finally:
        cluster.close()
