"""State machine safety (Raft Figure 3): no two nodes commit or apply different entries at one index."""

from __future__ import annotations

from collections.abc import Sequence

from raftkv.raft.types import Entry
from tests.simulator.node import Node
from tests.simulator.properties.property import Ledger, Property


class StateMachineSafety(Property):
    """The first node to commit or apply an index settles its entry for all, and writes the ledger.

    Each node also applies without a gap within one life of its process.
    """

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        super().__init__(nodes, ledger)
        #: By node: (life, index up to which this life's commit index was looked at).
        self._seen_commit = {node.node_id: (0, 0) for node in nodes}
        self._applied = {node.node_id: (0, 0) for node in nodes}
        self._node_of = {node.node_id: node for node in nodes}

    def on_stepped(self, node: Node) -> None:
        core = node.core
        if core is None or node.is_mid_turn:
            return
        life, seen = self._seen_commit[node.node_id]
        commit_index = core.commit_index
        if life != node.life:
            seen = 0
        if commit_index > seen:
            self.require(
                commit_index <= node.log.last_index,
                f"node {node.node_id} commits {commit_index}, beyond its log's end {node.log.last_index}",
            )
            for index in range(seen + 1, commit_index + 1):
                self._settle(node.node_id, node.log.entry_at(index), "commits")
        self.require(
            commit_index >= seen, f"node {node.node_id} takes its commit index from {seen} to {commit_index}"
        )
        self._seen_commit[node.node_id] = (node.life, commit_index)

    def on_applied(self, node_id: int, entry: Entry) -> None:
        life, index = self._applied[node_id]
        now_life = self._node_of[node_id].life
        if life == now_life:
            self.require(entry.index == index + 1, f"node {node_id} applies {entry.index} after {index}")
        self._applied[node_id] = (now_life, entry.index)
        self._settle(node_id, entry, "applies")

    def _settle(self, node_id: int, entry: Entry, verb: str) -> None:
        ledger = self._ledger
        if entry.index == ledger.last_index + 1:
            ledger.entries.append(entry)
            return
        self.require(
            entry.index <= ledger.last_index,
            f"node {node_id} {verb} {entry.index}, but nobody committed {ledger.last_index + 1}",
        )
        settled = ledger.entry_at(entry.index)
        self.require(
            settled == entry,
            f"node {node_id} {verb} {entry} where {settled} is committed",
        )
