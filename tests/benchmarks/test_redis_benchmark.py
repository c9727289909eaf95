"""redis-benchmark's command line and its output."""

from __future__ import annotations

import pytest

from benchmarks import redis_benchmark
from benchmarks.workload import MSET_KEYS, Outcome, Workload

#: As redis-benchmark 7.0.15 wrote it for `--csv -t set -n 20000 -P 16 -c 50 -d 64`.
CSV = """\
"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
"SET","298507.47","2.406","1.080","2.423","3.639","4.191","4.383"
"""
#: The same of `mset '{m}:0' x '{m}:1' x`, whose name is the command.
CSV_OF_A_COMMAND = CSV.replace('"SET"', '"mset {m}:0 x {m}:1 x"')


@pytest.mark.parametrize("text", [CSV, CSV_OF_A_COMMAND])
def test_csv_is_read(text: str) -> None:
    """redis-benchmark --csv."""
    assert redis_benchmark.parse(text) == Outcome(
        per_second=298507.47, p50_ms=2.423, p95_ms=3.639, p99_ms=4.191, max_ms=4.383
    )


@pytest.mark.parametrize("text", ["", CSV.splitlines()[0], CSV + CSV.splitlines()[1] + "\n"])
def test_csv_of_anything_but_one_test_is_refused(text: str) -> None:
    """A server that went away leaves the headline alone."""
    with pytest.raises(ValueError, match="not the line of one test"):
        redis_benchmark.parse(text)


def test_mset_has_ten_keys_of_one_slot() -> None:
    """The node of a cluster answers CROSSSLOT otherwise."""
    words = redis_benchmark.command_line(1, Workload(command="mset", value_bytes=3), requests=9)
    pairs = words[words.index("mset") + 1 :]
    assert pairs[::2] == [f"{{m}}:{place}" for place in range(MSET_KEYS)]
    assert pairs[1::2] == ["xxx"] * MSET_KEYS
    many = redis_benchmark.command_line(1, Workload(command="mset", keys=5), requests=9)
    assert "{m__rand_int__}:9" in many
    assert many[many.index("-r") + 1] == "5"
