"""Election safety (Raft Figure 3): at most one leader can be elected in a given term."""

from __future__ import annotations

from collections.abc import Sequence

from raftkv.raft.types import LEADER, AppendEntries, Heartbeat, Message
from tests.simulator.node import Node
from tests.simulator.properties.property import Ledger, Property


class ElectionSafety(Property):
    """Remembers who led each term: by role, and by the messages that only a leader sends.

    A node that led a term, crashed and leads the same term again counts as another leader.
    """

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        super().__init__(nodes, ledger)
        #: term -> (node, life)
        self._leader_of: dict[int, tuple[int, int]] = {}

    def on_stepped(self, node: Node) -> None:
        core = node.core
        if core is not None and core.role is LEADER:
            self._note(core.current_term, node.node_id)

    def on_sent(self, node_id: int, message: Message) -> None:
        if isinstance(message, AppendEntries | Heartbeat):
            self._note(message.term, node_id)

    def _note(self, term: int, node_id: int) -> None:
        leader = (node_id, self._nodes[node_id - 1].life)
        known = self._leader_of.setdefault(term, leader)
        self.require(known == leader, f"term {term} has the leaders (node, life) {known} and {leader}")
