"""Who answers what, when: leaders, followers, nobody; and what is definite."""

from __future__ import annotations

import pytest

from tests.node.driven_cluster import Client, Cluster, Node, single_node, three_nodes

MOVED_TO_1 = b"-MOVED 15495 127.0.0.1:7001\r\n"
MOVED_TO_2 = b"-MOVED 15495 127.0.0.1:7002\r\n"
CLUSTER_DOWN = b"-CLUSTERDOWN no leader is known, nothing was done\r\n"
NOT_CONFIRMED = b"-CLUSTERDOWN no majority confirmed in time that this node may answer reads\r\n"
UNKNOWN = b"-UNKNOWN the write was proposed, but its outcome could not be learned in time\r\n"


def talk(node: Node, *requests: str) -> Client:
    """Send a pipeline on a new connection, and let what can happen at once happen."""
    client = node.connect()
    client.send(*requests)
    node.cluster.settle()
    return client


# -- where keys live ------------------------------------------------------------------------------


def test_a_follower_sends_keys_to_the_leader() -> None:
    """redis cluster spec, MOVED: the slot, and where its master is."""
    cluster = three_nodes()
    assert talk(cluster[2], "SET a 1", "GET a", "DEL a{b} c{b}").take() == (
        MOVED_TO_1 + MOVED_TO_1 + b"-MOVED 3300 127.0.0.1:7001\r\n"
    )
    assert talk(cluster[2], "FLUSHALL").take() == b"-MOVED 0 127.0.0.1:7001\r\n"


@pytest.mark.parametrize("node_id", [1, 2])
def test_keys_of_several_slots_are_refused_everywhere(node_id: int) -> None:
    """redis cluster spec, CROSSSLOT; the same tag is the same slot."""
    cluster = three_nodes()
    cross_slot = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
    assert (
        talk(cluster[node_id], "MSET a 1 b 2", "MGET a b", "DEL a b", "EXISTS a b").take() == 4 * cross_slot
    )
    assert (
        talk(cluster[1], "MSET {t}a 1 {t}b 2", "MGET {t}b {t}a").take()
        == b"+OK\r\n*2\r\n$1\r\n2\r\n$1\r\n1\r\n"
    )


@pytest.mark.parametrize("node_id", [1, 2])
def test_other_databases_are_refused_everywhere(node_id: int) -> None:
    """redis 7.2 in cluster mode: alone and between other commands; nothing of it is done."""
    cluster = three_nodes()
    move = b"-ERR MOVE is not allowed in cluster mode\r\n"
    swapdb = b"-ERR SWAPDB is not allowed in cluster mode\r\n"
    copy = b"-ERR Copying to another database is not allowed in cluster mode\r\n"
    lines = ("MOVE a 1", "SWAPDB 0 1", "COPY {a}1 {a}2 DB 1")
    assert [talk(cluster[node_id], line).take() for line in lines] == [move, swapdb, copy]
    assert talk(cluster[node_id], *lines).take() == move + swapdb + copy
    lines = ("SET a 1", "MOVE a 1", "COPY a {a}2 DB 0", "COPY a b DB 1", "GET a")
    cross_slot = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
    assert talk(cluster[1], *lines).take() == b"+OK\r\n" + move + b":1\r\n" + cross_slot + b"$1\r\n1\r\n"


def test_a_leader_refuses_what_it_does_not_know_and_nothing_else() -> None:
    """redis processCommand: unknown commands and arities are answered in their place, on every node."""
    cluster = three_nodes()
    assert talk(cluster[1], "SET a 1", "SET a", "GET a").take() == (
        b"+OK\r\n-ERR wrong number of arguments for 'set' command\r\n$1\r\n1\r\n"
    )


# -- reads ------------------------------------------------------------------------------------------


def test_a_leader_reads_under_its_lease_without_a_message() -> None:
    """thesis §6.4.1"""
    cluster = three_nodes()
    cluster[1].ask("SET a 1")
    cluster.is_held = True
    assert talk(cluster[1], "GET a").take() == b"$1\r\n1\r\n"
    assert not cluster.network


def test_a_leader_without_a_lease_asks_a_majority_first() -> None:
    """thesis §6.4: ReadIndex."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1")
    cluster[1].clock.advance(480)
    cluster.is_held = True
    client = talk(cluster[1], "GET a", "GET a")
    assert client.take() == b""
    cluster.is_held = False
    cluster.settle()
    assert client.take() == b"$1\r\n1\r\n" * 2


def test_a_deposed_leader_reads_nothing_stale() -> None:
    """DESIGN.md: a node that can't be sure stops answering rather than answering wrong."""
    cluster = three_nodes()
    cluster[1].ask("SET a old")
    cluster.isolate(1)
    cluster[2].clock.advance(0)
    client = cluster[1].connect()
    cluster.run_until(lambda: cluster[2].group.is_serving or cluster[3].group.is_serving)
    leader = cluster[2] if cluster[2].group.is_serving else cluster[3]
    leader.ask("SET a new")
    client.send("GET a")
    cluster.run(3000)
    assert client.take() in (CLUSTER_DOWN, NOT_CONFIRMED)


