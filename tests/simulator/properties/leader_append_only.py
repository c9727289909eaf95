"""Leader append-only (Raft Figure 3): a leader never overwrites or deletes entries of its log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from raftkv.raft.types import LEADER, Entry
from tests.simulator.node import Node
from tests.simulator.properties.property import Ledger, Property


class LeaderAppendOnly(Property):
    """From one look at a leader to the next, in one term, its written log only grew.

    A write is judged at the next look, when the role in which the node made it is known.
    """

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        super().__init__(nodes, ledger)
        #: By node: (life, term) of the leadership last seen, and the log's end then.
        self._leadership: dict[int, tuple[int, int] | None] = {}
        self._last_index: dict[int, int] = {}
        #: By node: the first index written since the last look, 0: none.
        self._first_written: defaultdict[int, int] = defaultdict(int)

    def on_log_written(self, node_id: int, entries: Sequence[Entry]) -> None:
        if entries:
            first = self._first_written[node_id] or entries[0].index
            self._first_written[node_id] = min(first, entries[0].index)

    def on_stepped(self, node: Node) -> None:
        if node.is_mid_turn:
            return
        node_id, core = node.node_id, node.core
        leadership = None
        if core is not None and core.role is LEADER:
            leadership = (node.life, core.current_term)
        if leadership is not None and leadership == self._leadership.get(node_id):
            self._judge(node)
        self._leadership[node_id] = leadership
        self._last_index[node_id] = node.log.last_index
        self._first_written[node_id] = 0

    def _judge(self, node: Node) -> None:
        last_index, first_written = self._last_index[node.node_id], self._first_written[node.node_id]
        self.require(
            node.log.last_index >= last_index and (first_written == 0 or first_written > last_index),
            f"leader {node.node_id} had {last_index} entries and wrote from {first_written} on",
        )
