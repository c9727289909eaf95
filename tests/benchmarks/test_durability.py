"""Only durable systems are compared."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import durability
from benchmarks.__main__ import REFUSED, measured
from benchmarks.plan import QUICK
from benchmarks.results import Results
from benchmarks.session import Session
from benchmarks.systems.redis import Redis
from benchmarks.systems.system import Surroundings
from benchmarks.workload import Workload


def lazy_redis(directory: Path, surroundings: Surroundings) -> Redis:
    """Return a Redis that syncs once a second."""
    return Redis(directory, surroundings, appendfsync="everysec")


@pytest.mark.needs_tool("redis-server")
def test_redis_that_syncs_once_a_second_is_refused(tmp_path: Path) -> None:
    """`python -m benchmarks` ends with 2, before anything is measured."""
    results = Results(["Redis"], {})
    console = Console(file=io.StringIO(), width=1000)
    session = Session([lazy_redis], tmp_path, pace=QUICK, results=results, console=console)
    loads = {"given": [Workload(command="set")]}
    assert measured(lambda: session.measure_loads(loads, with_takeovers=True), console) == REFUSED == 2
    assert isinstance(console.file, io.StringIO), "as given"
    assert "has appendfsync everysec" in console.file.getvalue()
    assert results.runs == []
    assert results.takeovers == {}


def test_sync_takes_time(tmp_path: Path) -> None:
    """The floor under a write that is alone; the probe leaves nothing behind."""
    assert durability.fastest_sync_seconds(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []
