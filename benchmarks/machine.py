"""What the figures depend on: processor, disk, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path


def describe_machine(directory: Path, checkouts: Mapping[str, Path]) -> dict[str, str]:
    """Describe what measures; `directory` is where the data goes, `checkouts` are whose raftkv are run."""
    described = {
        "machine": f"{os.cpu_count()} x {_processor_name()}, Linux {platform.release()}",
        "disk": f"{_filesystem_of(directory)} at {directory}",
        "python": platform.python_version(),
        "redis-server": _first_line("redis-server", "--version"),
        "etcd": _first_line("etcd", "--version"),
        "h2load": _first_line("h2load", "--version"),
    }
    for name, checkout in checkouts.items():
        described[name] = _first_line("git", "-C", str(checkout), "describe", "--always", "--dirty")
    return described


def _processor_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem_of(directory: Path) -> str:
    """Return the type of the filesystem; on a tmpfs a sync costs nothing, and figures say little."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    under = [(len(place), kind) for _, place, kind, *_ in mounts if directory.is_relative_to(place)]
    kind = max(under)[1]
    return f"{kind} (NOT A DISK: syncs are free here)" if kind in ("tmpfs", "ramfs") else kind


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not installed"
    return (done.stdout or done.stderr).partition("\n")[0] or "unknown"
