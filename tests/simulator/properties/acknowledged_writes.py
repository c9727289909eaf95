"""An acknowledged write is on a majority of disks, took effect once, and after all that was seen before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from raftkv.raft.types import COMMAND, Entry
from tests.simulator.disk import StateAt
from tests.simulator.node import Node
from tests.simulator.operations import WRITE, Operation, Outcome
from tests.simulator.properties.property import Ledger, Property


class AcknowledgedWrites(Property):
    """Knows for each disk up to where it agrees with the ledger.

    An acknowledged write must be on a majority of the voters' disks for good, in the log or in the state,
    whoever the voters are; by log matching it is enough to look at the last one acknowledged. Once a joint
    membership is committed the new voters are meant: nobody is elected without a majority of them.
    """

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        super().__init__(nodes, ledger)
        self._agreed: defaultdict[int, int] = defaultdict(int)
        self._acknowledged_index = 0
        #: payload -> where it was applied first
        self._place_of: dict[bytes, int] = {}

    def on_log_written(self, node_id: int, entries: Sequence[Entry]) -> None:
        if entries:
            self._agreed[node_id] = min(self._agreed[node_id], entries[0].index - 1)

    def on_restored(self, node_id: int, snapshot: StateAt) -> None:
        self._agreed[node_id] = min(self._agreed[node_id], snapshot.entry_id.index)

    def on_applied(self, node_id: int, entry: Entry) -> None:
        if entry.kind is COMMAND:
            place = self._place_of.setdefault(entry.payload, entry.index)
            self.require(
                place == entry.index, f"node {node_id} applies {entry.payload!r} at {place} and {entry.index}"
            )

    def on_finished(self, node_id: int, operation: Operation) -> None:
        if operation.kind is not WRITE or operation.outcome is not Outcome.DONE:
            return
        index = operation.index
        self.require(
            index <= self._ledger.last_index and self._ledger.entry_at(index).payload == operation.payload,
            f"node {node_id} acknowledges {operation}, which isn't what is committed there",
        )
        self.require(
            index > operation.floor, f"node {node_id} places {operation} before what was seen already"
        )
        self._acknowledged_index = max(self._acknowledged_index, index)
        self._require_majority()

    def on_stepped(self, node: Node) -> None:
        del node
        self._require_majority()

    def _require_majority(self) -> None:
        index = self._acknowledged_index
        voters = self._ledger.membership.voters
        holding_count = sum(self._agree_up_to(self._nodes[voter - 1], index) for voter in voters)
        self.require(
            2 * holding_count > len(voters),
            f"acknowledged index {index} is on {holding_count} of {len(voters)} disks",
        )

    def _agree_up_to(self, node: Node, index: int) -> bool:
        agreed = self._agreed[node.node_id]
        if agreed >= index or node.state.durable_index >= index:
            return True
        ledger, log = self._ledger, node.log
        agreed = max(agreed, log.durable_boundary.index)
        end = min(ledger.last_index, log.durable_last_index)
        while agreed < end and log.durable_term_at(agreed + 1) == ledger.entry_at(agreed + 1).term:
            agreed += 1
        if not node.is_mid_turn:  # else a log that is to begin anew may still have what it had
            self._agreed[node.node_id] = agreed
        return agreed >= index
