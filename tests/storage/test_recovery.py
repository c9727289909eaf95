"""A new cluster forced upon a survivor: whom it keeps, under which id, and what is refused."""

from __future__ import annotations

import shutil
from itertools import groupby
from pathlib import Path

import pytest

from raftkv.applied import AppliedState
from raftkv.raft import (
    MEMBERSHIP,
    Entry,
    EntryId,
    HardState,
    Membership,
    decode_membership,
    encode_membership,
)
from raftkv.storage import DataDir, DataDirRefused, IncomingSnapshot, KvStore, LogStore, make_snapshot
from raftkv.storage.inspection import inspect_fully, inspect_quickly, read_identity
from raftkv.storage.recovery import Recovery, force_new_cluster, plan_recovery
from tests.storage.closed_node import APPLIED_INDEX, IDENTITY, LAST_INDEX, MEMBERS, TERM, make_closed_node
from tests.storage.durable_calls import recorded, replaced
from tests.storage.installing import end_after
from tests.storage.states import send, snapshot_at


class _Crash(BaseException):
    """The process ends here."""


def crash() -> None:
    raise _Crash


def nobody(*_: object) -> None:
    """Show no progress."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A survivor, node 2; tests work on copies."""
    return make_closed_node(tmp_path_factory.mktemp("closed") / "data")


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy to recover."""
    return Path(shutil.copytree(whole, tmp_path / "data"))


def planned(path: Path) -> Recovery:
    """Say what would be done."""
    return plan_recovery(inspect_quickly(path, nobody))


def last_entry(path: Path) -> Entry:
    """The newest entry of the log."""
    store = LogStore(path / "log", create=False)
    log = store.group(0)
    (entry,) = log.read(log.last_index, log.last_index + 1, 1 << 20)
    store.close()
    return entry


def test_plan_tells_what_there_is(copy: Path) -> None:
    """Who is given up, what is kept, and from where on it isn't sure."""
    recovery = planned(copy)
    assert recovery.old == MEMBERS
    assert recovery.lost_ids == [3, 4]
    assert recovery.last == EntryId(TERM, LAST_INDEX)
    assert recovery.applied_index == APPLIED_INDEX


def test_survivor_becomes_the_only_voter_in_a_new_term(copy: Path) -> None:
    """Its entries stay, ids that were used stay used, and it has voted for itself."""
    force_new_cluster(planned(copy))
    entry = last_entry(copy)
    assert (entry.index, entry.term, entry.kind) == (LAST_INDEX + 1, TERM + 1, MEMBERSHIP)
    assert decode_membership(entry.payload) == Membership((2,), addresses=((2, b"place of 2"),), newest_id=5)
    report = inspect_fully(copy, nobody)
    assert report.is_whole
    assert report.log is not None
    assert report.log.hard_state == HardState(TERM + 1, 2)


def test_new_term_is_above_any_that_the_survivor_knows(copy: Path) -> None:
    """Raft Figure 2: it may have voted since its last entry, and no log has a term above the current one."""
    store = LogStore(copy / "log", create=False)
    store.group(0).append(HardState(TERM + 5, 3), [])
    store.close()
    force_new_cluster(planned(copy))
    assert last_entry(copy).term == TERM + 6
    report = inspect_fully(copy, nobody)
    assert report.is_whole
    assert report.log is not None
    assert report.log.hard_state == HardState(TERM + 6, 2)


def test_new_cluster_has_another_id(copy: Path) -> None:
    """Lost nodes that come back are turned away, and its directory says so."""
    cluster_id = force_new_cluster(planned(copy))
    identity = read_identity(copy)
    assert identity is not None
    assert identity.cluster_id == cluster_id != IDENTITY.cluster_id
    assert (identity.node_id, identity.nonce, identity.agreed) == (2, IDENTITY.nonce, ())
    DataDir.open(copy, 2).close()


def test_membership_of_the_state_counts_when_the_log_has_none(tmp_path: Path) -> None:
    """Entries that were applied are dropped sooner or later."""
    path = make_closed_node(tmp_path / "data", applied_index=LAST_INDEX)
    store = LogStore(path / "log", create=False)
    store.group(0).compact(LAST_INDEX)
    store.close()
    assert planned(path).old == MEMBERS


