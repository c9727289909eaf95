"""`raftkv status`: what is asked, how answers are put together, and what is said when none come."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from raftkv import status as status_module
from raftkv.status import ClusterStatus, NodeStatus, Place, StatusUnavailable, look
from raftkv.status_view import changes, headline, lag_of, table_of
from tests.cli.command import raftkv
from tests.ports import free_port_run

CLUSTER_ID = "0123456789abcdef0123456789abcdef"


def bulk(text: str) -> bytes:
    """Encode a bulk string (RESP)."""
    data = text.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


def replies_of(
    node_id: int, places: dict[int, Place], *, role: str, leader: int, term: int = 3
) -> list[bytes]:
    """Write what a node replies to the four questions, in the words of RedisRaft's and Redis's INFO."""
    others = "".join(
        f"raft_node{other}:id={other},state=connected,voting=yes,addr={place.host},port={place.port}\r\n"
        for other, place in places.items()
        if other != node_id
    )
    raft = (
        f"# Raft\r\nraft_cluster_id:{CLUSTER_ID}\r\nraft_node_id:{node_id}\r\nraft_state:up\r\n"
        f"raft_role:{role}\r\nraft_leader_id:{leader}\r\nraft_current_term:{term}\r\n"
        f"raft_current_index:{100 + node_id}\r\nraft_commit_index:{90 + node_id}\r\n"
        f"raft_last_applied_index:{80 + node_id}\r\n{others}{'raft_disk:short' if node_id == 2 else ''}\r\n"
    )
    state = "ok" if leader else "fail"
    own = places[node_id]
    nodes = (
        f"{'f' * 40} 127.0.0.1:1@10001 master - 0 0 1 connected 0-16383\n"
        f"{'e' * 40} {own.host}:{own.port}@{own.port + 10000} myself,slave {'f' * 40} 0 0 1 connected\n"
    )
    server = f"# Server\r\nredis_version:7.4.0\r\nprocess_id:{4000 + node_id}\r\n"
    return [bulk(server), bulk(raft), bulk(f"cluster_state:{state}\r\n"), bulk(nodes)]


@contextlib.asynccontextmanager
async def listener(replies: Iterable[bytes], port: int) -> AsyncIterator[None]:
    """Answer each connection's first bytes with these replies, as a node would."""

    async def on_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"CLUSTER NODES\r\n")
        writer.writelines(replies)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(on_connect, "127.0.0.1", port)
    async with server:
        yield


def places_of(count: int) -> dict[int, Place]:
    """Return free places for that many nodes."""
    first = free_port_run(count)
    return {node_id: Place("127.0.0.1", first + node_id - 1) for node_id in range(1, count + 1)}


def test_every_member_is_asked_for_its_own_figures() -> None:
    """The given node names the members; who doesn't answer has nulls, never old figures."""
    places = places_of(3)

    async def ask() -> ClusterStatus:
        async with (
            listener(replies_of(1, places, role="follower", leader=2), places[1].port),
            listener(replies_of(2, places, role="leader", leader=2), places[2].port),
        ):
            return await look(places[1])

    expected_nodes = [
        {"id": 1, "address": str(places[1]), "role": "follower", "term": 3, "commit_index": 91}
        | {"applied_index": 81, "last_index": 101, "reachable": True, "pid": 4001, "disk": "ok"},
        {"id": 2, "address": str(places[2]), "role": "leader", "term": 3, "commit_index": 92}
        | {"applied_index": 82, "last_index": 102, "reachable": True, "pid": 4002, "disk": "short"},
        {"id": 3, "address": str(places[3]), "role": None, "term": None, "commit_index": None}
        | {"applied_index": None, "last_index": None, "reachable": False, "pid": None, "disk": None},
    ]
    status = asyncio.run(ask())
    voting = {"standing": "voter", "behind": None, "snapshot_percent": None}
    expected_nodes = [{**row, **voting} for row in expected_nodes]
    assert status.as_json() == {"cluster_id": CLUSTER_ID, "term": 3, "leader": 2, "nodes": expected_nodes}
    assert status.is_serving


