"""The benchmarks run and write what they measured; the figures themselves are nobody's to assert."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load import Run, Workload
from benchmarks.report import Results

ROOT = Path(__file__).parents[2]
_SECONDS_MAX = 90


def test_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """A machine that slows down slows down both runs of a round."""
    load = Workload("set", 16)
    rates = {"raftkv": (50.0, 10.0, 60.0), "Redis": (100.0, 25.0, 100.0)}
    runs = [
        Run(name, load, number, 1, rate, 0.0, 0.0, {})
        for name, rounds in rates.items()
        for number, rate in enumerate(rounds)
    ]
    assert Results(["raftkv", "Redis"], {}, runs).ratio(load, "Redis") == 0.5


@pytest.mark.needs_tool("redis-server")
@pytest.mark.needs_tool("redis-benchmark")
def test_benchmarks_measure_throughput_and_takeover(tmp_path: Path) -> None:
    """One short run of each system, one kill."""
    options = [
        "--command",
        "set",
        "--pipeline",
        "16",
        "--rounds",
        "1",
        "--seconds",
        "0.1",
        "--takeovers",
        "1",
    ]
    paths = ["--dir", str(tmp_path), "--json", str(tmp_path / "bench.json")]
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
    results = json.loads((tmp_path / "bench.json").read_text())
    assert results["systems"] == ["raftkv", "Redis"]
    assert sorted(run["system"] for run in results["runs"]) == ["Redis", "raftkv"]
    assert all(run["per_second"] > 0 and len(run["cpu_seconds"]) == 3 for run in results["runs"])
    assert len(results["takeovers"]["raftkv"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
