"""What a node that can't start says that one can do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftkv.config import Config, Member
from raftkv.node.advice import advice_on
from raftkv.storage import DataDir, DataDirRefused, Identity, LogCorrupted, StorageFailure

OF_THREE = Config(
    node_id=2,
    port=7002,
    members=tuple(Member(node_id, "127.0.0.1", 7000 + node_id) for node_id in (1, 2, 3)),
    data_dir="/data/2",
)
DAMAGE = LogCorrupted(7, "its row is missing")


def test_damaged_log_of_a_member_is_replaced_by_a_new_node() -> None:
    """The exact commands."""
    advice = advice_on(DAMAGE, OF_THREE)
    assert "`raftkv check /data/2`" in advice
    assert "`mv /data/2 /data/2.damaged`" in advice
    assert "`raftkv serve --join 127.0.0.1:7001 --join-in-place-of 2 --data-dir /data/2`" in advice


def test_damaged_log_of_a_single_node_is_restored() -> None:
    """Nobody else has its data."""
    assert "`raftkv restore PATH --node-id 1 --data-dir /data/1`" in advice_on(
        DAMAGE, Config(data_dir="/data/1")
    )


def test_node_that_joined_is_told_its_own_id(tmp_path: Path) -> None:
    """The directory alone knows it."""
    config = Config(join="10.0.0.1:7001", data_dir=str(tmp_path / "data"))
    assert "--join 10.0.0.1:7001 --join-in-place-of ID " in advice_on(DAMAGE, config)
    data_dir = DataDir.open(tmp_path / "data", 5)
    data_dir.save_identity(Identity(5, (), bytes(16), cluster_id=bytes(16)))
    data_dir.close()
    assert "--join-in-place-of 5 " in advice_on(DAMAGE, config)
    invited = Config(join="invitation", data_dir=config.data_dir)
    assert "--join HOST:PORT --join-in-place-of 5 " in advice_on(DAMAGE, invited)


@pytest.mark.parametrize(
    "failure",
    [
        StorageFailure("opening the state at /x", Exception("Corruption: block checksum mismatch")),
        StorageFailure("opening the Raft log", "there is no database at /data/2/log"),
        DataDirRefused(Path("/data/2"), "its IDENTITY file is damaged", is_damage=True),
    ],
)
def test_all_that_was_durable_once_counts(failure: StorageFailure | DataDirRefused) -> None:
    """Damaged or gone."""
    assert advice_on(failure, OF_THREE)


@pytest.mark.parametrize(
    "failure",
    [
        StorageFailure("writing the state", OSError(28, "No space left on device")),
        DataDirRefused(Path("/data/2"), "it is in use by the process 5"),
    ],
)
def test_what_passes_costs_no_directory(failure: StorageFailure | DataDirRefused) -> None:
    """Nobody should set whole data aside."""
    assert advice_on(failure, OF_THREE) == ""
