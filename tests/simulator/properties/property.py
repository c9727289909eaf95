"""What a property is, and the ledger of committed entries that several of them need.

A property sees what nodes do as it happens and looks at the node that stepped, never at all logs: each
look costs the same whatever the logs' length.
"""

from __future__ import annotations

from collections.abc import Sequence

from raftkv.raft.membership import Membership, decode_membership, founding_membership
from raftkv.raft.types import MEMBERSHIP, Entry, Message
from tests.simulator.disk import StateAt
from tests.simulator.node import Node
from tests.simulator.operations import Operation


class Violation(AssertionError):
    """A property doesn't hold. `property_class` is None when the cluster didn't come to rest in time."""

    def __init__(self, property_class: type[Property] | None, detail: str) -> None:
        name = property_class.__name__ if property_class is not None else "liveness"
        super().__init__(f"{name}: {detail}")
        self.property_class = property_class


class Ledger:
    """Every entry known to be committed, in order. Written by `StateMachineSafety` alone."""

    def __init__(self, founders: Sequence[int]) -> None:
        self.entries: list[Entry] = []
        #: The newest committed one.
        self.membership: Membership = founding_membership(founders)
        #: (index, payload) of every committed MEMBERSHIP entry.
        self._memberships: list[tuple[int, bytes]] = [(0, b"")]

    def add(self, entry: Entry) -> None:
        """Note that one more entry is committed."""
        self.entries.append(entry)
        if entry.kind is MEMBERSHIP:
            self.membership = decode_membership(entry.payload)
            self._memberships.append((entry.index, entry.payload))

    def membership_at(self, index: int) -> bytes:
        """The payload of the newest MEMBERSHIP entry up to `index`; empty when there is none."""
        return next(payload for at, payload in reversed(self._memberships) if at <= index)

    @property
    def last_index(self) -> int:
        return len(self.entries)

    def entry_at(self, index: int) -> Entry:
        return self.entries[index - 1]


class Property:
    """Base of all: notices nothing. A subclass overrides what it wants to see."""

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        #: Grows as nodes join; node i is at i - 1.
        self._nodes = nodes
        self._ledger = ledger

    def require(self, is_held: bool, detail: str) -> None:
        """Raise a Violation of this property unless it is held."""
        if not is_held:
            raise Violation(type(self), detail)

    def on_stepped(self, node: Node) -> None:
        """The node did something, lost power, or a sync of its disk ended."""

    def on_sent(self, node_id: int, message: Message) -> None:
        """A node hands a message to the network."""

    def on_log_written(self, node_id: int, entries: Sequence[Entry]) -> None:
        """A node wrote entries to its log, unsynced, over whatever stood there."""

    def on_applied(self, node_id: int, entry: Entry) -> None:
        """A node's state machine applied an entry."""

    def on_restored(self, node_id: int, snapshot: StateAt) -> None:
        """A node put a snapshot in the place of its state."""

    def on_invoked(self, operation: Operation) -> None:
        """A client's request arrived at a node's socket."""

    def on_finished(self, node_id: int, operation: Operation) -> None:
        """A node answered a client's request."""
