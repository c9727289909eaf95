"""Nodes whose disk hangs or fills up, or whose clock goes wrong, among others that are well."""

from __future__ import annotations

from raftkv.node.disk_space import Room
from raftkv.raft import RemoveMember
from tests.node.driven_cluster import Cluster, Node, single_node, three_nodes
from tests.node.driven_parts import NS_PER_MS
from tests.node.test_view import info

MB = 1 << 20
GB = 1 << 30


def fill(*nodes: Node, free_mb: int = 10) -> None:
    """Leave little room on the disks of nodes."""
    for node in nodes:
        node.room = Room(free_mb * MB, 200 * GB)


# -- disks that hang -----------------------------------------------------------------------------


def test_a_leader_whose_disk_hangs_gives_leadership_away_within_the_limit() -> None:
    """disk_stall_ms; what it had proposed is not lost."""
    cluster = three_nodes(disk_stall_ms=1_000)
    old = cluster[1]
    old.disk.is_slow = True
    client = old.connect()
    client.send("SET a 1")
    cluster.run(900)
    assert cluster.leader is old
    cluster.run(200)
    assert cluster.leader in (cluster[2], cluster[3])
    assert cluster.leader.ask("GET a", "SET b 2") == [b"1", b"OK"]
    assert info(cluster, 1, "persistence")["disk_stalled"] == "1"
    assert info(cluster, 1, "raft")["raft_disk"] == "stalled"


def test_a_node_whose_disk_hangs_is_not_made_leader() -> None:
    """Neither by the leader, nor by asking for it."""
    cluster = three_nodes(disk_stall_ms=500)
    cluster[2].disk.is_slow = True
    cluster[1].ask("SET a 1")
    cluster.run(700)
    cluster[2].group.request_leadership()
    cluster.run(100)
    assert cluster.leader is cluster[1]
    cluster[1].core.transfer_leadership(2, cluster[1].clock.ns)
    cluster[1].group.wake()
    cluster.run(700)
    assert cluster.leader is cluster[1]
    assert cluster[1].ask("SET b 1") == [b"OK"]


def test_a_node_whose_disk_is_well_again_may_lead() -> None:
    """Once it was well for as long as an fsync may take."""
    cluster = three_nodes(disk_stall_ms=500)
    cluster[1].disk.is_slow = True
    cluster[1].connect().send("SET a 1")
    cluster.run_until(lambda: cluster.leader not in (None, cluster[1]))
    cluster.heal()
    cluster.run(1_000)
    assert cluster.elect(1).ask("GET a") == [b"1"]
    assert info(cluster, 1, "persistence")["disk_stalls"] == "1"


def test_a_cluster_whose_disks_all_hang_gets_a_leader_when_they_answer() -> None:
    """As when they share a disk; nobody leads meanwhile."""
    cluster = three_nodes(disk_stall_ms=500)
    for node in cluster.nodes.values():
        node.disk.is_slow = True
    cluster[1].connect().send("SET a 1")
    cluster.run(3_000)
    cluster.heal()
    cluster.run_until(lambda: cluster.leader is not None)
    assert cluster.leader is not None
    assert cluster.leader.ask("SET b 1") == [b"OK"]


def test_a_node_alone_leads_on() -> None:
    """Nobody else could."""
    node = single_node(disk_stall_ms=500)
    node.disk.is_slow = True
    client = node.connect()
    client.send("SET a 1")
    node.cluster.run(2_000)
    assert node.group.is_serving
    node.cluster.heal()
    node.cluster.settle()
    assert client.replies() == [b"OK"]


def test_a_leader_that_is_to_leave_has_a_peer_though_one_voter_alone_will_be_left() -> None:
    """It steps down over a hanging disk like any other, and hands over before it stops."""
    cluster = Cluster(2)
    leader = cluster.elect(1)
    cluster.isolate(2)
    leader.group.change_membership(RemoveMember(1))
    assert leader.core.membership.voters == (2,)
    assert leader.group.has_peers


# -- disks that fill up --------------------------------------------------------------------------


