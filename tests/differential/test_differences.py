"""Every explanation of a difference is still needed, and explains nothing else in its example."""

from __future__ import annotations

import pytest

from tests.differential.cases import case_of
from tests.differential.differences import DIFFERENCES, Difference
from tests.differential.runner import Runner

pytestmark = pytest.mark.needs_tool("redis-server")


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.reason[:60])
def test_explained_difference_is_still_there(runner: Runner, difference: Difference) -> None:
    """House style: dead code goes."""
    mismatch = runner.run(case_of(difference.example))
    assert mismatch is None, mismatch.report()
    assert runner.met == {difference}
