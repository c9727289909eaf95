"""The process that ends a node whose event loop hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from raftkv.node.watchdog import Silence, is_stopped

#: Only ends a test that would hang.
HANG_SECONDS = 30

PRELUDE = "import os, select\nfrom raftkv.node.watchdog import Watchdog\n"


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script that is watched; there is no other way to be killed."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + script],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )


def test_a_process_that_hangs_is_killed() -> None:
    """loop_stall_ms"""
    done = run(f"dog = Watchdog(limit_ms=200)\ndog.give_sign()\nselect.select((), (), (), {HANG_SECONDS})")
    assert done.returncode == -9
    assert "hanging for 200 ms" in done.stderr


def test_nothing_is_watched_before_the_first_sign_of_life() -> None:
    """A node that starts may open its databases for long."""
    done = run("dog = Watchdog(limit_ms=50)\nselect.select((), (), (), 0.5)\ndog.close()")
    assert (done.returncode, done.stderr) == (0, "")


def test_signs_of_life_keep_a_process_alive() -> None:
    """And close ends the watcher, which is waited for."""
    script = (
        "dog = Watchdog(limit_ms=500)\n"
        "for _ in range(40):\n    dog.give_sign()\n    select.select((), (), (), 0.025)\n"
        "dog.close()\ndog.close()\n"
        "try:\n    os.wait()\nexcept ChildProcessError:\n    print('alone')\n"
    )
    done = run(script)
    assert (done.returncode, done.stdout) == (0, "alone\n")


def test_signs_that_nobody_reads_block_nobody() -> None:
    """The watcher is stopped, or dead."""
    script = (
        "dog = Watchdog(limit_ms=60_000)\n"
        "os.kill(dog._watcher_id, 19)\n"
        "for _ in range(100_000):\n    dog.give_sign()\n"
        "os.kill(dog._watcher_id, 9)\nos.waitpid(dog._watcher_id, 0)\n"
        "dog.give_sign()\nprint('lives')\n"
    )
    assert run(script).stdout == "lives\n"


@pytest.mark.parametrize(
    ("looks", "is_too_long"),
    [
        ([False] * 9, False),
        ([False] * 10, True),
        ([True] * 100, False),
        ([False] * 9 + [True] + [False] * 9, False),
    ],
)
def test_who_was_stopped_did_not_hang(looks: list[bool], is_too_long: bool) -> None:
    """SIGSTOP and SIGCONT: after a stop the time begins anew."""
    stopped: Iterator[bool] = iter(looks)
    silence = Silence(lambda: next(stopped))
    assert [silence.is_too_long() for _ in looks][-1] is is_too_long


def test_a_stopped_process_is_told_from_one_that_runs() -> None:
    """proc(5)"""
    assert not is_stopped(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 19)"]) as child:
        os.waitpid(child.pid, os.WUNTRACED)
        assert is_stopped(child.pid)
        child.kill()
    assert is_stopped(child.pid)
