"""The short form of `python -m tests.consistency`, and that it finds something where there is something."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from tests.consistency.faults import LEADER_PART
from tests.consistency.figures import ANSWERED
from tests.consistency.run import Result, Run
from tests.consistency.stage import Loopback

#: What takes a leader's place behind its back.
_SURPRISES = ("pause", "pause cut off")
#: Mostly found within a few seconds.
_BROKEN_SECONDS_MAX = 120.0


def _result_of(
    directory: Path,
    *,
    seconds: float,
    module: str = "raftkv",
    kinds: Sequence[str] = (),
    leader_part: float = LEADER_PART,
) -> Result:
    seed = random.SystemRandom().randrange(1 << 31)
    print(f"again: python -m tests.consistency --seconds {seconds:g} --seed {seed} --module {module}")
    stage = Loopback(directory, module=module, kinds=kinds, leader_part=leader_part)
    result = asyncio.run(Run(stage, seed=seed, seconds=seconds).run())
    print(result)
    print("\n".join(map(str, result.write(directory / "found"))))
    return result


def test_every_reply_under_faults_is_one_that_a_single_register_could_have_given(tmp_path: Path) -> None:
    """README: linearizable reads at all nodes; a connection's commands in order; definite errors.

    It lasts until every kind of fault was done once.
    """
    result = _result_of(tmp_path, seconds=0.0)
    assert result.is_good, result
    assert not result.figures.undecided_count, result
    for face in ("cluster", "readonly", "standalone"):
        assert result.figures.outcomes[face, ANSWERED] > 20, result


def test_lease_that_never_ends_is_found(tmp_path: Path) -> None:
    """Thesis §6.4.1: the run stops at the first stale read, and draws it."""
    result = _result_of(
        tmp_path,
        seconds=_BROKEN_SECONDS_MAX,
        module="tests.consistency.broken_node",
        kinds=_SURPRISES,
        leader_part=1.0,
    )
    assert result.violations, result
    (picture, *_) = (tmp_path / "found").glob("finding-*/violation-*.svg")
    assert 'class="bad"' in picture.read_text()