def test_a_follower_reads_for_who_said_readonly() -> None:
    """redis READONLY, by ReadIndex: all that was acknowledged before is there."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1")
    client = talk(cluster[2], "GET a", "READONLY", "GET a", "READWRITE", "GET a")
    assert client.take() == MOVED_TO_1 + b"+OK\r\n$1\r\n1\r\n+OK\r\n" + MOVED_TO_1


def test_a_follower_answers_what_names_no_key() -> None:
    """DBSIZE, KEYS and SCAN go to whichever node a client chooses, and are linearizable there."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1")
    assert talk(cluster[2], "DBSIZE", "KEYS *", "SCAN 0").take() == (
        b":1\r\n*1\r\n$1\r\na\r\n*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n"
    )


def test_a_follower_asks_again_when_the_answer_was_lost() -> None:
    """ReadQueue.ask_again"""
    cluster = three_nodes()
    cluster[1].ask("SET a 1")
    cluster.cut.add((2, 1))
    client = talk(cluster[2], "READONLY", "GET a")
    cluster.run(100)
    assert client.take() == b"+OK\r\n"
    cluster.cut.clear()
    cluster.run(250)
    assert client.take() == b"$1\r\n1\r\n"


def test_a_read_at_a_follower_that_is_cut_off_is_refused_in_time() -> None:
    """request_timeout_ms, leader_wait_ms: definite."""
    cluster = three_nodes()
    cluster.isolate(2)
    client = talk(cluster[2], "READONLY", "GET a", "PING")
    cluster.run(5100)
    assert client.take() in (
        b"+OK\r\n" + CLUSTER_DOWN + b"+PONG\r\n",
        b"+OK\r\n" + NOT_CONFIRMED + b"+PONG\r\n",
    )


def test_a_read_that_is_refused_again_and_again_is_given_up() -> None:
    """request_timeout_ms holds whatever a read waits for in between."""
    cluster = three_nodes(pending_reads_max=1, request_timeout_ms=100, leader_wait_ms=100)
    leader = cluster[1]
    cluster.is_held = True
    leader.group.hand_over()
    cluster.turn()
    cluster.network.clear()  # TimeoutNow is lost: the leader goes on, but never by its lease again
    cluster.heal()
    cluster.run(600)
    cluster.cut |= {(2, 1), (3, 1)}
    other, client = talk(leader, "GET a"), talk(leader, "GET a")
    assert leader.group.is_serving
    cluster.run(130)
    assert leader.group.is_serving
    assert (other.take(), client.take()) == (NOT_CONFIRMED, NOT_CONFIRMED)


def test_a_read_waits_for_what_is_committed_and_not_yet_applied() -> None:
    """Connection: under the lease, too: another node may have shown it to somebody already."""
    cluster = three_nodes(gather_ms=0.0)
    leader = cluster[1]
    leader.disk.is_slow = True
    writer = talk(leader, "SET a 1")
    assert leader.core.commit_index > leader.core.last_applied
    reader = talk(leader, "GET a")
    assert (writer.take(), reader.take()) == (b"", b"")
    cluster.heal()
    cluster.settle()
    assert (writer.take(), reader.take()) == (b"+OK\r\n", b"$1\r\n1\r\n")


def test_a_read_behind_an_own_write_reflects_what_others_committed_meanwhile() -> None:
    """Group.place_read: it must not be older than what a follower has shown already."""
    cluster = three_nodes(gather_ms=0.0)
    leader = cluster[1]
    leader.disk.is_slow = True
    client = talk(leader, "SET a 1")
    talk(leader, "SET b 1")
    assert cluster[2].ask("READONLY", "GET b") == [b"OK", b"1"]
    client.send("GET b", "GET a")
    cluster.settle()
    assert client.take() == b""
    cluster.heal()
    cluster.settle()
    assert client.take() == b"+OK\r\n$1\r\n1\r\n$1\r\n1\r\n"


