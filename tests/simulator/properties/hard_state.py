"""Hard state is never forgotten (Raft Figure 2): one vote per term, and no way back to an older term."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from raftkv.raft.types import AppendEntriesReply, Message, RequestVote, RequestVoteReply
from tests.simulator.node import Node
from tests.simulator.properties.property import Ledger, Property


class HardStateNeverForgotten(Property):
    """Judges by what a node promised to others, in all its lives: only that can do harm.

    A vote is a granted RequestVoteReply or, for oneself, a RequestVote. A vote and a successful
    AppendEntriesReply promise that the sender is done with lower terms. (A HeartbeatReply or a
    rejection says how things stand, and promises nothing for later.)
    """

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        super().__init__(nodes, ledger)
        #: (node, term) -> whom it voted for
        self._votes: dict[tuple[int, int], int] = {}
        self._promised_term: defaultdict[int, int] = defaultdict(int)

    def on_sent(self, node_id: int, message: Message) -> None:
        if isinstance(message, RequestVoteReply):
            if message.is_granted and not message.is_pre_vote:
                self._note_vote(node_id, message.term, message.to)
        elif isinstance(message, RequestVote):
            if not message.is_pre_vote:
                self._note_vote(node_id, message.term, node_id)
        elif isinstance(message, AppendEntriesReply) and message.is_success:
            self._note_promise(node_id, message.term)

    def _note_vote(self, node_id: int, term: int, candidate_id: int) -> None:
        known = self._votes.setdefault((node_id, term), candidate_id)
        self.require(
            known == candidate_id, f"node {node_id} votes for {known} and {candidate_id} in term {term}"
        )
        self._note_promise(node_id, term)

    def _note_promise(self, node_id: int, term: int) -> None:
        promised_term = self._promised_term[node_id]
        self.require(
            term >= promised_term, f"node {node_id} promised term {promised_term} and goes back to {term}"
        )
        self._promised_term[node_id] = term
