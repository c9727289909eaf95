"""The follower's end of snapshot transfers, step by step."""

from __future__ import annotations

import pytest

from raftkv.config import Config
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
    make_chunk,
)
from raftkv.node.snapshot_transfer import TransferLimits, transfer_limits
from raftkv.raft.types import ProtocolError
from tests.node.snapshot_rig import LIMITS, MS, TICK_NS, MemorySource, Rig

SOURCE = MemorySource({"a": bytes(range(200)), "b": b"x" * 170})
OTHER = MemorySource({"c": b"y" * 10})
SILENCE_TICKS = LIMITS.silence_ms * MS // TICK_NS
ABANDON_TICKS = LIMITS.abandon_ms * MS // TICK_NS


def an_offer(
    of: MemorySource = SOURCE,
    *,
    term: int = 1,
    leader: int = 1,
    number: int = 1,
    rate: int = 0,
    window: int = 100,
    chunk: int = 1000,
) -> Offer:
    return Offer(of.snapshot_id, term, leader, number, rate, window, chunk, of.manifest)


class Follower:
    """Node 2, and what it says to the leaders 1 and 3."""

    def __init__(self) -> None:
        self.rig = Rig(leaders=[1, 3], followers=[2])
        for leader in (1, 3):
            self.rig.links[2, leader].frames_max = 1000
        self.disk = self.rig.disks[2]

    @property
    def receiver(self):  # type: ignore[no-untyped-def]
        return self.rig.receivers[2]

    def hear(self, message: SnapshotMessage, leader: int = 1) -> None:
        self.rig.hand_over(leader, 2, message)

    def said(self, to: int = 1) -> list[SnapshotMessage]:
        link = self.rig.links[2, to]
        frames, link.frames = link.frames, []
        return [decode(frame) for frame in frames]

    def wants(self, to: int = 1) -> list[tuple[str, int, int]]:
        return [(each.name, each.offset, each.length) for each in self.said(to) if isinstance(each, Want)]

    def fetching(self, offer: Offer | None = None) -> list[tuple[str, int, int]]:
        """Take an offer and open it; give what is asked for."""
        offer = offer or an_offer()
        self.hear(offer, offer.leader_id)
        self.disk.work()
        return self.wants(offer.leader_id)

    def answer(self, name: str, offset: int, length: int = 64, *, of: MemorySource = SOURCE) -> None:
        self.hear(make_chunk(of.snapshot_id, name, offset, of.read_chunk(name, offset, length)))

    def answer_all(self, of: MemorySource = SOURCE) -> None:
        """Give whatever is asked for, until nothing is any more."""
        wants = self.wants()
        while wants:
            for name, offset, length in wants:
                self.answer(name, offset, length, of=of)
            self.disk.work(len(wants))
            wants = self.wants()


def test_an_offer_is_opened_and_a_window_of_chunks_asked_for() -> None:
    """The receiver pulls; its leader knows at once that it has heard."""
    follower = Follower()
    follower.hear(an_offer())
    assert follower.said() == [Holding(SOURCE.snapshot_id, 0)]
    assert follower.disk.log == ["open"]
    follower.disk.work()
    assert follower.wants() == [("a", 0, 64), ("a", 64, 64), ("a", 128, 64), ("a", 192, 8)]


def test_a_chunk_is_written_and_makes_room_for_the_next_once_it_is_on_the_disk() -> None:
    """A slow disk slows the transfer down instead of filling the memory."""
    follower = Follower()
    follower.fetching()
    follower.answer("a", 64)
    assert follower.disk.log[-1] == "write a 64+64"
    assert follower.said() == []
    follower.disk.work()
    assert follower.said() == [Want(SOURCE.snapshot_id, "b", 0, 64, 64)]
    progress = follower.receiver.progress()
    assert (progress.bytes_done, progress.bytes_total, progress.chunks_open) == (64, 370, 4)


