"""What two nodes tell each other when a connection opens, and who is turned away; no I/O.

The dialer says HELLO. The listener answers WELCOME, and messages flow from dialer to listener, or
REFUSAL with its reason, and closes. Knows nothing of sockets and of how connections are kept.

    HELLO      0          1                 17         21       25             33
               +----------+-----------------+----------+--------+--------------+
               | channel  | cluster id      | from u32 | to u32 | run id       |
               +----------+-----------------+----------+--------+--------------+

    WELCOME    0                 16             20             28
               +-----------------+--------------+--------------+
               | cluster id      | node id u32  | run id       |
               +-----------------+--------------+--------------+

    REFUSAL    the reason in UTF-8, shown in the dialer's log
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from raftkv.raft.types import ProtocolError
from raftkv.transport.frames import Buffer

CLUSTER_ID_BYTES: Final = 16
RUN_ID_BYTES: Final = 8

_HELLO: Final = struct.Struct(f">B{CLUSTER_ID_BYTES}sII{RUN_ID_BYTES}s")
_WELCOME: Final = struct.Struct(f">{CLUSTER_ID_BYTES}sI{RUN_ID_BYTES}s")
#: A reason longer than this is cut.
REASON_CHARS_MAX: Final = 300


class Channel(IntEnum):
    """Which messages a connection carries: a large entry must not stand before a heartbeat."""

    URGENT = 1
    BULK = 2


URGENT = Channel.URGENT
BULK = Channel.BULK


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


def encode_hello(hello: Hello) -> bytes:
    """Make the body of a HELLO."""
    sender = hello.sender
    return _HELLO.pack(hello.channel, sender.cluster_id, sender.node_id, hello.to, sender.run_id)


def decode_hello(body: Buffer) -> Hello:
    """Read the body of a HELLO. Raises ProtocolError."""
    if len(body) != _HELLO.size:
        raise ProtocolError("a hello of a wrong length")
    channel, cluster_id, node_id, to, run_id = _HELLO.unpack(body)
    if channel not in (URGENT, BULK):
        raise ProtocolError(f"unknown channel {channel}")
    return Hello(Channel(channel), Endpoint(node_id, cluster_id, run_id), to)


def encode_welcome(listener: Endpoint) -> bytes:
    """Make the body of a WELCOME."""
    return _WELCOME.pack(listener.cluster_id, listener.node_id, listener.run_id)


def decode_welcome(body: Buffer) -> Endpoint:
    """Read the body of a WELCOME. Raises ProtocolError."""
    if len(body) != _WELCOME.size:
        raise ProtocolError("a welcome of a wrong length")
    cluster_id, node_id, run_id = _WELCOME.unpack(body)
    return Endpoint(node_id, cluster_id, run_id)


def encode_refusal(reason: str) -> bytes:
    """Make the body of a REFUSAL."""
    return reason[:REASON_CHARS_MAX].encode()


def decode_refusal(body: Buffer) -> str:
    """Read the body of a REFUSAL as far as it may stand in a log: printable, and not endless."""
    text = bytes(body[: 4 * REASON_CHARS_MAX]).decode(errors="replace")
    return "".join(char if char.isprintable() else "?" for char in text[:REASON_CHARS_MAX])


def reason_to_refuse(hello: Hello, own: Endpoint, members: Collection[int]) -> str | None:
    """Say why the listener `own` turns this dialer away; None: it is welcome."""
    sender = hello.sender
    if sender.run_id == own.run_id:
        return f"this connection leads to its own node; look at the address of node {hello.to}"
    if sender.cluster_id != own.cluster_id:
        return f"node {own.node_id} belongs to cluster {own.cluster_id.hex()}, not {sender.cluster_id.hex()}"
    if hello.to != own.node_id:
        return f"this is node {own.node_id}, not node {hello.to}; look at the addresses of the members"
    if sender.node_id == own.node_id:
        return f"there is a node {own.node_id} already"
    if sender.node_id not in members:
        return f"node {sender.node_id} is no member"
    return None


def reason_to_leave(welcome: Endpoint, hello: Hello) -> str | None:
    """Say why a dialer does not trust the listener that answered; None: it is the right one."""
    if welcome.cluster_id != hello.sender.cluster_id:
        return f"the listener belongs to cluster {welcome.cluster_id.hex()}"
    if welcome.node_id != hello.to:
        return f"the listener is node {welcome.node_id}"
    return None
