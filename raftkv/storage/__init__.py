"""Disks and threads: the Raft log, the state machine's rows, fsyncs, and the directory they are in."""

from __future__ import annotations

from raftkv.storage.data_dir import NO_ID, DataDir, Identity
from raftkv.storage.errors import DataDirRefused, LogCorrupted, SnapshotRefused, StorageFailure, WriteStalled
from raftkv.storage.group_log import GroupLog
from raftkv.storage.incoming import IncomingSnapshot, MissingRange
from raftkv.storage.kv_store import KvStore, Scan
from raftkv.storage.log_store import LogStore
from raftkv.storage.manifest import MANIFEST_BYTES_MAX, Manifest, SnapshotFile
from raftkv.storage.settle import settle_log_with_state
from raftkv.storage.snapshots import Snapshot, make_snapshot
from raftkv.storage.writer import SWITCH_INTERVAL_SECONDS, Flusher, SyncWriter

__all__ = [
    "MANIFEST_BYTES_MAX",
    "NO_ID",
    "SWITCH_INTERVAL_SECONDS",
    "DataDir",
    "DataDirRefused",
    "Flusher",
    "GroupLog",
    "Identity",
    "IncomingSnapshot",
    "KvStore",
    "LogCorrupted",
    "LogStore",
    "Manifest",
    "MissingRange",
    "Scan",
    "Snapshot",
    "SnapshotFile",
    "SnapshotRefused",
    "StorageFailure",
    "SyncWriter",
    "WriteStalled",
    "make_snapshot",
    "settle_log_with_state",
]
