"""INFO, TIME, ROLE, WAIT, WAITAOF, LOLWUT."""

from __future__ import annotations

import pytest

from raftkv.commands.administration import LEARNER, STAGED, STRANGER, TransferStatus
from raftkv.commands.info import human_size
from raftkv.commands.monitors import Timing
from raftkv.commands.session import NodeStatus, Pace, SaveStatus
from raftkv.commands.table import Awaited
from raftkv.raft.types import NOBODY
from raftkv.resp.replies import NOT_AN_INTEGER, Error, Verbatim
from tests.commands.fake_node import CLUSTER_ID, FakeNode, ask, node_status, open_session

ALL_SECTIONS = [
    *("Server", "Clients", "Memory", "Persistence", "Stats", "Replication"),
    *("CPU", "Modules", "Commandstats", "Errorstats", "Latencystats", "Cluster", "Keyspace", "Raft"),
]


def info(status: NodeStatus, *sections: str) -> str:
    """INFO's text at a node that sees the cluster so."""
    return info_of(FakeNode(status, keys_by_slot={5: [b"a", b"b"]}), *sections)


def info_of(node: FakeNode, *sections: str) -> str:
    """INFO's text at a node."""
    reply = ask(open_session(node), "INFO", *sections)
    assert isinstance(reply, Verbatim)
    return reply.text.decode()


def fields(status: NodeStatus, section: str) -> dict[str, str]:
    """One section's fields."""
    title, *lines = info(status, section).splitlines()
    assert title.lower() == f"# {section}"
    return dict(line.split(":", 1) for line in lines)


def titles(text: str) -> list[str]:
    """Names of the sections."""
    return [line[2:] for line in text.splitlines() if line.startswith("# ")]


@pytest.mark.parametrize("sections", [["all"], ["everything"], ["raft", "EVERYTHING"]])
def test_all_sections_are_shown(sections: list[str]) -> None:
    """redis INFO."""
    assert titles(info(node_status(), *sections)) == ALL_SECTIONS


def test_statistics_of_commands_are_shown_on_request() -> None:
    """redis INFO: default leaves them out."""
    usual = [title for title in ALL_SECTIONS if title not in ("Commandstats", "Latencystats")]
    assert titles(info(node_status())) == titles(info(node_status(), "default")) == usual
    assert titles(info(node_status(), "latencystats", "commandstats")) == ["Commandstats", "Latencystats"]
    assert "Latencystats" in titles(info(node_status(), "default", "latencystats"))


def test_sections_are_shown_once_in_their_order() -> None:
    """redis 7 INFO with several sections; unknown ones are ignored."""
    assert titles(info(node_status(), "raft", "nosuch", "SERVER", "raft")) == ["Server", "Raft"]
    assert info(node_status(), "nosuch") == ""
    assert info(node_status(), "cluster", "keyspace") == (
        "# Cluster\r\ncluster_enabled:1\r\n\r\n# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=0\r\n"
    )


def test_server_section_names_the_process() -> None:
    """redis INFO server; `raftkv status` reads process_id."""
    server = fields(node_status(), "server")
    assert server["redis_version"] == "7.2.4"
    assert server["redis_mode"] == "cluster"
    assert (server["process_id"], server["tcp_port"]) == ("4242", "7001")
    assert (server["uptime_in_seconds"], server["uptime_in_days"]) == ("90000", "1")
    assert server["run_id"] == "ab" * 20
    assert (server["os"], server["config_file"]) == ("Linux", "/etc/node1.toml")


def test_sizes_are_written_for_people_too() -> None:
    """redis bytesToHuman."""
    memory = fields(node_status(), "memory")
    assert (memory["used_memory"], memory["used_memory_human"]) == (str(3 << 20), "3.00M")
    assert [human_size(size) for size in (0, 1023, 1024, 1535760)] == ["0B", "1023B", "1.00K", "1.46M"]


def test_counts_are_shown() -> None:
    """redis INFO clients, stats, persistence, errorstats, cpu."""
    status = node_status()
    assert fields(status, "clients")["connected_clients"] == "1"
    stats = fields(status, "stats")
    assert (stats["total_connections_received"], stats["total_error_replies"]) == ("7", "3")
    assert (stats["total_commands_processed"], stats["keyspace_hits"]) == ("42", "30")
    assert stats["keyspace_misses"] == "10"
    assert fields(status, "errorstats") == {"errorstat_ERR": "count=2", "errorstat_MOVED": "count=1"}
    assert fields(status, "persistence")["rdb_changes_since_last_save"] == "40"
    assert fields(status, "cpu") == {"used_cpu_sys": "0.250000", "used_cpu_user": "1.500000"}


def test_a_leader_is_a_master_with_its_replicas() -> None:
    """redis INFO replication."""
    replication = fields(node_status(1), "replication")
    assert (replication["role"], replication["connected_slaves"]) == ("master", "2")
    assert replication["slave0"] == "ip=127.0.0.1,port=7002,state=online,offset=82,lag=0"
    assert replication["master_repl_offset"] == "90"


