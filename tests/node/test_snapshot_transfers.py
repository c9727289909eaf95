"""Whole transfers: what arrives is what was offered, whatever the links and processes do meanwhile."""

from __future__ import annotations

import random

import pytest

from raftkv.node.snapshot_sender import Outcome
from tests.node.snapshot_rig import LIMITS, MS, TICK_NS, MemorySource, Rig, outcomes, random_source

FOLLOWERS = [2, 4]
LEADERS = [1, 3]
STEPS = 600


class Storm:
    """One seed's story; the newest leader offers its newest snapshot, as its core would ask it to."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.rig = Rig(leaders=LEADERS, followers=FOLLOWERS)
        self.term = 1
        self.leader = 1
        self.source = random_source(self.random)
        self.sources = {self.source.snapshot_id: self.source}

    def step(self) -> None:
        rig, chance = self.rig, self.random.random
        for (sender, to), link in self.rig.links.items():
            if link.frames and chance() < 0.7:
                place = self.random.randrange(len(link.frames))
                if chance() < 0.15:
                    link.frames.insert(0, link.frames[place])  # twice
                    place += 1
                if chance() < 0.15:
                    del link.frames[place]
                else:
                    rig.deliver(sender, to, place)
            if chance() < 0.01:
                link.frames.clear()
                link.is_up = not link.is_up
        for leader in LEADERS:
            rig.read(leader, self.random.randrange(3))
        for disk in rig.disks.values():
            disk.work(self.random.randrange(3))
        if chance() < 0.3:
            rig.pass_time()
        if chance() < 0.3:
            self.offer()
        if chance() < 0.02:
            self.change()
        rig.check_bounds()

    def change(self) -> None:
        """Something that happens once in a while."""
        what = self.random.choice(("follower", "leader", "snapshot", "gone", "withdrawn", "flip"))
        if what == "follower":
            self.rig.start_follower(self.random.choice(FOLLOWERS))
        elif what == "leader":
            self.rig.senders[self.leader].withdraw_all()
            self.term += 1
            self.leader = self.random.choice(LEADERS)
            self.rig.start_leader(self.leader)
            if self.random.random() < 0.5:
                self.new_snapshot()
        elif what == "snapshot":
            self.new_snapshot()
        elif what == "gone":
            self.source.is_gone = True
            self.new_snapshot()
        elif what == "withdrawn":
            self.rig.senders[self.leader].withdraw(self.random.choice(FOLLOWERS))
        elif incomings := [each for disk in self.rig.disks.values() for each in disk.incoming.values()]:
            incoming = self.random.choice(incomings)
            data = incoming.data[self.random.choice(list(incoming.data))]
            if data and not incoming.is_complete:
                data[self.random.randrange(len(data))] ^= 1

    def new_snapshot(self) -> None:
        self.source = random_source(self.random)
        self.sources[self.source.snapshot_id] = self.source

    def offer(self) -> None:
        for follower in FOLLOWERS:
            self.rig.senders[self.leader].offer(follower, self.source, term=self.term, now_ns=self.rig.now_ns)

    def has_newest(self, follower: int) -> bool:
        return any(offer.snapshot_id == self.source.snapshot_id for offer in self.rig.completed[follower])


@pytest.mark.parametrize("seed", range(150))
def test_every_transfer_ends_and_brings_the_same_bytes(seed: int) -> None:
    """Lost, repeated and reordered frames, broken links, killed processes, newer offers, other leaders."""
    storm = Storm(seed)
    rig = storm.rig
    for _ in range(STEPS):
        storm.step()
    # The links hold from now on; a follower that has not got the newest one yet is offered it.
    for link in rig.links.values():
        link.is_up = True
    for _ in range(3 * LIMITS.abandon_ms * MS // TICK_NS):
        if all(map(storm.has_newest, FOLLOWERS)):
            break
        for follower in FOLLOWERS:
            if not storm.has_newest(follower):
                rig.senders[storm.leader].offer(follower, storm.source, term=storm.term, now_ns=rig.now_ns)
        rig.pass_time()
        rig.settle()
        rig.check_bounds()
    assert all(map(storm.has_newest, FOLLOWERS)), f"seed {seed}: nothing more happens"
    for follower in FOLLOWERS:
        for offer in rig.completed[follower]:
            assert rig.disks[follower].incoming[offer.snapshot_id].files == (
                storm.sources[offer.snapshot_id].files
            )
    # And nothing is left of any of them, at either end.
    rig.pass_time(2 * LIMITS.abandon_ms * MS // TICK_NS)
    rig.settle()
    assert [sender.progress() for sender in rig.senders.values()] == [[], []]
    assert [receiver.progress() for receiver in rig.receivers.values()] == [None, None]


def test_a_transfer_is_seen_at_both_ends_while_it_runs() -> None:
    """RAFT INFO: bytes done of all."""
    rig = Rig(leaders=[1], followers=[2])
    source = random_source(random.Random(1), files=20)
    began_ns = rig.now_ns
    rig.senders[1].offer(2, source, term=1, now_ns=began_ns)
    seen: list[tuple[int, int]] = []
    while not rig.completed[2]:
        for sender, to in ((1, 2), (2, 1)):
            if rig.links[sender, to].frames:
                rig.deliver(sender, to)
        rig.read(1)
        rig.disks[2].work()
        progress = rig.receivers[2].progress()
        (told,) = rig.senders[1].progress()
        if progress is not None:
            assert (progress.node_id, told.node_id, told.started_ns) == (1, 2, began_ns)
            assert told.snapshot_id == progress.snapshot_id == source.snapshot_id
            assert told.bytes_total == source.bytes_total
            seen.append((progress.bytes_done, told.bytes_done))
    assert seen == sorted(seen)
    assert all(told <= done for done, told in seen)
    assert seen[-1][0] == source.bytes_total
    rig.settle()
    assert rig.senders[1].progress() == []
    assert outcomes(rig.ended[1]) == [Outcome.DONE]


def test_a_snapshot_of_empty_files_or_none_is_one_too() -> None:
    """Nothing is asked for; it is verified all the same."""
    for files in ({}, {"a": b""}):
        rig = Rig(leaders=[1], followers=[2])
        rig.senders[1].offer(2, MemorySource(files), term=1, now_ns=rig.now_ns)
        rig.settle()
        assert outcomes(rig.ended[1]) == [Outcome.DONE]
        assert rig.disks[2].log == ["open", "finish"]
