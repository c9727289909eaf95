"""What is done to the nodes while clients use them: killed, stopped, paused, cut off, asked to hand over.

One fault after the other, each kind in turn, in an order and with details that are drawn from a seed. Each
is noted with when it began and ended. Knows processes and what is between them, nothing of what clients do.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence

from tests.consistency.history import Fault
from tests.consistency.recorder import Recorder
from tests.consistency.ways import Network, Way, both_ways
from tests.integration.cluster import Cluster, NodeProcess
from tests.integration.wire import NoAnswer

#: How often it is the leader that is picked on.
LEADER_PART = 0.65
#: Seconds between two faults.
_REST_SECONDS = (0.0, 0.4)
_ASK_SECONDS = 1.0
#: How often the next fault comes only once a write was acknowledged after the last.
_RECOVERED_PART = 0.85
#: How often a leader's pause or isolation lasts until another one leads.
_REPLACED_PART = 0.7
#: Seconds that this, or being served again, is waited for.
_WAIT_SECONDS_MAX = 10.0
_LOOK_SECONDS = 0.02

#: With fewer nodes a ring cuts nothing, and a bridge is one link cut.
_SHAPES_NODES_MIN = 5

_LEADER, _FOLLOWER = "leader", "follower"


class Faults:
    """The faults of one run."""

    def __init__(
        self,
        cluster: Cluster,
        network: Network,
        recorder: Recorder,
        source: random.Random,
        *,
        election_timeout_seconds: float,
        kinds: Sequence[str] = (),
        leader_part: float = LEADER_PART,
    ) -> None:
        """`kinds` are the names of those that are used; none: all."""
        self._cluster = cluster
        self._network = network
        self._recorder = recorder
        self._source = source
        self._election_timeout_seconds = election_timeout_seconds
        self._kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "kill": self._kill,
            "kill two": self._kill_two,
            "kill all": self._kill_all,
            "stop": self._stop,
            "pause": self._pause,
            "pause cut off": self._pause_cut_off,
            "transfer": self._transfer,
            "cut off": self._cut_off,
            "cut mute": self._cut_mute,
            "cut deaf": self._cut_deaf,
            "cut link": self._cut_link,
            "cut halves": self._cut_halves,
        }
        if len(cluster.nodes) >= _SHAPES_NODES_MIN:
            self._kinds |= {"cut ring": self._cut_ring, "cut bridge": self._cut_bridge}
        self._only = kinds
        self._leader_part = leader_part
        #: Every kind was done at least once.
        self.is_complete = False

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until told to stop; everything is well again afterwards, but for nodes that still start."""
        left: list[str] = []
        used = list(self._only or self._kinds)
        while not stop.is_set():
            if not left:
                left = self._source.sample(used, len(used))
            await asyncio.sleep(self._source.uniform(*_REST_SECONDS))
            if self._source.random() < _RECOVERED_PART:
                await self._wait_until(lambda: stop.is_set() or self._recorder.figures.is_recovered)
            if not stop.is_set():
                await self._kinds[left.pop()]()
                self.is_complete = self.is_complete or not left

    # -- processes ---------------------------------------------------------------------------------

    async def _kill(self) -> None:
        """kill -9 of one node, and start it again."""
        victim, role = await self._victim()
        await self._kill_and_restart(f"kill {role}", [victim])

    async def _kill_two(self) -> None:
        await self._kill_and_restart("kill two", self._source.sample(self._cluster.nodes, 2))

    async def _kill_all(self) -> None:
        await self._kill_and_restart("kill all", self._cluster.nodes)

    async def _kill_and_restart(self, kind: str, victims: Sequence[NodeProcess]) -> None:
        self._begin(kind, victims)
        for victim in victims:
            victim.send_kill()
        for victim in victims:
            await asyncio.to_thread(victim.wait_for_end)
        await asyncio.sleep(self._source.choice((0.0, self._some_seconds())))
        for victim in victims:
            victim.start()
        self._recorder.end_fault()

    async def _stop(self) -> None:
        """SIGTERM, which ends well unless the node is still starting, and start again."""
        victim, role = await self._victim()
        has_started = bool(await asyncio.to_thread(victim.raft))
        self._begin(f"stop {role}", [victim])
        code = await asyncio.to_thread(victim.terminate)
        if has_started and code != 0:
            self._recorder.complaints.append(f"node {victim.node_id} ended with {code} after SIGTERM")
        victim.start()
        self._recorder.end_fault()

    async def _pause(self) -> None:
        """SIGSTOP and SIGCONT: it may have lost its place, and doesn't know."""
        victim, role = await self._victim()
        self._begin(f"pause {role}", [victim])
        victim.signal(signal.SIGSTOP)
        await self._last(victim, role)
        victim.signal(signal.SIGCONT)
        self._recorder.end_fault()

    async def _pause_cut_off(self) -> None:
        """The same, and when it goes on it can't hear from the others what happened meanwhile."""
        victim, role = await self._victim()
        self._begin(f"pause cut off {role}", [victim])
        self._network.cut(self._all_ways(victim), is_told=False)
        victim.signal(signal.SIGSTOP)
        await self._last(victim, role)
        victim.signal(signal.SIGCONT)
        await asyncio.sleep(self._source.uniform(0.0, self._election_timeout_seconds))
        self._network.heal()
        self._recorder.end_fault()

    async def _transfer(self) -> None:
        """CLUSTER FAILOVER at a follower; asked again until one takes it."""
        deadline = time.monotonic() + _WAIT_SECONDS_MAX
        while time.monotonic() < deadline:
            leader = await self._leader()
            if leader is not None:
                node = self._source.choice([node for node in self._cluster.nodes if node is not leader])
                begin_ns = time.monotonic_ns()
                if await asyncio.to_thread(ask_to_lead, node):
                    end_ns = time.monotonic_ns()
                    self._recorder.note_fault(Fault("transfer", (node.node_id,), begin_ns, end_ns))
                    return
            await asyncio.sleep(_LOOK_SECONDS)

    # -- the network -------------------------------------------------------------------------------

    async def _cut_off(self) -> None:
        """Nothing passes between a node and all others."""
        victim, role = await self._victim()
        await self._cut(f"cut off {role}", [victim], self._all_ways(victim), role)

    async def _cut_mute(self) -> None:
        """A node hears the others, who don't hear it."""
        victim, role = await self._victim()
        ways = [way for way in self._all_ways(victim) if way.sender == victim.node_id]
        await self._cut(f"cut mute {role}", [victim], ways, role)

    async def _cut_deaf(self) -> None:
        """A node is heard by the others, whom it doesn't hear."""
        victim, role = await self._victim()
        ways = [way for way in self._all_ways(victim) if way.to == victim.node_id]
        await self._cut(f"cut deaf {role}", [victim], ways, role)

    async def _cut_link(self) -> None:
        """Two nodes don't hear each other; a third hears both."""
        one, role = await self._victim()
        other = self._source.choice([node for node in self._cluster.nodes if node is not one])
        ways = [way for way in self._all_ways(one) if other.node_id in (way.sender, way.to)]
        await self._cut(f"cut link {role}", [one, other], ways, _FOLLOWER)

    async def _cut_halves(self) -> None:
        """Two parts, one a majority; which one has the leader is left to chance."""
        nodes = self._cluster.nodes
        minority = self._source.sample(nodes, len(nodes) // 2)
        others = [node for node in nodes if node not in minority]
        ways = [way for one in minority for other in others for way in both_ways(one.node_id, other.node_id)]
        await self._cut("cut halves", minority, ways, _FOLLOWER)

    async def _cut_ring(self) -> None:
        """Each node hears its two neighbours only: with five, everybody a majority, and no two the same."""
        ring = self._source.sample(self._cluster.nodes, len(self._cluster.nodes))
        neighbours = set(zip(ring, [*ring[1:], ring[0]], strict=True))
        ways = [
            way
            for one, other in itertools.combinations(ring, 2)
            if not neighbours & {(one, other), (other, one)}
            for way in both_ways(one.node_id, other.node_id)
        ]
        await self._cut("cut ring", ring, ways, _FOLLOWER)

    async def _cut_bridge(self) -> None:
        """Two halves that don't hear each other, and one node between them that hears both."""
        nodes = self._source.sample(self._cluster.nodes, len(self._cluster.nodes))
        left, bridge, right = nodes[: len(nodes) // 2], nodes[len(nodes) // 2], nodes[len(nodes) // 2 + 1 :]
        ways = [way for one in left for other in right for way in both_ways(one.node_id, other.node_id)]
        await self._cut("cut bridge", [bridge], ways, _FOLLOWER)

    async def _cut(self, kind: str, victims: Sequence[NodeProcess], ways: Sequence[Way], role: str) -> None:
        self._begin(kind, victims)
        self._network.cut(ways, is_told=self._source.random() < 0.3)
        if self._source.random() < 0.2:
            await asyncio.to_thread(ask_to_lead, self._source.choice(self._cluster.nodes))
        await self._last(victims[0], role)
        self._network.heal()
        self._recorder.end_fault()

    def _all_ways(self, victim: NodeProcess) -> list[Way]:
        """Every way to and from a node."""
        return [
            way
            for other in self._cluster.nodes
            if other is not victim
            for way in both_ways(victim.node_id, other.node_id)
        ]

    # -- whom, and for how long --------------------------------------------------------------------

    async def _victim(self) -> tuple[NodeProcess, str]:
        """Draw a node; return it and its role."""
        leader = await self._leader()
        others = [node for node in self._cluster.nodes if node is not leader]
        if leader is not None and self._source.random() < self._leader_part:
            return leader, _LEADER
        return self._source.choice(others), _FOLLOWER

    async def _last(self, victim: NodeProcess, role: str) -> None:
        """Let it last: mostly until another node leads, if it was the leader, and then some."""
        if role == _LEADER and self._source.random() < _REPLACED_PART:
            await self._wait_until_replaced(victim)
            await asyncio.sleep(self._source.uniform(0.0, self._election_timeout_seconds))
        else:
            await asyncio.sleep(self._some_seconds())

    async def _wait_until_replaced(self, victim: NodeProcess) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS_MAX
        while time.monotonic() < deadline:
            leader = await self._leader()
            if leader is not None and leader is not victim:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS_MAX
        while not condition() and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)

    async def _leader(self) -> NodeProcess | None:
        return await asyncio.to_thread(self._cluster.leader)

    def _some_seconds(self) -> float:
        """Shorter or longer than it takes to elect another leader."""
        return self._election_timeout_seconds * self._source.uniform(0.5, 4.0)

    def _begin(self, kind: str, victims: Sequence[NodeProcess]) -> None:
        self._recorder.begin_fault(kind, tuple(victim.node_id for victim in victims))


def ask_to_lead(node: NodeProcess) -> bool:
    """Ask by CLUSTER FAILOVER; whether anything comes of it is the nodes' business."""
    try:
        return bool(node.ask("CLUSTER", "FAILOVER", seconds_max=_ASK_SECONDS) == b"OK")
    except NoAnswer:
        return False
