"""What follows from the runs by arithmetic."""

from __future__ import annotations

from benchmarks.results import Results
from benchmarks.workload import At, Outcome, Run, Workload

LOAD = Workload(command="set", pipeline=16)


def run_of(system: str, number: int, per_second: float) -> Run:
    """Return a run that found that rate."""
    outcome = Outcome(per_second=per_second, p50_ms=1.0, p95_ms=2.0, p99_ms=3.0, max_ms=4.0)
    return Run(
        section="pipelines",
        system=system,
        workload=LOAD,
        round=number,
        requests=1,
        outcome=outcome,
        tool_busy=0.1,
    )


def test_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """A machine that slows down slows down both runs of a round."""
    rates = {"raftkv": (50.0, 10.0, 60.0), "Redis": (100.0, 25.0, 100.0)}
    runs = [
        run_of(system, number, rate) for system, rounds in rates.items() for number, rate in enumerate(rounds)
    ]
    assert Results(["raftkv", "Redis"], {}, runs=runs).ratio("pipelines", LOAD, "Redis") == 0.5


def test_ratio_to_what_was_left_out_is_none() -> None:
    """etcd has no INCR."""
    results = Results(["raftkv", "etcd"], {}, runs=[run_of("raftkv", 1, 5.0)])
    assert results.ratio("pipelines", LOAD, "etcd") is None
    assert results.per_second("pipelines", "etcd", LOAD) is None
    assert results.per_second("pipelines", "raftkv", LOAD) == 5.0


def test_workload_names_what_is_unusual() -> None:
    """Rows of the tables."""
    assert str(LOAD) == "SET -P 16"
    unusual = Workload(
        command="get", connections=1, value_bytes=1024, keys=9, at=At.FOLLOWER_STANDALONE, delay="link +1 ms"
    )
    assert str(unusual) == "GET -P 1 -c 1 -d 1024 -r 9 at follower-standalone (link +1 ms)"


def test_payload_is_keys_and_values_of_writes() -> None:
    """What "bytes written per byte stored" divides by."""
    assert Workload(command="set", value_bytes=64).payload_bytes == 80
    assert Workload(command="mset", value_bytes=4).payload_bytes == 200
    assert Workload(command="get").payload_bytes == 0
