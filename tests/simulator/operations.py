"""What virtual clients ask for, and what came of it.

Knows nothing of how it is served.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class OperationKind(Enum):
    """What a client asks for."""

    WRITE = "write"
    #: At the leader, under its lease where that runs.
    LEASE_READ = "lease read"
    #: Anywhere, by ReadIndex.
    INDEX_READ = "index read"


WRITE = OperationKind.WRITE
LEASE_READ = OperationKind.LEASE_READ
INDEX_READ = OperationKind.INDEX_READ


class Outcome(Enum):
    """What a client was told."""

    PENDING = "pending"
    DONE = "done"
    #: Definitely not done, now or ever.
    REFUSED = "refused"
    #: The client stopped waiting, or its node crashed.
    UNKNOWN = "unknown"


@dataclass(slots=True, eq=False)
class Operation:
    """One request of one client."""

    kind: OperationKind
    #: The written value, unlike any other; empty for reads.
    payload: bytes
    #: The greatest index that any client had seen when this was invoked: the answer must reach it.
    floor: int = 0
    outcome: Outcome = Outcome.PENDING
    #: Where the write took place, or the index up to which the answered state was applied.
    index: int = 0
    #: The leader that a refusal named, 0: none.
    leader_id: int = 0