def test_the_leader_says_who_has_yet_to_catch_up() -> None:
    """INFO raft's lines of members that are no voters, or are being sent a snapshot."""
    places = places_of(4)

    async def ask() -> ClusterStatus:
        server, raft, info, nodes = replies_of(1, places, role="leader", leader=1)
        text = raft.decode().partition("\r\n")[2].removesuffix("\r\n")
        learner, staged = (f"port={places[node_id].port}" for node_id in (3, 4))
        text = text.replace(learner, f"{learner},role=learner,lag=12")
        text = text.replace(staged, f"{staged},role=staged,lag=90,snapshot_percent=37")
        async with (
            listener([server, bulk(text), info, nodes], places[1].port),
            listener(replies_of(3, places, role="follower", leader=1), places[3].port),
            listener(replies_of(4, places, role="follower", leader=1), places[4].port),
        ):
            return await look(places[1])

    status = asyncio.run(ask())
    shown = [(row.standing, row.behind, row.snapshot_percent) for row in status.nodes]
    assert shown == [("voter", None, None), ("voter", None, None), ("learner", 12, None), ("staged", 90, 37)]
    roles = list(table_of(status, notes={}).columns[2].cells)
    assert roles == ["leader", "unreachable", "learner, 12 entries behind", "staged, snapshot 37 %"]


def test_newest_term_decides_who_leads() -> None:
    """A deposed leader that doesn't know it yet is not believed (Raft §5.1)."""
    places = places_of(2)

    async def ask() -> ClusterStatus:
        async with (
            listener(replies_of(1, places, role="leader", leader=1, term=3), places[1].port),
            listener(replies_of(2, places, role="candidate", leader=0, term=4), places[2].port),
        ):
            return await look(places[1])

    status = asyncio.run(ask())
    assert (status.term, status.leader, status.is_serving) == (4, None, False)


def test_of_one_term_the_leader_itself_is_believed() -> None:
    """A follower may not have heard of it yet."""
    places = places_of(2)

    async def ask() -> ClusterStatus:
        async with (
            listener(replies_of(1, places, role="follower", leader=0), places[1].port),
            listener(replies_of(2, places, role="leader", leader=2), places[2].port),
        ):
            return await look(places[2])

    status = asyncio.run(ask())
    assert (status.leader, status.is_serving) == (2, True)


def test_who_is_said_to_lead_and_does_not_serves_nobody() -> None:
    """It has stepped down, and the others have yet to notice."""
    places = places_of(2)

    async def ask() -> ClusterStatus:
        async with (
            listener(replies_of(1, places, role="follower", leader=2), places[1].port),
            listener(replies_of(2, places, role="follower", leader=1), places[2].port),
        ):
            return await look(places[1])

    status = asyncio.run(ask())
    assert (status.leader, status.is_serving) == (1, False)


def test_answer_of_another_node_is_not_counted() -> None:
    """A port may meanwhile belong to another member."""
    places = places_of(2)

    async def ask() -> ClusterStatus:
        async with (
            listener(replies_of(1, places, role="leader", leader=1), places[1].port),
            listener(replies_of(1, places, role="leader", leader=1), places[2].port),
        ):
            return await look(places[1])

    assert [node.reachable for node in asyncio.run(ask()).nodes] == [True, False]


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([bulk("process_id:1"), bulk(""), bulk(""), bulk("")], "it has no raft section in INFO"),
        ([b"-LOADING the log is being read\r\n"] * 4, "it says LOADING the log is being read"),
        ([bulk("")], "it closed the connection"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "does not speak Redis's protocol"),
        ([b":1\r\n"] * 4, "its answers are no text"),
    ],
)
def test_what_is_no_ready_node_is_said_to_be_none(replies: list[bytes], reason: str) -> None:
    """A clear message for whatever listens there instead."""
    (place,) = places_of(1).values()

    async def ask() -> None:
        async with listener(replies, place.port):
            await look(place)

    with pytest.raises(StatusUnavailable) as caught:
        asyncio.run(ask())
    assert str(caught.value).startswith(f"{place} ")
    assert reason in str(caught.value)


def test_silent_node_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question has a deadline."""
    monkeypatch.setattr(status_module, "ANSWER_SECONDS_MAX", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = Place("127.0.0.1", silent.getsockname()[1])
        with pytest.raises(StatusUnavailable, match=r"did not answer within 0\.05 s"):
            asyncio.run(look(place))


def test_unreachable_node_ends_the_command_with_code_1(tmp_path: Path) -> None:
    """Exit code 1 with a clear message."""
    port = free_port_run(1)
    for extra in ([], ["--json"]):
        done = raftkv("status", "--port", str(port), *extra, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"raftkv: 127.0.0.1:{port} can't be reached: ")


def node(node_id: int, role: str | None = "follower", *, term: int = 3, applied: int = 10) -> NodeStatus:
    """Return a row; without a role one of a node that doesn't answer."""
    if role is None:
        return NodeStatus(node_id, f"h:{node_id}", None, None, None, None, None, reachable=False, pid=None)
    return NodeStatus(
        node_id, f"h:{node_id}", role, term, applied, applied, applied, reachable=True, pid=node_id
    )


