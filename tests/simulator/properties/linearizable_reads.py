"""Reads are linearizable: each reflects all that anybody had seen when it was invoked.

All writes go to one register whose versions are log indexes, so state machine safety leaves one question:
was the answered version at least as new as (a) every write acknowledged and (b) every version read before
this read was invoked? Both only move one number up, the floor.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulator.node import Node
from tests.simulator.operations import WRITE, Operation, Outcome
from tests.simulator.properties.property import Ledger, Property


class LinearizableReads(Property):
    """Gives each operation the floor at its invocation and compares its answer with it."""

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        super().__init__(nodes, ledger)
        self._floor = 0

    def on_invoked(self, operation: Operation) -> None:
        operation.floor = self._floor

    def on_finished(self, node_id: int, operation: Operation) -> None:
        if operation.outcome is not Outcome.DONE:
            return
        if operation.kind is not WRITE:
            self.require(
                operation.index >= operation.floor,
                f"node {node_id} answers a {operation.kind.value} with index {operation.index}; "
                f"{operation.floor} had been seen before it was asked",
            )
        self._floor = max(self._floor, operation.index)
