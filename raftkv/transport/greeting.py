"""What two nodes tell each other when a connection opens, and who is turned away; no I/O.

The dialer says HELLO, and where it can be reached itself. The listener answers WELCOME, and messages
flow from dialer to listener, or REFUSAL with its reason, and closes. Who has no cluster to say hello with
may ask a QUESTION instead. Knows nothing of sockets, of how connections are kept, of what is asked.

    HELLO      0          1                 17         21       25             33         35
               +----------+-----------------+----------+--------+--------------+----------+------------+
               | channel  | cluster id      | from u32 | to u32 | run id       | port u16 | host UTF-8 |
               +----------+-----------------+----------+--------+--------------+----------+------------+
                                                                                 both empty: not announced

    WELCOME    0                 16             20             28
               +-----------------+--------------+--------------+
               | cluster id      | node id u32  | run id       |
               +-----------------+--------------+--------------+

    REFUSAL    0         1
               +---------+--------------+
               | code u8 | reason UTF-8 |   the reason is shown in the dialer's log
               +---------+--------------+

    QUESTION   0         1
               +---------+--------------+
               | kind u8 | the question |   the answer is a QUESTION whose body is the answer alone
               +---------+--------------+
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from raftkv.raft.types import ProtocolError
from raftkv.transport.frames import Buffer

CLUSTER_ID_BYTES: Final = 16
RUN_ID_BYTES: Final = 8

_HELLO: Final = struct.Struct(f">B{CLUSTER_ID_BYTES}sII{RUN_ID_BYTES}sH")
_WELCOME: Final = struct.Struct(f">{CLUSTER_ID_BYTES}sI{RUN_ID_BYTES}s")
#: A reason longer than this is cut.
REASON_CHARS_MAX: Final = 300
#: Longer than any host name (253 characters) and any address.
HOST_BYTES_MAX: Final = 255

#: The kind of question with which the members of a new cluster find each other; others are free.
FORMATION: Final = 1
QUESTION_KIND_MAX: Final = 255

#: Host and port.
Address = tuple[str, int]


class Channel(IntEnum):
    """What a connection carries: neither a large entry nor a snapshot must stand before a heartbeat."""

    URGENT = 1
    BULK = 2
    #: Frames of snapshot transfers, which stand before no entry either.
    SNAPSHOT = 3


URGENT = Channel.URGENT
BULK = Channel.BULK
SNAPSHOT = Channel.SNAPSHOT
_CHANNELS: Final = {int(channel): channel for channel in Channel}


class RefusalCode(IntEnum):
    """What a program may conclude from a refusal; people read the reason."""

    #: Nothing beyond the reason.
    OTHER = 0
    #: The listener knows no such member, or not yet.
    NO_MEMBER = 1
    #: The dialer was a member of this cluster, and will never be one again under its id.
    REMOVED = 2


OTHER = RefusalCode.OTHER
NO_MEMBER = RefusalCode.NO_MEMBER
REMOVED = RefusalCode.REMOVED
_CODES: Final = {int(code): code for code in RefusalCode}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody is turned away."""

    reason: str
    code: RefusalCode = OTHER


#: Says of a node of this cluster why it is turned away; None: it is welcome.
Welcomes = Callable[[int], Refusal | None]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who a running node is."""

    node_id: int
    cluster_id: bytes
    #: Drawn anew at every start of the process: tells a restarted peer from the one before.
    run_id: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """The dialer's first frame."""

    channel: Channel
    sender: Endpoint
    #: The node that the dialer believes to have reached.
    to: int
    #: Where the dialer listens for its peers; None: it does not say.
    address: Address | None = None


def encode_hello(hello: Hello) -> bytes:
    """Make the body of a HELLO."""
    sender = hello.sender
    host, port = hello.address or ("", 0)
    encoded = host.encode()
    assert len(encoded) <= HOST_BYTES_MAX, f"a host of {len(encoded)} bytes can't be announced"
    return (
        _HELLO.pack(hello.channel, sender.cluster_id, sender.node_id, hello.to, sender.run_id, port) + encoded
    )


