"""The virtual cluster: nodes, network, clients and properties on one timeline, one event per step.

Knows nothing of what should go wrong: `faults` or a scenario says that. Everything that happens is told
to the properties at once and, where a reader wants it, written to the trace.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raftkv.raft.types import (
    LEADER,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    Message,
    RaftConfig,
)
from tests.simulator.clients import Client
from tests.simulator.clock import MILLISECOND, Timeline
from tests.simulator.disk import LogWrite, StateAt
from tests.simulator.network import Network, Parcel
from tests.simulator.node import Node
from tests.simulator.operations import Operation
from tests.simulator.process import Process
from tests.simulator.profile import Profile
from tests.simulator.properties import ALL_PROPERTIES, Ledger, Property


@dataclass(slots=True)
class Tally:
    """What happened in a run, in numbers: a run in which nothing happened proves nothing."""

    steps: int = 0
    acknowledged_writes: int = 0
    answered_reads: int = 0
    refusals: int = 0
    crashes: int = 0
    #: Terms that had a leader.
    leaderships: int = 0
    #: Installed.
    snapshots: int = 0
    #: Begun by a leader.
    membership_changes: int = 0


class Cluster:
    """Nodes 1..n, all empty at first, their clients silent until `start_clients`."""

    def __init__(
        self,
        node_count: int,
        rng: random.Random,
        profile: Profile,
        *,
        process_class: type[Process] = Process,
        property_classes: Sequence[type[Property]] = ALL_PROPERTIES,
        trace_lines_max: int | None = None,
    ) -> None:
        self.timeline = Timeline()
        self.profile = profile
        self.trace_lines: deque[str] = deque(maxlen=trace_lines_max)
        self.tally = Tally()
        self.network = Network(self.timeline, rng, profile, self._deliver)
        self._rng = rng
        self._process_class = process_class
        self._properties: list[Property] = []
        founders = tuple(range(1, node_count + 1))
        self.ledger = Ledger(founders)
        #: Every node that there ever was; node i is at i - 1.
        self.nodes = [self._make_node(node_id, founders) for node_id in founders]
        self._properties = [each(self.nodes, self.ledger) for each in property_classes]
        self._clients = [
            Client(client_id, self.voter_ids, self.timeline, rng, profile, self.submit)
            for client_id in range(1, profile.client_count + 1)
        ]
        #: Terms that had a leader; only asked for membership.
        self._terms_led: set[int] = set()
        for node in self.nodes:
            node.start()

    def _make_node(self, node_id: int, founders: tuple[int, ...]) -> Node:
        profile = self.profile
        config = RaftConfig(
            node_id,
            founders,
            election_timeout_ms=profile.election_timeout_ms,
            heartbeat_interval_ms=profile.election_timeout_ms // 5,
            clock_drift_percent=profile.clock_drift_percent,
            **profile.core_limits,
        )
        return Node(
            config,
            self.timeline,
            self._rng,
            profile,
            self,
            process_class=self._process_class,
            send=self.network.send,
            send_parcel=self.network.send_parcel,
        )

    def join(self) -> Node:
        """Start one more node, which is no member of anything and knows nobody."""
        node = self._make_node(len(self.nodes) + 1, ())
        self.nodes.append(node)
        node.start()
        return node

    # -- going on ----------------------------------------------------------------------------------

    def step(self) -> None:
        """Let the next event happen."""
        self.tally.steps += 1
        self.timeline.advance()

    def run_steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def run_ms(self, time_ms: int) -> None:
        """Let everything happen that is due within this time."""
        end_ns = self.timeline.now_ns + time_ms * MILLISECOND
        while self.timeline.next_event_ns() <= end_ns:
            self.step()
        self.timeline.now_ns = end_ns

    def run_until(self, is_reached: Callable[[], bool], *, within_ms: int) -> bool:
        """Go on until it is reached; say whether it was in time."""
        end_ns = self.timeline.now_ns + within_ms * MILLISECOND
        while not is_reached():
            if self.timeline.next_event_ns() > end_ns:
                return False
            self.step()
        return True

    def start_clients(self) -> None:
        for client in self._clients:
            client.think()

    def stop_clients(self) -> None:
        for client in self._clients:
            client.stop()

    def submit(self, node_id: int, operation: Operation) -> bool:
        """Bring a request to a node's socket; False: nobody listens there."""
        node = self.node(node_id)
        if node.process is None:
            return False
        self.trace(f"n{node_id} is asked for a {operation.kind.value} {operation.payload.decode()}")
        for each in self._properties:
            each.on_invoked(operation)
        node.receive(operation)
        return True

    def _deliver(self, message: Message | Parcel) -> None:
        self.trace(f"n{message.to} gets {describe(message)}")
        self.node(message.to).receive(message)

    # -- looking -----------------------------------------------------------------------------------

    def node(self, node_id: int) -> Node:
        return self.nodes[node_id - 1]

    def participants(self) -> list[Node]:
        """Every node that wasn't ended for good."""
        return [node for node in self.nodes if not node.is_retired]

    def voter_ids(self) -> list[int]:
        """Whom a client would ask: the voters that the newest committed membership names."""
        return sorted(self.ledger.membership.voter_ids)

    def leader(self) -> Node | None:
        """The living leader of the greatest term."""
        leaders = [node for node in self.nodes if node.core is not None and node.core.role is LEADER]
        return max(leaders, key=lambda node: node.core.current_term, default=None)

    def trace(self, text: str) -> None:
        self.trace_lines.append(f"{self.timeline.now_ns / MILLISECOND:12.6f} {text}")

    # -- what nodes tell (NodeObserver) ------------------------------------------------------------

    def on_event(self, node_id: int, text: str) -> None:
        self.trace(f"n{node_id} {text}")
        self.tally.crashes += text.startswith("crashes")
        self.tally.membership_changes += text.startswith("begins")

    def on_stepped(self, node: Node) -> None:
        core = node.core
        if core is not None and core.role is LEADER and core.current_term not in self._terms_led:
            self._terms_led.add(core.current_term)
            self.tally.leaderships += 1
            self.trace(f"n{node.node_id} leads term {core.current_term}")
        for each in self._properties:
            each.on_stepped(node)

    def on_sent(self, node_id: int, message: Message) -> None:
        for each in self._properties:
            each.on_sent(node_id, message)

    def on_log_written(self, node_id: int, entries: Sequence[Entry]) -> None:
        if entries:
            self.trace(f"n{node_id} writes {describe_entries(entries)}")
        for each in self._properties:
            each.on_log_written(node_id, entries)

    def on_log_durable(self, node_id: int, write: LogWrite) -> None:
        if write.entries:
            self.trace(f"n{node_id} has synced {describe_entries(write.entries)}")

    def on_applied(self, node_id: int, entry: Entry) -> None:
        self.trace(f"n{node_id} applies {describe_entries([entry])}")
        for each in self._properties:
            each.on_applied(node_id, entry)

    def on_restored(self, node_id: int, snapshot: StateAt) -> None:
        self.tally.snapshots += 1
        self.trace(f"n{node_id} installs {snapshot.entry_id}")
        for each in self._properties:
            each.on_restored(node_id, snapshot)

    def on_finished(self, node_id: int, operation: Operation) -> None:
        kind, outcome = operation.kind, operation.outcome
        self.trace(
            f"n{node_id} answers {kind.value} {operation.payload.decode()}: {outcome.value} {operation.index}"
        )
        for each in self._properties:
            each.on_finished(node_id, operation)
        self._count(operation)
        for client in self._clients:
            client.on_finished(operation)

    def _count(self, operation: Operation) -> None:
        if operation.index == 0:
            self.tally.refusals += 1
        elif operation.payload:
            self.tally.acknowledged_writes += 1
        else:
            self.tally.answered_reads += 1


def describe_entries(entries: Sequence[Entry]) -> str:
    """Name a run of entries: term/first..term/last."""
    first, last = entries[0], entries[-1]
    return f"{first.term}/{first.index}..{last.term}/{last.index}"


def describe(message: Message | Parcel) -> str:
    """Name a message in one line, without payloads."""
    if isinstance(message, AppendEntries):
        entries = describe_entries(message.entries) if message.entries else "nothing"
        previous = f"{message.prev_log_term}/{message.prev_log_index}"
        detail = f"commit={message.leader_commit}, after {previous}: {entries}"
    elif isinstance(message, AppendEntriesReply):
        conflict = f"{message.conflict_term}/{message.conflict_index}"
        rejection = f"rejects {message.match_index}, conflict {conflict}"
        detail = f"match={message.match_index}" if message.is_success else rejection
    else:
        return repr(message)
    name = type(message).__name__
    return f"{name}(term={message.term}, sender={message.sender}, round={message.round}, {detail})"
