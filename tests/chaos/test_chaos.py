"""The short form of `python -m tests.chaos`, and that what it does to nodes is what it says."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.__main__ import EXIT_SKIPPED
from tests.chaos.isolation import reason_against, run_inside

#: One of each sort; all of them take a minute.
_KINDS = ("cut ring", "cut mute", "full disk", "clock jump", "damaged log", "transfer storm")
_SECONDS_MAX = 300
_CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    reason = reason_against()
    if reason and os.environ.get("CI") and os.geteuid() == 0:
        pytest.fail(f"{reason}, which CI must have", pytrace=False)
    if reason:
        pytest.skip(reason)


def test_nothing_acknowledged_is_lost_in_chaos(tmp_path: Path) -> None:
    """Every promise of the README on five hosts; it lasts until each kind of fault was done once."""
    seed = random.SystemRandom().randrange(1 << 31)
    kinds = [word for kind in _KINDS for word in ("--only", kind)]
    arguments = ["--seconds", "0", "--seed", str(seed), "--directory", str(tmp_path / "run"), *kinds]
    command = [sys.executable, "-m", "tests.chaos", *arguments]
    done = subprocess.run(
        command, cwd=_CHECKOUT, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "byte-identical at the end" in done.stdout


def test_hosts_are_what_they_say() -> None:
    """Cuts, disks and clocks, each by itself; what this machine can't do is skipped there."""
    inside = ["-q", "-rs", "-p", "no:cacheprovider", str(Path(__file__).with_name("inside.py"))]
    assert run_inside("pytest", inside) == 0


def test_exit_code_of_what_is_skipped_is_no_failure() -> None:
    """`make soak` goes on after it."""
    assert EXIT_SKIPPED not in (0, 1, 2)
