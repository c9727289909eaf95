"""How far a state machine has come: the value that is stored in one batch with the rows it belongs to.

Knows nothing of rows, disks or the Raft core. Below every module that passes the value on.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class AppliedState:
    """The state after the entry (`term`, `index`) and everything before it. Never changed after hand-over.

    Invariant: of two states of one store the later one has the higher `index`, and no lower `term` or
    `log_time_ms`.
    """

    #: Of the last entry applied; 0: none was.
    index: int = 0
    term: int = 0
    #: The log time after that entry, in milliseconds of the Unix epoch.
    log_time_ms: int = 0
    #: The encoded membership at that entry; empty: the configured one.
    membership: bytes = b""
