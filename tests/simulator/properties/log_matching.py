"""Log matching (Raft Figure 3): logs that share an entry's index and term are identical up to it."""

from __future__ import annotations

from collections.abc import Sequence

from raftkv.raft.types import Entry
from tests.simulator.node import Node
from tests.simulator.properties.property import Ledger, Property


class LogMatching(Property):
    """By induction: an entry has one content and one predecessor, whichever log it is written to."""

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        super().__init__(nodes, ledger)
        #: (term, index) -> (the term before it, the entry)
        self._known: dict[tuple[int, int], tuple[int, Entry]] = {}

    def on_log_written(self, node_id: int, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        previous_term = self._nodes[node_id - 1].log.term_at(entries[0].index - 1)
        for entry in entries:
            found = (previous_term, entry)
            known = self._known.setdefault((entry.term, entry.index), found)
            self.require(known == found, f"node {node_id} writes {found} where another log has {known}")
            self.require(
                entry.term >= previous_term,
                f"node {node_id} writes {entry} after an entry of {previous_term}",
            )
            previous_term = entry.term
