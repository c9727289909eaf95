"""RAFT and CLUSTER change the members of a cluster that runs, and tell who asked how it went."""

from __future__ import annotations

from typing import Any

import pytest

from raftkv.commands.session import member_name
from raftkv.node.snapshot_transfer import TransferProgress
from raftkv.raft import FOLLOWER
from tests.node.driven_cluster import (
    CLUSTER_ID,
    ELECTION_TIMEOUT_MS,
    Client,
    Cluster,
    Node,
    single_node,
    three_nodes,
)


def begin(node: Node, *requests: str) -> Client:
    """Send requests on a new connection, and let what can happen at once happen."""
    client = node.connect()
    client.send(*requests)
    node.cluster.settle()
    return client


def reply_of(cluster: Cluster, client: Client, ms_max: int = 8000) -> Any:
    """Wait for one reply."""
    found: list[Any] = []
    cluster.run_until(lambda: found or found.extend(client.replies()), ms_max)
    (reply,) = found
    return reply


def ask(node: Node, request: str, ms_max: int = 8000) -> Any:
    """Send a request on a new connection, and give its reply; an error as its text."""
    reply = reply_of(node.cluster, begin(node, request), ms_max)
    return str(reply) if isinstance(reply, Exception) else reply


def members_at(node: Node) -> dict[int, dict[str, Any]]:
    """RAFT MEMBERS by id."""
    rows = [dict(zip(row[::2], row[1::2], strict=True)) for row in node.ask("RAFT MEMBERS")[0]]
    return {row[b"id"]: {key.decode(): value for key, value in row.items()} for row in rows}


def roles_at(node: Node) -> dict[int, bytes]:
    """Every member's role."""
    return {node_id: row["role"] for node_id, row in members_at(node).items()}


def told_cluster() -> Cluster:
    """Three nodes, of which the first leads, whose addresses are in the log."""
    cluster = three_nodes()
    cluster.tell_addresses()
    return cluster


def name_of(node_id: int) -> str:
    """What CLUSTER calls a node."""
    return member_name(CLUSTER_ID, node_id)


# -- taking in ------------------------------------------------------------------------------------


def test_an_invited_node_becomes_a_learner_then_a_voter() -> None:
    """RAFT ADD answers the id once it is a member; it votes once it has caught up (thesis §4.2.1)."""
    cluster = told_cluster()
    cluster[1].ask("SET a 1")
    cluster.add_newcomer(7004)
    assert ask(cluster[1], "RAFT ADD 127.0.0.1 7004") == 4
    cluster.run_until(lambda: cluster[1].core.committed_membership.voters == (1, 2, 3, 4))
    assert roles_at(cluster[1]) == {1: b"leader", 2: b"voter", 3: b"voter", 4: b"voter"}
    cluster.run(200)
    assert cluster[4].ask("READONLY", "GET a") == [b"OK", b"1"]
    assert cluster[4].view.status().member(4).port == 7004


def test_a_learner_stays_one_until_it_is_promoted() -> None:
    """RAFT ADD LEARNER, RAFT PROMOTE."""
    cluster = told_cluster()
    cluster.add_newcomer(7004)
    assert ask(cluster[1], "RAFT ADD LEARNER 127.0.0.1 7004 PEERPORT 17004") == 4
    cluster.run(1000)
    assert roles_at(cluster[1])[4] == b"learner"
    nodes = cluster[2].ask("CLUSTER NODES")[0].decode().splitlines()
    assert nodes[3].split()[2] == "slave,nofailover"
    assert cluster[2].ask("CLUSTER SLOTS")[0][0][-1][1] == 7004
    assert ask(cluster[4], "CLUSTER FAILOVER").startswith("ERR this node doesn't vote")
    assert ask(cluster[1], "RAFT PROMOTE 4") == b"OK"
    assert ask(cluster[1], "RAFT PROMOTE 4") == b"OK"
    assert roles_at(cluster[1])[4] == b"voter"


def test_who_has_not_caught_up_is_not_promoted() -> None:
    """A voter that lacks much would hold up commits (thesis §4.2.1)."""
    cluster = told_cluster()
    cluster.add_newcomer(7004)
    assert ask(cluster[1], "RAFT ADD LEARNER 127.0.0.1 7004") == 4
    cluster.isolate(4)
    cluster.run(1000)
    assert ask(cluster[1], "RAFT PROMOTE 4") == "ERR node 4 has not caught up"


