"""How `raftkv up` starts, watches and gives up a node's process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raftkv.node_process import (
    EXIT_USAGE,
    RESTART_SECONDS_MAX,
    RESTART_SECONDS_MIN,
    NodeFiles,
    NodeProcess,
    environment_without_settings,
    how_it_ended,
    last_lines,
    restart_delay,
)

#: Starts a child that asks to go with it, and waits.
_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=sys.stdout)
child.wait()
"""
_CHILD = """
import os, time
from raftkv.node_process import exit_with_parent
exit_with_parent(os.getppid())
print("ready", flush=True)
time.sleep(30)
print("lingered", flush=True)
"""


def test_node_goes_with_a_parent_that_was_killed() -> None:
    """If `up` itself is killed with SIGKILL, its nodes don't linger: their end closes the pipe."""
    command = [sys.executable, "-c", _PARENT, _CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        parent.kill()
        # The child holds the other end until it is gone.
        assert parent.stdout.read() == b""
    assert parent.returncode == -signal.SIGKILL


def test_node_whose_parent_is_already_gone_ends_at_once() -> None:
    """The parent may die before the child could ask."""
    stranger = os.getpid() + 1
    code = f"from raftkv.node_process import exit_with_parent as go; go({stranger}); print('alive')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout) == (0, b"")


def test_wrong_configuration_is_shown_and_not_started_again(tmp_path: Path) -> None:
    """Starting again would not help; the reason is in the lines that are shown."""
    files = NodeFiles(3, tmp_path / "node3.toml", tmp_path / "node3.log")
    files.config_path.write_text("prot = 1\n")
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) > 3:
            node.stop()

    node = NodeProcess(files, restart=True, say=say)
    asyncio.run(node.keep_running())
    assert node.note == f"exit code {EXIT_USAGE}, not started again"
    assert said[0].startswith("node 3 started (pid ")
    assert said[1:] == [
        "node 3 died: exit code 2, not started again; the end of its log:",
        f"  | raftkv: {files.config_path}: there is no setting 'prot'; did you mean 'port'?",
    ]


def test_restarts_back_off_to_a_limit() -> None:
    """A node that dies at once is not started in a tight loop."""
    delays = [restart_delay(deaths) for deaths in range(1, 100)]
    assert delays[:3] == [RESTART_SECONDS_MIN, 2 * RESTART_SECONDS_MIN, 4 * RESTART_SECONDS_MIN]
    assert delays[-1] == max(delays) == RESTART_SECONDS_MAX


@pytest.mark.parametrize(
    ("returncode", "text"),
    [(0, "exit code 0"), (1, "exit code 1"), (-9, "killed by SIGKILL"), (-77, "killed by signal 77")],
)
def test_end_is_said_as_code_or_signal(returncode: int, text: str) -> None:
    """A node that dies is shown."""
    assert how_it_ended(returncode) == text


def test_last_lines_of_a_long_log_are_its_end(tmp_path: Path) -> None:
    """Only the end is read, and empty lines tell nothing."""
    log = tmp_path / "log"
    log.write_bytes(
        b"x" * 100_000 + b"\n" + b"\n".join(b"line %d\n" % number for number in range(9)) + b"\xff\n"
    )
    assert last_lines(log) == ["line 5", "line 6", "line 7", "line 8", "�"]
    log.write_bytes(b"")
    assert last_lines(log) == []


def test_nodes_inherit_no_settings() -> None:
    """A node under `up` is configured by its file alone."""
    assert environment_without_settings({"PATH": "/bin", "RAFTKV_PORT": "1"}) == {"PATH": "/bin"}
