"""CLUSTER: the leader is the master of all slots, and every node says so."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from raftkv.commands.administration import LEARNER, STAGED, Done
from raftkv.commands.cluster import role_name
from raftkv.commands.session import FitnessStatus, NodeStatus, member_name
from raftkv.commands.table import Awaited
from raftkv.raft.types import CANDIDATE, FOLLOWER, LEADER, NOBODY, PRE_CANDIDATE
from raftkv.resp.replies import NOT_AN_INTEGER, OK, SYNTAX_ERROR, Error, Reply, Verbatim
from tests.commands.fake_node import CLUSTER_ID, NOW_US, FakeNode, ask, node_status, open_session

NAMES = {node_id: member_name(CLUSTER_ID, node_id).encode() for node_id in (1, 2, 3)}
N1, N2, N3 = (NAMES[node_id].decode() for node_id in (1, 2, 3))


def ask_node(status: NodeStatus, *words: str | bytes) -> Reply:
    """CLUSTER, asked at a node that sees the cluster so."""
    reply = ask(open_session(FakeNode(status)), "CLUSTER", *words)
    assert not callable(getattr(reply, "look", None)), "nothing of CLUSTER waits"
    return reply  # type: ignore[return-value]  # see above


def text(reply: Reply) -> str:
    """What a verbatim reply says."""
    assert isinstance(reply, Verbatim)
    return reply.text.decode()


def without_leader() -> NodeStatus:
    """Node 2, after node 3, which led, was lost."""
    status = node_status(2, leader_id=NOBODY)
    status.last_leader_id = 3
    status.members[2].is_reachable = False
    return status


def test_names_are_40_hex_digits_of_their_own() -> None:
    """redis cluster spec: node ids; redis-cli --cluster check insists."""
    assert all(re.fullmatch(rb"[0-9a-f]{40}", name) for name in NAMES.values())
    assert len(set(NAMES.values())) == 3
    assert member_name(bytes(16), 1).encode() not in NAMES.values()
    assert ask_node(node_status(2), "MYID") == NAMES[2]


def test_the_shard_has_one_name_on_every_node() -> None:
    """redis 7.2 CLUSTER MYSHARDID."""
    names = [ask_node(node_status(node_id), "MYSHARDID") for node_id in (1, 2, 3)]
    assert len(set(map(str, names))) == 1
    assert re.fullmatch(rb"[0-9a-f]{40}", names[0])  # type: ignore[arg-type]  # bytes
    assert names[0] not in NAMES.values()


@pytest.mark.parametrize("node_id", [1, 2, 3])
def test_slots_are_all_the_leaders_and_the_same_on_every_node(node_id: int) -> None:
    """redis CLUSTER SLOTS: first, last, master, replicas; go, java and python clients start with it."""
    assert ask_node(node_status(node_id, leader_id=2), "SLOTS") == [
        [
            0,
            16383,
            [b"127.0.0.1", 7002, NAMES[2], {}],
            [b"127.0.0.1", 7001, NAMES[1], {}],
            [b"127.0.0.1", 7003, NAMES[3], {}],
        ]
    ]


def test_shards_hold_all_nodes_with_their_roles() -> None:
    """redis 7 CLUSTER SHARDS."""
    reply = ask_node(node_status(1), "SHARDS")
    assert isinstance(reply, list)
    (shard,) = reply
    assert shard[b"slots"] == [0, 16383]
    assert shard[b"nodes"][0] == {
        b"id": NAMES[1],
        b"port": 7001,
        b"ip": b"127.0.0.1",
        b"endpoint": b"127.0.0.1",
        b"role": b"master",
        b"replication-offset": 90,
        b"health": b"online",
    }
    assert [(node[b"role"], node[b"replication-offset"]) for node in shard[b"nodes"][1:]] == [
        (b"replica", 82),
        (b"replica", 83),
    ]


def test_nodes_are_described_line_by_line() -> None:
    """redis CLUSTER NODES: id address flags master ping pong epoch link slots."""
    assert text(ask_node(node_status(2), "NODES")).splitlines() == [
        f"{N1} 127.0.0.1:7001@17001 master - 0 0 4 connected 0-16383",
        f"{N2} 127.0.0.1:7002@17002 myself,slave {N1} 0 0 4 connected",
        f"{N3} 127.0.0.1:7003@17003 slave {N1} 0 0 4 connected",
    ]


def test_an_unreachable_node_is_shown_as_such() -> None:
    """redis CLUSTER NODES: fail?, disconnected."""
    line = text(ask_node(without_leader(), "NODES")).splitlines()[2]
    assert line == f"{N3} 127.0.0.1:7003@17003 master,fail? - 0 0 4 disconnected 0-16383"


def test_without_a_leader_the_last_one_stays_master_but_the_state_is_fail() -> None:
    """DESIGN: an empty slot map makes clients raise."""
    status = without_leader()
    assert ask_node(status, "SLOTS") == ask_node(node_status(2, leader_id=3), "SLOTS")
    info = text(ask_node(status, "INFO"))
    assert "cluster_state:fail\r\n" in info
    assert "cluster_slots_ok:0\r\n" in info
    assert "cluster_raft_leader:\r\n" in info


def test_before_there_ever_was_a_leader_the_first_node_stands_for_it() -> None:
    """The map is whole, and the same on every node."""
    status = replace(node_status(3, leader_id=NOBODY), last_leader_id=NOBODY)
    assert ask_node(status, "SLOTS") == ask_node(node_status(3, leader_id=1), "SLOTS")


def test_info_tells_the_state_and_how_raft_is() -> None:
    """redis CLUSTER INFO, and the fields that monitors read."""
    assert text(ask_node(node_status(1), "INFO")).split("\r\n") == [
        "cluster_state:ok",
        "cluster_slots_assigned:16384",
        "cluster_slots_ok:16384",
        "cluster_slots_pfail:0",
        "cluster_slots_fail:0",
        "cluster_known_nodes:3",
        "cluster_size:1",
        "cluster_current_epoch:4",
        "cluster_my_epoch:4",
        "cluster_stats_messages_sent:0",
        "cluster_stats_messages_received:0",
        "total_cluster_links_buffer_limit_exceeded:0",
        "cluster_raft_role:leader",
        "cluster_raft_current_term:4",
        "cluster_raft_commit_index:90",
        "cluster_raft_last_applied:90",
        "cluster_raft_log_entries:100",
        f"cluster_raft_leader:{N1}",
        "cluster_raft_voters:3",
        "cluster_raft_learners:0",
        "cluster_raft_changing:0",
        "",
    ]


def test_roles_have_three_names_outside() -> None:
    """The contract of INFO raft: leader, follower or candidate."""
    names = [role_name(role) for role in (LEADER, FOLLOWER, CANDIDATE, PRE_CANDIDATE)]
    assert names == ["leader", "follower", "candidate", "candidate"]


def test_slots_and_keys_are_found() -> None:
    """redis CLUSTER KEYSLOT, COUNTKEYSINSLOT, GETKEYSINSLOT."""
    session = open_session(FakeNode(keys_by_slot={15495: [b"a", b"{a}2"]}))
    assert ask(session, "CLUSTER", "KEYSLOT", "{a}2") == 15495
    assert ask(session, "CLUSTER", "COUNTKEYSINSLOT", "15495") == 2
    assert ask(session, "CLUSTER", "COUNTKEYSINSLOT", "16383") == 0
    assert ask(session, "CLUSTER", "GETKEYSINSLOT", "15495", "1") == [b"a"]
    assert ask(session, "CLUSTER", "GETKEYSINSLOT", "15495", "0") == []


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("COUNTKEYSINSLOT 16384", Error("ERR Invalid slot")),
        ("COUNTKEYSINSLOT -1", Error("ERR Invalid slot")),
        ("COUNTKEYSINSLOT x", NOT_AN_INTEGER),
        ("GETKEYSINSLOT 16384 1", Error("ERR Invalid slot or number of keys")),
        ("GETKEYSINSLOT 5 -1", Error("ERR Invalid slot or number of keys")),
        ("GETKEYSINSLOT 5 x", NOT_AN_INTEGER),
        ("REPLICAS nosuch", Error("ERR Unknown node nosuch")),
        (f"REPLICAS {N2}", Error("ERR The specified node is not a master")),
        ("COUNT-FAILURE-REPORTS nosuch", Error("ERR Unknown node nosuch")),
        ("FAILOVER x", SYNTAX_ERROR),
        (
            "FAILOVER FORCE x",
            Error("ERR unknown subcommand or wrong number of arguments for 'FAILOVER'. Try CLUSTER HELP."),
        ),
        ("FAILOVER", Error("ERR You should send CLUSTER FAILOVER to a replica")),
        ("MEET 127.0.0.1 x", Error("ERR Invalid base port specified: x")),
        ("MEET 127.0.0.1 7001 x", Error("ERR Invalid bus port specified: x")),
        ("MEET 127.0.0.1 70000", Error("ERR Invalid node address specified: 127.0.0.1:70000")),
        ("MEET 127.0.0.1 7001 70000", Error("ERR Invalid node address specified: 127.0.0.1:7001")),
        (
            "MEET 127.0.0.1 1 2 3",
            Error("ERR unknown subcommand or wrong number of arguments for 'MEET'. Try CLUSTER HELP."),
        ),
        ("FORGET nosuch", Error("ERR Unknown node nosuch")),
    ],
)
def test_refusals_have_rediss_words(line: str, error: Error) -> None:
    """redis cluster.c, as a real server answers."""
    assert ask_node(node_status(1), *line.split()) == error


def test_replicas_of_the_master_are_described() -> None:
    """redis CLUSTER REPLICAS: the lines of CLUSTER NODES."""
    lines = text(ask_node(node_status(1), "NODES")).encode().splitlines()
    assert ask_node(node_status(1), "REPLICAS", N1) == lines[1:]
    assert ask_node(node_status(1), "COUNT-FAILURE-REPORTS", N3) == 0


def test_links_that_stand_are_shown_each_way() -> None:
    """redis 7 CLUSTER LINKS."""
    status = node_status(1)
    status.members[1].is_reachable = False
    link = {b"node": NAMES[3], b"create-time": NOW_US // 1000 - 90_000_000}
    sizes = {b"send-buffer-allocated": 0, b"send-buffer-used": 0}
    assert ask_node(status, "LINKS") == [
        {b"direction": b"to", **link, b"events": b"rw", **sizes},
        {b"direction": b"from", **link, b"events": b"r", **sizes},
    ]


@pytest.mark.parametrize("options", [[], ["FORCE"]])
def test_failover_asks_the_leader_to_hand_over(options: list[str]) -> None:
    """thesis §3.10 behind redis CLUSTER FAILOVER; forced, it campaigns too if the leader is silent."""
    node = FakeNode(node_status(2, leader_id=1))
    assert ask(open_session(node), "CLUSTER", "FAILOVER", *options) is OK
    assert node.leadership_requests == 1


def test_takeover_is_refused_with_the_reason() -> None:
    """Nothing leads without a majority's votes (Raft §5.2)."""
    node = FakeNode(node_status(2, leader_id=1))
    refused = ask(open_session(node), "CLUSTER", "FAILOVER", "takeover")
    assert isinstance(refused, Error)
    assert refused.text.startswith("ERR CLUSTER FAILOVER TAKEOVER is not supported: ")
    assert (node.leadership_requests, node.admin.asked) == (0, [])


