"""A row store in memory: a plain dict behind the same contract as `raftkv.storage.kv_store`.

Both pass `tests.storage.row_store_contract`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from raftkv.applied import AppliedState
from raftkv.storage.errors import WriteStalled


class MemoryRows:
    """Rows in a dict, sorted when somebody asks."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.applied = AppliedState()
        #: Refuse writes, as a store does that has to catch up.
        self.is_stalled = False
        #: How often rows were asked for one by one.
        self.gets_count = 0
        #: How many ranges were deleted.
        self.range_deletes_count = 0

    def get(self, row_key: bytes) -> bytes | None:
        """One row's value."""
        self.gets_count += 1
        return self.rows.get(row_key)

    def get_many(self, row_keys: list[bytes]) -> list[bytes | None]:
        """The rows' values."""
        return [self.get(row_key) for row_key in row_keys]

    def scan(self, first: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """The rows of [first, end) as of this call."""
        return iter(
            sorted(row for row in self.rows.items() if first <= row[0] and (end is None or row[0] < end))
        )

    def write(
        self,
        puts: Mapping[bytes, bytes | None],
        range_deletes: Sequence[tuple[bytes, bytes]],
        applied: AppliedState,
    ) -> None:
        """Ranges first, then rows."""
        if self.is_stalled:
            raise WriteStalled("told to")
        self.range_deletes_count += len(range_deletes)
        for first, end in range_deletes:
            self.rows = {row_key: value for row_key, value in self.rows.items() if not first <= row_key < end}
        for row_key, value in puts.items():
            if value is None:
                self.rows.pop(row_key, None)
            else:
                self.rows[row_key] = value
        self.applied = applied

    def is_write_stopped(self) -> bool:
        """Whether a write would be refused."""
        return self.is_stalled
