"""The benchmarks run and write what they measured; the figures themselves are nobody's to assert."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SECONDS_MAX = 90


@pytest.mark.needs_tool("redis-server")
@pytest.mark.needs_tool("redis-benchmark")
def test_benchmarks_measure_throughput_and_takeover(tmp_path: Path) -> None:
    """One short run of each system, one kill."""
    loads = ["--command", "set", "--pipeline", "16", "--rounds", "1", "--seconds", "0.1"]
    options = [*loads, "--takeovers", "1", "--no-etcd"]
    paths = ["--dir", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options, *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "raftkv / Redis" in done.stdout
    results = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert results["systems"] == ["raftkv", "Redis"]
    assert sorted(run["system"] for run in results["runs"]) == ["Redis", "raftkv"]
    for run in results["runs"]:
        assert run["outcome"]["per_second"] > 0
        assert len(run["cpu_seconds"]) == len(run["written_per_byte"]) == 3
    assert len(results["takeovers"]["raftkv"]) == 1
    assert results["takeovers"]["Redis"] == []
    assert sorted(results["durability"]) == ["Redis", "raftkv"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
