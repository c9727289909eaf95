"""Brings the log and the state together at start: the last step of an install may be missing.

An install makes the state durable first, and then has the log begin behind it. A crash in between leaves
a log that ends, or whose entries differ, before the state begins; all that is missing is the log's reset.
Everything else that disagrees is damage. Knows nothing of how a snapshot came.
"""

from __future__ import annotations

from typing import Protocol

from raftkv.applied import AppliedState
from raftkv.raft.types import EntryId, HardState
from raftkv.storage.errors import LogCorrupted


class LogToSettle(Protocol):
    """What is needed of `GroupLog`."""

    @property
    def hard_state(self) -> HardState:
        """What was written last."""

    @property
    def boundary(self) -> EntryId:
        """The last entry that was dropped."""

    @property
    def first_index(self) -> int:
        """The oldest entry held."""

    @property
    def last_index(self) -> int:
        """The newest entry held; when there is none the boundary's index."""

    def term_at(self, index: int) -> int:
        """Give the term of an entry that is held, or of the boundary."""

    def reset(self, boundary: EntryId) -> None:
        """Drop every entry, and begin behind `boundary`."""


def settle_log_with_state(group_log: LogToSettle, applied: AppliedState, installed: EntryId | None) -> None:
    """Finish an install if the log doesn't know of it yet; `installed`: what the state was made of.

    The log is written then, and not synced: a crash before the next sync has it done again. Raises
    LogCorrupted when the log lacks what the state has applied, which was synced before it was applied,
    or lacks what comes next; StorageFailure.
    """
    if installed is not None and not _is_known(group_log, installed):
        _finish_install(group_log, applied, installed)
    if not _holds(group_log, EntryId(applied.term, applied.index)):
        raise LogCorrupted(
            applied.index,
            f"the state has applied entry {applied.index} of term {applied.term}, but the log, which holds"
            f" entries {group_log.first_index} to {group_log.last_index}, doesn't have it",
        )


def _holds(group_log: LogToSettle, entry_id: EntryId) -> bool:
    """Tell whether this is an entry of the log or its boundary, so that the log can go on behind it."""
    is_there = group_log.boundary.index <= entry_id.index <= group_log.last_index
    return is_there and group_log.term_at(entry_id.index) == entry_id.term


def _is_known(group_log: LogToSettle, installed: EntryId) -> bool:
    """Tell whether the log has heard of the install: what lies below the boundary was compacted since."""
    return installed.index < group_log.boundary.index or _holds(group_log, installed)


def _finish_install(group_log: LogToSettle, applied: AppliedState, installed: EntryId) -> None:
    """Have the log begin behind the state, if nothing has happened to either since."""
    if (applied.term, applied.index) != (installed.term, installed.index):
        raise LogCorrupted(
            installed.index,
            f"a snapshot up to entry {installed.index} of term {installed.term} was installed, and the state"
            f" has come to entry {applied.index}, but the log doesn't know of it",
        )
    if group_log.boundary.index >= installed.index or group_log.hard_state.current_term < installed.term:
        raise LogCorrupted(
            installed.index,
            f"a snapshot up to entry {installed.index} of term {installed.term} was installed, but the log"
            f" begins behind entry {group_log.boundary.index} of term {group_log.boundary.term} and knows"
            f" of term {group_log.hard_state.current_term}",
        )
    group_log.reset(installed)
