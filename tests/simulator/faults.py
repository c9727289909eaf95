"""Faults at random: what goes wrong, when, and when it is over.

One handler per name in `profile.FAULT_WEIGHTS`. Whatever a handler breaks it also schedules the end of,
and `end` repairs everything at once.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from raftkv.raft.membership import AddMember, MoveMember, PromoteLearner, RemoveMember
from raftkv.raft.types import LEADER, NOBODY
from tests.simulator.process import STOP_POINTS, Change, Compact, Transfer

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster
    from tests.simulator.node import Node


#: Nodes on top of the founders that are there at once, members or not.
_NEWCOMERS_MAX = 3


class Faults:
    """Draws faults for a cluster until told to end."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._names = tuple(name for name, _ in cluster.profile.fault_weights)
        self._weights = tuple(weight for _, weight in cluster.profile.fault_weights)
        self._has_ended = False
        self._partition_count = 0
        self._nodes_max = len(cluster.nodes) + _NEWCOMERS_MAX

    def begin(self) -> None:
        """Let the first fault come, and others after it."""
        if self._names:
            self._schedule_next()

    def end(self) -> None:
        """Repair everything; nothing breaks any more."""
        self._has_ended = True
        cluster = self._cluster
        cluster.network.heal()
        for node in cluster.participants():
            node.fsync_slowness = 1
            if node.process is None:
                node.start()
            if node.is_paused:
                node.go_on()
            if node.process is not None:
                node.process.is_apply_stalled = False
            node.disarm_stop_point()

    def _schedule_next(self) -> None:
        profile = self._cluster.profile
        delay_ns = self._rng.randint(profile.fault_interval_ns_min, profile.fault_interval_ns_max)
        self._cluster.timeline.after(delay_ns, self._strike)

    def _strike(self) -> None:
        if self._has_ended:
            return
        self._retire_removed()
        name = self._rng.choices(self._names, self._weights)[0]
        getattr(self, f"_{name}")(self._draw_node())
        self._schedule_next()

    def _draw_node(self) -> Node:
        """Any node, the leader more often than others."""
        leaders = [node for node in self._nodes() if node.core is not None and node.core.role is LEADER]
        if leaders and self._rng.random() < 0.4:
            return self._rng.choice(leaders)
        return self._rng.choice(self._nodes())

    def _nodes(self) -> list[Node]:
        return self._cluster.participants()

    def _draw_ns(self, *choices: int) -> int:
        """A time up to one of these, in hundredths of the election timeout."""
        return self._cluster.profile.timeouts_ns(self._rng.randint(1, self._rng.choice(choices)))

    # -- crashes -----------------------------------------------------------------------------------

    def _crash(self, node: Node) -> None:
        if node.process is not None:
            node.crash()
            self._cluster.timeline.after(self._draw_ns(5, 100, 400), lambda: self._restart(node))

    def _restart(self, node: Node) -> None:
        if node.process is None and not node.is_retired:
            node.start()

    def _crash_at_point(self, node: Node) -> None:
        node.at_stop_point(self._rng.choice(STOP_POINTS), lambda: self._crash(node))

    def _crash_all(self, _: Node) -> None:
        for node in self._nodes():
            self._crash(node)

    # -- partitions --------------------------------------------------------------------------------

    def _split(self, node: Node) -> None:
        ids = [other.node_id for other in self._nodes()]
        self._rng.shuffle(ids)
        middle = len(ids) // 2
        self._partition(f"split {ids[:middle]} from {ids[middle:]}")
        self._cluster.network.split(ids[:middle], ids[middle:])
        del node

    def _isolate(self, node: Node) -> None:
        self._partition(f"isolate {node.node_id}")
        self._cluster.network.split([node.node_id], self._others(node))

    def _cut_one_way(self, node: Node) -> None:
        is_deaf = self._rng.random() < 0.5
        others = self._others(node)
        if others and self._rng.random() < 0.5:
            others = [self._rng.choice(others)]
        self._partition(f"cut {'into' if is_deaf else 'out of'} {node.node_id}, others {others}")
        for other in others:
            self._cluster.network.cut(*((other, node.node_id) if is_deaf else (node.node_id, other)))

    def _bridge(self, node: Node) -> None:
        """Two halves that hear only the node between them."""
        others = self._others(node)
        self._rng.shuffle(others)
        middle = len(others) // 2
        self._partition(f"bridge {others[:middle]} - {node.node_id} - {others[middle:]}")
        self._cluster.network.split(others[:middle], others[middle:])

    def _others(self, node: Node) -> list[int]:
        return [other.node_id for other in self._nodes() if other is not node]

    def _partition(self, text: str) -> None:
        """Begin a partition in place of the one before; heal it later."""
        self._cluster.network.heal()
        self._cluster.trace(text)
        self._partition_count += 1
        count = self._partition_count
        self._cluster.timeline.after(self._draw_ns(60, 300, 600), lambda: self._heal(count))

    def _heal(self, partition_count: int) -> None:
        if partition_count == self._partition_count and not self._has_ended:
            self._cluster.trace("heal")
            self._cluster.network.heal()

    # -- slowness ----------------------------------------------------------------------------------

    def _pause(self, node: Node) -> None:
        if not node.is_paused:
            node.pause(self._draw_ns(10, 140, 400))

    def _pause_at_point(self, node: Node) -> None:
        pause_ns = self._draw_ns(10, 140, 400)
        node.at_stop_point(self._rng.choice(STOP_POINTS), lambda: node.pause(pause_ns))

    def _slow_disk(self, node: Node) -> None:
        node.fsync_slowness = self._rng.choice((10, 100, 1_000))
        self._cluster.trace(f"n{node.node_id} disk {node.fsync_slowness} times slower")
        self._cluster.timeline.after(self._draw_ns(60, 400), lambda: setattr(node, "fsync_slowness", 1))

    def _stall_apply(self, node: Node) -> None:
        process = node.process
        if process is not None:
            process.is_apply_stalled = True
            self._cluster.timeline.after(
                self._draw_ns(10, 100), lambda: setattr(process, "is_apply_stalled", False)
            )

    # -- what is no fault, but must do no harm -----------------------------------------------------

    def _flush_state(self, node: Node) -> None:
        node.state.flush()

    def _transfer(self, node: Node) -> None:
        node.receive(Transfer(self._rng.choice(self._cluster.voter_ids())))

    def _drift(self, node: Node) -> None:
        node.change_drift()

    # -- members come and go -----------------------------------------------------------------------

    def _compact(self, node: Node) -> None:
        if self._rng.random() < 0.7:
            node.state.flush()
        node.receive(Compact(self._rng.choice((0, 0, 3, 20))))

    def _add_member(self, node: Node) -> None:
        """Start a node and have it taken in, perhaps in another one's place."""
        if len(self._nodes()) >= self._nodes_max:
            return
        takes_place_of = self._rng.choice(self._cluster.voter_ids()) if self._rng.random() < 0.4 else NOBODY
        newcomer = self._cluster.join()
        change = AddMember(
            f"host-{newcomer.node_id}".encode(),
            is_staged=self._rng.random() < 0.8,
            takes_place_of=takes_place_of,
            node_id=newcomer.node_id,
        )
        self._ask_for(change, node)

    def _remove_member(self, node: Node) -> None:
        members = sorted(self._cluster.ledger.membership.member_ids)
        if len(members) > 1:
            self._ask_for(RemoveMember(self._rng.choice(members)), node)

    def _promote(self, node: Node) -> None:
        learners = self._cluster.ledger.membership.learners
        if learners:
            self._ask_for(PromoteLearner(self._rng.choice(learners)), node)

    def _move(self, node: Node) -> None:
        member = self._rng.choice(sorted(self._cluster.ledger.membership.member_ids))
        self._ask_for(MoveMember(member, f"host-{self._rng.randint(1, 99)}".encode()), node)

    def _ask_for(self, change: AddMember | RemoveMember | PromoteLearner | MoveMember, node: Node) -> None:
        """Ask whoever leads, as an operator would, or any node."""
        leader = self._cluster.leader()
        target = leader if leader is not None and self._rng.random() < 0.9 else node
        target.receive(Change(change))

    def _retire_removed(self) -> None:
        """End processes whose nodes know that they were removed, sooner or later."""
        for node in self._nodes():
            if node.core is not None and node.core.is_removed and self._rng.random() < 0.2:
                node.retire()