@pytest.mark.parametrize(("window", "chunk", "wants"), [(2, 1000, [64, 64]), (100, 50, [50] * 4)])
def test_the_leaders_limits_count_too(window: int, chunk: int, wants: list[int]) -> None:
    """It would refuse what is larger."""
    found = Follower().fetching(an_offer(window=window, chunk=chunk))
    assert [length for _, _, length in found] == wants


def test_when_all_is_written_it_is_verified_and_then_complete() -> None:
    """Done means durable."""
    follower = Follower()
    follower.hear(an_offer())
    follower.disk.work()
    follower.answer_all()
    assert follower.disk.log[-1] == "finish"
    assert follower.rig.completed[2] == []
    follower.disk.work()
    assert follower.said() == [Done(SOURCE.snapshot_id)]
    assert follower.rig.completed[2] == [an_offer()]
    assert follower.disk.incoming[SOURCE.snapshot_id].files == SOURCE.files
    assert follower.receiver.progress() is None


def test_nothing_is_verified_before_it_is_written() -> None:
    """The order of the disk's work is the receiver's, too."""
    follower = Follower()
    follower.fetching(an_offer(OTHER, chunk=5))
    follower.answer("c", 0, 5, of=OTHER)
    follower.answer("c", 5, 5, of=OTHER)
    follower.disk.work()
    assert "finish" not in follower.disk.log
    follower.disk.work()
    assert follower.disk.log[-1] == "finish"


def test_done_is_said_again_to_a_repeated_offer_but_a_newer_one_is_opened_again() -> None:
    """Done was lost; or what came of the snapshot failed, and the leader's core asks once more."""
    follower = Follower()
    follower.hear(an_offer())
    follower.disk.work()
    follower.answer_all()
    follower.disk.work()
    follower.said()
    follower.hear(an_offer())
    assert follower.said() == [Done(SOURCE.snapshot_id)]
    assert len(follower.rig.completed[2]) == 1
    follower.hear(an_offer(number=2))
    follower.disk.work(9)
    assert [type(each) for each in follower.said()] == [Holding, Done]
    assert len(follower.rig.completed[2]) == 2


def test_only_what_is_missing_is_asked_for() -> None:
    """After a broken link, or the end of the process: what was written is kept."""
    follower = Follower()
    follower.fetching()
    follower.answer("a", 64)
    follower.answer("a", 192, 8)
    follower.disk.work(2)
    follower.rig.start_follower(2)
    follower.said()
    assert follower.fetching() == [("a", 0, 64), ("a", 128, 64), ("b", 0, 64), ("b", 64, 64)]
    assert follower.receiver.progress().bytes_done == 72


def test_a_chunk_that_nobody_asked_for_is_ignored() -> None:
    """Repeated, late, of another snapshot, or made up."""
    follower = Follower()
    follower.answer("a", 0)
    follower.fetching()
    follower.answer("a", 0)
    follower.answer("a", 0)
    follower.disk.work()
    follower.answer("a", 0)
    follower.answer("b", 64)
    follower.answer("c", 0, 10, of=OTHER)
    assert [each for each in follower.disk.log if each.startswith("write")] == ["write a 0+64"]


def test_a_damaged_chunk_is_not_written_and_asked_for_again_after_a_while() -> None:
    """Not at once: a leader whose memory is broken would be asked as fast as the link goes."""
    follower = Follower()
    follower.fetching()
    good = make_chunk(SOURCE.snapshot_id, "a", 0, SOURCE.read_chunk("a", 0, 64))
    follower.hear(Chunk(good.snapshot_id, "a", 0, good.checksum ^ 1, good.data))
    follower.hear(make_chunk(SOURCE.snapshot_id, "a", 0, b"short"))
    assert follower.receiver.damaged_chunks == 2
    assert follower.disk.log == ["open"]
    assert follower.said() == []
    follower.rig.pass_time(SILENCE_TICKS)
    assert ("a", 0, 64) in follower.wants()
    follower.answer("a", 0)
    assert follower.disk.log[-1] == "write a 0+64"


