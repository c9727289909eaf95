"""Disks and threads: the Raft log, the state machine's rows, fsyncs, and the directory they are in."""

from __future__ import annotations

from raftkv.storage.data_dir import DataDir, Identity
from raftkv.storage.errors import DataDirRefused, LogCorrupted, StorageFailure, WriteStalled
from raftkv.storage.group_log import GroupLog
from raftkv.storage.kv_store import KvStore, Scan
from raftkv.storage.log_store import LogStore
from raftkv.storage.writer import SWITCH_INTERVAL_SECONDS, Flusher, SyncWriter

__all__ = [
    "SWITCH_INTERVAL_SECONDS",
    "DataDir",
    "DataDirRefused",
    "Flusher",
    "GroupLog",
    "Identity",
    "KvStore",
    "LogCorrupted",
    "LogStore",
    "Scan",
    "StorageFailure",
    "SyncWriter",
    "WriteStalled",
]
