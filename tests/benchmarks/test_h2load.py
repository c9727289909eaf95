"""h2load's output."""

from __future__ import annotations

import pytest

from benchmarks import h2load
from benchmarks.workload import Outcome

#: As h2load 1.52 wrote it for `-n 5000 -c50 -m1 -d put` to etcd 3.4.
TEXT = """\
starting benchmark...
spawning thread #0: 50 total client(s). 5000 total requests
Application protocol: h2c
progress: 10% done
progress: 100% done

finished in 1.12s, 4480.66 req/s, 414.00KB/s
requests: 5000 total, 5000 started, 5000 done, 5000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 5000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 461.99KB (473074) total, 10.35KB (10600) headers (space savings 94.42%), 161.01KB (164874) data
                     min         max         mean         sd        +/- sd
time for request:     1.10ms     35.58ms     10.58ms      3.72ms    75.12%
time for connect:      167us      2.04ms       946us       479us    62.00%
time to 1st byte:    29.78ms     36.62ms     31.11ms      1.04ms    96.00%
req/s           :      89.68       94.39       91.49        1.36    58.00%
"""
#: The beginning and the end of its log.
LOG = """\
1795255956059740\t200\t27941
1795255956059893\t200\t28496
1795255956059727\t200\t28766
1795255957168530\t200\t3119
1795255957171605\t200\t1100
"""


def test_rate_is_printed_and_latencies_are_logged() -> None:
    """h2load(1), --log-file."""
    assert h2load.succeeded(TEXT) == 5000
    assert h2load.outcome(TEXT, LOG) == Outcome(
        per_second=4480.66, p50_ms=27.941, p95_ms=28.766, p99_ms=28.766, max_ms=28.766
    )


def test_only_statuses_of_2xx_succeed() -> None:
    """Whatever else h2load calls done."""
    assert h2load.succeeded(TEXT.replace("5000 2xx, 0 3xx, 0 4xx", "4990 2xx, 0 3xx, 10 4xx")) == 4990


@pytest.mark.parametrize(("text", "log"), [("", LOG), (TEXT, "")])
def test_missing_output_is_refused(text: str, log: str) -> None:
    """h2load that could not connect."""
    with pytest.raises(ValueError, match="h2load"):
        h2load.outcome(text, log)


def test_percentile_is_the_nearest_rank() -> None:
    """The smallest element below which at least so many percent lie, itself included."""
    hundred = range(1, 101)
    assert [h2load.percentile(hundred, percent) for percent in (0, 1, 50, 95, 99, 100)] == [
        1,
        1,
        50,
        95,
        99,
        100,
    ]
    assert h2load.percentile([7], 99) == 7
    assert h2load.percentile([1, 2], 50) == 1
