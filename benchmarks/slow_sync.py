"""Slows the syncs of a process down by a small library between it and the C library.

It reaches what syncs through the C library: RocksDB and Redis, not Go programs such as etcd, which call
the kernel themselves. Needs a C compiler, for ten lines.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.workload import Unsupported

_SOURCE = Path(__file__).with_name("sync_delay.c")


def environment(directory: Path, *, delay_ms: float) -> dict[str, str]:
    """Build the library in `directory`; return what to set for a process. Raises Unsupported."""
    return {"LD_PRELOAD": str(built(directory)), "SYNC_DELAY_MS": str(delay_ms)}


def built(directory: Path) -> Path:
    """Build the library in `directory`; SYNC_DELAY_FILE in place of a fixed delay names a file that holds it.

    Raises Unsupported.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Unsupported("delays of fsync need a C compiler: apt-get install gcc libc6-dev")
    library = directory / "sync_delay.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unsupported(f"delays of fsync: {_SOURCE.name} can't be compiled: {done.stderr[-300:]}")
    return library
