"""A share of what `python -m tests.differential` runs: raftkv answers any sequence as Redis does.

Source: Redis itself, version 7.0.15; where raftkv follows 7.2 instead, `differences` says so.
"""

from __future__ import annotations

import pytest

from raftkv.commands import build_table
from tests.differential.cases import case_of
from tests.differential.generator import STEPS_COUNT, Generator
from tests.differential.runner import Runner
from tests.differential.servers import Face
from tests.differential.shrinking import shrunk

pytestmark = pytest.mark.needs_tool("redis-server")

TABLE = build_table()
#: Cases of one test of one face, and how many such tests: about twenty seconds in all.
_SEEDS_PER_TEST = 20
_TESTS_COUNT = 10


@pytest.mark.parametrize("first_seed", range(1, _TESTS_COUNT * _SEEDS_PER_TEST, _SEEDS_PER_TEST))
def test_any_sequence_is_answered_as_redis_answers_it(runner: Runner, face: Face, first_seed: int) -> None:
    """Redis: every command, any argument, RESP2 and RESP3, pipelines, inline requests, garbage."""
    for seed in range(first_seed, first_seed + _SEEDS_PER_TEST):
        mismatch = runner.run(Generator(TABLE, seed).case(STEPS_COUNT))
        if mismatch is not None:
            again = f"python -m tests.differential --face {face.name} --seed {seed} --count 1"
            pytest.fail(f"{shrunk(runner, mismatch).report()}\n\n{again}", pytrace=False)
    assert runner.requests_count > 50 * _SEEDS_PER_TEST, "the cases ask for nothing"


SHORT_LIVES = """
SET {t}a 1 PX 5
SET {t}b 2 PX 5 NX
SET {t}c 3
PEXPIRE {t}c 5
WAIT 1 30
GET {t}a
TTL {t}b
EXISTS {t}a {t}b {t}c
SET {t}a 5 XX
SET {t}b 5 KEEPTTL NX GET
INCR {t}c
TTL {t}a
TTL {t}b
TTL {t}c
KEYS *
MGET {t}a {t}b {t}c
"""


def test_keys_expire_when_their_time_is_over(runner: Runner) -> None:
    """redis: an expired key is not there, for reads and for writes. WAIT lets the time pass on both sides."""
    mismatch = runner.run(case_of(SHORT_LIVES))
    assert mismatch is None, mismatch.report()


DATABASES = """
SET {t}a 0
SELECT 1
SET {t}a 1
SET {t}b 1 EX 500000000
COPY {t}a {t}c DB 2
COPY {t}b {t}b DB 2
MOVE {t}b 2
MOVE {t}b 0
MOVE {t}b 1

#1
SELECT 2
SWAPDB 1 2
KEYS *
DBSIZE
FLUSHDB

#0
KEYS *
TTL {t}b
SWAPDB 1 15
DBSIZE
SELECT 15
DBSIZE
SELECT 0
KEYS *
FLUSHALL
DBSIZE
SELECT 15
DBSIZE
RANDOMKEY
GET {t}c
"""


def test_databases_are_kept_apart(runner: Runner) -> None:
    """redis SELECT, MOVE, SWAPDB, COPY DB, FLUSHDB, FLUSHALL: refused alike by a node of a cluster."""
    mismatch = runner.run(case_of(DATABASES))
    assert mismatch is None, mismatch.report()


def test_any_difference_is_found_and_made_short(runner: Runner) -> None:
    """The comparison itself: one request that is known to differ, amid others, without its explanation."""
    lines = ["SET {t}a 1\nGET {t}a", "#1", "INCR {t}b", "INFO", "ECHO x\nRAFT DIGEST\nECHO y", "GET {t}b"]
    mismatch = runner.run(case_of("\n\n".join(lines)))
    assert mismatch is not None
    assert "ECHO x\nRAFT DIGEST" in mismatch.report()
    short = shrunk(runner, mismatch)
    assert str(short.case) == "RAFT"
    assert "unknown command 'RAFT'" in short.report()
