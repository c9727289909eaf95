"""The redis-server that all tests of this folder compare with, one for each face."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.runner import Runner
from tests.differential.servers import FACES, DrivenServer, Face, RedisServer, running_redis


@pytest.fixture(scope="session", params=sorted(FACES))
def face(request: pytest.FixtureRequest) -> Face:
    """Every face in turn."""
    return FACES[request.param]


@pytest.fixture(scope="session")
def redis(face: Face, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server that behaves as the face does; each case begins with FLUSHALL."""
    with running_redis(tmp_path_factory.mktemp("redis"), face) as server:
        yield server


@pytest.fixture
def runner(face: Face, redis: RedisServer) -> Runner:
    """Compares raftkv in this process with that server."""
    return Runner(ours=DrivenServer(face), theirs=redis)
