"""Frames: what goes in comes out, however it is cut, and nothing else comes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.raft.types import ProtocolError
from raftkv.transport.frames import (
    CHUNK_BYTES_MAX,
    HEADER_BYTES,
    HELLO,
    MESSAGES,
    MORE,
    PREAMBLE,
    QUESTION,
    FrameReader,
    encode_frame,
    frame_header,
    pack_length,
    split_messages,
)

Frames = list[tuple[int, int, bytes]]


def read(reader: FrameReader, data: bytes) -> Frames:
    return [(frame.kind, frame.group_id, bytes(frame.body)) for frame in reader.feed(data)]


def new_reader(frame_bytes_max: int = 1000) -> FrameReader:
    return FrameReader(frame_bytes_max=frame_bytes_max)


def greeted_reader(frame_bytes_max: int = 1000) -> FrameReader:
    reader = new_reader(frame_bytes_max)
    assert read(reader, PREAMBLE) == []
    return reader


def test_a_frame_is_its_header_and_its_body() -> None:
    """The diagram in `frames`."""
    frame = encode_frame(MESSAGES, b"abc", group_id=7)
    assert frame[:9] == b"\x00\x00\x00\x03" + b"\x05" + b"\x00\x00\x00\x07"
    assert frame[HEADER_BYTES:] == b"abc"
    assert read(greeted_reader(), frame) == [(MESSAGES, 7, b"abc")]


@given(
    bodies=st.lists(
        st.tuples(st.sampled_from([HELLO, QUESTION, MESSAGES]), st.binary(max_size=60)), max_size=6
    ),
    data=st.data(),
)
def test_frames_come_out_however_the_stream_is_cut(
    bodies: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    """TCP keeps no borders."""
    stream = PREAMBLE + b"".join(encode_frame(kind, body, group_id=3) for kind, body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader = new_reader()
    found: Frames = []
    for first, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += read(reader, stream[first:end])
    assert found == [(kind, 3, body) for kind, body in bodies]
    assert reader.held_bytes == 0


def test_frames_come_out_byte_by_byte() -> None:
    """The worst cut of all."""
    reader = new_reader()
    stream = PREAMBLE + encode_frame(HELLO, b"x" * 20) + encode_frame(MESSAGES, b"", group_id=1)
    found = [frame for byte in stream for frame in read(reader, bytes([byte]))]
    assert found == [(HELLO, 0, b"x" * 20), (MESSAGES, 1, b"")]


def test_an_unfinished_frame_is_gathered_in_one_buffer() -> None:
    """Else many small reads of a large frame would copy it again and again."""
    reader = greeted_reader(CHUNK_BYTES_MAX)
    frame = encode_frame(MESSAGES, bytes(100_000))
    assert read(reader, frame[:50]) == []
    gathered = reader._held
    for pos in range(50, 90_000, 1000):
        assert read(reader, frame[pos : pos + 1000]) == []
        assert reader._held is gathered


def test_pieces_are_put_together() -> None:
    """The diagram in `frames`: all but the last piece have the MORE bit."""
    reader = greeted_reader()
    assert read(reader, encode_frame(MESSAGES | MORE, b"one ", group_id=2)) == []
    assert read(reader, encode_frame(MESSAGES | MORE, b"two ", group_id=2)) == []
    assert reader.held_bytes == 8
    assert read(reader, encode_frame(MESSAGES, b"three", group_id=2)) == [(MESSAGES, 2, b"one two three")]
    assert read(reader, encode_frame(MESSAGES, b"next", group_id=1)) == [(MESSAGES, 1, b"next")]


@pytest.mark.parametrize(
    "second", [encode_frame(MESSAGES, b"b", group_id=3), encode_frame(HELLO | MORE, b"b", group_id=2)]
)
def test_pieces_of_two_bodies_do_not_mix(second: bytes) -> None:
    """The module's docstring."""
    reader = greeted_reader()
    read(reader, encode_frame(MESSAGES | MORE, b"a", group_id=2))
    with pytest.raises(ProtocolError, match="begins inside another"):
        read(reader, second)


def test_a_body_of_the_allowed_size_passes_and_one_more_byte_does_not() -> None:
    """`frame_bytes_max` counts all pieces."""
    reader = greeted_reader(frame_bytes_max=10)
    read(reader, encode_frame(MESSAGES | MORE, b"x" * 6))
    assert read(reader, encode_frame(MESSAGES, b"y" * 4)) == [(MESSAGES, 0, b"xxxxxxyyyy")]
    read(reader, encode_frame(MESSAGES | MORE, b"x" * 6))
    with pytest.raises(ProtocolError, match="above 10 bytes"):
        read(reader, encode_frame(MESSAGES, b"y" * 5))


def test_a_too_long_piece_is_refused_before_its_bytes_are_waited_for() -> None:
    """The module's invariant."""
    header = frame_header(MESSAGES, 0, [bytes(CHUNK_BYTES_MAX + 1)])
    with pytest.raises(ProtocolError, match="a piece of 262145 bytes"):
        read(greeted_reader(frame_bytes_max=1 << 30), header)


