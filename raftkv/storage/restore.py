"""Makes the data directory of a founder of a new cluster out of a backup.

The state is the backup's, the log begins behind it, empty; nobody is a member until the founders have formed
their cluster, as those of an empty one do (`node.formation` takes directories of the same backup). Knows
nothing of nodes. The steps, of which each is durable before the next:

    1. RESTORING is written: nobody else may use the directory, and a restore into it begins anew
    2. the files are copied and verified, the old members are struck out of the state, the log is made
    3. IDENTITY is written, RESTORING is removed
"""

from __future__ import annotations

import os
from pathlib import Path

from raftkv.applied import AppliedState
from raftkv.raft.types import NOBODY, EntryId, HardState
from raftkv.storage.backups import Backup, BackupDamaged, OnBytes
from raftkv.storage.data_dir import DataDir, Identity
from raftkv.storage.durable_file import sync_directory
from raftkv.storage.errors import StorageFailure
from raftkv.storage.kv_store import KvStore
from raftkv.storage.log_store import LogStore

#: The group whose state a backup holds.
_GROUP_ID = 0


def restore(
    backup: Backup, path: Path, node_id: int, members: tuple[tuple[int, str], ...], on_bytes: OnBytes
) -> None:
    """Make the directory at `path`, which is empty or isn't there, that of a member with the backup's state.

    `members`: (node id, "host:peer port") of all founders, by id. Raises BackupDamaged, DataDirRefused,
    StorageFailure; the directory is no node's then, and the same call begins anew.
    """
    manifest = backup.manifest
    data_dir = DataDir.begin_restore(path, node_id)
    try:
        state_path = path / "state"
        _copy_files(backup, state_path, on_bytes)
        _strike_members_out(backup, state_path)
        log_store = LogStore(path / "log", create=True)
        try:
            group_log = log_store.group(_GROUP_ID)
            group_log.reset(EntryId(manifest.term, manifest.index))
            group_log.append(HardState(manifest.term, NOBODY), [])
            log_store.sync()
        finally:
            log_store.close()
        data_dir.save_identity(Identity(node_id, members, os.urandom(16), restored=manifest.snapshot_id))
        data_dir.end_restore()
    finally:
        data_dir.close()


def _copy_files(backup: Backup, state_path: Path, on_bytes: OnBytes) -> None:
    """Copy and verify each file, and make it durable."""
    done = 0
    try:
        state_path.mkdir()
        for file in backup.manifest.files:
            with open(state_path / file.name, "wb") as target:
                for piece in backup.pieces(file):
                    target.write(piece)
                    done += len(piece)
                    on_bytes(done, backup.manifest.size_bytes)
                target.flush()
                os.fsync(target.fileno())
        sync_directory(state_path)
        sync_directory(state_path.parent)
    except OSError as error:
        raise StorageFailure(f"restoring into {state_path}", error) from error


def _strike_members_out(backup: Backup, state_path: Path) -> None:
    """Have the state not name the members of its old cluster: who founds the new one counts."""
    manifest = backup.manifest
    store = KvStore(state_path, create=False)
    try:
        applied = store.applied
        if (applied.index, applied.term) != (manifest.index, manifest.term):
            raise BackupDamaged(
                backup.path,
                f"it says that it ends with entry {manifest.index} of term {manifest.term}, and holds the"
                f" state after entry {applied.index} of term {applied.term}",
            )
        store.write({}, [], AppliedState(applied.index, applied.term, applied.log_time_ms))
        store.flush()
    finally:
        store.close()
