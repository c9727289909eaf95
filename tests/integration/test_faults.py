"""What breaks while the cluster serves: nodes die, stop, pause, lose their disk; and what must hold then."""

from __future__ import annotations

import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
import redis
import redis.exceptions

from tests.integration.cluster import Cluster, NodeProcess
from tests.integration.failover import Survivors
from tests.integration.waiting import wait_until
from tests.integration.wire import NoAnswer, Wire, ask, error_prefix

#: Nothing was done.
_DEFINITE = {"CLUSTERDOWN", "MOVED", "TRYAGAIN", "LOADING"}


def put(node: NodeProcess, count: int) -> None:
    """Have `count` keys acknowledged."""
    with node.connect() as wire:
        wire.send(*[("SET", f"key:{place}", f"value {place}") for place in range(count)])
        assert [wire.receive() for _ in range(count)] == [b"OK"] * count


def check(node: NodeProcess, count: int) -> None:
    """Read them all again."""
    with node.connect() as wire:
        wire.send(("READONLY",), *[("GET", f"key:{place}") for place in range(count)])
        assert wire.receive() == b"OK"
        assert [wire.receive() for _ in range(count)] == [f"value {place}".encode() for place in range(count)]


# -- the leader's disk hangs ------------------------------------------------------------------


def test_a_leader_whose_disk_hangs_gives_leadership_away(mended: Cluster) -> None:
    """disk_stall_ms: within it and some round trips; it follows, and may lead again when the disk is well."""
    leader = mended.wait_until_whole()
    put(leader, 100)
    for name, value in (("disk-stall-ms", "500"), ("debug-sync-delay-ms", "60000")):
        assert ask(leader.port, "CONFIG", "SET", name, value) == b"OK"
    begin = time.monotonic()
    with leader.connect() as wire:
        wire.send(("SET", "key:0", "value 0"))
        mended.wait_for(lambda: _another_leader(mended, leader), "another leader")
        print(f"another leader {time.monotonic() - begin:.2f} s after the disk began to hang")
        check(mended.wait_for_leader(), 100)
        assert leader.fields("INFO", "persistence")["disk_stalled"] == "1"
        assert ask(leader.port, "CONFIG", "SET", "debug-sync-delay-ms", "0") == b"OK"
        assert wire.receive() == b"OK"
    mended.wait_for(lambda: leader.raft()["raft_disk"] == "ok" or None, "a disk that is well")
    mended.wait_for_equal_digests()


def _another_leader(cluster: Cluster, former: NodeProcess) -> NodeProcess | None:
    leader = cluster.leader()
    return leader if leader is not former else None


# -- the leader goes --------------------------------------------------------------------------


def test_another_node_serves_soon_after_the_leader_was_killed(mended: Cluster) -> None:
    """Three times in a row. The figures are printed; 2 s is the promise, which `make bench` measures."""
    for _ in range(3):
        leader = mended.wait_until_whole()
        put(leader, 100)
        survivors = Survivors([node.port for node in mended.nodes if node is not leader])
        begin = time.monotonic()
        leader.kill()
        print(f"first write {survivors.seconds_to_first_write(begin):.2f} s after kill -9 of the leader")
        check(mended.wait_for_leader(), 100)
        leader.start()
    check(mended.wait_until_whole(), 100)
    mended.wait_for_equal_digests()


def test_redis_cluster_finds_the_new_leader_by_itself(mended: Cluster) -> None:
    """One client object with default arguments goes on through three changes of leader."""
    with redis.RedisCluster(host="127.0.0.1", port=mended.node(1).port) as client:
        for turn in range(3):
            leader = mended.wait_until_whole()
            leader.kill()
            wait_until(lambda: _is_set(client, f"turn {turn}"), "the client writes again")  # noqa: B023
            assert client.get("followed") == f"turn {turn}".encode()
            leader.start()


def _is_set(client: redis.RedisCluster, value: str) -> bool:
    try:
        return client.set("followed", value) is True
    except (redis.exceptions.RedisError, OSError) as failure:
        print(f"while there is no leader: {failure!r}")
        return False


def test_sigterm_hands_leadership_over(cluster: Cluster) -> None:
    """The successor leads before the process ends; nothing waits for an election timeout."""
    leader = cluster.wait_until_whole()
    put(leader, 10)
    survivors = Survivors([node.port for node in cluster.nodes if node is not leader])
    begin = time.monotonic()
    leader.signal(signal.SIGTERM)
    print(f"first write {survivors.seconds_to_first_write(begin):.2f} s after SIGTERM to the leader")
    assert leader.wait_for_end() == 0
    successor = cluster.wait_for_leader()
    assert f"leadership is handed to node {successor.node_id}" in leader.log_text()
    assert "gave up waiting" not in leader.log_text()
    assert "pre-candidate" not in _since_first_leader(successor.log_text())
    check(successor, 10)


def _since_first_leader(log_text: str) -> str:
    """Cut off how the first leader came to be."""
    return log_text[log_text.index("leader ", log_text.index("term 1, leader ")) :]


