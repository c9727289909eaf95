"""Runs the raftkv command as a shell would, in an environment without RAFTKV_* of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

#: Far beyond what any of these commands takes: it only ends a test that hangs.
_SECONDS_MAX = 60


def environment(**settings: str) -> dict[str, str]:
    """Return this process's environment with these RAFTKV_* settings alone, and no colours anywhere."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAFTKV_")}
    return {**clean, "TERM": "dumb", **settings}


def raftkv(*arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return python("-m", "raftkv", *arguments, cwd=cwd, **settings)


def python(*arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with the raftkv under test to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**environment(**settings), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS_MAX,
        check=False,
    )
