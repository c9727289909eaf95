"""Makes a stopped node the only voter of a new cluster: the last resort when a majority is gone for good.

What Raft promises ends here. What only the lost nodes had is lost, acknowledged or not, and entries of which
it isn't known whether they were committed are kept, and take effect. Knows nothing of how that is told.

The new cluster has an id of its own: lost nodes that come back after all are turned away, and turn this one
away, at the first frame. Under the old id they would be a majority, and replace what was written since.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from raftkv.raft import (
    MEMBERSHIP,
    Entry,
    EntryId,
    HardState,
    Membership,
    decode_membership,
    encode_membership,
    founding_membership,
)
from raftkv.storage.data_dir import DataDir, Identity
from raftkv.storage.durable_file import remove_tree
from raftkv.storage.errors import DataDirRefused, StorageFailure
from raftkv.storage.inspection import Report
from raftkv.storage.kv_store import KvStore
from raftkv.storage.log_store import LogStore
from raftkv.storage.settle import settle_log_with_state

_GROUP_ID = 0
_CLUSTER_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Recovery:
    """What is to be done to a directory, of what an inspection found in it."""

    report: Report
    identity: Identity
    #: In force so far.
    old: Membership
    #: The newest entry that is kept.
    last: EntryId
    #: Up to here the log was applied, which takes that it was committed.
    applied_index: int

    @property
    def node_id(self) -> int:
        """Whose directory it is."""
        return self.identity.node_id

    @property
    def lost_ids(self) -> list[int]:
        """The members that are given up for good."""
        return sorted(self.old.member_ids - {self.node_id})

    @property
    def new(self) -> Membership:
        """The membership that is put in force."""
        address = self.old.address_of(self.node_id)
        return Membership(
            (self.node_id,),
            addresses=((self.node_id, address),) if address else (),
            newest_id=max(self.old.newest_id, self.node_id, *self.old.member_ids),
        )


def plan_recovery(report: Report) -> Recovery:
    """Say what is to be done to an inspected directory. Raises DataDirRefused: nothing can be done to it."""
    identity, log, applied = report.identity, report.log, report.applied
    if not report.is_whole:
        damage = "; ".join(f"{finding.part}: {finding.text}" for finding in report.findings)
        raise DataDirRefused(report.path, f"it is damaged, and can't be the base of a cluster: {damage}")
    if identity is None or identity.cluster_id is None or log is None or applied is None:
        raise DataDirRefused(report.path, "its node belongs to no cluster yet")
    if log.last_index == 0:
        raise DataDirRefused(report.path, "it is empty: there is nothing to go on from")
    # A log that is about to be reset holds what the state, which is ahead of it, has replaced.
    encoded = applied.membership if log.is_reset else log.membership or applied.membership
    founders = [node_id for node_id, _ in identity.members]
    old = decode_membership(encoded) if encoded else founding_membership(founders)
    return Recovery(report, identity, old, log.last_id, applied.index)


def force_new_cluster(recovery: Recovery) -> bytes:
    """Carry it out, durably; give the new cluster's id.

    After a crash in between the node leads nobody until it is done once more. Raises DataDirRefused when the
    directory is in use, or has changed since it was inspected, StorageFailure.
    """
    path = recovery.report.path
    with ExitStack() as stack:
        data_dir = DataDir.open(path, recovery.node_id)
        stack.callback(data_dir.close)
        log_store = LogStore(data_dir.log_path, create=False)
        stack.callback(log_store.close)
        kv_store = KvStore(data_dir.state_path, create=False)
        stack.callback(kv_store.close)
        group_log = log_store.group(_GROUP_ID)
        settle_log_with_state(group_log, kv_store.applied, data_dir.installed)
        last = EntryId(group_log.term_at(group_log.last_index), group_log.last_index)
        if last != recovery.last:
            raise DataDirRefused(path, "it has changed since it was looked at")
        # What has come of a snapshot is from a leader that was lost.
        _remove(data_dir.incoming_path)
        # The id comes first: under the old one the lost nodes would take this one's votes for theirs.
        cluster_id = os.urandom(_CLUSTER_ID_BYTES)
        data_dir.found_anew(cluster_id)
        term = max(group_log.hard_state.current_term, last.term) + 1
        entry = Entry(term, last.index + 1, MEMBERSHIP, encode_membership(recovery.new))
        group_log.append(HardState(term, recovery.node_id), [entry])
        log_store.sync()
    return cluster_id


def _remove(path: Path) -> None:
    try:
        remove_tree(path)
    except OSError as error:
        raise StorageFailure(f"removing {path}", error) from error
