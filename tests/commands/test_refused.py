"""What Redis has and a Raft group does by itself: refused, with a reason; MODULE."""

from __future__ import annotations

import pytest

from raftkv.resp.replies import Error
from tests.commands.fake_node import ask, open_session


@pytest.mark.parametrize(
    ("line", "start", "advice"),
    [
        ("REPLICAOF NO ONE", "ERR REPLICAOF is not supported: ", "CLUSTER FAILOVER"),
        ("SLAVEOF h 1", "ERR SLAVEOF is not supported: ", "RAFT ADD"),
        ("SYNC", "ERR SYNC is not supported: ", "member"),
        ("PSYNC ? -1", "ERR PSYNC is not supported: ", "member"),
        ("FAILOVER", "ERR FAILOVER is not supported: ", "CLUSTER FAILOVER"),
        ("FAILOVER TO h 1", "ERR FAILOVER is not supported: ", "CLUSTER FAILOVER"),
        ("MIGRATE h 1 k 0 10", "ERR MIGRATE is not supported: ", "SCAN"),
        ("DEBUG SLEEP 1", "ERR DEBUG is not supported: ", "RAFT DIGEST"),
        ("debug object k", "ERR DEBUG is not supported: ", "SHUTDOWN"),
        ("MODULE LOAD x", "ERR MODULE LOAD is not supported: ", "no modules"),
        ("MODULE LOADEX x", "ERR MODULE LOADEX is not supported: ", "no modules"),
        ("MODULE UNLOAD x", "ERR MODULE UNLOAD is not supported: ", "no modules"),
        ("CLUSTER ADDSLOTS 1", "ERR CLUSTER ADDSLOTS is not supported: ", "all 16384"),
        ("CLUSTER ADDSLOTSRANGE 1 2", "ERR CLUSTER ADDSLOTSRANGE is not supported: ", "all 16384"),
        ("CLUSTER DELSLOTS 1", "ERR CLUSTER DELSLOTS is not supported: ", "all 16384"),
        ("CLUSTER DELSLOTSRANGE 1 2", "ERR CLUSTER DELSLOTSRANGE is not supported: ", "all 16384"),
        ("CLUSTER SETSLOT 1 STABLE", "ERR CLUSTER SETSLOT is not supported: ", "all 16384"),
        ("CLUSTER FLUSHSLOTS", "ERR CLUSTER FLUSHSLOTS is not supported: ", "all 16384"),
        ("CLUSTER RESET HARD", "ERR CLUSTER RESET is not supported: ", "empty directories"),
        ("CLUSTER REPLICATE x", "ERR CLUSTER REPLICATE is not supported: ", "RAFT ADD LEARNER"),
        ("CLUSTER SAVECONFIG", "ERR CLUSTER SAVECONFIG is not supported: ", "nodes.conf"),
        ("CLUSTER BUMPEPOCH", "ERR CLUSTER BUMPEPOCH is not supported: ", "terms"),
        ("CLUSTER SET-CONFIG-EPOCH 1", "ERR CLUSTER SET-CONFIG-EPOCH is not supported: ", "terms"),
    ],
)
def test_what_raft_does_by_itself_is_refused_with_advice(line: str, start: str, advice: str) -> None:
    """A client learns why, and what to do instead."""
    refused = ask(open_session(), *line.split())
    assert isinstance(refused, Error)
    assert refused.text.startswith(start)
    assert advice in refused.text


@pytest.mark.parametrize(
    ("line", "name"), [("REPLICAOF x", "replicaof"), ("CLUSTER ADDSLOTS", "cluster|addslots")]
)
def test_arity_is_still_looked_at(line: str, name: str) -> None:
    """redis: before anything else."""
    assert ask(open_session(), *line.split()) == Error(f"ERR wrong number of arguments for '{name}' command")


def test_there_are_no_modules() -> None:
    """redis MODULE LIST."""
    assert ask(open_session(), "MODULE", "LIST") == []
