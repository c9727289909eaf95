"""Rules of `raftkv.raft.codec`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.raft import (
    COMMAND,
    EMPTY,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryKind,
    Forward,
    Heartbeat,
    HeartbeatReply,
    Message,
    ProtocolError,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TransferRequest,
    decode,
    decode_entry,
    encode,
    encode_entry,
)

U64 = st.integers(min_value=0, max_value=2**64 - 1)
U32 = st.integers(min_value=0, max_value=2**32 - 1)
FLAG = st.booleans()
ENTRIES = st.builds(Entry, U64, U64, st.sampled_from(EntryKind), st.binary(max_size=40))
ENVELOPE = (U64, U32, U32)
APPENDS = st.builds(AppendEntries, *ENVELOPE, U64, U64, U64, U64, st.lists(ENTRIES, max_size=4))
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(RequestVote, *ENVELOPE, U64, U64, FLAG, FLAG),
    st.builds(RequestVoteReply, *ENVELOPE, FLAG, FLAG),
    APPENDS,
    st.builds(AppendEntriesReply, *ENVELOPE, U64, FLAG, U64, U64, U64),
    st.builds(Heartbeat, *ENVELOPE, U64, U64),
    st.builds(HeartbeatReply, *ENVELOPE, U64),
    st.builds(TimeoutNow, *ENVELOPE),
    st.builds(TransferRequest, *ENVELOPE),
    st.builds(Forward, *ENVELOPE, U64, U64, st.binary()),
    st.builds(ReadIndexRequest, *ENVELOPE, U64),
    st.builds(ReadIndexReply, *ENVELOPE, U64, U64, U64),
)


@given(MESSAGES)
def test_a_message_survives_the_wire(msg: Message) -> None:
    """Codec docstring: every kind, every field; from a slice of a larger buffer as well."""
    data = encode(msg)
    assert decode(data) == msg
    assert decode(memoryview(b"x" + data + b"y")[1:-1]) == msg


@given(ENTRIES)
def test_an_entry_survives_a_log_row(entry: Entry) -> None:
    """Codec docstring: the entry's layout."""
    decoded = decode_entry(memoryview(encode_entry(entry)))
    assert decoded == entry
    assert type(decoded.payload) is bytes
    assert type(decoded.kind) is EntryKind


@given(APPENDS)
def test_an_entry_is_the_same_bytes_on_the_wire_and_in_a_row(msg: AppendEntries) -> None:
    """DESIGN.md: the bytes made once by the leader are the bytes on the wire and in every log."""
    assert encode(msg).endswith(b"".join(encode_entry(entry) for entry in msg.entries))


def test_a_message_has_the_layout_of_the_diagram() -> None:
    """Codec docstring, drawn by hand: other versions of the program must read these bytes."""
    msg = AppendEntries(7, 1, 2, 5, 6, 4, 3, [Entry(7, 6, COMMAND, b"ab")])
    header = "03" + "0000000000000007" + "00000001" + "00000002"
    fields = "0000000000000005" + "0000000000000006" + "0000000000000004" + "0000000000000003" + "00000001"
    entry = "0000000000000007" + "0000000000000006" + "01" + "00000002" + "6162"
    assert encode(msg).hex() == header + fields + entry


@given(MESSAGES, st.data())
def test_a_cut_message_is_refused(msg: Message, data: st.DataObject) -> None:
    """STYLE.md 7: a peer's garbage is a ProtocolError."""
    encoded = encode(msg)
    cut = data.draw(st.integers(min_value=0, max_value=len(encoded) - 1))
    with pytest.raises(ProtocolError):
        decode(encoded[:cut])


@given(MESSAGES, st.binary(min_size=1, max_size=8))
def test_a_message_with_something_behind_it_is_refused(msg: Message, tail: bytes) -> None:
    """A frame holds whole messages: what is left over is no padding."""
    with pytest.raises(ProtocolError):
        decode(encode(msg) + tail)


@given(st.binary(max_size=120))
def test_garbage_raises_nothing_but_protocol_error(data: bytes) -> None:
    """STYLE.md 7."""
    for parse in (decode, decode_entry):
        try:
            parse(data)
        except ProtocolError:
            continue


@given(MESSAGES, st.data())
def test_a_flipped_byte_raises_nothing_but_protocol_error(msg: Message, data: st.DataObject) -> None:
    """Garbage that begins well: counts, lengths, kinds and flags that lie."""
    encoded = bytearray(encode(msg))
    position = data.draw(st.integers(min_value=0, max_value=len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(min_value=1, max_value=255))
    try:
        decoded = decode(bytes(encoded))
    except ProtocolError:
        return
    assert encode(decoded) == bytes(encoded)


def test_an_entry_with_something_behind_it_is_refused() -> None:
    """A log row holds one entry."""
    with pytest.raises(ProtocolError, match="3 bytes behind an entry"):
        decode_entry(encode_entry(Entry(1, 1, EMPTY, b"")) + b"abc")


def test_an_entry_of_a_later_kind_is_refused() -> None:
    """A newer version's entry must not be taken for something else."""
    data = bytearray(encode_entry(Entry(1, 1, COMMAND, b"x")))
    data[16] = 3
    with pytest.raises(ProtocolError, match="unknown kind 3"):
        decode_entry(bytes(data))
