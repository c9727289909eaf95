"""A share of what `make soak` runs: random runs of the healthy core, and the simulator's own promises.

Source: Raft Figure 3, DESIGN.md "Raft core".
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulator.broken_rules.logs import answers_leave_before_the_sync
from tests.simulator.run import RunSpec, run

_SEED_COUNT = 30
_PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("node_count", [3, 5])
@pytest.mark.parametrize("seed", range(1, _SEED_COUNT + 1))
def test_every_property_holds_in_a_rough_run(seed: int, node_count: int) -> None:
    """Raft Figure 3, linearizable reads, durability; then liveness once the faults end."""
    result = run(RunSpec(seed, node_count, steps=6_000), trace_lines_max=200)
    assert result.failure is None, result.report()


@pytest.mark.parametrize("node_count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(1, 9))
def test_every_property_holds_where_members_come_and_go(seed: int, node_count: int) -> None:
    """Raft §6 and §7 on top, founded by few: sole voters, and pairs of which each is needed."""
    result = run(RunSpec(seed, node_count, steps=4_000, profile="churn"), trace_lines_max=200)
    assert result.failure is None, result.report()


def test_churning_runs_change_members_and_bring_snapshots() -> None:
    tallies = [run(RunSpec(seed, 2, 4_000, "churn"), trace_lines_max=0).tally for seed in range(1, 9)]
    assert sum(tally.snapshots for tally in tallies) >= 8
    assert sum(tally.membership_changes for tally in tallies) >= 40


def test_rough_runs_are_rough_and_do_work() -> None:
    """A run without crashes, elections, writes or reads would prove nothing."""
    tallies = [run(RunSpec(seed, steps=6_000), trace_lines_max=0).tally for seed in range(1, 11)]
    assert sum(tally.crashes for tally in tallies) >= 50
    assert sum(tally.leaderships for tally in tallies) >= 30
    assert sum(tally.acknowledged_writes for tally in tallies) >= 300
    assert sum(tally.answered_reads for tally in tallies) >= 500


def test_a_seed_gives_the_same_trace_again() -> None:
    spec = RunSpec(7, node_count=5, steps=4_000)
    assert run(spec).trace_lines == run(spec).trace_lines


def test_another_seed_gives_another_trace() -> None:
    assert run(RunSpec(7, steps=500)).trace_lines != run(RunSpec(8, steps=500)).trace_lines


def test_a_trace_does_not_depend_on_the_hash_seed() -> None:
    """Two processes with other orders of sets and of string hashes."""
    digests = [_trace_digest_in_a_process(hash_seed) for hash_seed in ("1", "2")]
    here = "\n".join(run(RunSpec(11, 5, 3_000)).trace_lines) + "\n"
    assert digests == [hashlib.sha256(here.encode()).hexdigest()] * 2


def _trace_digest_in_a_process(hash_seed: str) -> str:
    command = ["-m", "tests.simulator", "--seed", "11", "--nodes", "5", "--steps", "3000", "--trace"]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=_PROJECT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
    )
    trace = done.stdout[: done.stdout.rindex(b"ok: ")]
    return hashlib.sha256(trace).hexdigest()


def test_a_failing_seed_says_how_to_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = RunSpec(1, node_count=5, steps=5_000)
    result = run(spec, process_class=answers_leave_before_the_sync(monkeypatch))
    report = result.report()
    assert "AcknowledgedWrites" in report
    assert report.endswith("reproduce with: python -m tests.simulator --seed 1 --nodes 5 --steps 5000")
    assert result.trace_lines[-1] in report