def test_who_cannot_lead_is_told_why() -> None:
    """A learner, and a node whose disk hangs."""
    status = node_status(2, leader_id=1)
    status.members[1].standing = LEARNER
    assert "doesn't vote" in error_text(ask_node(status, "FAILOVER"))
    node = FakeNode(node_status(2, leader_id=1), fit=FitnessStatus(is_disk_stalled=True))
    assert "disk" in error_text(ask(open_session(node), "CLUSTER", "FAILOVER", "FORCE"))


def error_text(reply: object) -> str:
    """What an error says."""
    assert isinstance(reply, Error)
    return reply.text


def test_learners_are_replicas_that_never_fail_over() -> None:
    """redis CLUSTER NODES: nofailover; whoever has yet to catch up is loading, and in no slot map."""
    status = node_status(1)
    status.members[1].standing = LEARNER
    status.members[2].standing = STAGED
    lines = text(ask_node(status, "NODES")).splitlines()
    assert [line.split()[2] for line in lines] == ["myself,master", "slave,nofailover", "slave,nofailover"]
    reply = ask_node(status, "SLOTS")
    assert isinstance(reply, list)
    assert [node[1] for node in reply[0][2:]] == [7001, 7002]
    reply = ask_node(status, "SHARDS")
    assert isinstance(reply, list)
    assert [node[b"health"] for node in reply[0][b"nodes"]] == [b"online", b"online", b"loading"]


