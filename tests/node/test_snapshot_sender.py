"""The leader's end of snapshot transfers, step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftkv.node.snapshot_messages import Decline, Done, Holding, Offer, Refuse, Want, decode
from raftkv.node.snapshot_sender import Outcome
from raftkv.node.snapshot_transfer import TokenBucket
from raftkv.raft.types import ProtocolError
from tests.node.snapshot_rig import LIMITS, MS, TICK_NS, Link, MemorySource, Rig, outcomes

SOURCE = MemorySource({"a": bytes(range(200)), "b": b"x" * 70})
OTHER = MemorySource({"c": b"y" * 10})
SILENCE_TICKS = LIMITS.silence_ms * MS // TICK_NS
ABANDON_TICKS = LIMITS.abandon_ms * MS // TICK_NS


def offered(*, term: int = 1, **limits: int) -> Rig:
    rig = Rig(leaders=[1], followers=[2, 3], limits=replace(LIMITS, **limits))
    rig.senders[1].offer(2, SOURCE, term=term, now_ns=rig.now_ns)
    return rig


def link(rig: Rig, to: int = 2) -> Link:
    return rig.links[1, to]


def want(offset: int, length: int = 64, *, name: str = "a", done: int = 0, of: MemorySource = SOURCE) -> Want:
    return Want(of.snapshot_id, name, offset, length, done)


def sent(rig: Rig, to: int = 2) -> list[object]:
    """What waits on the link; it is taken off."""
    frames, link(rig, to).frames = link(rig, to).frames, []
    return [decode(frame) for frame in frames]


def kinds(rig: Rig, to: int = 2) -> list[str]:
    return [type(message).__name__ for message in sent(rig, to)]


def test_an_offer_says_what_the_follower_has_to_know() -> None:
    """Its window and chunks are no larger than what the leader would answer."""
    assert sent(offered(term=7)) == [Offer(SOURCE.snapshot_id, 7, 1, 1, 0, 4, 64, SOURCE.manifest)]


def test_an_offer_is_repeated_only_after_a_silence() -> None:
    """It may have been lost, or the follower started again."""
    rig = offered()
    assert kinds(rig) == ["Offer"]
    rig.pass_time(SILENCE_TICKS - 1)
    assert kinds(rig) == []
    rig.pass_time(1)
    assert kinds(rig) == ["Offer"]
    rig.pass_time(SILENCE_TICKS - 1)
    rig.hand_over(2, 1, Holding(SOURCE.snapshot_id, 5))
    rig.pass_time(SILENCE_TICKS - 1)
    assert kinds(rig) == []
    assert rig.senders[1].progress()[0].bytes_done == 5


def test_an_offer_that_the_link_did_not_take_is_tried_at_every_tick() -> None:
    """The follower may just be coming up."""
    rig = Rig(leaders=[1], followers=[2])
    link(rig).is_up = False
    rig.senders[1].offer(2, SOURCE, term=1, now_ns=rig.now_ns)
    rig.pass_time(3)
    link(rig).is_up = True
    rig.pass_time(2)
    assert kinds(rig) == ["Offer"]


def test_the_same_offer_again_changes_nothing() -> None:
    """A core asks for a snapshot in one Ready after the other."""
    rig = offered()
    rig.hand_over(2, 1, want(0, done=9))
    rig.senders[1].offer(2, SOURCE, term=1, now_ns=rig.now_ns)
    assert kinds(rig) == ["Offer"]
    assert rig.senders[1].progress()[0].bytes_done == 9


def test_a_newer_snapshot_or_term_replaces_the_offer() -> None:
    """Numbers grow: what comes late is known to be old."""
    rig = offered()
    rig.hand_over(2, 1, want(0))
    rig.senders[1].offer(2, OTHER, term=1, now_ns=rig.now_ns)
    rig.senders[1].offer(2, OTHER, term=2, now_ns=rig.now_ns)
    offers = [message for message in sent(rig) if isinstance(message, Offer)]
    assert [(each.snapshot_id, each.term, each.number) for each in offers] == [
        (SOURCE.snapshot_id, 1, 1),
        (OTHER.snapshot_id, 1, 2),
        (OTHER.snapshot_id, 2, 3),
    ]
    rig.read(1)  # the answer to an order of the first one
    assert sent(rig) == []
    rig.hand_over(2, 1, want(64))
    (refusal,) = sent(rig)
    assert isinstance(refusal, Refuse)


def test_a_want_is_answered_by_its_bytes() -> None:
    """The last one of a file is shorter."""
    rig = offered()
    sent(rig)
    for asked in (want(0), want(192, 8), want(0, 64, name="b")):
        rig.hand_over(2, 1, asked)
    rig.read(1, 3)
    assert [(each.name, each.offset, bytes(each.data), each.is_intact) for each in sent(rig)] == [  # type: ignore[attr-defined]
        ("a", 0, bytes(range(64)), True),
        ("a", 192, bytes(range(192, 200)), True),
        ("b", 0, b"x" * 64, True),
    ]


def test_a_want_that_came_twice_is_read_once() -> None:
    """Wherever the first one stands: waiting, being read, ready for the link."""
    rig = offered()
    sent(rig)
    link(rig).is_up = False
    for _ in range(2):
        rig.hand_over(2, 1, want(0))
    rig.read(1, 9)
    rig.hand_over(2, 1, want(0))
    assert not rig.reads[1]
    link(rig).is_up = True
    rig.pass_time()
    assert kinds(rig) == ["Chunk"]


def test_wants_above_the_window_are_left_to_be_asked_again() -> None:
    """STYLE 8: a follower can't make the leader keep more."""
    rig = Rig(leaders=[1], followers=[2])
    source = MemorySource({"a": bytes(10_000)})
    rig.senders[1].offer(2, source, term=1, now_ns=rig.now_ns)
    for count in range(100):
        rig.hand_over(2, 1, want(64 * count, of=source))
        rig.check_bounds()
    assert rig.senders[1].progress()[0].chunks_open == 8