def test_what_does_not_come_is_asked_for_again_less_and_less_often() -> None:
    """A question or its answer was lost; or the leader is slow."""
    follower = Follower()
    asked = follower.fetching()
    ticks = []
    for tick in range(1, ABANDON_TICKS):
        follower.rig.pass_time()
        if wants := follower.wants():
            assert wants == asked
            ticks.append(tick)
    assert ticks == [SILENCE_TICKS * each for each in (1, 3, 7, 15)]


def test_a_slow_rate_is_waited_for() -> None:
    """A whole window of four chunks of 64 bytes takes 0.4 s at 640 bytes a second, and 0.1 s of silence."""
    follower = Follower()
    follower.fetching(an_offer(rate=640, chunk=64))
    follower.rig.pass_time(49)
    assert follower.wants() == []
    follower.rig.pass_time(1)
    assert len(follower.wants()) == 4


def test_a_link_that_takes_nothing_is_tried_at_every_tick() -> None:
    """It may have just broken."""
    follower = Follower()
    follower.hear(an_offer())
    link = follower.rig.links[2, 1]
    link.is_up = False
    follower.disk.work()
    follower.rig.pass_time(3)
    link.is_up = True
    follower.said()
    follower.rig.pass_time()
    assert len(follower.wants()) == 4


def test_a_leader_that_is_silent_for_too_long_is_given_up() -> None:
    """What was written is kept; its next offer goes on with it."""
    follower = Follower()
    follower.fetching()
    follower.answer("a", 0)
    follower.disk.work()
    follower.rig.pass_time(ABANDON_TICKS - 1)
    assert follower.receiver.progress() is not None
    follower.rig.pass_time(1)
    assert follower.receiver.progress() is None
    assert follower.disk.log[-1] == "close"
    assert follower.receiver.last_failure == "nothing was heard of node 1"
    assert ("a", 0, 64) not in follower.fetching()


def test_a_disk_that_takes_its_time_is_no_silence_of_the_leader() -> None:
    """Nothing is asked for meanwhile; the leader hears that this node is at it when it offers again."""
    follower = Follower()
    for name, offset, length in follower.fetching():
        follower.answer(name, offset, length)
    follower.hear(an_offer())
    assert follower.said() == [Holding(SOURCE.snapshot_id, 0)]
    follower.rig.pass_time(2 * ABANDON_TICKS)
    follower.disk.work(4)
    assert len(follower.wants()) == 3
    follower.rig.pass_time()
    assert follower.receiver.progress() is not None


def test_an_opening_that_takes_its_time_is_no_silence_of_the_leader() -> None:
    """What an older transfer left is verified then."""
    follower = Follower()
    follower.hear(an_offer())
    follower.rig.pass_time(2 * ABANDON_TICKS)
    follower.disk.work()
    follower.rig.pass_time()
    assert follower.receiver.progress() is not None


def test_a_chunk_that_comes_makes_the_pauses_short_again() -> None:
    """The leader is there."""
    follower = Follower()
    follower.fetching()
    follower.rig.pass_time(SILENCE_TICKS)
    assert len(follower.wants()) == 4
    follower.answer("a", 0)
    follower.rig.pass_time(SILENCE_TICKS)
    assert len(follower.wants()) == 3


def test_a_newer_offer_replaces_a_transfer_once_the_disk_has_answered_it() -> None:
    """So that never more than a window is kept, however often the leader changes its mind."""
    follower = Follower()
    follower.fetching()
    follower.answer("a", 0)
    follower.answer("a", 64)
    for number in (2, 3, 4):
        follower.hear(an_offer(OTHER, number=number))
    assert follower.disk.log[-1] == "close"
    assert follower.said() == [Holding(OTHER.snapshot_id, 0)] * 3
    follower.disk.work()
    assert follower.receiver.progress() is None
    follower.disk.work()
    assert follower.disk.log[-1] == "open"
    follower.disk.work()
    assert follower.wants() == [("c", 0, 10)]


