"""Clusters that have lost a majority, or a node its data, and how they go on; with real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cli.command import environment, raftkv
from tests.integration.cluster import CHECKOUT, Cluster, NodeProcess
from tests.integration.waiting import wait_until
from tests.integration.wire import NoAnswer, Wire, ask
from tests.ports import free_ports


def test_survivor_of_a_lost_majority_goes_on_alone(cluster: Cluster, tmp_path: Path) -> None:
    """It has its data and takes writes, a new node joins, and a lost one that comes back is turned away."""
    leader = cluster.wait_for_leader()
    wire = Wire(leader.port)
    for number in range(100):
        assert wire.call("SET", f"{{k}}{number}", number) == b"OK"
    wire.close()
    cluster.wait_for_equal_digests()
    for node in cluster.nodes:
        node.kill()
    survivor, lost = cluster.node(1), cluster.node(2)
    told = raftkv("recover", str(survivor.data_dir), "--force-new-cluster", cwd=tmp_path)
    assert told.returncode == 1
    assert "nothing was changed" in told.stderr
    assert "ARE LOST" in told.stdout
    told = raftkv("recover", str(survivor.data_dir), "--force-new-cluster", "--yes", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    survivor.start()
    cluster.wait_for(lambda: cluster.leader(), "the survivor to lead")
    assert ask(survivor.port, "EXISTS", *(f"{{k}}{number}" for number in range(100))) == 100
    assert ask(survivor.port, "SET", "after", "1") == b"OK"
    lost.start()
    # Node 3 is down, so that the lost one has nobody to ask.
    wait_until(lambda: "belongs to cluster" in survivor.log_text() + lost.log_text() or None, "a refusal")
    assert ask(survivor.port, "GET", "after") == b"1"
    lost.kill()
    newcomer = joined(tmp_path / "newcomer", survivor)
    try:
        wait_until(lambda: newcomer.raft().get("raft_role") == "follower" or None, "the newcomer to follow")
        assert int(newcomer.raft()["raft_node_id"]) == 4

        def is_there() -> bool | None:
            try:
                found = [ask(each.port, "RAFT", "DIGEST") for each in (survivor, newcomer)]
            except NoAnswer:
                return None
            return found[0] == found[1] or None

        wait_until(is_there, "equal digests")
    finally:
        newcomer.close()


def joined(directory: Path, member: NodeProcess) -> NodeProcess:
    """Start a new node that joins a member's cluster."""
    port, peer_port = free_ports(2)
    directory.mkdir()
    node = NodeProcess(4, port, directory, CHECKOUT)
    (directory / "node.toml").write_text(
        f"port = {port}\npeer_port = {peer_port}\ndata_dir = '{node.data_dir}'\n"
        f"join = '127.0.0.1:{member.port}@{member.peer_port}'\n"
    )
    node.start()
    return node


def test_node_with_a_damaged_log_says_how_to_go_on(cluster: Cluster) -> None:
    """It does not start, and the words are exact."""
    node = cluster.followers()[0]
    assert ask(cluster.wait_for_leader().port, "SET", "k", "v") == b"OK"
    node.terminate()
    for file in sorted((node.data_dir / "log").iterdir()):
        if file.suffix in (".sst", ".log") and file.stat().st_size:
            content = bytearray(file.read_bytes())
            content[10] ^= 1
            file.write_bytes(content)
    node.start()
    node.expect_end()
    assert node.wait_for_end() == 1
    text = node.log_text()
    assert f"`raftkv check {node.data_dir}` says what is damaged" in text
    assert f"--join-in-place-of {node.node_id} --data-dir {node.data_dir}`" in text


def test_question_at_the_terminal_must_be_answered_in_full(cluster: Cluster, tmp_path: Path) -> None:
    """A stray y changes nothing."""
    cluster.wait_for_leader()
    node = cluster.node(1)
    for each in cluster.nodes:
        each.terminate()
    before = (node.data_dir / "IDENTITY").read_bytes()
    script = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-m', 'raftkv', *sys.argv[1:]]) >> 8)"
    command = [sys.executable, "-c", script, "recover", str(node.data_dir), "--force-new-cluster"]
    for answer, code in (("y", 1), ("yes, lose them", 0)):
        told = subprocess.run(
            command,
            input=f"{answer}\n".encode(),
            cwd=tmp_path,
            env={**environment(), "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert told.returncode == code, told.stdout
        assert ((node.data_dir / "IDENTITY").read_bytes() == before) == (code == 1)
