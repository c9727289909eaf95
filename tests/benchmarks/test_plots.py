"""Plots are drawn of what there is."""

from __future__ import annotations

from pathlib import Path

from benchmarks import plan, plots
from benchmarks.results import Results
from benchmarks.workload import Outcome, Run, Workload

OUTCOME = Outcome(per_second=100.0, p50_ms=1.0, p95_ms=2.0, p99_ms=3.0, max_ms=4.0)


def results_of(sections: dict[str, list[Workload]]) -> Results:
    """Return results that lack all INCRs of one system."""
    runs = [
        Run(section=section, system=name, workload=load, round=1, requests=1, outcome=OUTCOME, tool_busy=0.1)
        for section, loads in sections.items()
        for load in loads
        for name in ("raftkv", "etcd")
        if (name, load.command) != ("etcd", "incr")
    ]
    return Results(["raftkv", "etcd"], {}, runs=runs)


def test_each_measured_part_is_drawn(tmp_path: Path) -> None:
    """And all of them together, for the README."""

    sections = {name: plan.loads(name, plan.FULL) for name in ("pipelines", "connections", "values")}
    sections["delays"] = plan.delayed_loads(plan.Delay("link", 10))
    results = results_of(sections)
    results.takeovers = {"raftkv": [0.5, 0.7], "etcd": []}
    written = plots.draw(results, tmp_path)
    names = ["throughput", "latency", "connections", "values", "delays", "pauses", "bench"]
    assert [path.stem for path in written] == names
    assert all("<svg" in path.read_text() for path in written)


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    """A run of the section failover alone has no loads."""

    assert plots.draw(results_of({}), tmp_path) == []
    assert list(tmp_path.iterdir()) == []
