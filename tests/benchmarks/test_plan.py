"""The sections have what the README promises."""

from __future__ import annotations

import pytest

from benchmarks import plan
from benchmarks.plan import FULL, QUICK


def test_pipelines_are_measured_for_each_command() -> None:
    """SET, GET, INCR, MSET at 1, 16 and 64."""
    found = {(load.command, load.pipeline) for load in plan.loads("pipelines", FULL)}
    assert found == {(name, size) for name in ("set", "get", "incr", "mset") for size in (1, 16, 64)}


def test_connections_and_values_have_their_ranges() -> None:
    """1 to 1,000 connections, 64 B to 1 MB."""
    assert [load.connections for load in plan.loads("connections", FULL)[::2]] == [1, 10, 50, 200, 1000]
    assert [load.value_bytes for load in plan.loads("values", FULL)[::2]] == [
        64,
        1024,
        16384,
        262144,
        1048576,
    ]


def test_delays_go_into_links_and_syncs() -> None:
    """0, 1 and 10 ms; the shortest and the longest when in a hurry."""
    assert [str(delay) for delay in plan.delays(FULL)] == [
        *("link +0 ms", "link +1 ms", "link +10 ms"),
        *("fsync +0 ms", "fsync +1 ms", "fsync +10 ms"),
    ]
    assert [delay.milliseconds for delay in plan.delays(QUICK)] == [0, 10, 0, 10]


def test_hurry_keeps_the_ends() -> None:
    """What lies between can be guessed."""
    assert {load.connections for load in plan.loads("connections", QUICK)} == {1, 50, 1000}
    assert {load.value_bytes for load in plan.loads("values", QUICK)} == {64, 16384, 1048576}
    assert {load.pipeline for load in plan.loads("pipelines", QUICK)} == {1, 16}


def test_unknown_section_is_an_error() -> None:
    """Those without loads of their own included."""
    with pytest.raises(KeyError):
        plan.loads("failover", FULL)