def cluster(*nodes: NodeStatus, leader: int | None, term: int = 3) -> ClusterStatus:
    """Return a look that serves while it has a leader."""
    return ClusterStatus(CLUSTER_ID, term, leader, leader is not None, nodes)


def test_only_changes_are_lines() -> None:
    """Plain log lines are transitions; indexes move without one."""
    nothing = cluster(node(1, None), node(2, None), leader=None)
    elected = cluster(node(1, "leader"), node(2), leader=1)
    later = cluster(node(1, "leader", applied=99), node(2, applied=98), leader=1)
    lost = cluster(node(1, None), node(2, "candidate"), leader=None)
    again = cluster(node(1, None), node(2, "leader", term=4), leader=2, term=4)
    assert changes(None, nothing) == []
    assert changes(nothing, elected) == [
        "node 1 answers at h:1 as leader, term 3",
        "node 2 answers at h:2 as follower, term 3",
        "node 1 leads in term 3",
        "the cluster serves",
    ]
    assert changes(elected, later) == []
    assert changes(later, lost) == ["node 1 does not answer", "no leader", "the cluster does not serve"]
    assert changes(lost, again) == ["node 2 leads in term 4", "the cluster serves"]


def test_disks_that_hang_or_fill_up_are_lines_and_shown() -> None:
    """Long before they cost the cluster anything."""
    well = cluster(node(1, "leader"), leader=1)
    short = cluster(replace(node(1, "leader"), disk="short"), leader=1)
    assert changes(replace(well, nodes=(replace(well.nodes[0], disk="ok"),)), short) == [
        "node 1 is short of disk space"
    ]
    stalled = cluster(replace(node(1, "leader"), disk="stalled"), leader=1)
    assert changes(short, stalled) == ["node 1 has a disk that hangs"]
    again = cluster(replace(node(1, "leader"), disk="ok"), leader=1)
    assert changes(stalled, again) == ["node 1 has a disk that is well"]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table_of(short, notes={}))
    assert "leader, disk short" in console.export_text()


def test_lag_counts_from_the_leaders_commit() -> None:
    """Never negative: the nodes were asked at different moments."""
    status = cluster(
        node(1, "leader", applied=10), node(2, applied=7), node(3, applied=12), node(4, None), leader=1
    )
    assert [lag_of(each, status) for each in status.nodes] == [0, 3, 0, None]


def test_table_shows_unreachable_nodes_and_notes() -> None:
    """One row per member, whether it answers or not."""
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table_of(cluster(node(1, "leader"), node(2, None), leader=1), notes={2: "exit code 1"}))
    text = console.export_text()
    assert text.splitlines()[0].strip() == headline(cluster(leader=1)).strip()
    assert [line.split()[:3] for line in text.splitlines()[2:4]] == [
        ["1", "h:1", "leader"],
        ["2", "h:2", "unreachable"],
    ]
    assert "exit code 1" in text.splitlines()[3]


def test_json_is_one_object() -> None:
    """The keys and their order are a promise to scripts."""
    status = cluster(node(1, "leader"), leader=1).as_json()
    assert list(json.loads(json.dumps(status))) == ["cluster_id", "term", "leader", "nodes"]
    (row,) = json.loads(json.dumps(status))["nodes"]
    assert list(row) == [
        "id",
        "address",
        "role",
        "term",
        "commit_index",
        "applied_index",
        "last_index",
        "reachable",
        "pid",
        "disk",
        "standing",
        "behind",
        "snapshot_percent",
    ]


@pytest.mark.parametrize("host", ["a..b", "h" * 64, "\udcff"])
def test_what_can_be_no_host_name_is_told(host: str) -> None:
    """Python's codecs refuse it before any resolver is asked."""
    with pytest.raises(StatusUnavailable, match=r"can't be reached: .* is no host name"):
        asyncio.run(look(Place(host, 1)))
