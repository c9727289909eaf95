"""RAFT: what is asked for, and what is answered when; `tests.node.test_administration` has the rest."""

from __future__ import annotations

import pytest

from raftkv.commands.administration import (
    LEARNER,
    OUTGOING,
    STAGED,
    STRANGER,
    VOTER,
    Done,
    Failed,
    TransferStatus,
    Waiting,
    standing_of,
)
from raftkv.commands.session import member_name
from raftkv.commands.table import Awaited
from raftkv.raft.membership import Membership, Staged
from raftkv.raft.types import NOBODY
from raftkv.resp.replies import NOT_AN_INTEGER, OK, SYNTAX_ERROR, Error, Reply, Verbatim
from tests.commands.fake_node import CLUSTER_ID, FakeNode, ask, node_status, open_session


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("ADD h 7004", ("add", "h", 17004, 0, False)),
        ("ADD h 7004 peerport 9", ("add", "h", 9, 0, False)),
        ("add learner ::1 7004", ("add", "::1", 17004, 0, True)),
        ("ADD LEARNER h 7004 PEERPORT 9", ("add", "h", 9, 0, True)),
        ("REPLACE 3 h 7004", ("add", "h", 17004, 3, False)),
        ("REPLACE 3 h 7004 PEERPORT 9", ("add", "h", 9, 3, False)),
        ("REMOVE 3", ("remove", 3)),
        ("PROMOTE 3", ("promote", 3)),
        ("TRANSFER", ("transfer", 0)),
        ("TRANSFER 3", ("transfer", 3)),
        ("SNAPSHOT", ("flush",)),
        ("COMPACT", ("compact", 0)),
        ("COMPACT keep 7", ("compact", 7)),
    ],
)
def test_each_command_begins_its_undertaking(line: str, asked: tuple[object, ...]) -> None:
    """Nothing is answered before it is over."""
    node = FakeNode()
    waiting = ask(open_session(node), "RAFT", *line.split())
    assert isinstance(waiting, Awaited)
    assert node.admin.asked == [asked]
    assert waiting.look() is None


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("ADD h x", Error("ERR Invalid base port specified: x")),
        ("ADD h 1 PEERPORT x", Error("ERR Invalid bus port specified: x")),
        ("ADD h 0", Error("ERR Invalid node address specified: h:0")),
        ("ADD h 60000", Error("ERR Invalid node address specified: h:60000")),
        ("ADD h 1 PORT 2", SYNTAX_ERROR),
        ("ADD h 1 2", SYNTAX_ERROR),
        ("ADD h", Error("ERR wrong number of arguments for 'raft|add' command")),
        ("ADD LEARNER h", SYNTAX_ERROR),
        ("ADD LEARNER h 1 2", SYNTAX_ERROR),
        ("REPLACE x h 1", Error("ERR Invalid node id: x")),
        ("REPLACE 9 h 1", Error("ERR node 9 is no member, and never was")),
        ("REPLACE 3 h 1 2", SYNTAX_ERROR),
        ("REMOVE 0", Error("ERR Invalid node id: 0")),
        ("REMOVE 4294967296", Error("ERR Invalid node id: 4294967296")),
        ("REMOVE 9", Error("ERR node 9 is no member, and never was")),
        ("PROMOTE -1", Error("ERR Invalid node id: -1")),
        ("PROMOTE 9", Error("ERR node 9 is no member, and never was")),
        ("TRANSFER x", Error("ERR Invalid node id: x")),
        ("TRANSFER 1 2", SYNTAX_ERROR),
        ("COMPACT KEEP", SYNTAX_ERROR),
        ("COMPACT DROP 1", SYNTAX_ERROR),
        ("COMPACT KEEP x", NOT_AN_INTEGER),
        ("COMPACT KEEP -1", Error("ERR value is out of range, must be positive")),
    ],
)
def test_what_is_not_understood_begins_nothing(line: str, error: Error) -> None:
    """Redis's words where it has some."""
    node = FakeNode()
    refused = ask(open_session(node), "RAFT", *line.split())
    assert refused == error
    assert node.admin.asked == []


@pytest.mark.parametrize(
    ("line", "reply"),
    [("ADD h 1", 4), ("REMOVE 3", OK), ("PROMOTE 3", OK), ("TRANSFER", 4), ("COMPACT", 4)],
)
def test_the_outcome_is_answered(line: str, reply: Reply) -> None:
    """An id or an index where the client can't know it."""
    node = FakeNode()
    waiting = ask(open_session(node), "RAFT", *line.split())
    assert isinstance(waiting, Awaited)
    node.admin.outcome = Done(4)
    assert waiting.look() == reply
    node.admin.outcome = Failed("for a reason")
    assert waiting.look() == Error("ERR for a reason")
    node.admin.outcome = Failed("for a moment", is_passing=True)
    assert waiting.look() == Error("TRYAGAIN for a moment")


