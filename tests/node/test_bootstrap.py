"""Nodes that form a cluster over real sockets, on both event loops."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from raftkv.node.bootstrap import BootstrapTiming, answers_of_formed, form_cluster, open_identity
from raftkv.node.formation import cluster_id_of, decode_report, encode_report
from raftkv.raft.types import ProtocolError
from raftkv.storage import DataDir, Identity
from raftkv.transport import Address, Transport, TransportLimits
from tests.transport.loopback import HOST, LOOPS, eventually, run_on

TIMING = BootstrapTiming(ask_min_ms=5, ask_max_ms=20, log_min_ms=20, log_max_ms=40)


class PowerLoss(Exception):
    """The process ends here."""


class Disk:
    """A data directory that keeps what was saved, and may lose power at a chosen save."""

    path = Path("disk")

    def __init__(self, identity: Identity | None = None) -> None:
        self.identity = identity
        self.saves = 0
        #: (number of the save, whether the bytes made it to the disk before the power went)
        self.power_loss: tuple[int, bool] | None = None

    def save_identity(self, identity: Identity) -> None:
        self.saves += 1
        if self.power_loss is not None and self.power_loss[0] == self.saves:
            if self.power_loss[1]:
                self.identity = identity
            raise PowerLoss
        self.identity = identity

    @property
    def saved(self) -> Identity:
        assert self.identity is not None
        return self.identity


class Cluster:
    """Three members on free ports; each may be started, stopped and emptied."""

    def __init__(self) -> None:
        self.random = random.Random(f"{time.time_ns()}")
        self.addresses: dict[int, Address] = {}
        #: The members that a node is configured with, if they aren't the right ones.
        self.configured: dict[int, tuple[tuple[int, str], ...]] = {}
        self.disks: dict[int, Disk] = {}
        self.transports: dict[int, Transport] = {}
        self.tasks: dict[int, asyncio.Task[bytes]] = {}

    async def prepare(self, count: int = 3) -> None:
        """Choose the ports, and empty directories."""
        for node_id in range(1, count + 1):
            await self.listen(node_id)
        for node_id in self.addresses:
            self.empty(node_id)
            await self.transports[node_id].close()

    async def listen(self, node_id: int) -> None:
        transport = Transport(
            node_id=node_id,
            bind=self.addresses.get(node_id, (HOST, 0)),
            peers=self.addresses,
            on_messages=lambda *_args: None,
            limits=TransportLimits(greeting_timeout_ms=1000),
            random=self.random,
            clock_ns=time.monotonic_ns,
        )
        await transport.listen()
        self.addresses[node_id] = (HOST, transport.port)
        self.transports[node_id] = transport

    def empty(self, node_id: int) -> None:
        """Give a node a new, empty directory."""
        self.disks[node_id] = Disk()

    def members(self) -> tuple[tuple[int, str], ...]:
        return tuple((peer, f"{host}:{port}") for peer, (host, port) in sorted(self.addresses.items()))

    async def start(self, *node_ids: int) -> None:
        for node_id in node_ids:
            await self.listen(node_id)
            forming = form_cluster(
                self.disks[node_id],
                self.transports[node_id],
                node_id=node_id,
                members=self.configured.get(node_id, self.members()),
                nonce=self.random.randbytes(16),
                random=self.random,
                timing=TIMING,
            )
            self.tasks[node_id] = asyncio.get_running_loop().create_task(forming)

    async def stop(self, node_id: int) -> None:
        task = self.tasks.pop(node_id)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.transports[node_id].close()

    async def formed(self, *node_ids: int) -> bytes:
        """Wait until these nodes have formed; give their one cluster id."""
        found = {await self.tasks[node_id] for node_id in node_ids}
        assert found == {self.disks[node_id].saved.cluster_id for node_id in node_ids}
        (cluster_id,) = found
        return cluster_id

    async def close(self) -> None:
        for node_id in list(self.tasks):
            await self.stop(node_id)


WithCluster = Callable[[Callable[[Cluster], Awaitable[None]]], None]


@pytest.fixture(params=LOOPS)
def with_cluster(request: pytest.FixtureRequest) -> WithCluster:
    """Run a test body with a cluster that is stopped after it."""

    def run_body(body: Callable[[Cluster], Awaitable[None]]) -> None:
        async def main() -> None:
            cluster = Cluster()
            try:
                await body(cluster)
            finally:
                await cluster.close()

        run_on(request.param, main())

    return run_body


def test_three_empty_nodes_form_one_cluster(with_cluster: WithCluster) -> None:
    """DESIGN.md: a new cluster starts when all its configured members report an empty directory."""

    async def body(cluster: Cluster) -> None:
        await cluster.prepare()
        await cluster.start(1, 2, 3)
        cluster_id = await cluster.formed(1, 2, 3)
        nonces = tuple((node_id, cluster.disks[node_id].saved.nonce) for node_id in (1, 2, 3))
        assert cluster_id == cluster_id_of(nonces)

    with_cluster(body)


def test_a_single_member_forms_at_once(with_cluster: WithCluster) -> None:
    """Nobody to wait for."""

    async def body(cluster: Cluster) -> None:
        await cluster.prepare(1)
        await cluster.start(1)
        await cluster.formed(1)

    with_cluster(body)


def test_two_of_three_form_nothing_and_say_whom_they_wait_for(
    with_cluster: WithCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """A majority is not enough: the third could belong to another cluster."""
    caplog.set_level(logging.INFO)

    async def body(cluster: Cluster) -> None:
        await cluster.prepare()
        await cluster.start(1, 2)
        await eventually(lambda: sum("no report from node 3 yet" in text for text in caplog.messages) >= 4)
        assert [cluster.disks[node_id].saved.agreed for node_id in (1, 2)] == [(), ()]
        await cluster.start(3)
        await cluster.formed(1, 2, 3)

    with_cluster(body)
    assert any(
        "; node 3 at 127.0.0.1:" in text and text.endswith("Connection refused") for text in caplog.messages
    )


@pytest.mark.parametrize("is_saved", [False, True])
@pytest.mark.parametrize("save", [1, 2, 3])
def test_a_node_that_loses_power_at_any_save_ends_formed(
    with_cluster: WithCluster, save: int, is_saved: bool
) -> None:
    """Save 1 is the nonce, save 2 the agreement, save 3 the cluster id."""

    async def body(cluster: Cluster) -> None:
        await cluster.prepare()
        cluster.disks[2].power_loss = (save, is_saved)
        await cluster.start(1, 2, 3)
        with pytest.raises(PowerLoss):
            await cluster.tasks[2]
        await cluster.stop(2)
        await cluster.start(2)
        await cluster.formed(1, 2, 3)

    with_cluster(body)


def test_a_late_node_joins_what_it_agreed_to_from_one_peer(with_cluster: WithCluster) -> None:
    """It crashed between agreeing and forming, and the third node is away by now."""

    async def body(cluster: Cluster) -> None:
        await cluster.prepare()
        cluster.disks[2].power_loss = (3, False)
        await cluster.start(1, 2, 3)
        cluster_id = await cluster.formed(1, 3)
        with pytest.raises(PowerLoss):
            await cluster.tasks[2]
        await cluster.stop(2)
        await cluster.stop(3)
        await cluster.start(2)
        assert await cluster.formed(2) == cluster_id

    with_cluster(body)


def test_an_emptied_node_stays_out_and_says_how_to_rejoin(
    with_cluster: WithCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """DESIGN.md: it neither votes nor campaigns; formed nodes answer for good."""

    async def body(cluster: Cluster) -> None:
        await cluster.prepare()
        await cluster.start(1, 2, 3)
        await cluster.formed(1, 2, 3)
        await cluster.stop(2)
        cluster.empty(2)
        await cluster.start(2)
        await eventually(lambda: sum("put its own directory back" in text for text in caplog.messages) >= 3)
        assert cluster.disks[2].saved.agreed == ()
        assert not cluster.tasks[2].done()

    with_cluster(body)


def test_a_restarted_formed_node_asks_nobody(with_cluster: WithCluster) -> None:
    """It knows its cluster."""

    async def body(cluster: Cluster) -> None:
        await cluster.prepare()
        await cluster.start(1, 2, 3)
        cluster_id = await cluster.formed(1, 2, 3)
        for node_id in (1, 2, 3):
            await cluster.stop(node_id)
        await cluster.start(1)
        assert await cluster.formed(1) == cluster_id
        await cluster.start(2)
        question = encode_report(cluster.disks[2].saved)
        answer = decode_report(await cluster.transports[2].ask(1, question))
        assert answer == cluster.disks[1].saved

    with_cluster(body)


def test_another_list_of_members_stops_the_formation_with_the_reason(
    with_cluster: WithCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """One node was configured with a wrong port."""

    async def body(cluster: Cluster) -> None:
        await cluster.prepare()
        cluster.configured[3] = ((1, "elsewhere:1"), *cluster.members()[1:])
        await cluster.start(1, 2, 3)
        reason = "no cluster yet: node 3 has another list of members"
        await eventually(lambda: any(f"node 1: {reason}" in text for text in caplog.messages))
        await eventually(lambda: any(f"node 2: {reason}" in text for text in caplog.messages))
        assert [disk.saved.agreed for disk in cluster.disks.values()] == [(), (), ()]

    with_cluster(body)


def test_another_node_at_a_peers_address_is_named(
    with_cluster: WithCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Node 3's address leads to node 2."""
    caplog.set_level(logging.INFO)

    async def body(cluster: Cluster) -> None:
        await cluster.prepare()
        cluster.addresses[3] = cluster.addresses[2]
        await cluster.start(1, 2)
        await eventually(lambda: any("node 2 answers at its address" in text for text in caplog.messages))

    with_cluster(body)