def test_a_follower_is_a_replica_of_the_leader() -> None:
    """redis INFO replication."""
    replication = fields(node_status(2, leader_id=3), "replication")
    assert replication["role"] == "slave"
    assert (replication["master_port"], replication["master_link_status"]) == ("7003", "up")
    assert fields(node_status(2, leader_id=NOBODY), "replication")["master_link_status"] == "down"


def test_raft_section_has_redisrafts_names() -> None:
    """RedisRaft's INFO raft, which `raftkv status` reads; the other nodes only."""
    node = "state=connected,voting=yes,addr=127.0.0.1"
    last = "last_conn_secs=-1,conn_errors=0,conn_oks=0"
    assert fields(node_status(2, leader_id=3), "raft") == {
        "raft_cluster_id": CLUSTER_ID.hex(),
        "raft_node_id": "2",
        "raft_state": "up",
        "raft_role": "follower",
        "raft_is_voting": "yes",
        "raft_leader_id": "3",
        "raft_current_term": "4",
        "raft_num_nodes": "3",
        "raft_num_voting_nodes": "3",
        "raft_voters": "1,2,3",
        "raft_learners": "",
        "raft_node1": f"id=1,{node},port=7001,{last}",
        "raft_node3": f"id=3,{node},port=7003,{last}",
        "raft_log_entries": "100",
        "raft_current_index": "100",
        "raft_commit_index": "90",
        "raft_last_applied_index": "90",
        "raft_persisted_index": "95",
        "raft_disk": "ok",
        "raft_lease_drift_percent": "5",
        "raft_lease_trusted": "1",
        "raft_clock_faults": "0",
    }
    assert fields(node_status(2, leader_id=NOBODY), "raft")["raft_leader_id"] == "-1"


def test_raft_section_tells_who_is_no_voter() -> None:
    """`raftkv status` shows it; how far they are is the leader's to know."""
    status = node_status(1)
    status.members[1].standing = LEARNER
    status.members[2].standing = STAGED
    status.members[2].snapshot = TransferStatus(3, 4)
    shown = fields(status, "raft")
    assert (shown["raft_num_nodes"], shown["raft_num_voting_nodes"]) == ("3", "1")
    last = "last_conn_secs=-1,conn_errors=0,conn_oks=0"
    node = f"state=connected,voting=no,addr=127.0.0.1,port=7002,{last}"
    assert shown["raft_node2"] == f"id=2,{node},role=learner,lag=8"
    assert shown["raft_node3"].endswith(",role=staged,lag=7,snapshot_percent=75")
    assert "state=send_bulk" in fields(status, "replication")["slave1"]
    status = node_status(2)
    status.members[1].standing = STRANGER
    assert fields(status, "raft")["raft_state"] == "removed"
    assert fields(status, "raft")["raft_is_voting"] == "no"


def test_time_is_two_numbers_in_strings() -> None:
    """redis TIME."""
    assert ask(open_session(), "TIME") == [b"1700000000", b"123456"]


def test_role_of_a_leader_and_of_a_follower() -> None:
    """redis ROLE."""
    assert ask(open_session(FakeNode(node_status(1))), "ROLE") == [
        b"master",
        90,
        [[b"127.0.0.1", b"7002", b"82"], [b"127.0.0.1", b"7003", b"83"]],
    ]
    follower = open_session(FakeNode(node_status(2, leader_id=3)))
    assert ask(follower, "ROLE") == [b"slave", b"127.0.0.1", 7003, b"connected", 90]
    alone = open_session(FakeNode(node_status(2, leader_id=NOBODY)))
    assert ask(alone, "ROLE") == [b"slave", b"127.0.0.1", 7001, b"connect", 90]


def test_wait_answers_at_once_when_enough_replicas_have_it() -> None:
    """redis WAIT: the number that was reached, about the connection's own last write."""
    node = FakeNode(replicas=2)
    session = open_session(node)
    session.last_write_index = 77
    assert ask(session, "WAIT", "1", "0") == 2
    assert ask(session, "WAIT", "-1", "0") == 2
    assert node.replicas_asked_at == [77, 77]


def test_wait_waits_for_more() -> None:
    """redis WAIT: until they have it, or until the time is up."""
    node = FakeNode(replicas=1)
    waiting = ask(open_session(node), "WAIT", "2", "500")
    assert isinstance(waiting, Awaited)
    assert waiting.timeout_ms == 500
    assert waiting.look() is None
    assert waiting.at_last() == 1
    node.replicas = 2
    assert waiting.look() == 2


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("a 0", NOT_AN_INTEGER),
        ("0 b", Error("ERR timeout is not an integer or out of range")),
        ("0 -1", Error("ERR timeout is negative")),
    ],
)
def test_wait_refuses_in_rediss_words(line: str, error: Error) -> None:
    """redis WAIT."""
    assert ask(open_session(), "WAIT", *line.split()) == error


