"""A write that a client was told is not done is never done, not even later."""

from __future__ import annotations

from collections.abc import Sequence

from raftkv.raft.types import Entry
from tests.simulator.node import Node
from tests.simulator.operations import WRITE, Operation, Outcome
from tests.simulator.properties.property import Ledger, Property


class RefusedWrites(Property):
    """Remembers what was refused and what was applied: no payload is both."""

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        super().__init__(nodes, ledger)
        self._refused: set[bytes] = set()
        self._applied: set[bytes] = set()

    def on_applied(self, node_id: int, entry: Entry) -> None:
        if entry.payload:
            self.require(
                entry.payload not in self._refused, f"node {node_id} applies {entry}, refused before"
            )
            self._applied.add(entry.payload)

    def on_finished(self, node_id: int, operation: Operation) -> None:
        if operation.kind is WRITE and operation.outcome is Outcome.REFUSED:
            self.require(
                operation.payload not in self._applied, f"node {node_id} refuses {operation}, applied already"
            )
            self._refused.add(operation.payload)
