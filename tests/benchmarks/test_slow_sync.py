"""The library that delays syncs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import slow_sync
from benchmarks.workload import Unsupported

_DELAY_MS = 50
#: Syncs in both ways, and prints by how many nanoseconds of its monotonic clock the faster took.
_PROGRAM = """
import os, time
def took(sync):
    begin = time.monotonic_ns(); sync(0); return time.monotonic_ns() - begin
print(min(took(os.fsync), took(os.fdatasync)))
"""


def test_both_syncs_take_at_least_the_delay(tmp_path: Path) -> None:
    """nanosleep(2) never returns before its time, so that this lower bound holds on any machine."""
    try:
        environment = {**os.environ, **slow_sync.environment(tmp_path, delay_ms=_DELAY_MS)}
    except Unsupported as reason:
        pytest.skip(str(reason))
    with (tmp_path / "file").open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM], env=environment, stdin=file, capture_output=True, check=True
        )
    assert int(done.stdout) >= _DELAY_MS * 1_000_000


def test_missing_compiler_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The section is left out then, with what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match="apt-get install gcc"):
        slow_sync.environment(tmp_path, delay_ms=1)