def test_a_read_behind_what_can_not_be_applied_is_refused_in_time() -> None:
    """request_timeout_ms: where the leader's own disk is what everything waits for."""
    cluster = three_nodes(gather_ms=0.0, request_timeout_ms=300)
    leader = cluster[1]
    leader.disk.is_slow = True
    client = talk(leader, "SET a 1")
    talk(leader, "SET b 1")
    client.send("GET b")
    cluster.run(330)
    assert client.take().startswith(UNKNOWN + b"-TRYAGAIN ")
    cluster.heal()
    cluster.run(300)
    assert client.take() == b""
    assert client.owes_nothing


# -- no leader, no majority ------------------------------------------------------------------------


def test_without_a_leader_everything_waits_and_is_then_refused() -> None:
    """leader_wait_ms, then CLUSTERDOWN: definite; what needs no leader is answered in its place."""
    cluster = Cluster(3)
    cluster.isolate(1)
    client = talk(cluster[1], "PING", "SET a 1", "GET a", "PING", "DBSIZE")
    cluster.run(990)
    assert client.take() == b"+PONG\r\n"
    cluster.run(40)
    received = client.take()
    assert received == CLUSTER_DOWN + CLUSTER_DOWN + b"+PONG\r\n" + NOT_CONFIRMED
    assert client.owes_nothing


def test_what_waits_for_a_leader_goes_on_when_there_is_one() -> None:
    """A held connection is released once, and its requests keep their order."""
    cluster = Cluster(3, leader_wait_ms=5000)
    clients = [talk(node, "SET a 1", "INCR a", "PING", "GET a") for node in cluster.nodes.values()]
    assert [node.clients.held_count for node in cluster.nodes.values()] == [1, 1, 1]
    cluster.elect(1)
    moved = MOVED_TO_1 + MOVED_TO_1 + b"+PONG\r\n" + MOVED_TO_1
    assert [client.take() for client in clients] == [b"+OK\r\n:2\r\n+PONG\r\n$1\r\n2\r\n", moved, moved]
    assert [node.clients.held_count for node in cluster.nodes.values()] == [0, 0, 0]


def test_a_leader_that_has_not_applied_its_first_entry_serves_nothing() -> None:
    """Raft §8: it does not know yet what is committed."""
    cluster = three_nodes()
    leader = cluster[1]
    leader.disk.is_slow = True
    cluster[1].core.transfer_leadership(2, leader.clock.ns)
    leader.group.wake()
    cluster.run(50)
    cluster[2].disk.is_slow = True
    cluster[2].core.transfer_leadership(1, leader.clock.ns)
    cluster[2].group.wake()
    for _ in range(20):
        cluster.run(10)
        if leader.group.is_leader:
            break
        leader.disk.finish_sync()
    assert leader.group.is_leader
    assert not leader.group.is_serving
    client = talk(leader, "SET a 1", "GET a")
    assert client.take() == b""
    cluster.heal()
    cluster.run(20)
    assert client.take() == b"+OK\r\n$1\r\n1\r\n"


def test_a_write_without_a_majority_is_unknown_at_its_deadline_and_not_before() -> None:
    """DESIGN.md: -UNKNOWN is left for the deadline; a read behind it is refused, definitely."""
    cluster = three_nodes(request_timeout_ms=300)
    cluster.cut |= {(1, 2), (1, 3)}
    client = talk(cluster[1], "SET a 1", "GET a", "PING", "SET a 2")
    cluster.run(290)
    assert client.take() == b""
    cluster.run(20)
    first, second, third = client.replies()
    assert str(first).startswith("UNKNOWN")
    assert str(second).startswith(("TRYAGAIN", "CLUSTERDOWN"))
    assert third == b"PONG"
    cluster.heal()
    cluster.run(2000)
    assert len(client.replies()) == 1
    assert client.owes_nothing


def test_a_change_of_leader_by_itself_settles_nothing() -> None:
    """DESIGN.md: a pending reply is settled by the log: the new leader may have the entry and commit it."""
    cluster = three_nodes()
    cluster.cut |= {(2, 1), (3, 1)}
    client = talk(cluster[1], "SET a 1", "GET a")
    assert cluster[2].core.last_index == cluster[1].core.last_index
    cluster.isolate(1)
    cluster.run_until(lambda: not cluster[1].group.is_leader)
    assert client.take() == b""
    cluster.run_until(lambda: cluster.leader)
    cluster.heal()
    cluster.run(300)
    assert client.take() == b"+OK\r\n$1\r\n1\r\n"