def test_wait_at_a_follower_is_refused() -> None:
    """redis WAIT: a replica knows nothing of other replicas."""
    refused = ask(open_session(FakeNode(node_status(2))), "WAIT", "0", "0")
    assert isinstance(refused, Error)
    assert refused.text.startswith("ERR WAIT cannot be used with replica instances.")


def test_rates_and_lateness_are_shown() -> None:
    """redis INFO stats; the loop_lag fields are raftkv's."""
    pace = Pace(
        commands_per_s=900,
        input_bytes_per_s=2048,
        output_bytes_per_s=512,
        lag_us_max=7000,
        recent_lag_us_max=300,
        lag_us=20,
    )
    text = info_of(FakeNode(paced=pace), "stats")
    assert "instantaneous_ops_per_sec:900\r\n" in text
    assert "instantaneous_input_kbps:2.00\r\ninstantaneous_output_kbps:0.50\r\n" in text
    assert "loop_lag_usec:20\r\nloop_lag_recent_max_usec:300\r\nloop_lag_max_usec:7000\r\n" in text


def test_saves_are_shown() -> None:
    """redis INFO persistence; before the first save -1."""
    assert fields(node_status(), "persistence")["rdb_last_bgsave_time_sec"] == "-1"
    saves = SaveStatus(last_time_s=1_700_000_005, count=3, last_took_s=2, under_way_s=1)
    text = info_of(FakeNode(save_status=saves), "persistence")
    for line in (
        "rdb_bgsave_in_progress:1",
        "rdb_last_save_time:1700000005",
        "rdb_last_bgsave_time_sec:2",
        "rdb_current_bgsave_time_sec:1",
        "rdb_saves:3",
    ):
        assert line in text.splitlines()


def test_time_of_commands_is_that_of_the_measured_ones() -> None:
    """redis INFO commandstats, latencystats: a sample stands for all calls."""
    node = FakeNode()
    timing = node.monitors.timings[b"get"] = Timing()
    for duration_ns in (1000, 1000, 4000):
        timing.add(duration_ns)
    assert info_of(node, "commandstats") == (
        "# Commandstats\r\n"
        "cmdstat_client|list:calls=2,usec=0,usec_per_call=0.00\r\n"
        "cmdstat_get:calls=40,usec=80,usec_per_call=2.00\r\n"
    )
    assert info_of(node, "latencystats") == (
        "# Latencystats\r\nlatency_percentiles_usec_get:p50=1.023,p99=4.095,p99.9=4.095\r\n"
    )


def test_waitaof_answers_what_is_on_disks() -> None:
    """redis WAITAOF: [this node, replicas], about the connection's own last write."""
    node = FakeNode(replicas=2)
    session = open_session(node)
    session.last_write_index = 77
    assert ask(session, "WAITAOF", "1", "1", "0") == [1, 2]
    assert node.replicas_asked_at == [77]
    waiting = ask(session, "WAITAOF", "1", "3", "500")
    assert isinstance(waiting, Awaited)
    assert waiting.look() is None
    assert waiting.at_last() == [1, 2]
    node.replicas = 3
    assert waiting.look() == [1, 3]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("a 0 0", NOT_AN_INTEGER),
        ("2 0 0", Error("ERR value is out of range, value must between 0 and 1")),
        ("1 -1 0", Error("ERR value is out of range, must be positive")),
        ("1 0 b", Error("ERR timeout is not an integer or out of range")),
        ("1 0 -1", Error("ERR timeout is negative")),
    ],
)
def test_waitaof_refuses_in_rediss_words(line: str, error: Error) -> None:
    """redis 7.2 WAITAOF."""
    assert ask(open_session(), "WAITAOF", *line.split()) == error


def test_waitaof_at_a_follower_is_refused_after_its_arguments() -> None:
    """redis 7.2 WAITAOF."""
    follower = open_session(FakeNode(node_status(2)))
    assert ask(follower, "WAITAOF", "a", "0", "0") == NOT_AN_INTEGER
    refused = ask(follower, "WAITAOF", "0", "0", "0")
    assert isinstance(refused, Error)
    assert refused.text.startswith("ERR WAITAOF cannot be used with replica instances.")


def test_lolwut_draws_the_same_for_the_same_words() -> None:
    """redis LOLWUT: the version is in it."""
    drawn = ask(open_session(), "LOLWUT", "VERSION", "5")
    assert isinstance(drawn, Verbatim)
    assert b"Redis ver. 7.2.4\n" in drawn.text
    assert ask(open_session(), "LOLWUT", "version", "5", "9") == drawn
    assert ask(open_session(), "LOLWUT") != drawn
    assert ask(open_session(), "LOLWUT", "VERSION", "x") == NOT_AN_INTEGER