def test_a_replacement_votes_and_the_replaced_goes_in_one_step() -> None:
    """RAFT REPLACE: the number of voters never changes."""
    cluster = told_cluster()
    cluster.isolate(3)
    cluster.add_newcomer(7004)
    assert ask(cluster[1], "RAFT REPLACE 3 127.0.0.1 7004") == 4
    assert members_at(cluster[1])[4]["takes-place-of"] == 3
    cluster.run_until(lambda: cluster[1].core.committed_membership.voters == (1, 2, 4))
    assert ask(cluster[1], "RAFT REPLACE 3 127.0.0.1 7005").startswith("ERR node 3 is no member any more")


def test_adding_a_member_again_tells_its_id() -> None:
    """Whoever got no reply repeats it."""
    cluster = told_cluster()
    cluster.add_newcomer(7004)
    assert ask(cluster[1], "RAFT ADD 127.0.0.1 7004") == 4
    cluster.run(500)
    assert ask(cluster[1], "RAFT ADD 127.0.0.1 7004") == 4
    assert ask(cluster[1], "CLUSTER MEET 127.0.0.1 7002") == b"OK"
    assert sorted(cluster.nodes) == [1, 2, 3, 4]


def test_meet_takes_a_voter_in_too() -> None:
    """redis CLUSTER MEET, with the cluster bus port."""
    cluster = told_cluster()
    cluster.add_newcomer(7004)
    assert ask(cluster[1], "CLUSTER MEET 127.0.0.1 1 17004") == b"OK"
    cluster.run_until(lambda: 4 in cluster[1].core.committed_membership.voters)


def test_where_nobody_waits_nobody_is_taken_in() -> None:
    """The reason is the system's."""
    cluster = told_cluster()
    assert ask(cluster[1], "RAFT ADD 127.0.0.1 7009") == (
        "ERR no node that waits to be taken in is there: Connection refused"
    )


def test_a_node_that_declines_says_why() -> None:
    """`Invitations` hands on the reason."""
    cluster = told_cluster()
    cluster.add_newcomer(7004).reluctance = "it joins another cluster"
    assert ask(cluster[1], "RAFT ADD 127.0.0.1 7004") == (
        "ERR the node there declines: it joins another cluster"
    )


def test_a_node_with_another_password_is_refused() -> None:
    """What the newcomer is told, whoever asked for it is told too."""
    cluster = told_cluster()
    cluster.add_newcomer(7004).password = "other"
    assert ask(cluster[1], "RAFT ADD 127.0.0.1 7004") == (
        "ERR the password is not the cluster's (requirepass)"
    )


def test_a_node_that_never_comes_is_not_waited_for_longer_than_a_request() -> None:
    """request_timeout_ms, then the outcome is unknown."""
    cluster = told_cluster()
    newcomer = cluster.add_newcomer(7004)
    newcomer.tick = lambda: None  # type: ignore[method-assign]  # it hangs
    assert ask(cluster[1], "RAFT ADD 127.0.0.1 7004").startswith("UNKNOWN it was asked for")


# -- letting go -----------------------------------------------------------------------------------


def test_a_removed_node_counts_no_more_and_knows_it() -> None:
    """RAFT REMOVE answers once the new voters alone decide; said again it says that it was done."""
    cluster = told_cluster()
    assert ask(cluster[1], "RAFT REMOVE 3") == b"OK"
    assert cluster[1].core.committed_membership.voters == (1, 2)
    assert ask(cluster[1], "RAFT REMOVE 3") == "ERR node 3 is no member any more: it was removed"
    assert ask(cluster[1], "RAFT REMOVE 9") == "ERR node 9 is no member, and never was"
    cluster.run(1000)
    assert b"raft_state:removed" in cluster[3].ask("INFO raft")[0]
    assert b"raft_is_voting:no" in cluster[3].ask("INFO raft")[0]
    assert roles_at(cluster[3])[3] == b"stranger"


def test_the_leader_can_be_removed_too() -> None:
    """Raft §6: it leads until its removal is committed, then another one does."""
    cluster = told_cluster()
    assert ask(cluster[1], "RAFT REMOVE 1") == b"OK"
    cluster.run_until(lambda: cluster.leader is not None and cluster.leader.node_id in (2, 3))
    assert cluster[2].core.committed_membership.voters == (2, 3)


