"""What is applied is durable in the node's own log, so `state/` can never be ahead of it after a crash.

But for a snapshot that is being installed: then `state/` says so, and the log is to begin anew behind it.
"""

from __future__ import annotations

from tests.simulator.node import Node
from tests.simulator.properties.property import Property


class AppliedWithinLog(Property):
    """Holds while the process lives and after it died."""

    def on_stepped(self, node: Node) -> None:
        applied = node.state.applied
        is_installing = applied == node.state.installed and applied.index > node.log.durable_boundary.index
        if applied.index and not is_installing:
            self.require(
                node.log.durable_term_at(applied.index) == applied.term,
                f"node {node.node_id} applied {applied}, its log is durable to {node.log.durable_last_index}",
            )
