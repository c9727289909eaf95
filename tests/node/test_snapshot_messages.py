"""The messages of snapshot transfers: what is encoded is decoded, and garbage is a ProtocolError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.node.snapshot_messages import (
    NAME_BYTES_MAX,
    REASON_CHARS_MAX,
    Chunk,
    Decline,
    Done,
    Holding,
    Offer,
    Refuse,
    SnapshotMessage,
    Want,
    decode,
    encode,
    make_chunk,
)
from raftkv.raft.types import ProtocolError

ID = bytes(range(16))

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
u32 = st.integers(0, (1 << 32) - 1)
u64 = st.integers(0, (1 << 64) - 1)
positive = st.integers(1, (1 << 32) - 1)
reasons = st.text(st.characters(categories=["L", "N"]), max_size=40)
messages: st.SearchStrategy[SnapshotMessage] = st.one_of(
    st.builds(Offer, st.just(ID), u64, positive, u32, u64, positive, positive, st.binary(max_size=80)),
    st.builds(Want, st.just(ID), names, u64, u32, u64),
    st.builds(make_chunk, st.just(ID), names, u64, st.binary(max_size=80)),
    st.builds(Holding, st.just(ID), u64),
    st.builds(Refuse, st.just(ID), reasons),
    st.builds(Decline, st.just(ID), reasons),
    st.just(Done(ID)),
)


@given(messages)
def test_every_message_comes_back_as_it_was(message: SnapshotMessage) -> None:
    """The table in `snapshot_messages`."""
    assert decode(encode(message)) == message


@given(messages, st.data())
def test_what_is_cut_or_spoiled_raises_nothing_but_protocol_error(
    message: SnapshotMessage, data: st.DataObject
) -> None:
    """STYLE 7: a peer's garbage."""
    body = bytearray(encode(message))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(0, 255))
    for spoiled in (bytes(body), bytes(body[: data.draw(st.integers(0, len(body)))])):
        try:
            decode(spoiled)
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "cut off"),
        (b"\x07" + ID[:15], "cut off"),
        (b"\x00" + ID, "unknown kind 0"),
        (b"\x63" + ID, "unknown kind 99"),
        (b"\x02" + ID + bytes(5), "can't be read"),
        (b"\x02" + ID + bytes(20), "a name of 0 bytes|name of 0 bytes"),
        (b"\x02" + ID + bytes(20) + b"\xff", "can't be read"),
        (b"\x02" + ID + bytes(20) + b"a" * (NAME_BYTES_MAX + 1), "name of 256 bytes"),
        (b"\x03" + ID + bytes(12) + b"\x05name", "ends within its name"),
        (b"\x07" + ID + b"?", "behind its end"),
        (encode(Offer(ID, 1, 1, 1, 0, 0, 1, b"")), "without a leader, a window"),
        (encode(Offer(ID, 1, 1, 1, 0, 1, 0, b"")), "without a leader, a window"),
        (encode(Offer(ID, 1, 0, 1, 0, 1, 1, b"")), "without a leader, a window"),
    ],
)
def test_garbage_is_named(body: bytes, reason: str) -> None:
    """The connection's log line says what was wrong."""
    with pytest.raises(ProtocolError, match=reason):
        decode(body)


def test_a_chunk_knows_whether_its_data_are_intact() -> None:
    """The checksum is made where the data were read."""
    chunk = make_chunk(ID, "a", 7, b"data")
    assert chunk.is_intact
    assert not Chunk(ID, "a", 7, chunk.checksum, b"dat4").is_intact


def test_a_reason_is_short_and_printable_in_the_log() -> None:
    """A peer's words must not forge log lines."""
    assert decode(encode(Refuse(ID, "a\nb"))) == Refuse(ID, "a?b")
    assert decode(encode(Decline(ID, "x" * 1000))) == Decline(ID, "x" * REASON_CHARS_MAX)
    assert decode(b"\x05" + ID + b"\xff") == Refuse(ID, "\N{REPLACEMENT CHARACTER}")
