"""Real nodes that wait to be invited, and `raftkv member` and redis-cli's words as people use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.command import raftkv
from tests.integration.cluster import Cluster, NodeProcess


def waiting(cluster: Cluster, near: NodeProcess) -> NodeProcess:
    """Start a node that waits for an invitation."""
    node = cluster.join(near, join="invitation")
    cluster.wait_for(lambda: "it waits for a member" in node.log_text() or None, "a newcomer waits")
    return node


def place_of(node: NodeProcess) -> str:
    """HOST:PORT@PEER_PORT."""
    return f"127.0.0.1:{node.port}@{node.peer_port}"


def member(cwd: Path, near: NodeProcess, *arguments: str) -> Any:
    """What `raftkv member ... --json` prints."""
    done = raftkv("member", *arguments, "--node", f"127.0.0.1:{near.port}", "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_members_are_added_replaced_and_removed_from_the_command_line(tmp_path: Path) -> None:
    """Any member may be asked; what is done already is not done twice."""
    cluster = Cluster(tmp_path)
    try:
        leader = cluster.start_and_wait()
        follower, lost = cluster.followers()
        fourth = waiting(cluster, leader)
        row = member(tmp_path, follower, "add", place_of(fourth))
        assert (row["id"], row["role"]) == (4, "voter")
        assert member(tmp_path, leader, "add", place_of(fourth))["id"] == 4
        lost.kill()
        fifth = waiting(cluster, leader)
        row = member(tmp_path, fourth, "replace", str(lost.node_id), place_of(fifth))
        assert (row["id"], row["role"]) == (5, "voter")
        answer = member(tmp_path, follower, "remove", str(lost.node_id))
        assert answer == {"id": lost.node_id, "was_member": False}
        assert member(tmp_path, follower, "remove", "4") == {"id": 4, "was_member": True}
        roles = {each["id"]: each["role"] for each in member(tmp_path, fifth, "list")}
        assert roles == {leader.node_id: "leader", follower.node_id: "voter", 5: "voter"}
        near = f"127.0.0.1:{follower.port}"
        done = raftkv("transfer-leader", "--to", "5", "--node", near, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "node 5 leads\n")
    finally:
        cluster.close()


def test_meet_and_forget_change_the_members(tmp_path: Path) -> None:
    """CLUSTER MEET with the bus port, CLUSTER FORGET by name; what can't be done has a reason."""
    cluster = Cluster(tmp_path, node_count=1)
    try:
        first = cluster.start_and_wait()
        second = waiting(cluster, first)
        assert first.ask("CLUSTER", "MEET", "127.0.0.1", second.port, second.peer_port) == b"OK"
        cluster.wait_until_whole()
        name = second.ask("CLUSTER", "MYID")
        assert str(second.ask("CLUSTER", "FORGET", name)).startswith("MOVED 0 ")
        assert first.ask("CLUSTER", "FORGET", name) == b"OK"
        assert [each[1] for each in first.ask("RAFT", "MEMBERS")] == [1]
        assert str(first.ask("RAFT", "REMOVE", 1)) == "ERR node 1 is the last voter"
        stranger = Cluster(tmp_path / "other", node_count=1)
        try:
            other = stranger.start_and_wait()
            refused = first.ask("RAFT", "ADD", "127.0.0.1", other.port, "PEERPORT", other.peer_port)
            assert str(refused) == "ERR the node there is a member of another cluster"
        finally:
            stranger.close()
    finally:
        cluster.close()