def test_an_offer_that_comes_late_is_ignored() -> None:
    """Of an older term, or an earlier one of the same leader."""
    follower = Follower()
    follower.fetching(an_offer(term=5, number=3))
    follower.hear(an_offer(OTHER, term=5, number=2))
    follower.hear(an_offer(OTHER, term=4, number=9, leader=3), leader=3)
    assert follower.said() == follower.said(3) == []
    assert follower.receiver.progress().snapshot_id == SOURCE.snapshot_id


def test_the_next_leader_with_the_same_snapshot_is_asked_for_the_rest() -> None:
    """What was asked of the older one may never come."""
    follower = Follower()
    asked = follower.fetching()
    follower.hear(an_offer(term=2, leader=3), leader=3)
    assert follower.wants(3) == asked
    assert follower.disk.log == ["open"]


def test_an_offer_in_another_nodes_name_raises() -> None:
    """STYLE 7."""
    with pytest.raises(ProtocolError, match="node 3 offers a snapshot as node 1"):
        Follower().hear(an_offer(), leader=3)


def test_a_refusal_of_the_leader_stops_the_transfer() -> None:
    """Of its leader, for this snapshot; the same offer begins it again."""
    follower = Follower()
    follower.fetching()
    follower.hear(Refuse(OTHER.snapshot_id, "gone"))
    follower.hear(Refuse(SOURCE.snapshot_id, "gone"), leader=3)
    assert follower.receiver.progress() is not None
    follower.hear(Refuse(SOURCE.snapshot_id, "gone"))
    assert follower.receiver.progress() is None
    assert follower.receiver.last_failure == "gone"
    assert len(follower.fetching()) == 4


def test_a_snapshot_that_is_not_wanted_is_declined() -> None:
    """It is older than what this node has, or can't be read."""
    follower = Follower()
    follower.disk.unwanted.add(SOURCE.snapshot_id)
    follower.hear(an_offer())
    follower.disk.work()
    assert follower.said()[-1] == Decline(SOURCE.snapshot_id, "not wanted")
    assert follower.receiver.progress() is None


def test_files_that_are_damaged_on_the_disk_are_asked_for_again_and_not_forever() -> None:
    """A leader whose file is damaged would send it so every time."""
    follower = Follower()
    broken = MemorySource(dict(SOURCE.files))
    broken.files = {**SOURCE.files, "b": b"z" * 170}
    follower.hear(an_offer())
    for _ in range(3):
        follower.disk.work()
        follower.answer_all(broken)
        assert follower.receiver.progress() is not None
    follower.disk.work()
    assert follower.receiver.progress() is None
    assert follower.said()[-1] == Decline(SOURCE.snapshot_id, "files arrived damaged 3 times")
    assert follower.disk.log.count("finish") == 3
    assert follower.disk.log.count("write a 0+64") == 1
    assert follower.disk.log.count("write b 0+64") == 3
    assert follower.receiver.last_failure == "files arrived damaged 3 times"


def test_a_cancelled_transfer_leaves_its_files() -> None:
    """The node stops, or has caught up otherwise."""
    follower = Follower()
    follower.fetching()
    follower.answer("a", 0)
    follower.hear(an_offer(OTHER, number=2))
    follower.receiver.cancel()
    follower.disk.work(9)
    assert follower.receiver.progress() is None
    assert follower.disk.open_ids == []
    assert set(follower.disk.incoming) == {SOURCE.snapshot_id}


def test_the_limits_are_the_settings() -> None:
    """What isn't set is what the transfers were made for."""
    assert transfer_limits(Config()) == TransferLimits()
    config = Config(snapshot_window_chunks=3, snapshot_chunk_bytes=4096, snapshot_rate_bytes_max=0)
    assert transfer_limits(config) == TransferLimits(window_chunks=3, chunk_bytes=4096, rate_bytes=0)
