"""A snapshot's transfer over the real peer network, with disks that answer a turn of the loop later."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from raftkv.node.snapshot_messages import Chunk, Offer, Refuse, decode
from raftkv.node.snapshot_receiver import SnapshotReceiver
from raftkv.node.snapshot_sender import EndedTransfer, Outcome, ReadOrder, SnapshotSender
from raftkv.node.snapshot_transfer import TransferLimits
from tests.node.snapshot_rig import Disk, MemorySource, outcomes
from tests.transport.loopback import LOOPS, Node, eventually, net, run_on

#: The default window and chunks; a link that breaks is noticed at once.
LIMITS = TransferLimits(silence_ms=50)


class Ends:
    """Node 1 sends, node 2 receives."""

    def __init__(self, first: Node, second: Node) -> None:
        loop = asyncio.get_running_loop()
        self.nodes = {1: first.transport, 2: second.transport}
        self.ended: list[EndedTransfer] = []
        self.completed: list[Offer] = []
        self.disk = Disk()
        self.sender = SnapshotSender(
            node_id=1,
            limits=LIMITS,
            send=lambda to, body: first.transport.send_snapshot(to, 0, body),
            wants_read=lambda order: loop.call_soon(self._read, order) and None,
            on_end=self.ended.append,
        )
        self.receiver = self.disk.receiver = SnapshotReceiver(
            limits=LIMITS,
            send=lambda to, body: second.transport.send_snapshot(to, 0, body),
            files=self.disk,
            on_complete=self.completed.append,
        )
        for node in (first, second):
            node.transport._listener.on_snapshot = self._on_snapshot

    def _on_snapshot(self, sender: int, _group_id: int, body: bytes) -> None:
        message = decode(body)
        end = self.receiver if isinstance(message, Offer | Chunk | Refuse) else self.sender
        end.on_message(sender, message, time.monotonic_ns())

    def _read(self, order: ReadOrder) -> None:
        data = order.source.read_chunk(order.name, order.offset, order.length)
        self.sender.on_read(order, data, time.monotonic_ns())

    def turn(self) -> bool:
        """Let the disk and the time go on; whether the transfer has ended."""
        self.disk.now_ns = time.monotonic_ns()
        self.disk.work(4)
        self.sender.on_tick(self.disk.now_ns)
        self.receiver.on_tick(self.disk.now_ns)
        return bool(self.ended)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_snapshot_gets_through_although_its_connections_break(loop: str) -> None:
    """Byte by byte the same, at the default sizes."""

    async def main() -> None:
        source = MemorySource(
            {f"{number:06}.sst": random.Random(number).randbytes(1_500_000) for number in range(6)}
        )
        async with net() as nodes:
            first, second = await nodes.pair()
            ends = Ends(first, second)
            ends.sender.offer(2, source, term=1, now_ns=time.monotonic_ns())
            for share in (0.2, 0.5, 0.8):
                await eventually(lambda: ends.turn() or _share_done(ends) >= share)  # noqa: B023 - awaited here
                for accepted in list(second.transport._listener._identified.values()):
                    accepted.end()
            await eventually(ends.turn)
            assert outcomes(ends.ended) == [Outcome.DONE]
            assert ends.disk.incoming[source.snapshot_id].files == source.files
            assert [offer.snapshot_id for offer in ends.completed] == [source.snapshot_id]

    run_on(loop, main())


def _share_done(ends: Ends) -> float:
    progress = ends.receiver.progress()
    return progress.bytes_done / max(1, progress.bytes_total) if progress is not None else 0.0