def install_and_crash(path: Path, leader: Path, applied: AppliedState) -> None:
    """Do what comes before the reset of the log, and no more."""
    store = KvStore(leader / "state", create=True)
    store.write({}, [], applied)
    snapshot = make_snapshot(store, leader / "snapshots")
    store.close()
    data_dir = DataDir.open(path, 2)
    incoming = IncomingSnapshot(data_dir.incoming_path, snapshot.manifest)
    send(snapshot, incoming)
    assert incoming.finish() == []
    data_dir.install_state(incoming)
    data_dir.close()


def test_membership_of_an_installed_state_counts_before_the_logs(copy: Path, tmp_path: Path) -> None:
    """A crash came before the log's reset: what the log says of members is older."""
    members = Membership((2, 4), newest_id=6)
    installed = EntryId(TERM, LAST_INDEX + 10)
    applied = AppliedState(installed.index, installed.term, 1, encode_membership(members))
    install_and_crash(copy, tmp_path / "leader", applied)
    recovery = planned(copy)
    assert (recovery.old, recovery.last) == (members, installed)
    force_new_cluster(recovery)
    assert last_entry(copy).index == installed.index + 1
    assert inspect_fully(copy, nobody).is_whole


def test_what_has_come_of_a_snapshot_goes(copy: Path, tmp_path: Path) -> None:
    """It is from a leader that was lost."""
    snapshot = snapshot_at(tmp_path / "leader", LAST_INDEX + 10)
    data_dir = DataDir.open(copy, 2)
    IncomingSnapshot(data_dir.incoming_path, snapshot.manifest)
    data_dir.close()
    force_new_cluster(planned(copy))
    assert not (copy / "incoming").exists()


def test_founders_count_when_no_membership_was_ever_written(copy: Path) -> None:
    """As for a cluster whose first leader died at once."""
    store = LogStore(copy / "log", create=False)
    store.group(0).append(
        None, [Entry(TERM, LAST_INDEX, MEMBERSHIP, encode_membership(Membership((1, 2, 3))))]
    )
    store.group(0).append(None, [Entry(TERM, LAST_INDEX - 1, 0, b"")])  # cuts it off
    store.close()
    recovery = planned(copy)
    assert recovery.old.voters == (1, 2, 3)
    assert recovery.new.newest_id == 3


def test_crash_in_between_is_repaired_by_doing_it_again(whole: Path, tmp_path: Path) -> None:
    """At every call that makes something durable: it never leads under the old id."""
    for calls_before in range(100):
        path = Path(shutil.copytree(whole, tmp_path / str(calls_before)))
        try:
            with end_after(calls_before, crash):
                force_new_cluster(planned(path))
        except _Crash:
            pass
        else:
            break
        identity = read_identity(path)
        assert identity is not None
        if last_entry(path).index > LAST_INDEX:
            assert identity.cluster_id != IDENTITY.cluster_id
        force_new_cluster(planned(path))
        assert decode_membership(last_entry(path).payload).voters == (2,)
    assert calls_before > 2


def test_new_cluster_outlives_a_loss_of_power(copy: Path) -> None:
    """The id comes first: under the old one nobody must follow this node."""
    recovery = planned(copy)
    with recorded(copy) as calls:
        force_new_cluster(recovery)
    assert [call for call, _ in groupby(calls)][-4:] == [*replaced("IDENTITY"), "LogStore.sync"]


def test_directory_in_use_is_refused(copy: Path) -> None:
    """The node has to be stopped."""
    recovery = planned(copy)
    data_dir = DataDir.open(copy, 2)
    with pytest.raises(DataDirRefused, match="in use"):
        force_new_cluster(recovery)
    data_dir.close()


def test_directory_that_has_changed_is_refused(copy: Path) -> None:
    """What was told before the question must hold."""
    recovery = planned(copy)
    store = LogStore(copy / "log", create=False)
    store.group(0).append(None, [Entry(TERM, LAST_INDEX + 1, 0, b"")])
    store.close()
    with pytest.raises(DataDirRefused, match="has changed since"):
        force_new_cluster(recovery)
    assert read_identity(copy) == IDENTITY


def test_damaged_directory_is_refused(copy: Path) -> None:
    """It must not become everybody's."""
    wal = next((copy / "log").glob("*.sst"))
    content = bytearray(wal.read_bytes())
    content[50] ^= 1
    wal.write_bytes(content)
    with pytest.raises(DataDirRefused, match="it is damaged"):
        planned(copy)


def test_node_of_no_cluster_is_refused(tmp_path: Path) -> None:
    """There is nothing to go on from."""
    data_dir = DataDir.open(tmp_path / "data", 2)
    data_dir.close()
    with pytest.raises(DataDirRefused, match="belongs to no cluster yet"):
        planned(tmp_path / "data")