def test_nothing_is_read_ahead_of_a_link_that_takes_nothing() -> None:
    """Memory of chunks is bounded, and comes with the link's room again."""
    rig = Rig(leaders=[1], followers=[2])
    link(rig).frames_max = 1
    source = MemorySource({"a": bytes(10_000)})
    rig.senders[1].offer(2, source, term=1, now_ns=rig.now_ns)
    for count in range(8):
        rig.hand_over(2, 1, want(64 * count, of=source))
    rig.read(1, 99)
    rig.pass_time(5)
    assert not rig.reads[1]
    assert rig.senders[1].progress()[0].chunks_open == 8
    for _ in range(9):
        assert len(sent(rig)) == 1
        rig.pass_time()
        rig.read(1, 99)
    assert rig.senders[1].progress()[0].chunks_open == 0


@pytest.mark.parametrize(
    "wrong",
    [
        want(0, name="nosuch"),
        want(0, name="../../etc/passwd"),
        want(0, 0),
        want(0, 65),
        want(190, 20),
        want(1 << 60, 10),
    ],
)
def test_a_want_that_no_follower_has_raises(wrong: Want) -> None:
    """STYLE 7: the connection is closed; names of files come from the snapshot alone."""
    rig = offered()
    with pytest.raises(ProtocolError, match="node 2 wants"):
        rig.hand_over(2, 1, wrong)
    assert not rig.reads[1]


def test_who_was_offered_nothing_is_refused() -> None:
    """It stops asking, and waits for an offer."""
    rig = offered()
    rig.hand_over(3, 1, want(0))
    (refusal,) = sent(rig, 3)
    assert refusal == Refuse(SOURCE.snapshot_id, "node 1 offers node 3 no such snapshot")
    rig.senders[1].withdraw(2)
    rig.hand_over(2, 1, want(0))
    assert kinds(rig) == ["Offer", "Refuse"]
    for late in (Done(SOURCE.snapshot_id), Holding(SOURCE.snapshot_id, 1), Decline(SOURCE.snapshot_id, "")):
        rig.hand_over(2, 1, late)
    assert sent(rig) == []
    assert rig.ended[1] == []


def test_a_snapshot_that_can_not_be_read_any_more_is_refused_and_ended() -> None:
    """The owner makes another one."""
    source = MemorySource({"a": b"abc"})
    rig = Rig(leaders=[1], followers=[2])
    rig.senders[1].offer(2, source, term=1, now_ns=rig.now_ns)
    rig.hand_over(2, 1, want(0, 2, of=source))
    rig.hand_over(2, 1, want(2, 1, of=source))
    source.is_gone = True
    rig.read(1, 2)
    assert kinds(rig) == ["Offer", "Refuse"]
    assert outcomes(rig.ended[1]) == [Outcome.UNREADABLE]


