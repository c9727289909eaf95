"""The one way to the Raft log's database, and what its failures mean.

Knows nothing of what is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rocksdict import Rdict, WriteBatch, WriteOptions

from raftkv.raft.types import Compacted
from raftkv.storage.errors import LogCorrupted, StorageFailure
from raftkv.storage.rocks import failure_of, is_corruption


class LogWrites:
    """The way to the write-ahead log, which ends at the first failure.

    What a failed write or fsync left on the disk is unknown, and a second one would only seem to succeed.
    """

    def __init__(self, database: Rdict) -> None:
        self._database = database
        self._options = WriteOptions()
        #: Set once, by whichever thread failed first.
        self.failure: StorageFailure | None = None

    def write(self, batch: WriteBatch) -> None:
        """Write a batch, unsynced. Raises StorageFailure."""
        self._raise_failure()
        try:
            self._database.write(batch, self._options)
        except Exception as error:
            raise self._failed("writing the Raft log", error) from error

    def sync(self) -> None:
        """Make durable whatever was written before. Raises StorageFailure."""
        self._raise_failure()
        try:
            self._database.flush_wal(True)
        except Exception as error:
            raise self._failed("fsync of the Raft log", error) from error

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _failed(self, action: str, error: Exception) -> StorageFailure:
        """Remember the first failure, and give it."""
        failure = failure_of(action, error)
        assert isinstance(failure, StorageFailure), f"{action}: refused for a stall, where writes wait"
        self.failure = self.failure or failure
        return self.failure


@contextmanager
def log_failures(action: str) -> Iterator[None]:
    """Raise rocksdict's exceptions as StorageFailure, or LogCorrupted where RocksDB found damage."""
    try:
        yield
    except (StorageFailure, Compacted):
        raise
    except Exception as error:
        failure = failure_of(action, error)
        if is_corruption(failure):
            raise LogCorrupted(None, str(error)) from error
        raise failure from error