def test_forget_is_by_name_and_may_be_repeated() -> None:
    """redis CLUSTER FORGET; 7.2 says OK of who is forgotten already."""
    cluster = told_cluster()
    assert ask(cluster[1], f"CLUSTER FORGET {name_of(3)}") == b"OK"
    assert ask(cluster[1], f"CLUSTER FORGET {name_of(3)}") == b"OK"
    assert ask(cluster[2], f"CLUSTER FORGET {name_of(3)}") == b"OK"
    assert ask(cluster[1], "CLUSTER FORGET nosuch") == "ERR Unknown node nosuch"


def test_the_last_voter_stays() -> None:
    """A cluster without voters could never be changed again."""
    assert ask(single_node(), "RAFT REMOVE 1") == "ERR node 1 is the last voter"


def test_a_removal_that_leaves_no_majority_alive_is_refused() -> None:
    """Of the voters 1 and 3, node 3 is away."""
    cluster = told_cluster()
    cluster.isolate(3)
    cluster.run(1000)
    assert ask(cluster[1], "RAFT REMOVE 2") == (
        "ERR the voters would be 1, 3, and 3 can't be reached: no majority"
    )


def test_changes_wait_for_one_another() -> None:
    """One at a time (Raft §6); who comes second doesn't have to try again."""
    cluster = told_cluster()
    cluster.is_held = True
    first, second = begin(cluster[1], "RAFT REMOVE 3"), begin(cluster[1], "RAFT REMOVE 2")
    again = begin(cluster[1], "RAFT REMOVE 3")
    cluster.is_held = False
    assert [reply_of(cluster, client) for client in (first, again, second)] == [b"OK", b"OK", b"OK"]
    assert cluster[1].core.committed_membership.voters == (1,)


def test_a_change_that_a_lost_leader_had_begun_is_of_unknown_outcome() -> None:
    """Nobody can say whether another node has it."""
    cluster = told_cluster()
    cluster.isolate(1)
    client = begin(cluster[1], "RAFT REMOVE 3")
    assert str(reply_of(cluster, client)).startswith("UNKNOWN it was asked for")


def test_a_change_that_could_not_begin_was_not_made() -> None:
    """It waited for another one when leadership was lost."""
    cluster = told_cluster()
    cluster.isolate(1)
    begin(cluster[1], "RAFT REMOVE 3")
    waiting = begin(cluster[1], "RAFT REMOVE 2")
    assert str(reply_of(cluster, waiting)) == "TRYAGAIN this node leads no more, and had not begun"


def test_a_change_that_waited_for_another_for_too_long_was_not_made() -> None:
    """request_timeout_ms; the other one's own outcome nobody knows."""
    cluster = three_nodes(request_timeout_ms=100)
    cluster.tell_addresses()
    cluster.isolate(1)
    first, second = begin(cluster[1], "RAFT REMOVE 3"), begin(cluster[1], "RAFT REMOVE 2")
    expected = "TRYAGAIN another change of the members is under way; nothing was done"
    assert str(reply_of(cluster, second)) == expected
    assert str(reply_of(cluster, first)).startswith("UNKNOWN it was asked for")
    assert cluster.leader is cluster[1]


def test_a_change_that_was_overwritten_is_known_to_be_undone() -> None:
    """Another entry was committed in the place of its own (Raft §5.3)."""
    cluster = told_cluster()
    cluster.isolate(1)
    client = begin(cluster[1], "RAFT REMOVE 3")
    cluster.run_until(lambda: cluster.leader is not None and cluster.leader.node_id != 1)
    cluster.heal()
    assert str(reply_of(cluster, client)) == "TRYAGAIN it was lost with the leader that had begun it"
    assert cluster[1].core.membership.voters == (1, 2, 3)


# -- who is asked ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        "RAFT ADD h 1",
        "RAFT ADD LEARNER h 1",
        "RAFT REMOVE 3",
        "RAFT PROMOTE 3",
        "RAFT REPLACE 3 h 1",
        "RAFT TRANSFER",
        "CLUSTER MEET h 1",
        f"CLUSTER FORGET {name_of(3)}",
    ],
)
def test_changes_are_for_the_leader(request_: str) -> None:
    """MOVED, which redis-cli -c follows; without a leader CLUSTERDOWN."""
    cluster = three_nodes()
    assert ask(cluster[2], request_) == "MOVED 0 127.0.0.1:7001"
    cluster.isolate(2)
    cluster.run(2000)
    assert ask(cluster[2], request_).startswith("CLUSTERDOWN no leader is known")