def test_a_node_alone_refuses_writes_when_its_disk_is_nearly_full() -> None:
    """Redis MISCONF: deletions too; reads go on, and due keys are still removed."""
    node = single_node()
    node.ask("SET a 1", "SET b 1 PX 3000")
    fill(node)
    node.cluster.run(1_500)
    last_index = node.core.last_index
    refusals = node.ask("SET a 2", "DEL a", "FLUSHALL")
    assert [str(refusal).split()[0] for refusal in refusals] == ["MISCONF"] * 3
    assert node.core.last_index == last_index
    assert node.ask("GET a") == [b"1"]
    assert info(node.cluster, 1, "persistence")["disk_writes_refused"] == "1"
    node.cluster.run(2_000)
    assert node.ask("GET b", "DBSIZE") == [None, 1]
    fill(node, free_mb=1_000)
    node.cluster.run(1_000)
    assert node.ask("SET a 2") == [b"OK"]


def test_the_floor_can_be_lowered_while_the_node_runs() -> None:
    """CONFIG SET disk-free-min, to delete by hand."""
    node = single_node()
    fill(node)
    node.cluster.run(1_500)
    assert node.ask("CONFIG SET disk-free-min 0") == [b"OK"]
    node.cluster.run(1_000)
    assert node.ask("SET a 2") == [b"OK"]


def test_a_leader_that_is_short_hands_over_to_a_member_with_room() -> None:
    """And goes on as a follower; no write is refused."""
    cluster = three_nodes()
    fill(cluster[1], cluster[2])
    cluster.run(1_100)
    cluster.run_until(lambda: cluster.leader is cluster[3])
    assert info(cluster, 1, "raft")["raft_disk"] == "short"


def test_writes_go_on_while_a_majority_has_room() -> None:
    """One full disk of three stops nobody."""
    cluster = three_nodes()
    fill(cluster[1])
    cluster.run(3_500)
    leader = cluster.leader
    assert leader in (cluster[2], cluster[3])
    assert leader.ask("SET a 1") == [b"OK"]
    cluster.run(10_000)
    assert cluster.leader is leader
    assert leader.ask("SET a 2") == [b"OK"]


def test_a_leader_refuses_writes_when_a_majority_is_short() -> None:
    """Its own disk is well, but the others would stop one day, and then nothing could be read."""
    cluster = three_nodes()
    fill(cluster[2], cluster[3])
    cluster.run(2_100)
    (refusal,) = cluster[1].ask("SET a 1")
    assert str(refusal).startswith("MISCONF ")
    assert cluster[1].ask("GET a") == [None]
    fill(cluster[2], free_mb=1_000)
    cluster.run(7_000)
    assert cluster[1].ask("SET a 1") == [b"OK"]


def add_learner(cluster: Cluster, port: int = 7004) -> None:
    """Have another node taken in, to stay a learner."""
    node_count = len(cluster.nodes)
    cluster.tell_addresses()
    cluster.add_newcomer(port, nonce=b"of learner  %d" % port)
    cluster[1].connect().send(f"RAFT ADD LEARNER 127.0.0.1 {port} PEERPORT {port + 10_000}")
    cluster.run_until(lambda: len(cluster.nodes) > node_count)


def test_a_learner_with_room_does_not_take_over_from_a_leader_that_is_short() -> None:
    """It can't lead: writes are refused as if there were nobody with room."""
    for cluster in (single_node().cluster, three_nodes()):
        voters = list(cluster.nodes.values())
        add_learner(cluster)
        fill(*voters)
        cluster.run(5_000)
        leader = cluster.leader
        assert leader is not None
        (refusal,) = leader.ask("SET a 1")
        assert str(refusal).startswith("MISCONF ")


def test_learners_with_room_are_none_of_the_majority_that_has_some() -> None:
    """The voters' disks are what every write has to go to."""
    cluster = three_nodes()
    add_learner(cluster, 7004)
    add_learner(cluster, 7005)
    fill(cluster[2], cluster[3])
    cluster.run(2_100)
    (refusal,) = cluster[1].ask("SET a 1")
    assert str(refusal).startswith("MISCONF ")


def test_a_member_that_is_down_counts_as_without_room() -> None:
    """Every write would have to go to the disk that is short; without one that is short it doesn't matter."""
    cluster = three_nodes()
    cluster.isolate(2)
    cluster.run(7_000)
    assert cluster[1].ask("SET a 1") == [b"OK"]
    fill(cluster[3])
    cluster.run(2_100)
    (refusal,) = cluster[1].ask("SET a 1")
    assert str(refusal).startswith("MISCONF ")


