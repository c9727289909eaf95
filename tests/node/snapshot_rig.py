"""Both ends of snapshot transfers on links that lose, repeat and reorder, with disks that answer late."""

from __future__ import annotations

import hashlib
import json
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from raftkv.node.snapshot_messages import (
    Chunk,
    Decline,
    Done,
    Holding,
    Offer,
    Refuse,
    SnapshotMessage,
    Want,
    decode,
)
from raftkv.node.snapshot_receiver import SnapshotReceiver
from raftkv.node.snapshot_sender import EndedTransfer, Outcome, ReadOrder, SnapshotSender
from raftkv.node.snapshot_transfer import FileRange, TransferLimits

MS = 1_000_000
TICK_NS = 10 * MS
LIMITS = TransferLimits(window_chunks=4, chunk_bytes=64, rate_bytes=0, silence_ms=100, abandon_ms=2000)

Files = dict[str, bytes]


def digest_of(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class MemorySource:
    """A snapshot in memory."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.manifest = json.dumps(
            {name: [len(data), digest_of(data)] for name, data in files.items()}
        ).encode()
        self.snapshot_id = hashlib.blake2b(self.manifest, digest_size=16).digest()
        self.bytes_total = sum(map(len, files.values()))
        self.is_gone = False

    def size_of(self, name: str) -> int | None:
        return len(self.files[name]) if name in self.files else None

    def read_chunk(self, name: str, offset: int, length: int) -> bytes:
        if self.is_gone:
            raise FileNotFoundError(name)
        return self.files[name][offset : offset + length]


def random_source(source: random.Random, *, files: int = 5, bytes_max: int = 600) -> MemorySource:
    """Files of which some are empty, some a chunk, some several and a bit."""
    sizes = [source.choice((0, 1, 64, 65, source.randrange(bytes_max))) for _ in range(files)]
    return MemorySource(
        {f"{number:06}.sst": source.randbytes(size) for number, size in enumerate(sizes, start=1)}
    )


@dataclass
class Incoming:
    """What a follower's disk has of one snapshot."""

    wanted: dict[str, tuple[int, str]]
    data: dict[str, bytearray] = field(default_factory=dict)
    #: Which bytes were written.
    written: dict[str, bytearray] = field(default_factory=dict)
    is_complete: bool = False

    @classmethod
    def of(cls, manifest: bytes) -> Incoming:
        wanted = {name: (size, digest) for name, (size, digest) in json.loads(manifest).items()}
        incoming = cls(wanted)
        for name in wanted:
            incoming.drop(name)
        return incoming

    def drop(self, name: str) -> None:
        size, _ = self.wanted[name]
        self.data[name], self.written[name] = bytearray(size), bytearray(size)

    @property
    def bytes_total(self) -> int:
        return sum(size for size, _ in self.wanted.values())

    def missing(self) -> list[FileRange]:
        ranges = []
        for name, written in self.written.items():
            offset = 0
            while (offset := written.find(0, offset)) >= 0:
                end = written.find(1, offset)
                end = len(written) if end < 0 else end
                ranges.append(FileRange(name, offset, end - offset))
                offset = end
        return ranges

    def write(self, chunk: FileRange, data: bytes | memoryview) -> None:
        end = chunk.offset + chunk.length
        assert len(data) == chunk.length
        assert end <= len(self.data[chunk.name]), "written behind the end"
        self.data[chunk.name][chunk.offset : end] = data
        self.written[chunk.name][chunk.offset : end] = b"\x01" * chunk.length

    def finish(self) -> list[FileRange]:
        for name, (_, digest) in self.wanted.items():
            if digest_of(bytes(self.data[name])) != digest:
                self.drop(name)
        self.is_complete = not self.missing()
        return self.missing()

    @property
    def files(self) -> Files:
        return {name: bytes(data) for name, data in self.data.items()}


class Disk:
    """A follower's: does what is ordered when told, in order, and answers; outlives its process."""

    def __init__(self) -> None:
        self.incoming: dict[bytes, Incoming] = {}
        self.orders: deque[Callable[[], None]] = deque()
        self.open_ids: list[bytes] = []
        self.receiver: SnapshotReceiver | None = None
        self.now_ns = 0
        #: Snapshots that are not wanted.
        self.unwanted: set[bytes] = set()
        #: What was ordered, for tests that look at it.
        self.log: list[str] = []

    @property
    def target(self) -> SnapshotReceiver:
        assert self.receiver is not None
        return self.receiver

    def open(self, offer: Offer) -> None:
        assert self.open_ids == [], "the older one was closed first"
        self.open_ids.append(offer.snapshot_id)
        self._order("open", lambda: self._open(offer))

    def _open(self, offer: Offer) -> None:
        snapshot_id = offer.snapshot_id
        if snapshot_id in self.unwanted:
            return self.target.on_unusable(snapshot_id, "not wanted", self.now_ns)
        incoming = self.incoming.setdefault(snapshot_id, Incoming.of(offer.manifest))
        return self.target.on_opened(
            snapshot_id, incoming.missing(), bytes_total=incoming.bytes_total, now_ns=self.now_ns
        )

    def write(self, snapshot_id: bytes, chunk: FileRange, data: bytes | memoryview) -> None:
        assert self.open_ids == [snapshot_id], "only the open one is written to"

        def work() -> None:
            self.incoming[snapshot_id].write(chunk, data)
            self.target.on_written(snapshot_id, chunk, self.now_ns)

        self._order(f"write {chunk.name} {chunk.offset}+{chunk.length}", work)

    def finish(self, snapshot_id: bytes) -> None:
        self._order(
            "finish",
            lambda: self.target.on_finished(snapshot_id, self.incoming[snapshot_id].finish(), self.now_ns),
        )

    def close(self, snapshot_id: bytes) -> None:
        self.open_ids.remove(snapshot_id)
        self.log.append("close")

    def _order(self, text: str, work: Callable[[], None]) -> None:
        self.log.append(text)
        self.orders.append(work)

    def work(self, orders: int = 1) -> None:
        """Do the next of what was ordered, and what is ordered upon it."""
        for _ in range(orders):
            if self.orders:
                self.orders.popleft()()

    def lose_process(self) -> None:
        """The process is killed: what was ordered and not done never is."""
        self.orders.clear()
        self.open_ids.clear()


@dataclass
class Link:
    """One way from a node to another."""

    #: Frames that may wait.
    frames_max: int = 8
    frames: list[bytes] = field(default_factory=list)
    is_up: bool = True

    def send(self, body: bytes) -> bool:
        if not self.is_up or len(self.frames) >= self.frames_max:
            return False
        self.frames.append(body)
        return True


class Rig:
    """Leaders and followers, and the links between all of them."""

    def __init__(self, *, leaders: list[int], followers: list[int], limits: TransferLimits = LIMITS) -> None:
        self.now_ns = 1_000 * MS
        self.limits = limits
        self.links = {
            (sender, to): Link()
            for pairs in ((leaders, followers), (followers, leaders))
            for sender in pairs[0]
            for to in pairs[1]
        }
        self.reads: dict[int, deque[ReadOrder]] = {}
        self.ended: dict[int, list[EndedTransfer]] = {node_id: [] for node_id in leaders}
        self.completed: dict[int, list[Offer]] = {node_id: [] for node_id in followers}
        self.disks = {node_id: Disk() for node_id in followers}
        self.senders: dict[int, SnapshotSender] = {}
        self.receivers: dict[int, SnapshotReceiver] = {}
        for node_id in leaders:
            self.start_leader(node_id)
        for node_id in followers:
            self.start_follower(node_id)

    def start_leader(self, node_id: int) -> None:
        """Begin a new life of its process."""
        self.reads[node_id] = deque()
        self.senders[node_id] = SnapshotSender(
            node_id=node_id,
            limits=self.limits,
            send=lambda to, body: self.links[node_id, to].send(body),
            wants_read=self.reads[node_id].append,
            on_end=self.ended[node_id].append,
        )

    def start_follower(self, node_id: int) -> None:
        """Begin a new life of its process, on the same disk."""
        disk = self.disks[node_id]
        disk.lose_process()
        disk.now_ns = self.now_ns

        def complete(offer: Offer) -> None:
            disk.open_ids.remove(offer.snapshot_id)
            self.completed[node_id].append(offer)

        self.receivers[node_id] = disk.receiver = SnapshotReceiver(
            limits=self.limits,
            send=lambda to, body: self.links[node_id, to].send(body),
            files=disk,
            on_complete=complete,
        )

    def deliver(self, sender: int, to: int, place: int = 0) -> SnapshotMessage:
        """Hand over one frame of a link."""
        message = decode(self.links[sender, to].frames.pop(place))
        self.hand_over(sender, to, message)
        return message

    def hand_over(self, sender: int, to: int, message: SnapshotMessage) -> None:
        if to in self.receivers and isinstance(message, Offer | Chunk | Refuse):
            self.receivers[to].on_message(sender, message, self.now_ns)
        elif to in self.senders and isinstance(message, Want | Holding | Decline | Done):
            self.senders[to].on_message(sender, message, self.now_ns)
        else:
            raise AssertionError(f"{message} to node {to}")

    def read(self, leader: int, orders: int = 1) -> None:
        """Let a leader's disk answer."""
        for _ in range(orders):
            if not self.reads[leader]:
                return
            order = self.reads[leader].popleft()
            assert isinstance(order.source, MemorySource)
            try:
                data = order.source.read_chunk(order.name, order.offset, order.length)
            except OSError:
                self.senders[leader].on_read(order, None, self.now_ns)
            else:
                self.senders[leader].on_read(order, data, self.now_ns)

    def pass_time(self, ticks: int = 1) -> None:
        for _ in range(ticks):
            self.now_ns += TICK_NS
            for disk in self.disks.values():
                disk.now_ns = self.now_ns
            for end in (*self.senders.values(), *self.receivers.values()):
                end.on_tick(self.now_ns)

    def settle(self) -> None:
        """Let everything happen that needs no time."""
        while any(link.frames for link in self.links.values()) or any(
            (*self.reads.values(), *(disk.orders for disk in self.disks.values()))
        ):
            for (sender, to), link in self.links.items():
                if link.frames:
                    self.deliver(sender, to)
            for leader in self.senders:
                self.read(leader)
            for disk in self.disks.values():
                disk.work()

    def check_bounds(self) -> None:
        """Fail when more is kept than the limits allow."""
        for sender in self.senders.values():
            for transfer in sender._transfers.values():
                assert len(transfer.wants) <= self.limits.window_chunks
                assert transfer.ahead_chunks <= 4
                assert 0 <= transfer.bytes_done <= transfer.source.bytes_total
        for node_id, receiver in self.receivers.items():
            transfer = receiver._transfer
            assert len(self.disks[node_id].orders) <= self.limits.window_chunks
            if transfer is not None:
                assert len(transfer.asked) + len(transfer.writing) <= self.limits.window_chunks
                left = sum(each.length for each in transfer.ranges)
                left += sum(each.length for each in transfer.asked.values()) + sum(transfer.writing.values())
                if transfer.bytes_total:
                    assert transfer.bytes_done + left == transfer.bytes_total


def outcomes(ended: list[EndedTransfer]) -> list[Outcome]:
    return [each.outcome for each in ended]