def test_clients_that_know_no_cluster_are_told_where_the_leader_is() -> None:
    """On the standalone listener MOVED would mean nothing."""
    cluster = three_nodes()
    client = cluster[2].connect_standalone()
    client.send("RAFT REMOVE 3")
    assert str(reply_of(cluster, client)) == ("ERR node 1 leads the cluster: say it there, at 127.0.0.1:7001")


# -- leadership -----------------------------------------------------------------------------------


def test_leadership_goes_to_whom_is_named() -> None:
    """thesis §3.10; answered once somebody else leads."""
    cluster = three_nodes()
    assert ask(cluster[1], "RAFT TRANSFER 1") == 1
    assert ask(cluster[1], "RAFT TRANSFER 3") == 3
    assert ask(cluster[3], "RAFT TRANSFER") in (1, 2)


def test_leadership_goes_to_nobody_who_cannot_lead() -> None:
    """A stranger, one that is away, and nobody at all."""
    cluster = three_nodes()
    assert ask(cluster[1], "RAFT TRANSFER 7").startswith("ERR leadership goes to another voter")
    cluster.isolate(3)
    assert ask(cluster[1], "RAFT TRANSFER 3").startswith("TRYAGAIN node 3 did not take over in time")
    assert cluster.leader is cluster[1]
    assert ask(single_node(), "RAFT TRANSFER") == "ERR there is no other voter to lead"


def test_a_forced_failover_asks_the_voters_at_once() -> None:
    """CLUSTER FAILOVER FORCE: the election timeout is not waited for, but stickiness is (thesis §4.2.3)."""
    cluster = three_nodes()
    cluster.isolate(1)
    cluster.run(ELECTION_TIMEOUT_MS // 2)
    assert cluster[3].ask("CLUSTER FAILOVER FORCE") == [b"OK"]
    assert cluster[3].core.role is FOLLOWER
    cluster.run(ELECTION_TIMEOUT_MS // 2)
    assert cluster[2].core.leader_id == cluster[3].core.leader_id == 1
    assert cluster[3].ask("CLUSTER FAILOVER FORCE") == [b"OK"]
    assert cluster[3].group.is_leader


# -- log and snapshots ----------------------------------------------------------------------------


def test_snapshot_flushes_and_compact_drops_the_log() -> None:
    """RAFT SNAPSHOT answers the index that is durable, RAFT COMPACT the first that is left."""
    cluster = three_nodes()
    node = cluster[1]
    node.ask(*(f"SET a {number}" for number in range(5)))
    cluster.run(200)
    last_index = node.core.last_index
    waiting = begin(node, "RAFT SNAPSHOT")
    assert waiting.replies() == []
    node.flush()
    assert reply_of(cluster, waiting) == last_index
    waiting = begin(node, "RAFT COMPACT KEEP 2")
    node.flush()
    assert reply_of(cluster, waiting) == last_index - 1
    waiting = begin(node, "RAFT COMPACT")
    node.flush()
    assert reply_of(cluster, waiting) == last_index + 1
    info = node.ask("RAFT INFO")[0].decode()
    assert f"log_first_index:{last_index + 1}\r\n" in info
    assert f"log_dropped_to_index:{last_index}\r\n" in info


def test_snapshots_on_their_way_are_shown() -> None:
    """RAFT INFO, RAFT MEMBERS: bytes done of all."""
    cluster = three_nodes()
    cluster[1].snapshots.outgoing.append(TransferProgress(3, b"", 250, 1000, 0, 0))
    row = members_at(cluster[1])[3]
    assert (row["snapshot-bytes-done"], row["snapshot-bytes-total"]) == (250, 1000)
    assert (
        b"snapshot_to_node3:to=3,bytes_done=250,bytes_total=1000,percent=25" in cluster[1].ask("RAFT INFO")[0]
    )
    assert b"state=send_bulk" in cluster[1].ask("INFO replication")[0]


def test_members_tell_what_a_node_knows() -> None:
    """The leader knows how far the others are."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1")
    cluster.run(200)
    row = members_at(cluster[1])[2]
    last_index = cluster[1].core.last_index
    assert row["name"].decode() == name_of(2)
    assert (row["match-index"], row["lag"], row["state"]) == (last_index, 0, b"replicate")
    row = members_at(cluster[2])[3]
    assert (row["match-index"], row["lag"], row["state"]) == (None, None, b"connected")