def test_a_single_piece_above_the_frame_limit_is_refused() -> None:
    """A peer that has not said who it is gets no room for large frames."""
    with pytest.raises(ProtocolError, match="above 1000 bytes"):
        read(greeted_reader(), encode_frame(HELLO, bytes(1001)))


def test_an_unknown_kind_is_refused_at_its_header() -> None:
    """A later version's frames come with a later version's preamble."""
    with pytest.raises(ProtocolError, match="unknown frame kind 99"):
        read(greeted_reader(), frame_header(99, 0, [b"abc"]))


@pytest.mark.parametrize("pos", range(HEADER_BYTES + 3))
def test_each_flipped_bit_is_noticed(pos: int) -> None:
    """The checksum covers header and body."""
    for bit in range(8):
        frame = bytearray(encode_frame(MESSAGES, b"abc", group_id=7))
        frame[pos] ^= 1 << bit
        with pytest.raises(ProtocolError):
            # A length that grew is noticed once enough follows.
            assert read(greeted_reader(1 << 20), bytes(frame) + bytes(CHUNK_BYTES_MAX)) == []


def test_good_frames_before_garbage_come_out_first() -> None:
    """What a peer said before it went wrong is good."""
    frames = greeted_reader().feed(encode_frame(MESSAGES, b"good") + b"\xff" * 40)
    assert bytes(next(frames).body) == b"good"
    with pytest.raises(ProtocolError):
        next(frames)


@pytest.mark.parametrize("stream", [b"*1\r\n$4\r\nPING\r\n", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"rafX"])
def test_another_protocol_is_named_at_its_first_bytes(stream: bytes) -> None:
    """Somebody pointed a client at the peer port."""
    with pytest.raises(ProtocolError, match="no raftkv peer"):
        read(new_reader(), stream)


def test_another_version_is_named() -> None:
    """A cluster in the middle of an upgrade says so in its logs."""
    with pytest.raises(ProtocolError, match=r"speaks version 9 .* this node 2"):
        read(new_reader(), b"raftkv\x00\x09")


@given(st.binary(max_size=300), st.booleans())
def test_garbage_raises_nothing_but_protocol_error(garbage: bytes, has_preamble: bool) -> None:
    """STYLE 7: a peer's garbage closes its connection, nothing more."""
    reader = new_reader()
    try:
        read(reader, PREAMBLE * has_preamble + garbage)
    except ProtocolError:
        return
    assert reader.held_bytes <= len(PREAMBLE) + len(garbage)


def read_all(chunks: list[bytes]) -> tuple[Frames, str]:
    """The frames that chunks give, up to the first wrong byte, and what was wrong with it."""
    reader = new_reader()
    found: Frames = []
    fed_bytes = 0
    try:
        for chunk in chunks:
            fed_bytes += len(chunk)
            for frame in reader.feed(chunk):
                found.append((frame.kind, frame.group_id, bytes(frame.body)))
            assert reader.held_bytes <= fed_bytes
    except ProtocolError as error:
        return found, str(error)
    return found, ""


@given(
    pieces=st.lists(
        st.tuples(st.sampled_from([HELLO, QUESTION, MESSAGES, MESSAGES | MORE]), st.binary(max_size=40)),
        max_size=6,
    ),
    place=st.integers(0, 400),
    bit=st.integers(0, 8),
    data=st.data(),
)
def test_spoiled_frames_are_read_alike_however_they_are_cut(
    pieces: list[tuple[int, bytes]], place: int, bit: int, data: st.DataObject
) -> None:
    """A refusal depends on the bytes, not on how they came."""
    stream = bytearray(PREAMBLE + b"".join(encode_frame(kind, body) for kind, body in pieces))
    if bit < 8:
        stream[place % len(stream)] ^= 1 << bit
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    chunks = [bytes(stream[first:end]) for first, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = read_all([bytes(stream)])
    assert read_all(chunks) == whole
    assert read_all([bytes([byte]) for byte in stream]) == whole


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_messages_of_a_body_come_out_in_order(messages: list[bytes]) -> None:
    """The diagram in `frames`."""
    body = b"".join(pack_length(len(message)) + message for message in messages)
    assert [bytes(message) for message in split_messages(memoryview(body))] == messages


@pytest.mark.parametrize("rest", [b"\x00", b"\x00\x00\x00\x05abcd", b"\xff\xff\xff\xff"])
def test_a_message_that_leaves_its_body_is_refused_after_the_good_ones(rest: bytes) -> None:
    """The checksum says that the peer meant it: it is no correct peer."""
    messages = split_messages(memoryview(pack_length(2) + b"ok" + rest))
    assert bytes(next(messages)) == b"ok"
    with pytest.raises(ProtocolError):
        next(messages)
