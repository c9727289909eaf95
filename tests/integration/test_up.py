"""`raftkv up` and `raftkv status` with real nodes: start, serve, die, stop, start again."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.cluster import RedisCluster

from tests.cli.command import environment, raftkv
from tests.ports import free_port_run

ROOT = Path(__file__).parents[2]
#: Far beyond what any step takes: it only ends a test that hangs.
SECONDS_MAX = 90


class Up:
    """A running `raftkv up`, whose lines are read one by one."""

    def __init__(self, directory: Path, port: int, *arguments: str, **settings: str) -> None:
        self.port = port
        self.seen: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "raftkv", "up", "--port", str(port), "--dir", str(directory), *arguments],
            env={**environment(**settings), "PYTHONPATH": str(ROOT)},
            cwd=directory.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # Its end closes the pipe, so that a test which waits for a line fails instead of hanging.
        self._watchdog = threading.Timer(SECONDS_MAX, self.process.kill)
        self._watchdog.start()

    def line_with(self, text: str) -> str:
        """Read on to a line that holds `text`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(line.rstrip("\n"))
            if text in line:
                return self.seen[-1]
        raise AssertionError(f"no line with {text!r} in:\n" + "\n".join(self.seen))

    def status(self) -> dict[str, Any]:
        """Ask node 1's port, or the next that answers, by the command."""
        for port in range(self.port, self.port + 3):
            done = raftkv("status", "--port", str(port), "--json", cwd=ROOT)
            if done.returncode == 0:
                status: dict[str, Any] = json.loads(done.stdout)
                return status
        raise AssertionError("no node answers")

    def client(self) -> RedisCluster:
        """Connect as any program would."""
        return RedisCluster(host="127.0.0.1", port=self.port)

    def stop(self) -> int:
        """Stop it cleanly and return its exit code; what it still said is in `seen`."""
        self.process.terminate()
        assert self.process.stdout is not None
        self.seen += [line.rstrip("\n") for line in self.process.stdout]
        return self.process.wait()

    def close(self) -> None:
        """Leave nothing running."""
        self._watchdog.cancel()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate()


@contextlib.contextmanager
def running(directory: Path, port: int, *arguments: str, **settings: str) -> Iterator[Up]:
    """Run `up` until the end of the block; `settings` are its RAFTKV_*."""
    up = Up(directory, port, *arguments, **settings)
    try:
        yield up
    finally:
        up.close()