def test_the_end_of_a_transfer_is_told_once() -> None:
    """The owner removes the snapshot then."""
    rig = offered()
    for _ in range(2):
        rig.hand_over(2, 1, Done(SOURCE.snapshot_id))
    rig.senders[1].offer(3, SOURCE, term=1, now_ns=rig.now_ns)
    rig.hand_over(3, 1, Decline(SOURCE.snapshot_id, "no room"))
    assert [(each.to, each.outcome, each.reason) for each in rig.ended[1]] == [
        (2, Outcome.DONE, ""),
        (3, Outcome.DECLINED, "no room"),
    ]


def test_a_follower_that_is_silent_for_too_long_is_given_up() -> None:
    """A snapshot that is kept for nobody costs the disk."""
    rig = offered()
    rig.pass_time(ABANDON_TICKS - 1)
    assert rig.ended[1] == []
    rig.pass_time()
    assert outcomes(rig.ended[1]) == [Outcome.SILENT]
    assert rig.senders[1].progress() == []


def test_followers_take_turns() -> None:
    """One that asks for much does not keep the others waiting."""
    rig = offered()
    rig.senders[1].offer(3, SOURCE, term=1, now_ns=rig.now_ns)
    rig.senders[1]._bucket = TokenBucket(1)
    rig.senders[1]._bucket.is_open(rig.now_ns)
    rig.senders[1]._bucket.take(1)  # closed for nearly a second
    for follower in (2, 3):
        for place in (0, 64, 128):
            rig.hand_over(follower, 1, want(place))
    rig.senders[1]._bucket = TokenBucket(0)
    rig.pass_time()
    assert [order.to for order in rig.reads[1]] == [2, 3, 2, 3, 2, 3]


def test_the_rate_bounds_what_all_followers_get() -> None:
    """6400 bytes a second are a chunk in each tick, after the first burst."""
    rig = Rig(leaders=[1], followers=[2], limits=replace(LIMITS, rate_bytes=6400))
    link(rig).frames_max = 10_000
    source = MemorySource({"a": bytes(64_000)})
    rig.senders[1].offer(2, source, term=1, now_ns=rig.now_ns)
    sent(rig)
    place = chunks = 0
    for _ in range(200):
        while len(rig.senders[1]._transfers[2].wants) < 4:
            rig.hand_over(2, 1, want(place, of=source))
            place += 64
        rig.read(1, 99)
        chunks += len(sent(rig))
        rig.pass_time()
    assert 200 <= chunks <= 206


def test_a_follower_that_waits_for_the_rate_is_neither_given_up_nor_offered_anything_again() -> None:
    """It asks for the end of a snapshot, and hears a chunk in each second."""
    rig = offered(rate_bytes=64)
    sent(rig)
    for place in (0, 64, 128, 192):
        rig.hand_over(2, 1, want(place, min(64, 200 - place)))
    rig.read(1)
    ticks = 0
    while rig.senders[1].progress()[0].chunks_open:
        rig.pass_time()
        rig.read(1)
        ticks += 1
    assert ticks > ABANDON_TICKS
    assert kinds(rig) == ["Chunk"] * 4
    assert rig.ended[1] == []


def test_a_bucket_does_not_save_up_while_nothing_goes() -> None:
    """A transfer that begins after an hour begins with a short burst, too."""
    bucket = TokenBucket(1000)
    for now_ns in (0, 3_600_000 * MS):
        passed = 0
        while bucket.is_open(now_ns):
            bucket.take(10)
            passed += 10
        assert passed == 50


def test_a_bucket_lets_bursts_pass_and_keeps_the_average() -> None:
    """Chunks larger than a burst go too, and are owed."""
    bucket = TokenBucket(1000)
    now_ns = 0
    passed = 0
    for now_ns in range(0, 20_000 * MS, 5 * MS):
        if bucket.is_open(now_ns):
            bucket.take(700)
            passed += 700
    assert 20_000 <= passed <= 20_000 + 750
    assert not bucket.is_open(now_ns - 5 * MS)
    free = TokenBucket(0)
    free.take(1 << 60)
    assert free.is_open(0)
