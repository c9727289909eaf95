"""State machine safety (Raft Figure 3): no two nodes commit or apply different entries at one index."""

from __future__ import annotations

from collections.abc import Sequence

from raftkv.raft.types import Entry
from tests.simulator.disk import StateAt
from tests.simulator.node import Node
from tests.simulator.properties.property import Ledger, Property


class StateMachineSafety(Property):
    """The first node to commit or apply an index settles its entry for all, and writes the ledger.

    Each node also applies without a gap within one life of its process.
    """

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        super().__init__(nodes, ledger)
        #: By node: (life, index up to which this life's commit index was looked at).
        self._seen_commit: dict[int, tuple[int, int]] = {}
        self._applied: dict[int, tuple[int, int]] = {}

    def on_stepped(self, node: Node) -> None:
        core = node.core
        if core is None or node.is_mid_turn:
            return
        life, seen = self._seen_commit.get(node.node_id, (0, 0))
        commit_index = core.commit_index
        if life != node.life:
            seen = 0
        if commit_index > seen:
            self.require(
                commit_index <= node.log.last_index,
                f"node {node.node_id} commits {commit_index}, beyond its log's end {node.log.last_index}",
            )
            # What a snapshot brought was judged when it was installed.
            for index in range(max(seen + 1, node.log.first_index), commit_index + 1):
                self._settle(node.node_id, node.log.entry_at(index), "commits")
        self.require(
            commit_index >= seen, f"node {node.node_id} takes its commit index from {seen} to {commit_index}"
        )
        self._seen_commit[node.node_id] = (node.life, commit_index)

    def on_applied(self, node_id: int, entry: Entry) -> None:
        life, index = self._applied.get(node_id, (0, 0))
        now_life = self._nodes[node_id - 1].life
        if life == now_life:
            self.require(entry.index == index + 1, f"node {node_id} applies {entry.index} after {index}")
        self._applied[node_id] = (now_life, entry.index)
        self._settle(node_id, entry, "applies")

    def on_restored(self, node_id: int, snapshot: StateAt) -> None:
        index, ledger = snapshot.entry_id.index, self._ledger
        self.require(index <= ledger.last_index, f"node {node_id} restores {index}, which nobody committed")
        self.require(
            snapshot.entry_id.term == ledger.entry_at(index).term
            and snapshot.membership == ledger.membership_at(index),
            f"node {node_id} restores {snapshot} where {ledger.entry_at(index)} is committed",
        )
        self._applied[node_id] = (self._nodes[node_id - 1].life, index)

    def _settle(self, node_id: int, entry: Entry, verb: str) -> None:
        ledger = self._ledger
        if entry.index == ledger.last_index + 1:
            ledger.add(entry)
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
