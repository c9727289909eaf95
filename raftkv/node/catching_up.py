"""Followers that have got a snapshot, and are sent what was written while it came.

That can be more than the tail that the log keeps anyway. Dropped now, it would cost each of them another
snapshot, and under a constant load one more after that; so the log is kept for them until they have what was
committed when the snapshot came, or get no further. Knows nothing of how they are sent it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _CatchUp:
    has_index: int
    goal_index: int
    #: When it last got further.
    progress_ns: int


class CatchUps:
    """The followers of one group that catch up after a snapshot."""

    def __init__(self, *, abandon_ms: int) -> None:
        """Who gets no further for `abandon_ms` is waited for no more."""
        self._abandon_ns = abandon_ms * 1_000_000
        self._catch_ups: dict[int, _CatchUp] = {}

    def __len__(self) -> int:
        return len(self._catch_ups)

    @property
    def needed_index(self) -> int | None:
        """The log must keep what follows this index; None: nobody needs anything."""
        return min((each.has_index for each in self._catch_ups.values()), default=None)

    def begin(self, node_id: int, *, has_index: int, goal_index: int, now_ns: int) -> None:
        """Keep the log for a follower that has a snapshot up to `has_index`, until it has `goal_index`."""
        self._catch_ups[node_id] = _CatchUp(has_index, goal_index, now_ns)

    def look(self, match_indexes: Mapping[int, int], now_ns: int) -> None:
        """See how far they have come, by id; who isn't named is no follower any more."""
        for node_id, catch_up in list(self._catch_ups.items()):
            match_index = match_indexes.get(node_id)
            if match_index is not None and match_index > catch_up.has_index:
                catch_up.has_index, catch_up.progress_ns = match_index, now_ns
            is_stuck = now_ns - catch_up.progress_ns >= self._abandon_ns
            if match_index is None or is_stuck or catch_up.has_index >= catch_up.goal_index:
                del self._catch_ups[node_id]

    def clear(self) -> None:
        """Forget them all: somebody else leads."""
        self._catch_ups.clear()
