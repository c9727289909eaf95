"""What only hosts of their own make possible: full and slow disks, jumping clocks, late packets, harmed logs.

The rest (kills, pauses, all kinds of cuts, transfers) is that of `tests.consistency.faults`. A further kind
is a method here and a row in `__init__`. Snapshots need no kind of their own: the settings let logs be
dropped so soon that who was away for seconds needs one.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tests.chaos import logs
from tests.chaos.clocks import CACHE_SECONDS, JumpingClocks
from tests.chaos.disks import SmallDisk
from tests.chaos.network import Hosts
from tests.chaos.slow_disks import SlowDisks
from tests.consistency.faults import Faults, ask_to_lead
from tests.consistency.recorder import Recorder
from tests.integration.cluster import Cluster, NodeProcess

#: Bytes that a full disk has left.
_SPARE_BYTES = (0, 4 << 10, 64 << 10, 1 << 20)
_JUMP_SECONDS = (1, 30, 3600, 86_400, 365 * 86_400)
_DELAY_MS = (20.0, 400.0)
_LINK_DELAY_MS = (1.0, 100.0)
_LOSS_PERCENT = (0.0, 20.0)
_STORM_SECONDS = (1.0, 3.0)
_STORM_PAUSE_SECONDS = (0.0, 0.3)
#: Within which a node comes back once what was done to it is undone, or says why it doesn't.
_BACK_SECONDS_MAX = 20.0
_LOOK_SECONDS = 0.05
#: Within which a replaced node votes: a snapshot, a joint membership, and what elections may come between.
_TAKEN_IN_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Arsenal:
    """What a stage has besides processes."""

    hosts: Hosts
    disks: dict[int, SmallDisk]
    clocks: JumpingClocks
    slow_disks: SlowDisks
    #: What can't be done on this machine, and why.
    missing: dict[str, str]


class Nemeses(Faults):
    """The faults of one run."""

    def __init__(
        self,
        cluster: Cluster,
        arsenal: Arsenal,
        recorder: Recorder,
        source: random.Random,
        *,
        election_timeout_seconds: float,
        only: Collection[str] = (),
        is_minority_only: bool = False,
    ) -> None:
        """`only`: first words of kinds ("cut"), or whole ones; none: all that this machine can do.

        `is_minority_only`: at any time a majority of nodes is well, and all of it hears each other.
        """
        super().__init__(
            cluster, arsenal.hosts, recorder, source, election_timeout_seconds=election_timeout_seconds
        )
        self._arsenal = arsenal
        self._is_minority_only = is_minority_only
        self._kinds |= {
            "full disk": self._fill_disk,
            "slow disk": self._slow_disk,
            "torn log": self._tear_log,
            "damaged log": self._damage_log,
            "clock jump": self._jump_clock,
            "transfer storm": self._storm,
            "slow link": self._disturb_links,
            "replace": self._replace,
        }
        excluded = set(arsenal.missing) | (self._majority_kinds() if is_minority_only else set())
        self._kinds = {
            kind: do
            for kind, do in self._kinds.items()
            if kind not in excluded and (not only or kind in only or kind.split()[0] in only)
        }

    @property
    def kinds(self) -> list[str]:
        """The names of what will be done."""
        return list(self._kinds)

    def _majority_kinds(self) -> set[str]:
        few = {"kill two"} if self._minority_count < 2 else set()
        return {"kill all", "cut ring"} | few

    @property
    def _minority_count(self) -> int:
        return (len(self._cluster.nodes) - 1) // 2

    # -- disks -------------------------------------------------------------------------------------

    async def _fill_disk(self) -> None:
        """A node may refuse, or stop; with room again it must come back, and have lost nothing."""
        victims = self._some(self._minority_count)
        self._begin("full disk", victims)
        for victim in victims:
            victim.expect_end()
            disk = self._arsenal.disks[victim.node_id]
            await asyncio.to_thread(disk.fill, spare_bytes=self._source.choice(_SPARE_BYTES))
        await asyncio.sleep(self._some_seconds() + 1.0)
        for victim in victims:
            await asyncio.to_thread(self._arsenal.disks[victim.node_id].free)
        for victim in victims:
            await self._bring_back(victim)
        self._recorder.end_fault()

    async def _bring_back(self, node: NodeProcess) -> None:
        """Wait until a node goes on, or has ended; then start it again."""

        def applied() -> int:
            return int(node.raft().get("raft_last_applied_index", -1))

        before = -1
        deadline = time.monotonic() + _BACK_SECONDS_MAX
        while node.is_running():
            now = await asyncio.to_thread(applied)
            if 0 <= before < now:
                break
            before = now if before < 0 else before  # nothing is known while it doesn't answer
            if time.monotonic() > deadline:
                self._recorder.complaints.append(
                    f"node {node.node_id} neither ends nor goes on with room on its disk"
                )
                return
            await asyncio.sleep(_LOOK_SECONDS)
        if node.is_running():
            node.expect_no_end()
        else:
            node.start()

    async def _slow_disk(self) -> None:
        """Every sync of some nodes takes long."""
        victims = self._some(self._minority_count if self._is_minority_only else len(self._cluster.nodes))
        self._begin(f"slow disk {_how_many(victims)}", victims)
        delay_ms = self._source.uniform(*_DELAY_MS)
        for victim in victims:
            self._arsenal.slow_disks.slow(victim.node_id, delay_ms=delay_ms)
        await asyncio.sleep(self._some_seconds() + 1.0)
        for victim in victims:
            self._arsenal.slow_disks.slow(victim.node_id, delay_ms=0.0)
        self._recorder.end_fault()

    async def _tear_log(self) -> None:
        """kill -9 in the middle of a write: the node drops what it had not finished, and goes on."""
        victim, role = await self._victim()
        self._begin(f"torn log {role}", [victim])
        victim.send_kill()
        await asyncio.to_thread(victim.wait_for_end)
        logs.tear(logs.newest_log(victim.data_dir), self._source)
        victim.start()
        self._recorder.end_fault()

    async def _damage_log(self) -> None:
        """A bit flips in what was synced: the node refuses to start until it has the true bytes again."""
        victim, role = await self._victim()
        self._begin(f"damaged log {role}", [victim])
        victim.send_kill()
        await asyncio.to_thread(victim.wait_for_end)
        log = logs.newest_log(victim.data_dir)
        content = log.read_bytes()
        place = logs.flip_bit(log, self._source)
        if place is not None:
            await self._expect_refusal(victim, f"byte {place} of {log.name} ({len(content)} bytes)")
            log.write_bytes(content)
        victim.start()
        self._recorder.end_fault()

    async def _expect_refusal(self, victim: NodeProcess, what: str) -> None:
        victim.start()
        victim.expect_end()
        deadline = time.monotonic() + _BACK_SECONDS_MAX
        while victim.is_running():
            serves = "raft_role" in await asyncio.to_thread(victim.raft)
            if serves or time.monotonic() > deadline:
                self._recorder.complaints.append(
                    f"node {victim.node_id} {'serves' if serves else 'goes on'} with a flipped bit at {what}"
                )
                victim.kill()
                return
            await asyncio.sleep(_LOOK_SECONDS)

    # -- members -----------------------------------------------------------------------------------

    async def _replace(self) -> None:
        """A node loses its disk, and a new one with its address takes its place, under an id of its own."""
        victim, role = await self._victim()
        was = await asyncio.to_thread(victim.raft)
        others = [node for node in self._cluster.awake() if node is not victim]
        if "raft_node_id" not in was or not others:
            return  # it still starts: what it is called nobody can be asked
        old_id = int(was["raft_node_id"])
        self._begin(f"replace {role}", [victim])
        victim.send_kill()
        await asyncio.to_thread(victim.wait_for_end)
        target = self._source.choice(others)
        await asyncio.to_thread(self._cluster.rejoin, victim, target, in_place_of=old_id)
        await self._wait_until_taken_in(victim, old_id)
        self._recorder.end_fault()

    async def _wait_until_taken_in(self, node: NodeProcess, old_id: int) -> None:
        """Wait until it votes and its old self doesn't, on every node that can be asked."""
        deadline = time.monotonic() + _TAKEN_IN_SECONDS_MAX
        text = "nothing was heard of it"
        while time.monotonic() < deadline:
            raft = await asyncio.to_thread(node.raft)
            new_id = int(raft.get("raft_node_id", old_id))
            voters = [int(each) for each in raft.get("raft_voters", "").split(",") if each]
            if new_id != old_id and new_id in voters and old_id not in voters:
                return
            text = f"it says that it is node {new_id}, and that the voters are {voters}"
            await asyncio.sleep(_LOOK_SECONDS)
        self._recorder.complaints.append(f"host {node.node_id} is not taken in instead of {old_id}: {text}")

    # -- clocks and links --------------------------------------------------------------------------

    async def _jump_clock(self) -> None:
        """Somebody sets the clocks of some nodes wrong, and later right again."""
        victims = self._some(len(self._cluster.nodes))
        self._begin(f"clock jump {_how_many(victims)}", victims)
        for victim in victims:
            seconds = self._source.choice((-1, 1)) * self._source.choice(_JUMP_SECONDS)
            self._arsenal.clocks.jump(victim.node_id, seconds=seconds)
        await asyncio.sleep(CACHE_SECONDS + self._some_seconds())
        for victim in victims:
            self._arsenal.clocks.jump(victim.node_id, seconds=0)
        self._recorder.end_fault()

    async def _disturb_links(self) -> None:
        """What goes to some nodes comes late, out of order, or not at all."""
        victims = self._some(len(self._cluster.nodes))
        host_ids = [victim.node_id for victim in victims]
        self._begin(f"slow link {_how_many(victims)}", victims)
        self._arsenal.hosts.disturb(
            host_ids,
            delay_ms=self._source.uniform(*_LINK_DELAY_MS),
            loss_percent=self._source.uniform(*_LOSS_PERCENT),
        )
        await asyncio.sleep(self._some_seconds() + 1.0)
        self._arsenal.hosts.calm(host_ids)
        self._recorder.end_fault()

    async def _storm(self) -> None:
        """Everybody is asked to lead, again and again."""
        self._begin("transfer storm", self._cluster.nodes)
        deadline = time.monotonic() + self._source.uniform(*_STORM_SECONDS)
        while time.monotonic() < deadline:
            await asyncio.to_thread(ask_to_lead, self._source.choice(self._cluster.nodes))
            await asyncio.sleep(self._source.uniform(*_STORM_PAUSE_SECONDS))
        self._recorder.end_fault()

    def _some(self, count_max: int) -> Sequence[NodeProcess]:
        """Draw one node or several."""
        return self._source.sample(self._cluster.nodes, self._source.randint(1, count_max))


def _how_many(victims: Sequence[NodeProcess]) -> str:
    return "one" if len(victims) == 1 else "several"


def missing(*, clocks: JumpingClocks, slow_disks: SlowDisks, hosts: Hosts) -> dict[str, str]:
    """Return what can't be done on this machine, and why."""
    reasons: dict[str, Callable[[], str]] = {
        "clock jump": clocks.reason_against,
        "slow disk": lambda: slow_disks.reason_against,
        "slow link": hosts.reason_against_netem,
    }
    return {kind: reason for kind, look in reasons.items() if (reason := look())}
