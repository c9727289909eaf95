"""The listener that behaves as one single Redis, on every node (DESIGN.md, Clients, "Two faces")."""

from __future__ import annotations

from typing import Any

import pytest

from tests.node.driven_cluster import Client, Cluster, Node, three_nodes

UNKNOWN = b"-UNKNOWN "


def talk(node: Node, *requests: str | list[bytes]) -> list[Any]:
    """Ask on a new connection of the standalone listener, and give what is answered at once."""
    client = node.connect_standalone()
    client.send(*requests)
    node.cluster.settle()
    return client.replies()


@pytest.mark.parametrize("node_id", [1, 2, 3])
def test_every_node_serves_every_command(node_id: int) -> None:
    """No MOVED, no CROSSSLOT; what was acknowledged on one node is read on every other."""
    cluster = three_nodes()
    node = cluster[node_id]
    assert talk(node, "MSET a 1 b 2 c 3", "INCR a", "GET a") == [b"OK", 2, b"2"]
    assert talk(node, "MGET a b c", "DEL a b", "DBSIZE") == [[b"2", b"2", b"3"], 2, 1]
    for other in cluster.nodes.values():
        assert talk(other, "GET c") == [b"3"]


@pytest.mark.parametrize("node_id", [1, 2])
def test_a_pipeline_takes_effect_in_its_order(node_id: int) -> None:
    """Whoever leads: reads see the connection's own writes before them and none behind them."""
    cluster = three_nodes()
    client = cluster[node_id].connect_standalone()
    client.send("SET a 1", "GET a", "INCR a", "GET a", "PING", "APPEND a 0", "STRLEN a", "GET a")
    cluster.run(50)
    assert client.replies() == [b"OK", b"1", 2, b"2", b"PONG", 2, 2, b"20"]


@pytest.mark.parametrize("node_id", [1, 2])
def test_there_are_sixteen_databases(node_id: int) -> None:
    """redis SELECT; a database is the connection's own choice."""
    cluster = three_nodes()
    node = cluster[node_id]
    assert talk(node, "SET a zero", "SELECT 15", "SET a last", "GET a", "SELECT 0", "GET a") == [
        b"OK",
        b"OK",
        b"OK",
        b"last",
        b"OK",
        b"zero",
    ]
    assert talk(node, "GET a") == [b"zero"]
    refused = talk(node, "SELECT 16", "SELECT -1", "SELECT x")
    assert [str(each) for each in refused] == [
        "ERR DB index is out of range",
        "ERR DB index is out of range",
        "ERR value is not an integer or out of range",
    ]


def test_it_is_no_node_of_a_cluster() -> None:
    """redis with cluster-enabled no"""
    cluster = three_nodes()
    for node in cluster.nodes.values():
        for request in ("READONLY", "READWRITE", "ASKING", "CLUSTER INFO", "CLUSTER SLOTS"):
            assert str(talk(node, request)[0]) == "ERR This instance has cluster support disabled"
        hello = talk(node, "HELLO 2")[0]
        assert hello[hello.index(b"mode") + 1] == b"standalone"
        assert hello[hello.index(b"role") + 1] == b"master"
        assert talk(node, "CONFIG GET databases") == [[b"databases", b"16"]]
        assert talk(node, "CONFIG GET cluster-enabled") == [[b"cluster-enabled", b"no"]]
        role, info = talk(node, "ROLE", "INFO")
        assert role[0] == b"master"
        fields = dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)
        assert fields[b"role"] == b"master"
        assert (fields[b"redis_mode"], fields[b"cluster_enabled"]) == (b"standalone", b"0")


@pytest.mark.parametrize("node_id", [1, 2])
def test_wait_tells_of_the_majority_at_least(node_id: int) -> None:
    """redis WAIT: what was acknowledged is on the disks of two of three nodes."""
    cluster = three_nodes()
    client = cluster[node_id].connect_standalone()
    client.send("SET a 1", "WAIT 1 0", "PING")
    cluster.run(50)
    replies = client.replies()
    assert replies[0] == b"OK"
    assert replies[1] in (1, 2)
    assert replies[2] == b"PONG"


def test_reads_at_a_follower_whose_questions_are_lost_are_refused_in_time() -> None:
    """It hears its leader, so it knows one; the read index never comes."""
    cluster = three_nodes(leader_wait_ms=300, request_timeout_ms=400)
    client = cluster[2].connect_standalone()
    cluster.cut.add((2, 1))
    client.send("GET a", "GET a")
    cluster.run(900)
    assert [str(reply)[:11] for reply in client.replies()] == ["CLUSTERDOWN"] * 2
    cluster.heal()
    client.send("GET a")
    cluster.run(300)
    assert client.replies() == [None]


def test_a_lost_forward_is_sent_again_and_done_once() -> None:
    """The message, then its copies: the leader takes one."""
    cluster = three_nodes()
    client = cluster[2].connect_standalone()
    cluster.cut.add((2, 1))
    client.send("INCR a", "INCR a")
    cluster.run(100)
    assert client.take() == b""
    cluster.cut.clear()
    cluster.run(300)
    assert client.replies() == [1, 2]
    client.send("INCR a")
    cluster.settle()
    assert client.replies() == [3]


