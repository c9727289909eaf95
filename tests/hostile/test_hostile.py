"""One round of every storm; `python -m tests.hostile` goes on for as long as is asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.hostile.__main__ import STORMS, Storm
from tests.hostile.arena import Arena, arena

#: Of what is said; what the processes do in between is the machine's.
SEED = 7


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """A cluster for all storms; its replicas are equal at the end."""
    with arena(tmp_path_factory.mktemp("hostile"), seed=SEED) as running:
        yield running


@pytest.mark.parametrize("storm", STORMS, ids=lambda storm: storm.__name__)
def test_the_cluster_is_unharmed_by(storm: Storm, place: Arena) -> None:
    """STYLE.md, Errors and Limits: garbage costs its own connection, and memory stays bounded."""
    storm(place, random.Random(SEED))
    place.check(storm.__name__)
