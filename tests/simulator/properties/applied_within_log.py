"""What is applied is durable in the node's own log, so `state/` can never be ahead of it after a crash."""

from __future__ import annotations

from tests.simulator.node import Node
from tests.simulator.properties.property import Property


class AppliedWithinLog(Property):
    """Holds while the process lives and after it died."""

    def on_stepped(self, node: Node) -> None:
        applied = node.state.applied
        if applied.index:
            self.require(
                node.log.durable_term_at(applied.index) == applied.term,
                f"node {node.node_id} applied {applied}, its log is durable to {node.log.durable_last_index}",
            )
