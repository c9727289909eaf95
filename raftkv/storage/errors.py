"""What the disk refuses or fails to do, as values: what was tried, what was found, what to do."""

from __future__ import annotations

from pathlib import Path

from raftkv.rows import RowStoreFailure


class StorageFailure(RowStoreFailure):
    """A disk or a database failed. What reached the disk is unknown: the node stops, nothing is retried."""

    def __init__(self, action: str, cause: BaseException | str) -> None:
        super().__init__(f"{action} failed: {cause}")
        self.action = action
        self.cause = cause


class LogCorrupted(StorageFailure):
    """The Raft log is damaged inside what may have been acknowledged: the node must not vote with it."""

    def __init__(self, index: int | None, detail: str) -> None:
        """`index`: the first entry known to be damaged or missing; None: not known which."""
        place = "" if index is None else f" at entry {index}"
        super().__init__(
            "reading the Raft log",
            f"the log is damaged{place}: {detail}. Entries that this node acknowledged may be lost, so it"
            f" must not vote. Check the disk, and keep the directory for inspection",
        )
        self.index = index
        self.detail = detail


class WriteStalled(Exception):
    """The database can't take writes until it has caught up. Nothing was written: try again later."""


class DataDirRefused(Exception):
    """A data directory that this node must not use, and was left as it was."""

    def __init__(self, path: Path, reason: str, *, is_damage: bool = False) -> None:
        """`is_damage`: what is missing or wrong was right once, and can't be had back from the directory."""
        super().__init__(f"data directory {path}: {reason}")
        self.path = path
        self.reason = reason
        self.is_damage = is_damage


class SnapshotRefused(Exception):
    """A snapshot from a peer that holds something else than it said. Its files are of no use."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"a snapshot is refused: {reason}")
        self.reason = reason