def test_copies_of_a_forward_are_not_done_again() -> None:
    """A repetition that was not needed."""
    cluster = three_nodes()
    client = cluster[2].connect_standalone()
    for node in cluster.nodes.values():
        node.disk.is_slow = True
    client.send("INCR a")
    cluster.run(450)
    assert client.take() == b""
    cluster.heal()
    cluster.run(300)
    assert client.replies() == [1]
    assert talk(cluster[3], "GET a") == [b"1"]


def lose_the_leader(cluster: Cluster, clients: list[Client]) -> None:
    """Let the leader take what followers pass on, and vanish before anybody else has it."""
    cluster.cut |= {(1, 2), (1, 3)}
    for client in clients:
        client.send("INCR a")
    cluster.settle()
    cluster.isolate(1)
    cluster.run_until(lambda: cluster[2].group.is_serving or cluster[3].group.is_serving)


def test_what_a_lost_leader_had_taken_is_done_once_by_the_next() -> None:
    """DESIGN.md: so that -UNKNOWN is rare; no client hears of the change."""
    cluster = three_nodes()
    clients = [cluster[node_id].connect_standalone() for node_id in (2, 3, 2, 3)]
    lose_the_leader(cluster, clients)
    cluster.run(1000)
    assert sorted(client.replies()[0] for client in clients) == [1, 2, 3, 4]
    cluster.heal()
    cluster.run(1000)
    assert [talk(node, "GET a") for node in cluster.nodes.values()] == [[b"4"]] * 3


def test_what_the_lost_leader_committed_after_all_is_not_done_again() -> None:
    """The next leader has it, and its origin sees it before anything of the new term."""
    cluster = three_nodes()
    client = cluster[2].connect_standalone()
    cluster.cut |= {(1, 2), (3, 1)}  # node 3 gets the entry, and nobody learns that it has it
    client.send("INCR a")
    cluster.settle()
    assert client.take() == b""
    cluster.isolate(1)
    cluster.run_until(lambda: cluster[2].group.is_serving or cluster[3].group.is_serving)
    cluster.run(500)
    assert cluster.leader is cluster[3], "only it has the whole log"
    assert client.replies() == [1]
    assert talk(cluster[3], "GET a") == [b"1"]


def test_a_write_whose_outcome_nobody_can_tell_is_answered_in_time() -> None:
    """request_timeout_ms, then -UNKNOWN: it was passed on, and may be done yet."""
    cluster = three_nodes(request_timeout_ms=400)
    client = cluster[2].connect_standalone()
    cluster.cut |= {(1, 2), (1, 3)}
    client.send("INCR a")
    cluster.run(600)
    assert client.take().startswith(UNKNOWN)


def test_what_was_answered_unknown_is_not_passed_on_again() -> None:
    """DESIGN.md: nothing indefinite is ever retried; the client may have done so itself by now."""
    cluster = three_nodes(request_timeout_ms=300)
    client = cluster[2].connect_standalone()
    cluster.cut |= {(1, 2), (1, 3)}
    client.send("INCR a")
    cluster.run(320)
    assert client.take().startswith(UNKNOWN)
    cluster.isolate(1)
    cluster.run_until(lambda: cluster[2].group.is_serving or cluster[3].group.is_serving)
    cluster.run(500)
    leader = cluster.leader
    assert leader is not None
    assert talk(leader, "GET a") == [None]


def test_without_a_leader_writes_are_refused_in_time() -> None:
    """leader_wait_ms, then -CLUSTERDOWN: definite."""
    cluster = three_nodes()
    for node_id in cluster.nodes:
        cluster.isolate(node_id)
    cluster.run_until(lambda: not any(node.group.leader_id for node in cluster.nodes.values()))
    client = cluster[2].connect_standalone()
    client.send("INCR a", "GET a")
    cluster.run(1200)
    assert [str(reply)[:11] for reply in client.replies()] == ["CLUSTERDOWN"] * 2


def test_a_follower_takes_no_more_than_the_limit() -> None:
    """uncommitted_bytes_max holds for what is passed on too."""
    cluster = three_nodes(uncommitted_bytes_max=1 << 20, command_bytes_max=1 << 20, batch_bytes_max=1 << 18)
    cluster.cut |= {(1, 2), (1, 3)}
    client = cluster[2].connect_standalone()
    for _ in range(8):
        client.send([b"SET", b"a", bytes(200_000)])
        cluster.settle()
    replies = client.connection.replies.pending
    assert replies == 8
    cluster.heal()
    cluster.run(1000)
    outcomes = [reply if isinstance(reply, bytes) else str(reply)[:8] for reply in client.replies()]
    assert outcomes[:5] == [b"OK"] * 5
    assert set(outcomes[5:]) == {"TRYAGAIN"}
