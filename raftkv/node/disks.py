"""What a node keeps on its disk, open."""

from __future__ import annotations

from dataclasses import dataclass

from raftkv.storage import DataDir, KvStore, LogStore


@dataclass(slots=True)
class Disks:
    """A data directory, locked, and the two databases in it."""

    data_dir: DataDir
    log_store: LogStore
    kv_store: KvStore

    def flush(self) -> None:
        """Give back the log space that the flush before made free, and make the state durable; for a thread.

        Raises StorageFailure.
        """
        self.log_store.reclaim()
        self.kv_store.flush()
