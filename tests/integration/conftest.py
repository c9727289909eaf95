"""Clusters for tests, and their logs beside whatever fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, running_cluster
from tests.integration.wire import ask


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that serve, for one test that may do anything to them."""
    with running_cluster(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def _standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("standing")) as running:
        yield running


@pytest.fixture
def mended(_standing: Cluster) -> Cluster:
    """Three nodes that serve and hold nothing, for a test that may pause, stop and kill them.

    The tests before it did so too: whoever looks into logs, or harms a directory, takes `cluster`.
    """
    _standing.mend()
    assert ask(_standing.wait_until_whole().port, "FLUSHALL") == b"OK"
    return _standing


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that serve, for all tests of a module: none of them harms a node."""
    with running_cluster(tmp_path_factory.mktemp("shared")) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the nodes logged."""
    report = yield
    if report.failed and call.when == "call":
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Cluster):
                report.sections.append(("the ends of the nodes' logs", value.logs()))
    return report
