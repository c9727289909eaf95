"""What a property is, and the ledger of committed entries that several of them need.

A property sees what nodes do as it happens and looks at the node that stepped, never at all logs: each
look costs the same whatever the logs' length.
"""

from __future__ import annotations

from collections.abc import Sequence

from raftkv.raft.types import Entry, Message
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

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    @property
    def last_index(self) -> int:
        return len(self.entries)

    def entry_at(self, index: int) -> Entry:
        return self.entries[index - 1]


class Property:
    """Base of all: notices nothing. A subclass overrides what it wants to see."""

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
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

    def on_invoked(self, operation: Operation) -> None:
        """A client's request arrived at a node's socket."""

    def on_finished(self, node_id: int, operation: Operation) -> None:
        """A node answered a client's request."""