def decode_hello(body: Buffer) -> Hello:
    """Read the body of a HELLO. Raises ProtocolError."""
    if not _HELLO.size <= len(body) <= _HELLO.size + HOST_BYTES_MAX:
        raise ProtocolError("a hello of a wrong length")
    channel, cluster_id, node_id, to, run_id, port = _HELLO.unpack_from(body)
    if channel not in _CHANNELS:
        raise ProtocolError(f"unknown channel {channel}")
    address = _decode_address(bytes(body[_HELLO.size :]), port)
    return Hello(_CHANNELS[channel], Endpoint(node_id, cluster_id, run_id), to, address)


def _decode_address(host: bytes, port: int) -> Address | None:
    """Read an announced address: it ends up in logs, in files and in a resolver's hands."""
    if not host and not port:
        return None
    try:
        text = host.decode()
    except UnicodeDecodeError:
        text = ""
    if not text or not port or any(char.isspace() or not char.isprintable() for char in text):
        raise ProtocolError("a hello with an address that can't be one")
    return text, port


def encode_welcome(listener: Endpoint) -> bytes:
    """Make the body of a WELCOME."""
    return _WELCOME.pack(listener.cluster_id, listener.node_id, listener.run_id)


def decode_welcome(body: Buffer) -> Endpoint:
    """Read the body of a WELCOME. Raises ProtocolError."""
    if len(body) != _WELCOME.size:
        raise ProtocolError("a welcome of a wrong length")
    cluster_id, node_id, run_id = _WELCOME.unpack(body)
    return Endpoint(node_id, cluster_id, run_id)


def encode_refusal(refusal: Refusal) -> bytes:
    """Make the body of a REFUSAL."""
    return bytes((refusal.code,)) + refusal.reason[:REASON_CHARS_MAX].encode()


def decode_refusal(body: Buffer) -> Refusal:
    """Read the body of a REFUSAL as far as it may stand in a log: printable, and not endless.

    A code that isn't known here tells nothing beyond its reason.
    """
    text = bytes(body[1 : 1 + 4 * REASON_CHARS_MAX]).decode(errors="replace")
    reason = "".join(char if char.isprintable() else "?" for char in text[:REASON_CHARS_MAX])
    return Refusal(reason, _CODES.get(body[0], OTHER) if body else OTHER)


def encode_question(kind: int, question: bytes) -> bytes:
    """Make the body of a QUESTION."""
    assert 0 <= kind <= QUESTION_KIND_MAX, f"question kind {kind} does not fit into its byte"
    return bytes((kind,)) + question


def reason_to_refuse(hello: Hello, own: Endpoint, welcomes: Welcomes) -> Refusal | None:
    """Say why the listener `own` turns this dialer away; None: it is welcome.

    `welcomes` is asked last: its words, that a node was removed above all, are about this cluster
    and meant for the dialer itself.
    """
    reason = _wrong_address(hello, own)
    return Refusal(reason) if reason is not None else welcomes(hello.sender.node_id)


def _wrong_address(hello: Hello, own: Endpoint) -> str | None:
    """Say why these two should not have met at all."""
    sender = hello.sender
    if sender.run_id == own.run_id:
        return f"this connection leads to its own node; look at the address of node {hello.to}"
    if sender.cluster_id != own.cluster_id:
        return f"node {own.node_id} belongs to cluster {own.cluster_id.hex()}, not {sender.cluster_id.hex()}"
    if hello.to != own.node_id:
        return f"this is node {own.node_id}, not node {hello.to}; look at the addresses of the members"
    if sender.node_id == own.node_id:
        return f"there is a node {own.node_id} already"
    return None


def reason_to_leave(welcome: Endpoint, hello: Hello) -> str | None:
    """Say why a dialer does not trust the listener that answered; None: it is the right one."""
    if welcome.cluster_id != hello.sender.cluster_id:
        return f"the listener belongs to cluster {welcome.cluster_id.hex()}"
    if welcome.node_id != hello.to:
        return f"the listener is node {welcome.node_id}"
    return None