def test_acknowledged_writes_before_sigterm_of_all_are_there_afterwards(mended: Cluster) -> None:
    """A clean stop of everything: each process ends with 0 and starts again on its data."""
    put(mended.wait_for_leader(), 1000)
    before = mended.wait_for_equal_digests()
    for node in mended.nodes:
        node.signal(signal.SIGTERM)
    assert [node.wait_for_end() for node in mended.nodes] == [0, 0, 0]
    mended.start_and_wait()
    assert mended.wait_for_equal_digests() == before
    for node in mended.nodes:
        check(node, 1000)


def test_kill_of_all_at_once_loses_nothing(mended: Cluster) -> None:
    """Every member of the majority had synced what was acknowledged."""
    leader = mended.wait_for_leader()
    put(leader, 1000)
    for node in mended.nodes:
        node.send_kill()
    for node in mended.nodes:
        node.wait_for_end()
    mended.start_and_wait()
    mended.wait_for_equal_digests()
    for node in mended.nodes:
        check(node, 1000)


def test_expired_key_stays_away_after_a_restart(mended: Cluster) -> None:
    """Expiry is by the log's time, and so is what a restart replays."""
    leader = mended.wait_for_leader()
    assert ask(leader.port, "SET", "short", "1", "PX", 50) == b"OK"
    assert ask(leader.port, "SET", "long", "1", "EX", 1000) == b"OK"
    wait_until(lambda: ask(leader.port, "GET", "short") is None, "the key expires")
    for node in mended.nodes:
        node.kill()
    mended.start()
    leader = mended.wait_until_whole()
    for node in mended.nodes:
        with node.connect() as wire:
            wire.call("READONLY")
            assert wire.call("GET", "short") is None
            assert 0 < wire.call("TTL", "long") <= 1000


# -- no quorum --------------------------------------------------------------------------------


def test_without_a_quorum_requests_are_answered_with_errors_and_later_served(mended: Cluster) -> None:
    """-UNKNOWN for what was proposed, else definite; a hang would end the test (`Wire` has a deadline)."""
    leader = mended.wait_until_whole()
    put(leader, 10)
    wires = [leader.connect() for _ in range(4)]
    for node in mended.nodes:
        if node is not leader:
            node.send_kill()
    wires[0].send(("SET", "lonely", "1"), ("GET", "lonely"))
    wires[1].send(("GET", "key:1"))
    first, second, read = wires[0].receive(), wires[0].receive(), wires[1].receive()
    print(f"without a quorum: {first!r}, {second!r}, {read!r}")
    assert error_prefix(first) in _DEFINITE | {"UNKNOWN"}
    assert error_prefix(second) in _DEFINITE | {"UNKNOWN"}
    assert read == b"value 1" or error_prefix(read) in _DEFINITE
    for command in (("SET", "later", "1"), ("GET", "key:1"), ("INCR", "counter")):
        assert error_prefix(wires[2].call(*command)) in _DEFINITE
    assert ask(leader.port, "PING") == b"PONG"
    assert leader.fields("CLUSTER", "INFO")["cluster_state"] == "fail"
    assert len(ask(leader.port, "CLUSTER", "SLOTS")) == 1
    for node in mended.nodes:
        if node is not leader:
            node.wait_for_end()
    mended.start()
    whole = mended.wait_until_whole()
    assert ask(whole.port, "GET", "later") is None
    assert ask(whole.port, "EXISTS", "counter") == 0
    assert ask(whole.port, "GET", "lonely") in (None, b"1")
    check(whole, 10)
    mended.wait_for_equal_digests()
    for wire in wires:
        wire.close()


def test_a_last_follower_serves_nothing(mended: Cluster) -> None:
    """Leader and one follower die: the other one neither writes nor reads, under READONLY either."""
    leader = mended.wait_until_whole()
    put(leader, 10)
    last, other = (node for node in mended.nodes if node is not leader)
    leader.kill()
    other.kill()
    with last.connect() as wire:
        wire.call("READONLY")
        for command in (("GET", "key:1"), ("SET", "key:1", "x")):
            assert error_prefix(wait_until(lambda: wire.call(*command), "an answer")) in _DEFINITE  # noqa: B023
    other.start()
    check(mended.wait_for_leader(), 10)


# -- a paused leader --------------------------------------------------------------------------


