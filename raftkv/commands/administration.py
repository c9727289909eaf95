"""What RAFT and CLUSTER ask of a node to change its cluster: a protocol, and the values that it speaks in.

Knows nothing of how a change is made. Whatever takes time is an `Undertaking`: asked again and again how it
went, it says so once it is over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from raftkv.raft.membership import Membership


class Standing(Enum):
    """What somebody is in a membership."""

    VOTER = "voter"
    #: Receives everything and votes on nothing, for good.
    LEARNER = "learner"
    #: A learner that becomes a voter by itself once it has caught up.
    STAGED = "staged"
    #: Votes until the change that is under way is over, and then is no member any more.
    OUTGOING = "outgoing"
    #: No member: it was removed, or isn't taken in yet.
    STRANGER = "stranger"


VOTER = Standing.VOTER
LEARNER = Standing.LEARNER
STAGED = Standing.STAGED
OUTGOING = Standing.OUTGOING
STRANGER = Standing.STRANGER


def standing_of(membership: Membership, node_id: int) -> Standing:
    """Tell what a node is in a membership."""
    if node_id in membership.voters:
        return VOTER
    if node_id in membership.outgoing:
        return OUTGOING
    if any(staged.node_id == node_id for staged in membership.staged):
        return STAGED
    return LEARNER if node_id in membership.learners else STRANGER


@dataclass(slots=True)
class TransferStatus:
    """How far a snapshot has come on its way."""

    bytes_done: int
    #: 0: not known yet.
    bytes_total: int

    @property
    def percent(self) -> int:
        """0 to 100."""
        return 100 * self.bytes_done // self.bytes_total if self.bytes_total else 0


@dataclass(frozen=True, slots=True)
class Done:
    """It was done; the number is what was asked for: a node's id or a log index."""

    number: int


@dataclass(frozen=True, slots=True)
class Failed:
    """It was not done, and won't be."""

    reason: str
    #: It would go better in a moment.
    is_passing: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing was done yet, nor will be unless somebody goes on asking how it went."""

    reason: str


Outcome = Done | Failed | Waiting
#: None: it is under way.
Undertaking = Callable[[], Outcome | None]


class Administration(Protocol):
    """How a node's cluster is changed; but for `flush` and `compact` by its leader alone."""

    def add(self, host: str, peer_port: int, *, takes_place_of: int, is_learner: bool) -> Undertaking:
        """Have the node that waits there taken in; done once it is a member, by its id.

        `takes_place_of`: the voter that goes once it has caught up; NOBODY: none.
        """

    def remove(self, node_id: int) -> Undertaking:
        """Let a member go; done once that is committed, by its id. It must be one, or have been one."""

    def promote(self, node_id: int) -> Undertaking:
        """Make a learner that has caught up a voter; done once that is committed, by its id."""

    def transfer(self, node_id: int) -> Undertaking:
        """Hand leadership over to a voter, NOBODY: the one that has most; done once somebody else leads."""

    @property
    def first_index(self) -> int:
        """The oldest entry of this node's log on disk; its last index + 1 when there is none."""

    def campaign(self) -> None:
        """If no leader was heard lately: ask at once whether a majority would elect this node."""

    def flush(self) -> Undertaking:
        """Have all that is applied flushed; done once it is durable, by its index."""

    def compact(self, keep_count: int) -> Undertaking:
        """Flush, then drop from the log all but its last entries; done by the first index left."""