def wait_for_end(pids: list[int]) -> None:
    """Wait until none of the processes is left."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                ended, _, _ = select.select([handle], [], [], SECONDS_MAX)
            finally:
                os.close(handle)
            assert ended, f"process {pid} lingers"


def test_cluster_serves_stops_cleanly_and_recovers(tmp_path: Path) -> None:
    """A newcomer's first minutes: up, the printed commands, Ctrl-C's SIGTERM, up again."""
    port = free_port_run(3)
    with running(tmp_path / "data", port) as up:
        up.line_with("the cluster serves")
        up.line_with("Stop with Ctrl-C")
        assert f"  redis-cli -c -p {port}" in up.seen
        status = up.status()
        assert [node["address"] for node in status["nodes"]] == [
            f"127.0.0.1:{port + place}" for place in range(3)
        ]
        assert [node["id"] for node in status["nodes"]] == [1, 2, 3]
        assert all(node["reachable"] for node in status["nodes"])
        assert [node["id"] for node in status["nodes"] if node["role"] == "leader"] == [status["leader"]]
        assert {node["term"] for node in status["nodes"]} == {status["term"]}
        up.client().set("greeting", "hello")
        assert up.stop() == 0
        for node_id in (1, 2, 3):
            assert any(line.endswith(f"node {node_id} stopped (exit code 0)") for line in up.seen), up.seen
        wait_for_end([node["pid"] for node in status["nodes"]])
    with running(tmp_path / "data", port) as again:
        again.line_with("the cluster serves")
        assert again.client().get("greeting") == b"hello"
        assert again.status()["cluster_id"] == status["cluster_id"]
        assert again.stop() == 0


def test_printed_commands_can_be_pasted(tmp_path: Path) -> None:
    """Each line of advice is run by a shell as it stands."""
    port = free_port_run(1)
    with running(tmp_path / "data", port, "--nodes", "1") as up:
        up.line_with("the cluster serves")
        up.line_with("Stop with Ctrl-C")
        (snippet,) = (line.strip() for line in up.seen if "RedisCluster(" in line)
        done = subprocess.run(snippet, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "b'hello'\n"), done.stderr


@pytest.mark.needs_tool("redis-cli")
def test_redis_cli_follows_to_the_leader_from_any_node(tmp_path: Path) -> None:
    """redis-cli -c -p PORT, for every port."""
    port = free_port_run(3)
    with running(tmp_path / "data", port) as up:
        up.line_with("the cluster serves")
        for place in range(3):
            command = ["redis-cli", "-c", "-p", str(port + place), "INCR", "visits"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout.strip()) == (0, str(place + 1))


def test_killed_leader_is_shown_replaced_and_started_again(tmp_path: Path) -> None:
    """Any node may be killed with kill -9, the leader included, and nothing is lost."""
    port = free_port_run(3)
    with running(tmp_path / "data", port) as up:
        up.line_with("the cluster serves")
        up.client().set("greeting", "hello")
        before = up.status()
        leader = before["nodes"][before["leader"] - 1]
        os.kill(leader["pid"], signal.SIGKILL)
        up.line_with(f"node {leader['id']} died: killed by SIGKILL, starts again after 0.5 s")
        up.line_with(f"node {leader['id']} started (pid ")
        up.line_with(f"node {leader['id']} answers at")
        assert up.client().get("greeting") == b"hello"
        after = up.status()
        assert after["term"] > before["term"]
        assert after["nodes"][leader["id"] - 1]["pid"] not in (None, leader["pid"])
        assert up.stop() == 0


def test_killed_node_stays_down_with_no_restart(tmp_path: Path) -> None:
    """--no-restart; the rest goes on, status shows the gap with nulls and what the leader knows."""
    port = free_port_run(3)
    with running(tmp_path / "data", port, "--no-restart") as up:
        up.line_with("the cluster serves")
        before = up.status()
        victim = next(node for node in before["nodes"] if node["id"] != before["leader"])
        os.kill(victim["pid"], signal.SIGKILL)
        up.line_with(f"node {victim['id']} died: killed by SIGKILL, not started again")
        up.line_with(f"node {victim['id']} does not answer")
        gap = up.status()["nodes"][victim["id"] - 1]
        assert gap == {"id": victim["id"], "address": victim["address"], "reachable": False} | dict.fromkeys(
            ("role", "term", "commit_index", "applied_index", "last_index", "pid", "disk", "behind")
        ) | {"snapshot_percent": None, "standing": "voter"}
        assert up.stop() == 0


def test_no_node_left_ends_up_with_code_1(tmp_path: Path) -> None:
    """With --no-restart there may be nothing left to watch."""
    port = free_port_run(1)
    with running(tmp_path / "data", port, "--nodes", "1", "--no-restart") as up:
        up.line_with("the cluster serves")
        os.kill(up.status()["nodes"][0]["pid"], signal.SIGKILL)
        up.line_with("no node is left running")
        assert up.process.wait() == 1


def test_nodes_go_with_a_killed_up(tmp_path: Path) -> None:
    """SIGKILL leaves `up` no time to stop its nodes; the next one finds ports and directories free."""
    port = free_port_run(3)
    with running(tmp_path / "data", port) as up:
        up.line_with("the cluster serves")
        up.client().set("greeting", "hello")
        pids = [node["pid"] for node in up.status()["nodes"]]
        up.process.kill()
        wait_for_end(pids)
    with running(tmp_path / "data", port) as again:
        again.line_with("the cluster serves")
        assert again.client().get("greeting") == b"hello"


def test_second_up_on_a_directory_is_refused(tmp_path: Path) -> None:
    """The first one's lock, not its busy ports, is the reason given."""
    port = free_port_run(1)
    with running(tmp_path / "data", port, "--nodes", "1") as up:
        up.line_with("node 1 started")
        done = raftkv(
            "up", "--port", str(port), "--nodes", "1", "--dir", str(tmp_path / "data"), cwd=tmp_path
        )
        assert done.returncode == 2
        assert f"is in use by another raftkv up (process {up.process.pid})" in done.stderr


def test_cluster_with_a_password_is_watched_and_asked(tmp_path: Path) -> None:
    """RAFTKV_REQUIREPASS for all nodes: `up` gives it to them, `status` to those who have it."""
    port = free_port_run(3)
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    command = ("status", "--port", str(port), "--json")
    with running(tmp_path / "data", port, RAFTKV_REQUIREPASS="s3cret") as up:
        up.line_with("the cluster serves")
        up.line_with("Stop with Ctrl-C")
        assert f"  redis-cli -c -p {port} --askpass" in up.seen
        assert "s3cret" not in "\n".join(up.seen)
        assert oct((tmp_path / "data" / "node1.toml").stat().st_mode & 0o777) == "0o600"
        assert "asks for a password: NOAUTH" in raftkv(*command, cwd=tmp_path).stderr
        wrong = raftkv(*command, cwd=tmp_path, RAFTKV_PASSWORD="other")
        assert "refuses the password: WRONGPASS" in wrong.stderr
        for done in (
            raftkv(*command, cwd=tmp_path, RAFTKV_PASSWORD="s3cret"),
            raftkv(*command, "--password-file", str(secret), cwd=tmp_path),
            raftkv(*command, "--password", "s3cret", cwd=tmp_path),
        ):
            assert (done.returncode, done.stderr) == (0, "")
            assert [node["reachable"] for node in json.loads(done.stdout)["nodes"]] == [True] * 3
        assert up.stop() == 0
