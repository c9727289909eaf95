"""Where each database is stored: the place that all its rows name.

Knows nothing of what is stored there. A database's place is its own number until it is swapped with
another one: then two rows change, however many keys there are.

Invariant: `_moved` is what the `places` rows say, so it is the same on every replica; a database at
the place of its own number has no row there, so that swapping twice leaves nothing behind.
"""

from __future__ import annotations

from typing import Final

from raftkv import rows
from raftkv.rows import PendingRows

#: Databases are called by the numbers below this (redis `databases`, at its default).
DATABASE_COUNT: Final = 16


class Places:
    """The places of all databases of one group."""

    __slots__ = ("_moved", "_rows")

    def __init__(self, pending: PendingRows) -> None:
        self._rows = pending
        #: Those that are elsewhere than at their own number.
        self._moved: dict[int, int] = {}
        self.reload()

    def of(self, database: int) -> int:
        """Where a database is stored."""
        return self._moved.get(database, database)

    def database_at(self, place: int) -> int:
        """Which database is stored there."""
        for database, moved_to in self._moved.items():
            if moved_to == place:
                return database
        return place

    def swap(self, first: int, second: int) -> None:
        """Let two databases change places."""
        place_of_first, place_of_second = self.of(first), self.of(second)
        self._put(first, place_of_second)
        self._put(second, place_of_first)

    def reload(self) -> None:
        """Read what the rows say, after rows were changed in another way than by `swap`."""
        first, end = bytes((rows.PLACES,)), bytes((rows.PLACES + 1,))
        self._moved = {row_key[1]: row[0] for row_key, row in self._rows.scan(first, end)}

    def _put(self, database: int, place: int) -> None:
        row_key = rows.place_row(database)
        if place == database:
            self._rows.delete(row_key)
            self._moved.pop(database, None)
        else:
            self._rows.put(row_key, bytes((place,)))
            self._moved[database] = place