def test_a_former_leader_that_was_removed_is_master_of_nothing() -> None:
    """The first voter stands for the leader until there is one."""
    status = replace(node_status(3, leader_id=NOBODY), last_leader_id=9)
    status.members[0].standing = LEARNER
    assert status.master.node_id == 2


def test_meet_and_forget_begin_a_change() -> None:
    """redis CLUSTER MEET, FORGET; answered when it is done."""
    node = FakeNode()
    session = open_session(node)
    waiting = ask(session, "CLUSTER", "MEET", "10.0.0.4", "7004")
    forgetting = ask(session, "CLUSTER", "FORGET", N3.upper())
    assert isinstance(waiting, Awaited)
    assert isinstance(forgetting, Awaited)
    assert node.admin.asked == [("add", "10.0.0.4", 17004, 0, False), ("remove", 3)]
    assert (waiting.look(), waiting.timeout_ms) == (None, 5000)
    node.admin.outcome = Done(4)
    assert waiting.look() is forgetting.look() is OK


def test_failover_without_a_leader_needs_force() -> None:
    """There is nobody to hand over; forced, the voters are asked at once."""
    node = FakeNode(without_leader())
    session = open_session(node)
    assert ask(session, "CLUSTER", "FAILOVER") == Error(
        "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE"
    )
    assert ask(session, "CLUSTER", "FAILOVER", "FORCE") is OK
    assert (node.leadership_requests, node.admin.asked) == (0, [("campaign",)])


def test_digest_comes_with_its_applied_index() -> None:
    """RAFT DIGEST: replicas are compared at one index."""
    assert ask(open_session(), "RAFT", "DIGEST") == [b"d1635", 90]