class DeafPort:
    """A port from which no peer can be reached."""

    def __init__(self) -> None:
        self.answer: Callable[[bytes], bytes] | None = None

    def answer_bootstrap(self, on_bootstrap: Callable[[bytes], bytes]) -> None:
        self.answer = on_bootstrap

    async def ask(self, _node_id: int, _question: bytes) -> bytes:
        raise ConnectionRefusedError


def test_a_node_learns_from_being_asked() -> None:
    """A question carries its asker's report, which is enough where only one way is open."""
    members = ((1, "a:1"), (2, "b:1"))
    disk, port = Disk(), DeafPort()
    peer = Identity(2, members, b"2" * 16)

    async def main() -> None:
        forming = asyncio.get_running_loop().create_task(
            form_cluster(
                disk,
                port,
                node_id=1,
                members=members,
                nonce=b"1" * 16,
                random=random.Random(1),
                timing=TIMING,
            )
        )
        await eventually(lambda: port.answer is not None)
        assert port.answer is not None
        assert decode_report(port.answer(encode_report(peer))).agreed == ()
        await eventually(lambda: disk.saved.agreed)
        port.answer(encode_report(replace(peer, agreed=disk.saved.agreed)))
        assert await forming == cluster_id_of(((1, b"1" * 16), (2, b"2" * 16)))

    run_on("asyncio", main())