def test_time_is_limited_but_for_the_disk() -> None:
    """request_timeout_ms; a transfer has two election timeouts; a flush ends by itself."""
    session = open_session()
    limits = {}
    for line in ("REMOVE 3", "TRANSFER", "SNAPSHOT"):
        waiting = ask(session, "RAFT", *line.split())
        assert isinstance(waiting, Awaited)
        last = waiting.at_last()
        assert isinstance(last, Error)
        limits[line] = (waiting.timeout_ms, last.prefix)
    assert limits == {
        "REMOVE 3": (5000, "UNKNOWN"),
        "TRANSFER": (1000, "TRYAGAIN"),
        "SNAPSHOT": (0, "TRYAGAIN"),
    }


def test_what_never_began_was_not_done() -> None:
    """A definite answer at the deadline, unless it began after all."""
    node = FakeNode()
    waiting = ask(open_session(node), "RAFT", "REMOVE", "3")
    assert isinstance(waiting, Awaited)
    node.admin.outcome = Waiting("it is not its turn")
    assert waiting.look() is None
    assert waiting.at_last() == Error("TRYAGAIN it is not its turn; nothing was done")
    node.admin.outcome = None
    assert waiting.look() is None
    last = waiting.at_last()
    assert isinstance(last, Error)
    assert last.prefix == "UNKNOWN"


def test_a_leader_whose_address_is_unknown_is_none() -> None:
    """There is no place to send the client to."""
    refused = ask(open_session(FakeNode(node_status(2, leader_id=7))), "RAFT", "REMOVE", "3")
    assert isinstance(refused, Error)
    assert refused.prefix == "CLUSTERDOWN"


def test_standings_follow_the_membership() -> None:
    """Raft §6: in a joint membership the old voters still vote."""
    joint = Membership((1, 2, 4), outgoing=(1, 2, 3), learners=(5, 6), staged=(Staged(6),), newest_id=6)
    standings = [standing_of(joint, node_id) for node_id in range(1, 8)]
    assert standings == [VOTER, VOTER, OUTGOING, VOTER, LEARNER, STAGED, STRANGER]


def test_members_are_rows_of_names_and_values() -> None:
    """RAFT MEMBERS: what isn't known is null."""
    status = node_status(1)
    status.members[2].standing = STAGED
    status.members[2].takes_place_of = 2
    status.members[2].replication = "snapshot"
    status.members[2].snapshot = TransferStatus(5, 10)
    rows = ask(open_session(FakeNode(status)), "RAFT", "MEMBERS")
    assert isinstance(rows, list)
    assert rows[2] == {
        b"id": 3,
        b"name": member_name(CLUSTER_ID, 3).encode(),
        b"role": b"staged",
        b"host": b"127.0.0.1",
        b"port": 7003,
        b"peer-port": 17003,
        b"match-index": 83,
        b"lag": 7,
        b"heard-ms-ago": None,
        b"state": b"snapshot",
        b"takes-place-of": 2,
        b"snapshot-bytes-done": 5,
        b"snapshot-bytes-total": 10,
    }
    status = node_status(2, leader_id=NOBODY)
    status.members[2].is_reachable = False
    rows = ask(open_session(FakeNode(status)), "RAFT", "MEMBERS")
    assert isinstance(rows, list)
    shown = [(row[b"role"], row[b"match-index"], row[b"state"]) for row in rows]
    assert shown == [
        (b"voter", None, b"connected"),
        (b"voter", 95, b"self"),
        (b"voter", None, b"unreachable"),
    ]


def test_info_has_everything_in_sections() -> None:
    """RAFT INFO: INFO raft, and what no monitor of Redis asks for."""
    status = node_status(1)
    status.members[1].snapshot = TransferStatus(5, 0)
    reply = ask(open_session(FakeNode(status)), "RAFT", "INFO")
    assert isinstance(reply, Verbatim)
    lines = reply.text.decode().split("\r\n")
    assert [line for line in lines if line.startswith("#")] == [
        "# Raft",
        "# Membership",
        "# Log",
        "# Snapshots",
    ]
    assert {
        "raft_node_id:1",
        "membership_voters:1,2,3",
        "membership_learners:",
        "membership_newest_id:3",
        "membership_changing:0",
        "membership_node2:role=voter,addr=127.0.0.1,port=7002,peer_port=17002,match_index=82,lag=8",
        "log_first_index:41",
        "log_entries:60",
        "log_dropped_to_index:40",
        "snapshot_to_node2:to=2,bytes_done=5,bytes_total=0,percent=0",
    } <= set(lines)
