"""Random clients on nodes to which everything happens: whatever does, the promises hold.

A failing seed runs alone with `pytest "tests/node/test_scenarios.py::test_promises_hold[SEED]"`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import hiredis
import pytest

from tests.node.append_history import TOKEN_BYTES, Operation, complaints
from tests.node.driven_cluster import Client, Cluster, Node, request_bytes

KEYS = (b"{s}a", b"{s}b", b"c")
SEEDS = range(60)


class ScenarioClient:
    """One connection, what it asked, and what it was told."""

    def __init__(self, scenario: Scenario, node: Node, *, is_standalone: bool) -> None:
        self._scenario = scenario
        self.node = node
        self.number = next(scenario.events)
        self.client: Client = node.connect_standalone() if is_standalone else node.connect()
        self._reader = hiredis.Reader()
        #: Sent and not yet answered; None for what is no APPEND or GET.
        self.waiting: list[Operation | None] = []
        self.is_open = True

    def send(self, requests: list[tuple[bytes, Operation | None]], cuts: random.Random) -> None:
        """Pipeline requests, in chunks that end anywhere."""
        data = b"".join(request for request, _ in requests)
        self.waiting += [operation for _, operation in requests]
        while data and not self.client.is_closed:
            size = cuts.choice((len(data), cuts.randint(1, len(data))))
            self.client.send_bytes(data[:size])
            data = data[size:]

    def look(self) -> None:
        """Take note of the replies that have come."""
        self._reader.feed(self.client.take())
        while (reply := self._reader.gets()) is not False:
            assert self.waiting, f"a reply that nobody asked for: {reply}"
            operation = self.waiting.pop(0)
            if operation is not None:
                assert operation.answered is None
                operation.reply = reply
                operation.answered = next(self._scenario.events)


class Scenario:
    """A run of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.events = itertools.count(1)
        self.cluster = Cluster(
            self.random.choice((1, 3, 3, 3)),
            seed=seed,
            request_timeout_ms=self.random.choice((400, 5000)),
            leader_wait_ms=self.random.choice((0, 300, 1000)),
            gather_ms=self.random.choice((0.0, 1.0, 5.0)),
            batches_in_flight_max=self.random.choice((1, 4, 64)),
            batch_bytes_max=self.random.choice((1 << 10, 1 << 20)),
            slice_ms=1,
        )
        self.operations: list[Operation] = []
        self.clients: list[ScenarioClient] = []

    # -- clients -----------------------------------------------------------------------------

    def connect(self) -> None:
        if sum(each.is_open for each in self.clients) < 6:
            node = self.random.choice(list(self.cluster.nodes.values()))
            is_standalone = self.random.random() < 0.5
            self.clients.append(ScenarioClient(self, node, is_standalone=is_standalone))

    def pipeline(self) -> None:
        """Let a random client send a random pipeline."""
        ready = [each for each in self.clients if each.is_open]
        if ready:
            client = self.random.choice(ready)
            count = self.random.choice((1, 1, 2, 5, 20))
            client.send([self._request(client) for _ in range(count)], self.random)

    def _request(self, client: ScenarioClient) -> tuple[bytes, Operation | None]:
        key = self.random.choice(KEYS)
        draw = self.random.random()
        if draw < 0.4:
            number = next(self.events)
            token = b"%0*d" % (TOKEN_BYTES, number)
            operation = Operation(client.number, key, token, number)
            request = [b"APPEND", key, token]
        elif draw < 0.8:
            operation = Operation(client.number, key, b"", next(self.events))
            request = [b"GET", key]
        else:
            others = (
                "PING", "READONLY", "READWRITE", "HELLO 3", "HELLO 2", "ECHO x", "KEYS *", "DBSIZE",
                "NOSUCH x", "GET", "SET {s}x 1", "INCR n", "MSET {s}x 1 {s}y 2", "MSET x 1 d 2",
                "SET due 1 PX 20", "GET due", "WAIT 1 50", "CLIENT LIST", "RAFT DIGEST", "SCAN 0",
            )  # fmt: skip
            return request_bytes(self.random.choice(others)), None
        self.operations.append(operation)
        return request_bytes(request), operation

    def leave(self) -> None:
        """A client goes without a word, or says goodbye first."""
        client = self._any_client()
        if client is not None and self.random.random() < 0.5:
            client.client.socket.abort()
            client.is_open = False

    def be_stuck(self) -> None:
        client = self._any_client()
        if client is not None:
            client.client.socket.is_stuck = True

    def _any_client(self) -> ScenarioClient | None:
        ready = [each for each in self.clients if each.is_open]
        return self.random.choice(ready) if ready else None

    # -- faults ------------------------------------------------------------------------------

    def cut(self) -> None:
        one, other = self.random.choices(list(self.cluster.nodes), k=2)
        self.cluster.cut.add((one, other))

    def isolate_leader(self) -> None:
        leader = self.cluster.leader
        if leader is not None:
            self.cluster.isolate(leader.node_id)

    def lose(self) -> None:
        """Lose what is under way; out of order what is left."""
        kept = [each for each in self.cluster.network if self.random.random() < 0.7]
        self.random.shuffle(kept)
        self.cluster.network.clear()
        self.cluster.network.extend(kept)

    def slow_disk(self) -> None:
        node = self._any_node()
        node.disk.is_slow = not node.disk.is_slow

    def finish_sync(self) -> None:
        self._any_node().disk.finish_sync()

    def stall(self) -> None:
        rows = self._any_node().rows
        if rows.is_stalled:
            rows.is_stalled = False
        elif self.random.random() < 0.5:
            rows.will_stall = True
        else:
            rows.is_stalled = True

    def stop(self) -> None:
        node = self._any_node()
        node.is_stopped = not node.is_stopped

    def transfer(self) -> None:
        leader = self.cluster.leader
        if leader is not None and len(self.cluster.nodes) > 1:
            leader.group.hand_over()

    def heal(self) -> None:
        self.cluster.heal()

    def hold(self) -> None:
        self.cluster.is_held = not self.cluster.is_held

    def _any_node(self) -> Node:
        return self.random.choice(list(self.cluster.nodes.values()))

    # -- the run -----------------------------------------------------------------------------

    def let_happen(self) -> None:
        cluster = self.cluster
        how: Callable[[], object] = self.random.choice(
            (cluster.turn, cluster.deliver, cluster.sync, cluster.settle, cluster.settle)
        )
        how()

    def let_pass(self) -> None:
        self.cluster.run(self.random.choice((1, 3, 10, 30, 300)))

    def step(self) -> None:
        happenings = {
            self.connect: 6, self.pipeline: 40, self.let_happen: 40, self.let_pass: 12, self.leave: 1,
            self.be_stuck: 1, self.cut: 1, self.isolate_leader: 1, self.lose: 3, self.slow_disk: 2,
            self.finish_sync: 4, self.stall: 2, self.stop: 1, self.transfer: 1, self.heal: 3, self.hold: 2,
        }  # fmt: skip
        self.random.choices(list(happenings), list(happenings.values()))[0]()
        for client in self.clients:
            client.look()

    def end(self) -> None:
        """Heal everything and let every deadline pass."""
        self.cluster.heal()
        for client in self.clients:
            client.client.socket.read_all()
        self.cluster.run_until(lambda: self.cluster.leader)
        self.cluster.run(500)
        # What lost its place at an index that the log has not reached again waits for its deadline.
        answered = [each.client for each in self.clients if each.is_open]
        self.cluster.run_until(lambda: all(client.owes_nothing for client in answered), ms_max=6000)
        for client in self.clients:
            client.look()


@pytest.mark.parametrize("seed", SEEDS)
def test_promises_hold(seed: int) -> None:
    """Every request has one reply, in order; keys are linearizable; replicas are equal; nothing stays."""
    scenario = Scenario(seed)
    for _ in range(250):
        scenario.step()
    scenario.end()
    for client in scenario.clients:
        if client.is_open:
            assert not client.waiting
            assert client.client.owes_nothing
            assert not client.client.socket.is_paused
    nodes = list(scenario.cluster.nodes.values())
    scenario.cluster.run_until(lambda: scenario.cluster.leader)
    leader = scenario.cluster.leader
    assert leader is not None
    scenario.cluster.run(200)
    finals = leader.ask(*[[b"GET", key] for key in KEYS])
    for key, final in zip(KEYS, finals, strict=True):
        history = [each for each in scenario.operations if each.key == key]
        assert list(complaints(history, final or b"")) == []
    assert [node.rows.rows for node in nodes] == [nodes[0].rows.rows] * len(nodes)
    scenario.cluster.run_until(lambda: not any(node.group.has_pending for node in nodes), ms_max=6000)
    for node in nodes:
        assert node.clients.held_count == 0