def test_a_write_that_lost_its_place_is_refused_with_the_way_to_the_new_leader() -> None:
    """DESIGN.md: another term at that index means not done, definitely."""
    cluster = three_nodes()
    cluster.isolate(1)
    client = talk(cluster[1], "SET a 1", "GET a", "FLUSHALL")
    cluster[2].clock.advance(1500)
    cluster[2].tick()
    cluster[2].clock.advance(10)
    cluster[2].tick()
    cluster.run_until(lambda: cluster[2].group.is_serving or cluster[3].group.is_serving)
    cluster.heal()
    cluster.run(300)
    leader = cluster.leader
    assert leader is not None
    moved = b"-MOVED 15495 127.0.0.1:%d\r\n" % (7000 + leader.node_id)
    assert client.take() == moved + moved + b"-MOVED 0 127.0.0.1:%d\r\n" % (7000 + leader.node_id)
    assert leader.ask("GET a") == [None]


def test_what_was_gathered_and_never_proposed_is_refused_when_leadership_is_lost() -> None:
    """leader_wait_ms: definite for what was never proposed, long before the deadline."""
    cluster = three_nodes(batches_in_flight_max=1)
    cluster.cut |= {(1, 2), (1, 3), (2, 1), (3, 1)}
    proposed, gathered = talk(cluster[1], "SET a 1"), talk(cluster[1], "SET b 1", "GET b")
    assert cluster[1].group.is_leader
    cluster.run_until(lambda: not cluster[1].group.is_leader)
    cluster.run(1100)
    assert proposed.take() == b""
    assert gathered.take() == CLUSTER_DOWN * 2


def test_what_was_gathered_goes_to_the_next_leader_when_there_is_one_soon() -> None:
    """The client need not know that leadership has moved; its read behind the write is to be asked again."""
    cluster = three_nodes(batches_in_flight_max=1)
    cluster[1].disk.is_slow = True
    cluster.is_held = True
    proposed, gathered = talk(cluster[1], "SET a 1"), talk(cluster[1], "INCR b", "GET b")
    cluster.network.clear()
    cluster.isolate(1)
    cluster.is_held = False
    cluster.run_until(lambda: cluster[2].group.is_serving or cluster[3].group.is_serving)
    cluster.heal()
    cluster.run(300)
    assert proposed.take().startswith(b"-MOVED ")
    incremented, read = gathered.replies()
    assert incremented == 1
    assert str(read).startswith("MOVED ")


def test_leadership_that_is_being_handed_over_takes_no_writes() -> None:
    """Raft thesis §3.10: definite, and soon over."""
    cluster = three_nodes()
    cluster.is_held = True
    cluster[1].group.hand_over()
    client = talk(cluster[1], "SET a 1")
    assert client.take().startswith(b"-TRYAGAIN ")
    cluster.heal()
    cluster.run(1500)
    assert client.owes_nothing


# -- WAIT ---------------------------------------------------------------------------------------------


def test_wait_counts_the_replicas_that_have_the_own_writes() -> None:
    """redis WAIT: it is answered once enough have them, or at its timeout with how many do."""
    cluster = three_nodes()
    cluster.cut |= {(1, 3)}
    client = talk(cluster[1], "SET a 1", "WAIT 1 0", "WAIT 2 100", "PING")
    assert client.take() == b"+OK\r\n:1\r\n"
    cluster.run(90)
    assert client.take() == b""
    cluster.run(30)
    assert client.take() == b":1\r\n+PONG\r\n"
    client.send("WAIT 2 0", "PING")
    cluster.run(50)
    assert client.take() == b""
    cluster.heal()
    cluster.run(1000)
    assert client.take() == b":2\r\n+PONG\r\n"


def test_wait_ends_when_leadership_does() -> None:
    """redis WAIT: a replica has no replicas to wait for (unblocked, redis replicationUnsetMaster)."""
    cluster = three_nodes()
    cluster.cut |= {(1, 3)}
    client = talk(cluster[1], "SET a 1", "WAIT 2 0", "PING")
    assert client.take() == b"+OK\r\n"
    cluster.isolate(1)
    cluster.run(1500)
    assert client.take() == (
        b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n"
        b"+PONG\r\n"
    )


def test_who_waits_and_goes_is_forgotten() -> None:
    """A connection that has ended its side does not wait for replicas for ever."""
    cluster = three_nodes()
    cluster.cut |= {(1, 3)}
    client = talk(cluster[1], "SET a 1", "WAIT 2 0")
    client.end()
    cluster.run(20)
    assert client.take() == b"+OK\r\n:1\r\n"
    assert client.socket.is_lost


# -- a single node ----------------------------------------------------------------------------------------


def test_a_single_node_serves_alone() -> None:
    """A cluster of one has its majority."""
    node = single_node()
    node.clock.advance(10_000)
    assert node.ask("SET a 1", "GET a") == [b"OK", b"1"]
