"""The node as LOCAL commands see it."""

from __future__ import annotations

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