def test_a_leader_that_was_paused_gives_no_stale_read(mended: Cluster) -> None:
    """What reached its socket while it was stopped is answered from the present, or not at all."""
    for turn in range(3):
        old = mended.wait_until_whole()
        assert ask(old.port, "SET", "paused", f"old {turn}") == b"OK"
        readers = [old.connect() for _ in range(5)]
        for wire in readers[:3]:
            wire.call("READONLY")
        survivors = Survivors([node.port for node in mended.nodes if node is not old])
        begin = time.monotonic()
        old.signal(signal.SIGSTOP)
        print(f"first write {survivors.seconds_to_first_write(begin):.2f} s after SIGSTOP of the leader")
        new = mended.wait_for_leader()
        assert new is not old
        assert ask(new.port, "SET", "paused", f"new {turn}") == b"OK"
        for wire in readers:
            wire.send(("GET", "paused"), ("APPEND", "paused", "!"), ("GET", "paused"))
        old.signal(signal.SIGCONT)
        for wire in readers:
            replies = [wire.receive() for _ in range(3)]
            for reply in replies[::2]:
                assert error_prefix(reply) in _DEFINITE or reply == f"new {turn}".encode(), replies
            assert error_prefix(replies[1]) in _DEFINITE, replies
            wire.close()
        assert ask(new.port, "GET", "paused") == f"new {turn}".encode()
    mended.wait_until_whole()
    mended.wait_for_equal_digests()


def test_a_paused_follower_holds_nobody_up(mended: Cluster) -> None:
    """A majority is enough; when it goes on it catches up."""
    leader = mended.wait_until_whole()
    paused = mended.followers()[0]
    paused.signal(signal.SIGSTOP)
    put(leader, 2000)
    assert mended.wait_for_leader() is leader
    paused.signal(signal.SIGCONT)
    mended.wait_until_whole()
    mended.wait_for_equal_digests()
    check(paused, 2000)


# -- a disk that fails ------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["leader", "follower"])
def test_a_node_whose_disk_fails_stops_and_the_others_go_on(cluster: Cluster, place: str) -> None:
    """A failed write is never retried: the process ends with a reason, and starts again on what it has.

    A limit on the size of files stands for the full disk.
    """
    leader = cluster.wait_until_whole()
    victim = leader if place == "leader" else cluster.followers()[0]
    victim.expect_end()
    resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))
    acknowledged = 0
    for count in range(200):
        try:
            reply = ask(cluster.wait_for_leader().port, "APPEND", "full", "x" * 5_000)
        except NoAnswer:
            break
        acknowledged += reply == (count + 1) * 5_000
    assert victim.wait_for_end() == 1
    assert "CRITICAL" in victim.log_text()
    assert "File too large" in victim.log_text()
    assert ask(cluster.wait_for_leader().port, "STRLEN", "full") >= acknowledged * 5_000
    assert acknowledged > 20
    victim.start()
    cluster.wait_until_whole()
    cluster.wait_for_equal_digests()


# -- directories ------------------------------------------------------------------------------


def test_a_wiped_node_takes_no_part_and_says_how_to_rejoin(cluster: Cluster) -> None:
    """It forgot its votes: with it and one other node there is no quorum, with both others there is."""
    leader = cluster.wait_until_whole()
    put(leader, 10)
    wiped, other = cluster.followers()
    wiped.kill()
    shutil.rmtree(wiped.data_dir)
    wiped.start()
    wait_until(lambda: "rejoin" in wiped.log_text(), "the wiped node says how to rejoin")
    other.kill()
    for _ in range(2):
        assert error_prefix(_write_anyhow(leader)) in _DEFINITE | {"UNKNOWN"}
    other.start()
    check(cluster.wait_for_leader(), 10)
    assert "candidate" not in wiped.log_text().rpartition("starts, data in")[2]
    assert wiped.is_running()


def _write_anyhow(node: NodeProcess) -> object:
    with Wire(node.port) as wire:
        return wire.call("SET", "wiped", "1")


def test_another_nodes_directory_is_refused(cluster: Cluster) -> None:
    """A directory is bound to its node: the process ends and says so."""
    first, second, _ = cluster.nodes
    first.kill()
    second.kill()
    shutil.rmtree(first.data_dir)
    shutil.copytree(second.data_dir, first.data_dir)
    first.start()
    assert first.wait_for_end() != 0
    last_line = first.log_text().splitlines()[-1]
    assert str(first.data_dir) in last_line
    assert "node 2" in last_line


def test_a_directory_in_use_is_refused(mended: Cluster) -> None:
    """Two processes on one directory would be two votes of one node."""
    victim = mended.followers()[0]
    twin = NodeProcess(victim.node_id, victim.port, victim.directory, Path(__file__).parents[2])
    twin.start()
    try:
        assert twin.wait_for_end() != 0
    finally:
        twin.close()
    assert victim.is_running()
    mended.wait_until_whole()


def test_a_cluster_killed_while_it_forms_forms_later(tmp_path: Path) -> None:
    """Every node is killed at its own moment of its first seconds, again and again; no vote is lost by it."""
    cluster = Cluster(tmp_path)
    try:
        for life in range(2):
            for node in cluster.nodes:
                node.start()
            for place, node in enumerate(cluster.nodes):
                seen = len(node.log_text().splitlines())
                wait_until(
                    lambda: len(node.log_text().splitlines()) >= seen + (life + place) % 3,  # noqa: B023
                    "the node gets on",
                )
                node.kill()
        cluster.start_and_wait()
        put(cluster.wait_for_leader(), 10)
        cluster.wait_for_equal_digests()
    finally:
        cluster.close()
