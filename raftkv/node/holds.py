"""What holds a connection back. Knows nothing of how it ends: see `executor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftkv.node.executor import Executor


class Hold(Enum):
    """What a connection waits for before its next request is carried out."""

    #: A leader that serves.
    LEADER = "leader"
    #: Proof that this node's state is recent enough.
    READ = "read"
    #: All replies that it is owed.
    OWN_REPLIES = "own replies"
    #: An entry whose time settles whether a key has expired.
    LOG_TIME = "log time"
    #: A long read, done in slices.
    SLICES = "slices"
    #: The end of CLIENT PAUSE.
    PAUSE = "pause"
    #: What a LOCAL command asked to be awaited, as WAIT its replicas.
    AWAITED = "awaited"


@dataclass(slots=True)
class HeldRead:
    """The `Reader` of one hold of one executor."""

    executor: Executor
    hold_number: int
    #: So many requests at the head of the backlog had come when it joined.
    count: int

    def on_read_confirmed(self) -> None:
        self.executor.on_read_confirmed(self.hold_number, self.count)

    def on_read_refused(self) -> None:
        self.executor.on_read_refused(self.hold_number)
