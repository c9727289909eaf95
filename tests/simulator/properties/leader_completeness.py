"""Leader completeness (Raft Figure 3): what is committed in a term is in the log of every later leader."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from raftkv.raft.types import LEADER
from tests.simulator.node import Node
from tests.simulator.properties.property import Ledger, Property


class LeaderCompleteness(Property):
    """Looks at the last entry that was committed: log matching answers for those before it.

    Looked at when a node leads a new term, and for all leaders when something more is committed.
    """

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        super().__init__(nodes, ledger)
        self._term_led: defaultdict[int, int] = defaultdict(int)
        self._committed_index = 0

    def on_stepped(self, node: Node) -> None:
        if self._ledger.last_index > self._committed_index:
            self._committed_index = self._ledger.last_index
            for each in self._nodes:
                self._look_at(each)
        else:
            core = node.core
            if core is not None and core.role is LEADER and core.current_term > self._term_led[node.node_id]:
                self._look_at(node)

    def _look_at(self, node: Node) -> None:
        core = node.core
        if core is None or core.role is not LEADER or self._committed_index == 0:
            return
        if node.is_mid_turn:
            self._term_led[node.node_id] = 0  # look again once its log is written
            return
        self._term_led[node.node_id] = core.current_term
        committed = self._ledger.entry_at(self._committed_index)
        if core.current_term < committed.term:
            return
        log = node.log
        if log.first_index > committed.index:
            has_it = node.state.applied.index >= committed.index  # only what is in the state is dropped
        else:
            has_it = log.last_index >= committed.index and log.entry_at(committed.index) == committed
        self.require(has_it, f"node {node.node_id} leads term {core.current_term} without {committed}")
