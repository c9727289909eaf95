"""The outbox: order, bounds, shared frames and pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.transport.frames import HEADER_BYTES, LENGTH_BYTES, PREAMBLE, FrameReader, split_messages
from raftkv.transport.outbox import Outbox

CHUNK = 64
FRAME_MAX = 1000


def new_outbox(queue_bytes_max: int = 10_000) -> Outbox:
    return Outbox(queue_bytes_max=queue_bytes_max, chunk_bytes=CHUNK, frame_bytes_max=FRAME_MAX)


def take_all(outbox: Outbox) -> list[bytes]:
    taken = []
    while data := outbox.take():
        taken.append(data)
    return taken


def read_back(stream: bytes) -> list[list[tuple[int, bytes]]]:
    """The frames of a stream, each as its (group id, message) pairs."""
    reader = FrameReader(frame_bytes_max=FRAME_MAX)
    return [
        [(frame.group_id, bytes(message)) for message in split_messages(frame.body)]
        for frame in reader.feed(PREAMBLE + stream)
    ]


def test_messages_of_one_group_share_a_frame() -> None:
    """DESIGN.md: framing is paid once per turn."""
    outbox = new_outbox()
    for message in (b"a", b"bb", b"ccc"):
        assert outbox.add(5, message)
    assert len(outbox) == 3
    assert outbox.queued_bytes == 6
    assert read_back(outbox.take()) == [[(5, b"a"), (5, b"bb"), (5, b"ccc")]]
    assert (len(outbox), outbox.queued_bytes, outbox.take()) == (0, 0, b"")


def test_frames_of_several_groups_leave_in_one_write() -> None:
    """One write per peer, channel and turn carries all groups' messages."""
    outbox = new_outbox()
    for group_id, message in ((1, b"a"), (1, b"b"), (2, b"c"), (1, b"d")):
        outbox.add(group_id, message)
    assert read_back(outbox.take()) == [[(1, b"a"), (1, b"b")], [(2, b"c")], [(1, b"d")]]


def test_a_large_message_leaves_in_pieces_between_its_neighbours() -> None:
    """A large entry must not cost its whole copy at once."""
    outbox = new_outbox()
    large = bytes(range(256)) * 2
    for message in (b"before", large, b"after"):
        outbox.add(0, message)
    writes = take_all(outbox)
    assert len(writes) > 4
    assert max(map(len, writes)) < 2 * (CHUNK + HEADER_BYTES)
    assert read_back(b"".join(writes)) == [[(0, b"before")], [(0, large)], [(0, b"after")]]


def test_a_full_queue_drops_the_newest_message() -> None:
    """Raft sends again; what was queued keeps its order."""
    outbox = new_outbox(queue_bytes_max=10)
    assert outbox.add(0, b"x" * 6)
    assert not outbox.add(0, b"y" * 5)
    assert outbox.add(0, b"z" * 4)
    assert read_back(outbox.take()) == [[(0, b"x" * 6), (0, b"z" * 4)]]


def test_a_message_above_the_queue_limit_travels_alone() -> None:
    """Else its follower would never get it."""
    outbox = new_outbox(queue_bytes_max=10)
    assert outbox.add(0, b"x" * 50)
    assert not outbox.add(0, b"y")


def test_a_message_that_no_peer_would_take_is_dropped() -> None:
    """It would only make the peer close the connection, again and again."""
    outbox = new_outbox()
    largest = bytes(FRAME_MAX - LENGTH_BYTES)
    assert not outbox.is_too_large(largest)
    assert outbox.add(0, largest)
    assert outbox.is_too_large(largest + b"x")
    assert not outbox.add(0, largest + b"x")
    assert read_back(b"".join(take_all(outbox))) == [[(0, largest)]]


@pytest.mark.parametrize("size", range(CHUNK - LENGTH_BYTES - 1, CHUNK - LENGTH_BYTES + 3))
def test_a_message_around_the_chunk_size_survives(size: int) -> None:
    """The border between one frame and pieces."""
    outbox = new_outbox()
    outbox.add(0, b"m" * size)
    assert read_back(b"".join(take_all(outbox))) == [[(0, b"m" * size)]]


@given(st.lists(st.tuples(st.integers(0, 2), st.binary(min_size=1, max_size=300)), max_size=12), st.data())
def test_everything_queued_comes_out_once_and_in_order(
    messages: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    """Whatever the sizes and however adding and taking alternate."""
    outbox = new_outbox()
    stream = b""
    for group_id, message in messages:
        assert outbox.add(group_id, message)
        if data.draw(st.booleans()):
            stream += outbox.take()
    stream += b"".join(take_all(outbox))
    assert [pair for frame in read_back(stream) for pair in frame] == messages
    assert outbox.queued_bytes == 0
