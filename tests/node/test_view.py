"""The node as LOCAL commands see it."""

from __future__ import annotations

from pathlib import Path

from tests.node.driven_cluster import Cluster, three_nodes


def info(cluster: Cluster, node_id: int, section: str) -> dict[str, str]:
    """One section of INFO."""
    text = cluster[node_id].ask(f"INFO {section}")[0].decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def test_the_leader_knows_what_its_followers_have() -> None:
    """redis ROLE, WAIT: from the leader's match indexes; other nodes don't know."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1")
    cluster.run(20)
    status = cluster[1].view.status()
    last_index = cluster[1].core.last_index
    assert [member.match_index for member in status.members] == [0, last_index, last_index]
    assert cluster[1].view.replicas_at(last_index) == 2
    assert cluster[1].view.replicas_at(last_index + 1) == 0
    assert cluster[2].view.replicas_at(1) is None


def test_the_last_leader_is_remembered_while_there_is_none() -> None:
    """DESIGN.md: without a leader CLUSTER SLOTS keeps the last master, CLUSTER INFO says fail."""
    cluster = three_nodes()
    cluster.isolate(2)
    cluster.run(2000)
    status = cluster[2].view.status()
    assert not status.has_leader
    assert status.master.node_id == 1
    assert cluster[2].ask("CLUSTER SLOTS")[0][0][2][1] == 7001
    assert b"cluster_state:fail" in cluster[2].ask("CLUSTER INFO")[0]


def test_expired_keys_and_keys_are_counted() -> None:
    """redis INFO stats, keyspace"""
    cluster = three_nodes()
    cluster[1].ask("SET a 1 PX 20", "SET b 1", "SET c 1 PX 90000")
    assert info(cluster, 1, "keyspace")["db0"].startswith("keys=3,expires=2")
    cluster.run(60)
    for node_id in cluster.nodes:
        assert info(cluster, node_id, "keyspace")["db0"].startswith("keys=2,expires=1")
        assert info(cluster, node_id, "stats")["expired_keys"] == "1"


def test_waiting_clients_and_connections_are_counted() -> None:
    """redis INFO clients, stats"""
    cluster = Cluster(3)
    cluster[1].connect().send("SET a 1")
    clients = info(cluster, 1, "clients")
    assert clients["blocked_clients"] == "1"
    assert clients["connected_clients"] == "2"
    assert info(cluster, 1, "stats")["total_connections_received"] == "3"


def test_the_digest_is_the_same_on_all_nodes() -> None:
    """RAFT DIGEST: of rows that are equal at equal indexes."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1", "SET b 2 PX 5000", "DEL a")
    cluster.run(200)
    digests = [node.ask("RAFT DIGEST")[0] for node in cluster.nodes.values()]
    assert digests == [digests[0]] * 3
    assert digests[0][1] == cluster[1].core.last_applied


def test_a_follower_takes_over_when_it_is_told_to() -> None:
    """redis CLUSTER FAILOVER: asked of the node that is to lead."""
    cluster = three_nodes()
    assert cluster[3].ask("CLUSTER FAILOVER") == [b"OK"]
    cluster.run(300)
    assert cluster.leader is cluster[3]
    assert cluster[1].ask("ROLE")[0][0] == b"slave"


def test_calls_are_counted_alike_and_mixed() -> None:
    """redis INFO commandstats: chunks of one command, pipelines of several, and what had to wait."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1", "SET b 1")
    cluster[1].ask("GET a", "SET a 2", "GET a", "GET a", "PING", "CLIENT ID", "NOSUCH", "GET")
    reader = cluster[2].connect()
    reader.send("READONLY", "GET a", "GET b")
    cluster.run(20)
    assert reader.replies() == [b"OK", b"2", b"1"]
    stats = info(cluster, 1, "commandstats")
    calls = {name: line.split(",")[0] for name, line in stats.items()}
    assert calls == {
        "cmdstat_set": "calls=3",
        "cmdstat_get": "calls=3",
        "cmdstat_ping": "calls=1",
        "cmdstat_client|id": "calls=1",
    }
    follower = info(cluster, 2, "commandstats")
    assert follower["cmdstat_get"].startswith("calls=2,")
    assert info(cluster, 1, "stats")["total_commands_processed"] == "9"


def test_hits_and_misses_are_those_of_reads() -> None:
    """redis INFO stats: lookupKeyRead; writes count for nothing."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1", "DEL nosuch", "INCR n", "SET e 1 PX 5")
    cluster.run(10)
    cluster[1].ask("GET a", "GET b")
    cluster[1].ask("GET c", "MGET a", "EXISTS a a")
    cluster[1].ask("GET e")
    stats = info(cluster, 1, "stats")
    assert (stats["keyspace_hits"], stats["keyspace_misses"]) == ("4", "3")


