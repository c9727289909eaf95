"""A cluster without any fault but those of a script: what directed scenarios play on.

Scenarios name nodes by their part (leader, others), since who is elected first is drawn. A script may
turn a node's election timer on, which is the one place that looks into the core.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from raftkv.raft.membership import AddMember, MembershipChange
from tests.simulator.cluster import Cluster
from tests.simulator.node import Node
from tests.simulator.operations import LEASE_READ, WRITE, Operation, OperationKind, Outcome
from tests.simulator.process import Change, Compact, Process
from tests.simulator.profile import Profile
from tests.simulator.properties import Violation

#: The core's default, and a little more than the longest time that a lease can run.
ELECTION_TIMEOUT_MS = 500
LEASE_MS_MAX = 520


class Stage(Cluster):
    """Calm links and disks, no clients of its own."""

    def __init__(
        self, node_count: int = 3, *, process_class: type[Process] = Process, profile: Profile | None = None
    ) -> None:
        super().__init__(node_count, random.Random(1), profile or Profile(), process_class=process_class)
        self._payload_count = 0

    def elect(self) -> Node:
        """Wait for a leader whose followers all have its first entry; return it."""
        assert self.run_until(self._is_settled, within_ms=5_000), "a calm cluster elects a leader"
        leader = self.leader()
        assert leader is not None, "a settled cluster has a leader"
        return leader

    def _is_settled(self) -> bool:
        leader = self.leader()
        return leader is not None and all(node.state.applied.index >= 1 for node in self.nodes)

    def is_served(self) -> bool:
        """Whether somebody leads and has applied its first entry."""
        leader = self.leader()
        return leader is not None and leader.core is not None and leader.core.is_serving

    def others(self, *nodes: Node) -> list[Node]:
        """Every node but these."""
        return [node for node in self.nodes if node not in nodes]

    def separate(self, group: list[Node], other_group: list[Node]) -> None:
        """Cut all links between two groups."""
        self.network.split([node.node_id for node in group], [node.node_id for node in other_group])

    def ask(self, node: Node, kind: OperationKind) -> Operation:
        """Bring a request to a node; the answer comes when it comes."""
        self._payload_count += 1
        operation = Operation(kind, f"w{self._payload_count}".encode() if kind is WRITE else b"")
        self.submit(node.node_id, operation)
        return operation

    def write(self, node: Node) -> Operation:
        """Write, and have it acknowledged."""
        operation = self.ask(node, WRITE)
        self.run_until(lambda: operation.outcome is not Outcome.PENDING, within_ms=1_000)
        assert operation.outcome is Outcome.DONE, f"{operation} at node {node.node_id}"
        return operation

    def read(self, node: Node, kind: OperationKind = LEASE_READ) -> Operation:
        """Read, and wait a little for the answer; a node in doubt may give none."""
        operation = self.ask(node, kind)
        self.run_until(lambda: operation.outcome is not Outcome.PENDING, within_ms=1_000)
        return operation

    def change(self, node: Node, change: MembershipChange) -> None:
        """Ask a node for a change of the members, as an operator would."""
        node.receive(Change(change))

    def add_learner(self, leader: Node, *, is_staged: bool = False) -> Node:
        """Start a node and have it taken in; return it, whatever it has got by then."""
        learner = self.join()
        self.change(leader, AddMember(b"", is_staged=is_staged, node_id=learner.node_id))
        return learner

    def drop_log(self, node: Node) -> None:
        """Make the node's state durable and drop all of its log that the state has."""
        node.state.flush()
        node.receive(Compact(0))

    def drop_log_unflushed(self, node: Node) -> None:
        """Drop of the node's log what its state has made durable so far."""
        node.receive(Compact(0))

    def wait_until(self, is_reached: Callable[[], bool], what: str, *, within_ms: int = 2_000) -> None:
        """Go on until the scene is set as it should be."""
        assert self.run_until(is_reached, within_ms=within_ms), what

    def require(self, is_reached: Callable[[], bool], what: str, *, within_ms: int = 2_000) -> None:
        """Go on until it is reached; a cluster that doesn't come to it isn't live."""
        if not self.run_until(is_reached, within_ms=within_ms):
            raise Violation(None, what)

    def let_time_out(self, node: Node) -> None:
        """Let the node's election timer fire at its next tick."""
        assert node.core is not None, f"node {node.node_id} runs"
        node.core._state.election_wait_ns = 0

    def let_lead(self, node: Node) -> None:
        """Let the node campaign until it leads and serves, as far as the others allow it."""

        def leads() -> bool:
            assert node.core is not None, f"node {node.node_id} runs"
            if node.core.leader_id == 0:
                self.let_time_out(node)
            return node.core.is_serving

        self.let_time_out(node)
        self.run_until(leads, within_ms=ELECTION_TIMEOUT_MS // 5)
