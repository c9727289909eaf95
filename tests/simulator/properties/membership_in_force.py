"""The membership in force is the newest one of the node's own log, or else its state's (Raft §6, §7)."""

from __future__ import annotations

from collections.abc import Sequence

from raftkv.raft.membership import Membership, decode_membership, founding_membership
from raftkv.raft.types import MEMBERSHIP, Entry
from tests.simulator.disk import StateAt
from tests.simulator.node import Node
from tests.simulator.properties.property import Ledger, Property


class MembershipInForce(Property):
    """Follows what is written to each log, and compares whenever something has changed."""

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        super().__init__(nodes, ledger)
        #: By node: (index, payload) of the state's membership when its life began, and all later ones.
        self._known: dict[int, list[tuple[int, bytes]]] = {}
        self._life: dict[int, int] = {}
        #: By node: what was compared last.
        self._compared: dict[int, tuple[Membership, bytes]] = {}

    def on_log_written(self, node_id: int, entries: Sequence[Entry]) -> None:
        if entries and node_id in self._known:
            kept = [at for at in self._known[node_id] if at[0] < entries[0].index]
            self._known[node_id] = kept + _memberships_in(entries)

    def on_restored(self, node_id: int, snapshot: StateAt) -> None:
        self._known[node_id] = [(snapshot.entry_id.index, snapshot.membership)]

    def on_stepped(self, node: Node) -> None:
        core = node.core
        if core is None or node.is_mid_turn:
            return
        node_id = node.node_id
        if self._life.get(node_id) != node.life:
            self._life[node_id] = node.life
            self._known[node_id] = _memberships_on_disk(node)
        newest = self._known[node_id][-1][1]
        compared = self._compared.get(node_id)
        if compared is not None and compared[0] is core.membership and compared[1] is newest:
            return
        self._compared[node_id] = (core.membership, newest)
        expected = decode_membership(newest) if newest else founding_membership(node.founders)
        self.require(
            core.membership == expected,
            f"at node {node_id} {core.membership} is in force, its log and state say {expected}",
        )


def _memberships_on_disk(node: Node) -> list[tuple[int, bytes]]:
    log, state = node.log, node.state.newest
    first = max(log.first_index, state.entry_id.index + 1)
    entries = [log.entry_at(index) for index in range(first, log.last_index + 1)]
    return [(state.entry_id.index, state.membership), *_memberships_in(entries)]


def _memberships_in(entries: Sequence[Entry]) -> list[tuple[int, bytes]]:
    return [(entry.index, entry.payload) for entry in entries if entry.kind is MEMBERSHIP]