def test_resetstat_lets_counters_begin_at_nothing() -> None:
    """redis CONFIG RESETSTAT: of this node alone."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1", "GET a", "GET b", "NOSUCH")
    cluster[1].observer.loop_lag.on_tick(cluster[1].clock.ns + 10**9)
    assert info(cluster, 1, "stats")["loop_lag_max_usec"] != "0"
    assert cluster[1].ask("CONFIG RESETSTAT") == [b"OK"]
    stats = info(cluster, 1, "stats")
    names = ("total_commands_processed", "keyspace_hits", "keyspace_misses", "loop_lag_max_usec")
    assert [stats[name] for name in names] == ["1", "0", "0", "0"]
    assert (stats["total_error_replies"], stats["total_connections_received"]) == ("0", "1")
    assert info(cluster, 1, "errorstats") == {}
    cluster[1].ask("NOSUCH")
    assert info(cluster, 1, "errorstats") == {"errorstat_ERR": "count=1"}


def test_save_waits_for_its_flush() -> None:
    """redis SAVE: the connection waits, others don't."""
    cluster = three_nodes()
    client = cluster[1].connect()
    client.send("SAVE", "PING")
    cluster.run(30)
    assert client.replies() == []
    assert cluster[1].ask("BGSAVE")[0].args == ("ERR Background save already in progress",)
    assert info(cluster, 1, "persistence")["rdb_bgsave_in_progress"] == "1"
    cluster[1].flushes_waiting.pop(0)()
    cluster.run(20)
    assert client.replies() == [b"OK", b"PONG"]
    assert info(cluster, 1, "persistence")["rdb_saves"] == "1"


def test_shutdown_stops_the_node_without_a_reply() -> None:
    """redis SHUTDOWN."""
    cluster = three_nodes()
    client = cluster[2].connect()
    client.send("SHUTDOWN NOSAVE")
    cluster.run(30)
    assert cluster[2].was_told_to_stop
    assert client.take() == b""
    assert b"can't be undone" in cluster[2].ask("SHUTDOWN ABORT")[0].args[0].encode()


def test_time_has_microseconds() -> None:
    """redis TIME."""
    cluster = three_nodes()
    cluster[1].clock.advance(0.123)
    seconds, microseconds = cluster[1].ask("TIME")[0]
    assert int(seconds) * 1_000_000 + int(microseconds) == cluster[1].clock.wall_us()
    assert int(microseconds) % 1000 == 123


def test_rates_are_sampled() -> None:
    """redis instantaneous_ops_per_sec."""
    cluster = three_nodes()
    view = cluster[1].view
    view.sample()
    cluster[1].ask(*["PING"] * 50)
    cluster.run(1000)
    view.sample()
    assert view.pace().commands_per_s == 50


def test_config_rewrite_writes_the_file_the_node_was_started_with(tmp_path: Path) -> None:
    """redis CONFIG REWRITE: its mode and what it links from stay as they are."""
    path = tmp_path / "node.toml"
    cluster = three_nodes()
    node = cluster[1]
    assert node.ask("CONFIG REWRITE")[0].args == ("ERR The server is running without a config file",)
    node.view._config_path = path
    assert "No such file" in node.ask("CONFIG REWRITE")[0].args[0]
    real = tmp_path / "real.toml"
    real.write_text("# mine\nclients_max = 20\n")
    real.chmod(0o600)
    path.symlink_to(real)
    assert node.ask("CONFIG SET maxclients 30", "CONFIG REWRITE") == [b"OK", b"OK"]
    assert real.read_text() == "# mine\nclients_max = 30\n"
    assert (path.is_symlink(), real.stat().st_mode & 0o777) == (True, 0o600)
    real.write_text("clients_max = = 3\n")
    assert "Rewriting config file: " in node.ask("CONFIG REWRITE")[0].args[0]
    assert real.read_text() == "clients_max = = 3\n"