def test_a_cluster_that_is_short_everywhere_keeps_its_leader_and_its_reads() -> None:
    """As disks that hold the same log are one day."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1")
    fill(*cluster.nodes.values())
    cluster.run(5_000)
    leader = cluster.leader
    assert leader is not None
    assert leader.ask("GET a") == [b"1"]
    (refusal,) = leader.ask("SET a 2")
    assert str(refusal).startswith("MISCONF ")
    term = leader.core.current_term
    cluster.run(30_000)
    assert leader.core.current_term == term


def test_a_follower_that_is_short_refuses_what_its_clients_would_have_passed_on() -> None:
    """standalone_port: definite, whatever the leader would have said."""
    cluster = three_nodes()
    fill(*cluster.nodes.values())
    cluster.run(3_000)
    follower = next(node for node in cluster.nodes.values() if node is not cluster.leader)
    client = follower.connect_standalone()
    client.send("SET a 1", "GET a")
    cluster.run(50)
    refusal, value = client.replies()
    assert str(refusal).startswith("MISCONF ")
    assert value is None


# -- a quorum that is gone -----------------------------------------------------------------------


def test_a_leader_without_quorum_takes_no_more_than_its_bound() -> None:
    """uncommitted_bytes_max: what was not proposed is answered definitely, nothing waits without bound."""
    size_bytes = 1 << 20
    cluster = three_nodes(
        uncommitted_bytes_max=size_bytes, command_bytes_max=size_bytes, batch_bytes_max=size_bytes // 4
    )
    leader = cluster[1]
    cluster.isolate(1)
    client = leader.connect()
    for number in range(20):
        client.send([b"SET", b"k%d" % number, b"x" * 200_000])
        cluster.run(10)
    assert leader.core.last_index < 10
    cluster.run(6_000)
    answers = [str(reply).split()[0] for reply in client.replies()]
    assert len(answers) == 20
    unknown_count = answers.count("UNKNOWN")
    assert 1 <= unknown_count <= 6
    assert set(answers[unknown_count:]) <= {"TRYAGAIN", "CLUSTERDOWN"}
    cluster.heal()
    cluster.run_until(lambda: cluster.leader is not None)
    cluster.run(500)
    assert cluster.leader is not None
    kept = cluster.leader.ask(*[f"EXISTS k{number}" for number in range(20)])
    assert not any(kept[unknown_count:])


# -- clocks --------------------------------------------------------------------------------------


def test_a_leader_whose_clock_jumps_confirms_its_reads() -> None:
    """Thesis §6.4: by ReadIndex, until the clock was right for ten seconds."""
    cluster = three_nodes()
    leader = cluster[1]
    leader.ask("SET a 1")
    leader.clock.ns += 100 * NS_PER_MS
    cluster.run(20)
    client = leader.connect()
    cluster.is_held = True
    client.send("GET a")
    cluster.settle()
    assert client.take() == b""
    cluster.is_held = False
    cluster.settle()
    assert client.replies() == [b"1"]
    assert info(cluster, 1, "raft")["raft_lease_trusted"] == "0"
    cluster.run(10_500)
    assert leader.group.has_lease(leader.clock.ns)
    assert info(cluster, 1, "raft")["raft_lease_trusted"] == "1"


def test_a_follower_whose_clock_jumps_does_not_depose_the_leader() -> None:
    """By its clock the leader was silent for a minute."""
    cluster = three_nodes()
    term = cluster[1].core.current_term
    cluster[2].clock.ns += 60_000 * NS_PER_MS
    cluster.run(2_000)
    assert cluster.leader is cluster[1]
    assert cluster[1].core.current_term == term


def test_a_leader_whose_clock_goes_slow_trusts_no_lease() -> None:
    """Its lease would last longer than its followers' promises."""
    cluster = Cluster(3)
    leader = cluster.elect(1)
    for _ in range(400):
        cluster.run(10)
        leader.clock.ns -= NS_PER_MS
    assert not leader.group.has_lease(leader.clock.ns)
    assert cluster.leader is leader
