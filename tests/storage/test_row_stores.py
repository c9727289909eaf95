"""The row store on disk and the one that tests use keep the same contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from raftkv.storage.kv_store import KvStore
from tests.memory_rows import MemoryRows
from tests.storage.row_store_contract import RowStoreContract


class TestKvStore(RowStoreContract):
    """RocksDB."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[KvStore]:
        """An empty one."""
        store = KvStore(tmp_path / "state", create=True)
        yield store
        store.close()


class TestMemoryRows(RowStoreContract):
    """The dict."""

    @pytest.fixture
    def store(self) -> MemoryRows:
        """An empty one."""
        return MemoryRows()
