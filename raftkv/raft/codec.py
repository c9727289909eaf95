"""Messages and entries as bytes, for the wire and for the rows of the log.

All integers are big-endian and unsigned. A message:

    +------+------+--------+------+------------------ ... -+
    | kind | term | sender | to   | fields of the kind     |
    | 1    | 8    | 4      | 4    |                        |
    +------+------+--------+------+------------------ ... -+

    kind                     fields (bytes)
    1 RequestVote            last_log_index 8, last_log_term 8, flags 1: 1 pre-vote, 2 transfer
    2 RequestVoteReply       flags 1: 1 pre-vote, 2 granted
    3 AppendEntries          prev_log_index 8, prev_log_term 8, leader_commit 8, round 8,
                             entry count 4, the entries
    4 AppendEntriesReply     round 8, is_success 1, match_index 8, conflict_index 8, conflict_term 8
    5 Heartbeat              leader_commit 8, round 8
    6 HeartbeatReply         round 8
    7 TimeoutNow
    8 ReadIndexRequest       context 8
    9 ReadIndexReply         context 8, read_index 8, leader_commit 8
    10 TransferRequest
    11 Forward               life 8, number 8, length 4, the payload

An entry, the same in an AppendEntries as in a log row:

    +------+-------+------+--------+------------- ... -+
    | term | index | kind | length | payload           |
    | 8    | 8     | 1    | 4      | length            |
    +------+-------+------+--------+------------- ... -+

Holds no checksum: frames and log rows bring their own. InstallSnapshot will take the next kind.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from raftkv.raft.types import (
    COMMAND,
    EMPTY,
    MEMBERSHIP,
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
)

_REQUEST_VOTE = struct.Struct(">BQIIQQB")
_REQUEST_VOTE_REPLY = struct.Struct(">BQIIB")
_APPEND_ENTRIES = struct.Struct(">BQIIQQQQI")
_APPEND_ENTRIES_REPLY = struct.Struct(">BQIIQBQQQ")
_HEARTBEAT = struct.Struct(">BQIIQQ")
_HEARTBEAT_REPLY = struct.Struct(">BQIIQ")
_TIMEOUT_NOW = struct.Struct(">BQII")
_TRANSFER_REQUEST = struct.Struct(">BQII")
_FORWARD = struct.Struct(">BQIIQQI")
_READ_INDEX_REQUEST = struct.Struct(">BQIIQ")
_READ_INDEX_REPLY = struct.Struct(">BQIIQQQ")
_ENTRY = struct.Struct(">QQBI")

#: By number, which is faster than `EntryKind(number)`.
_ENTRY_KINDS: tuple[EntryKind, ...] = (EMPTY, COMMAND, MEMBERSHIP)

#: Bytes of an encoded entry in front of its payload.
ENTRY_HEADER_BYTES = _ENTRY.size


def encode(msg: Message) -> bytes:
    """Return the bytes of a message."""
    return _ENCODERS[type(msg)](msg)


def decode(data: bytes | memoryview) -> Message:
    """Return the message that `data` is, all of it. Raises ProtocolError."""
    if not data:
        raise ProtocolError("an empty message")
    decoder = _DECODERS.get(data[0])
    if decoder is None:
        raise ProtocolError(f"a message of unknown kind {data[0]}")
    try:
        return decoder(data)
    except struct.error as error:
        raise ProtocolError(f"a message of kind {data[0]} and of a wrong length, {len(data)}") from error


def encode_entry(entry: Entry) -> bytes:
    """Return the bytes of an entry."""
    payload = entry.payload
    return _ENTRY.pack(entry.term, entry.index, entry.kind, len(payload)) + payload


def decode_entry(data: bytes | memoryview) -> Entry:
    """Return the entry that `data` is, all of it. Raises ProtocolError."""
    entry, end = _decode_entry_at(data, 0)
    if end != len(data):
        raise ProtocolError(f"{len(data) - end} bytes behind an entry")
    return entry


def _decode_entry_at(data: bytes | memoryview, start: int) -> tuple[Entry, int]:
    """Return the entry at `start` and where it ends."""
    payload_start = start + ENTRY_HEADER_BYTES
    if payload_start > len(data):
        raise ProtocolError("an entry's header is cut off")
    term, index, kind, length = _ENTRY.unpack_from(data, start)
    end = payload_start + length
    if end > len(data):
        raise ProtocolError(f"an entry of {length} bytes is cut off")
    if kind >= len(_ENTRY_KINDS):
        raise ProtocolError(f"an entry of unknown kind {kind}")
    return Entry(term, index, _ENTRY_KINDS[kind], bytes(data[payload_start:end])), end


def _flags(first: bool, second: bool) -> int:
    return first + 2 * second


def _split_flags(flags: int) -> tuple[bool, bool]:
    if flags > 3:
        raise ProtocolError(f"unknown flags {flags}")
    return bool(flags & 1), bool(flags & 2)


def _encode_request_vote(msg: RequestVote) -> bytes:
    flags = _flags(msg.is_pre_vote, msg.is_transfer)
    return _REQUEST_VOTE.pack(1, msg.term, msg.sender, msg.to, msg.last_log_index, msg.last_log_term, flags)


def _decode_request_vote(data: bytes | memoryview) -> RequestVote:
    _, term, sender, to, last_log_index, last_log_term, flags = _REQUEST_VOTE.unpack(data)
    is_pre_vote, is_transfer = _split_flags(flags)
    return RequestVote(term, sender, to, last_log_index, last_log_term, is_pre_vote, is_transfer)


def _encode_request_vote_reply(msg: RequestVoteReply) -> bytes:
    flags = _flags(msg.is_pre_vote, msg.is_granted)
    return _REQUEST_VOTE_REPLY.pack(2, msg.term, msg.sender, msg.to, flags)


def _decode_request_vote_reply(data: bytes | memoryview) -> RequestVoteReply:
    _, term, sender, to, flags = _REQUEST_VOTE_REPLY.unpack(data)
    is_pre_vote, is_granted = _split_flags(flags)
    return RequestVoteReply(term, sender, to, is_pre_vote, is_granted)


def _encode_append_entries(msg: AppendEntries) -> bytes:
    header = _APPEND_ENTRIES.pack(
        3,
        msg.term,
        msg.sender,
        msg.to,
        msg.prev_log_index,
        msg.prev_log_term,
        msg.leader_commit,
        msg.round,
        len(msg.entries),
    )
    parts = [header]
    for entry in msg.entries:
        parts.append(_ENTRY.pack(entry.term, entry.index, entry.kind, len(entry.payload)))
        parts.append(entry.payload)
    return b"".join(parts)


def _decode_append_entries(data: bytes | memoryview) -> AppendEntries:
    _, term, sender, to, prev_log_index, prev_log_term, leader_commit, round_number, count = (
        _APPEND_ENTRIES.unpack_from(data)
    )
    end = _APPEND_ENTRIES.size
    entries: list[Entry] = []
    for _ in range(count):
        entry, end = _decode_entry_at(data, end)
        entries.append(entry)
    if end != len(data):
        raise ProtocolError(f"{len(data) - end} bytes behind the last entry")
    return AppendEntries(
        term, sender, to, prev_log_index, prev_log_term, leader_commit, round_number, entries
    )


def _encode_append_entries_reply(msg: AppendEntriesReply) -> bytes:
    return _APPEND_ENTRIES_REPLY.pack(
        4,
        msg.term,
        msg.sender,
        msg.to,
        msg.round,
        msg.is_success,
        msg.match_index,
        msg.conflict_index,
        msg.conflict_term,
    )


def _decode_append_entries_reply(data: bytes | memoryview) -> AppendEntriesReply:
    _, term, sender, to, round_number, is_success, match_index, conflict_index, conflict_term = (
        _APPEND_ENTRIES_REPLY.unpack(data)
    )
    if is_success > 1:
        raise ProtocolError(f"neither success nor rejection: {is_success}")
    return AppendEntriesReply(
        term, sender, to, round_number, is_success == 1, match_index, conflict_index, conflict_term
    )


def _encode_heartbeat(msg: Heartbeat) -> bytes:
    return _HEARTBEAT.pack(5, msg.term, msg.sender, msg.to, msg.leader_commit, msg.round)


def _decode_heartbeat(data: bytes | memoryview) -> Heartbeat:
    _, term, sender, to, leader_commit, round_number = _HEARTBEAT.unpack(data)
    return Heartbeat(term, sender, to, leader_commit, round_number)


def _encode_heartbeat_reply(msg: HeartbeatReply) -> bytes:
    return _HEARTBEAT_REPLY.pack(6, msg.term, msg.sender, msg.to, msg.round)


def _decode_heartbeat_reply(data: bytes | memoryview) -> HeartbeatReply:
    _, term, sender, to, round_number = _HEARTBEAT_REPLY.unpack(data)
    return HeartbeatReply(term, sender, to, round_number)


def _encode_timeout_now(msg: TimeoutNow) -> bytes:
    return _TIMEOUT_NOW.pack(7, msg.term, msg.sender, msg.to)


def _decode_timeout_now(data: bytes | memoryview) -> TimeoutNow:
    _, term, sender, to = _TIMEOUT_NOW.unpack(data)
    return TimeoutNow(term, sender, to)


def _encode_read_index_request(msg: ReadIndexRequest) -> bytes:
    return _READ_INDEX_REQUEST.pack(8, msg.term, msg.sender, msg.to, msg.context)


def _decode_read_index_request(data: bytes | memoryview) -> ReadIndexRequest:
    _, term, sender, to, context = _READ_INDEX_REQUEST.unpack(data)
    return ReadIndexRequest(term, sender, to, context)


def _encode_read_index_reply(msg: ReadIndexReply) -> bytes:
    return _READ_INDEX_REPLY.pack(
        9, msg.term, msg.sender, msg.to, msg.context, msg.read_index, msg.leader_commit
    )


def _decode_read_index_reply(data: bytes | memoryview) -> ReadIndexReply:
    _, term, sender, to, context, read_index, leader_commit = _READ_INDEX_REPLY.unpack(data)
    return ReadIndexReply(term, sender, to, context, read_index, leader_commit)


def _encode_transfer_request(msg: TransferRequest) -> bytes:
    return _TRANSFER_REQUEST.pack(10, msg.term, msg.sender, msg.to)


def _decode_transfer_request(data: bytes | memoryview) -> TransferRequest:
    _, term, sender, to = _TRANSFER_REQUEST.unpack(data)
    return TransferRequest(term, sender, to)


def _encode_forward(msg: Forward) -> bytes:
    payload = msg.payload
    return _FORWARD.pack(11, msg.term, msg.sender, msg.to, msg.life, msg.number, len(payload)) + payload


def _decode_forward(data: bytes | memoryview) -> Forward:
    _, term, sender, to, life, number, length = _FORWARD.unpack_from(data)
    payload = bytes(data[_FORWARD.size :])
    if len(payload) != length:
        raise ProtocolError(f"a payload of {len(payload)} bytes, {length} were announced")
    return Forward(term, sender, to, life, number, payload)


#: Each takes the message type that it stands beside, which the type system can't say of a dict.
_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    RequestVote: _encode_request_vote,
    RequestVoteReply: _encode_request_vote_reply,
    AppendEntries: _encode_append_entries,
    AppendEntriesReply: _encode_append_entries_reply,
    Heartbeat: _encode_heartbeat,
    HeartbeatReply: _encode_heartbeat_reply,
    TimeoutNow: _encode_timeout_now,
    ReadIndexRequest: _encode_read_index_request,
    ReadIndexReply: _encode_read_index_reply,
    TransferRequest: _encode_transfer_request,
    Forward: _encode_forward,
}

_DECODERS: dict[int, Callable[[bytes | memoryview], Message]] = {
    1: _decode_request_vote,
    2: _decode_request_vote_reply,
    3: _decode_append_entries,
    4: _decode_append_entries_reply,
    5: _decode_heartbeat,
    6: _decode_heartbeat_reply,
    7: _decode_timeout_now,
    8: _decode_read_index_request,
    9: _decode_read_index_reply,
    10: _decode_transfer_request,
    11: _decode_forward,
}
