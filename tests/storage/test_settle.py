"""What the log and the state may say of each other at start, and what is damage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from raftkv.applied import AppliedState
from raftkv.raft.types import EntryId, HardState
from raftkv.storage import GroupLog, LogCorrupted, LogStore, settle_log_with_state
from tests.storage.test_log_store import entry

#: An install of another leader's state.
INSTALLED = EntryId(5, 20)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[GroupLog]:
    """Entries 1 to 10 of term 3, of which those up to 4 were dropped, in term 6."""
    store = LogStore(tmp_path, create=True)
    group = store.group(0)
    group.append(HardState(6, 2), [entry(index, term=3) for index in range(1, 11)])
    group.compact(4)
    yield group
    store.close()


def applied(index: int, term: int) -> AppliedState:
    return AppliedState(index, term)


@pytest.mark.parametrize("index", [4, 5, 10])
@pytest.mark.parametrize("installed", [None, EntryId(3, 4), EntryId(2, 2), EntryId(3, 5)])
def test_a_state_that_the_log_goes_on_behind_is_left_alone(
    log: GroupLog, index: int, installed: EntryId | None
) -> None:
    """What was installed long ago is in the log, is its boundary or lies below it."""
    settle_log_with_state(log, applied(index, 3), installed)
    assert (log.boundary, log.last_index) == (EntryId(3, 4), 10)


def test_a_fresh_node_agrees_with_itself(tmp_path: Path) -> None:
    store = LogStore(tmp_path, create=True)
    settle_log_with_state(store.group(0), AppliedState(), None)
    assert store.group(0).last_index == 0
    store.close()


def test_a_state_that_the_log_lacks_and_that_grew_here_is_damage(log: GroupLog) -> None:
    """Nothing is applied before it is synced in the log: the log has lost it."""
    for index, term in ((11, 3), (10, 4), (10, 2), (3, 3), (0, 0), (4, 2)):
        with pytest.raises(LogCorrupted, match="doesn't have it") as corrupted:
            settle_log_with_state(log, applied(index, term), None)
        assert corrupted.value.index == index
    assert (log.boundary, log.last_index) == (EntryId(3, 4), 10)


@pytest.mark.parametrize("installed", [INSTALLED, EntryId(5, 10), EntryId(4, 7), EntryId(6, 11)])
def test_an_unfinished_install_is_finished(log: GroupLog, installed: EntryId) -> None:
    """The log ends before the installed entry, or has another one there."""
    settle_log_with_state(log, applied(installed.index, installed.term), installed)
    assert (log.boundary, log.first_index, log.last_index) == (
        installed,
        installed.index + 1,
        installed.index,
    )
    assert log.hard_state == HardState(6, 2)
    settle_log_with_state(log, applied(installed.index, installed.term), installed)


@pytest.mark.parametrize(
    ("state", "installed"),
    [
        (applied(21, 5), INSTALLED),
        (applied(19, 5), INSTALLED),
        (applied(20, 4), INSTALLED),
        (applied(10, 3), INSTALLED),
        (applied(20, 7), EntryId(7, 20)),
        (applied(4, 4), EntryId(4, 4)),
        (applied(10, 3), EntryId(4, 4)),
    ],
)
def test_an_install_that_both_have_gone_on_from_is_not_repeated(
    log: GroupLog, state: AppliedState, installed: EntryId
) -> None:
    """The log was told before anything more was applied, and before that of the term."""
    with pytest.raises(LogCorrupted) as corrupted:
        settle_log_with_state(log, state, installed)
    assert corrupted.value.index in (installed.index, state.index)
    assert (log.boundary, log.last_index) == (EntryId(3, 4), 10)
