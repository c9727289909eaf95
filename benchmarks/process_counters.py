"""What the kernel counts for a process: processor time, bytes written, memory."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return user and system time (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def written_bytes(pid: int) -> int:
    """Return the bytes that it made the kernel send to disks (proc(5), write_bytes of io).

    They are counted as pages of the page cache get dirty: a page that is written twice before it is synced
    counts once, and what the filesystem's journal and the disk itself add is not in it.
    """
    return _field(Path(f"/proc/{pid}/io").read_text(), "write_bytes")


def memory_bytes(pid: int) -> int:
    """Return the memory that is its own, with its share of what it shares (Pss of smaps_rollup)."""
    return _field(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss") * 1024


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ValueError(f"no {name} in {text!r}")
