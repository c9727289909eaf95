"""The virtual network: messages are lost, doubled, delayed and overtaken; links are cut one way or both.

Knows nothing of what messages mean. Messages are carried as encoded bytes, so sender and receiver
never share an object. Snapshots take longer, and come whole or not at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from raftkv.raft.codec import decode, encode
from raftkv.raft.types import Message
from tests.simulator.clock import Timeline
from tests.simulator.disk import StateAt
from tests.simulator.profile import Profile


@dataclass(slots=True)
class SnapshotStream:
    """All the chunks of a snapshot."""

    sender: int
    to: int
    snapshot: StateAt


@dataclass(slots=True)
class SnapshotArrived:
    """The receiver has all of a snapshot, and as much of the log or more."""

    sender: int
    to: int
    index: int


Parcel = SnapshotStream | SnapshotArrived


class Network:
    """Every link between the nodes of a cluster."""

    def __init__(
        self,
        timeline: Timeline,
        rng: random.Random,
        profile: Profile,
        deliver: Callable[[Message | Parcel], None],
    ) -> None:
        self._timeline = timeline
        self._rng = rng
        self._profile = profile
        self._deliver = deliver
        #: (from, to) pairs; only asked for membership, never iterated over.
        self._cut_links: set[tuple[int, int]] = set()
        #: A scenario's say in what gets through.
        self.lets_through: Callable[[Message], bool] = lambda _: True

    def send(self, message: Message) -> None:
        """Carry a message, perhaps: once, twice or never."""
        profile, rng = self._profile, self._rng
        if (message.sender, message.to) in self._cut_links or not self.lets_through(message):
            return
        if rng.random() < profile.loss:
            return
        encoded = encode(message)
        self._carry(encoded)
        if rng.random() < profile.duplication:
            self._carry(encoded)

    def send_parcel(self, parcel: Parcel) -> None:
        """Carry what is no message of the core's, perhaps; it gets through only over an unbroken link."""
        if (parcel.sender, parcel.to) in self._cut_links or self._rng.random() < self._profile.loss:
            return
        delay_ns = self._rng.randint(self._profile.delay_ns_min, self._profile.delay_ns_max)
        if isinstance(parcel, SnapshotStream):
            delay_ns += self._rng.randint(0, self._profile.snapshot_ns_max)
        self._timeline.after(delay_ns, lambda: self._arrive_parcel(parcel))

    def _arrive_parcel(self, parcel: Parcel) -> None:
        if (parcel.sender, parcel.to) not in self._cut_links:
            self._deliver(parcel)

    def _carry(self, encoded: bytes) -> None:
        profile = self._profile
        delay_ns_max = profile.delay_ns_max
        if profile.straggling and self._rng.random() < profile.straggling:
            delay_ns_max = profile.straggler_delay_ns_max
        delay_ns = self._rng.randint(profile.delay_ns_min, delay_ns_max)
        self._timeline.after(delay_ns, lambda: self._arrive(encoded))

    def _arrive(self, encoded: bytes) -> None:
        message = decode(encoded)
        if (message.sender, message.to) not in self._cut_links:
            self._deliver(message)

    def cut(self, sender: int, to: int) -> None:
        """Let nothing through from `sender` to `to`; the way back is another link."""
        self._cut_links.add((sender, to))

    def split(self, group: Iterable[int], other_group: Iterable[int]) -> None:
        """Cut every link between two groups, both ways."""
        others = list(other_group)
        for a in group:
            for b in others:
                self.cut(a, b)
                self.cut(b, a)

    def heal(self) -> None:
        """Restore every link."""
        self._cut_links.clear()