def test_a_real_directory_keeps_what_was_formed(tmp_path: Path) -> None:
    """`DataDir` is the store: the next start finds the cluster, its nonce and its members."""
    members = ((1, "a:1"),)

    async def form(nonce: bytes) -> bytes:
        data_dir = DataDir.open(tmp_path / "node", 1)
        try:
            return await form_cluster(
                data_dir, DeafPort(), node_id=1, members=members, nonce=nonce, random=random.Random(1)
            )
        finally:
            data_dir.close()

    async def main() -> None:
        expected = cluster_id_of(((1, b"1" * 16),))
        assert [await form(b"1" * 16), await form(b"2" * 16)] == [expected, expected]

    run_on("asyncio", main())


FORMED = Identity(1, ((1, "a:1"), (2, "b:1")), b"1" * 16, ((1, b"1" * 16), (2, b"2" * 16)), bytes(16))


def test_founders_may_move_but_stay_who_they_were_once_the_cluster_is_formed() -> None:
    """Who founded it is its first membership for good; who is a member by now is in the log alone."""
    disk = Disk(FORMED)
    moved = ((1, "a:2"), (2, "b:2"))
    assert open_identity(disk, node_id=1, members=moved, nonce=b"") == replace(FORMED, members=moved)
    assert disk.saved.members == moved
    later = open_identity(disk, node_id=1, members=(*moved, (3, "c:2")), nonce=b"")
    assert later.members == disk.saved.members == moved


def test_members_may_change_before_anything_is_agreed() -> None:
    """The operator corrects a list that the nodes refused."""
    disk = Disk(replace(FORMED, agreed=(), cluster_id=None))
    three = (*FORMED.members, (3, "c:1"))
    assert open_identity(disk, node_id=1, members=three, nonce=b"").members == three


def test_a_formed_node_answers_reports_only() -> None:
    """Anything else closes the connection."""
    answer = answers_of_formed(FORMED)
    assert decode_report(answer(encode_report(FORMED))) == FORMED
    with pytest.raises(ProtocolError):
        answer(b"garbage")
