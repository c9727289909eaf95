"""The peer network: frames, links that dial again, a listener that trusts nobody.

Reading order: `frames` and `outbox` (bytes, no I/O), `greeting` (who talks to whom), `link` and `peer`
(this node to a peer), `listener` (peers to this node), `transport` (all of them as one thing).
"""

from raftkv.transport.greeting import FORMATION, NO_MEMBER, OTHER, REMOVED, Address, Refusal, RefusalCode
from raftkv.transport.limits import TransportLimits
from raftkv.transport.link import Refused
from raftkv.transport.peer import PeerLinkStatus
from raftkv.transport.sockets import failure_text
from raftkv.transport.transport import Transport

__all__ = [
    "FORMATION",
    "NO_MEMBER",
    "OTHER",
    "REMOVED",
    "Address",
    "PeerLinkStatus",
    "Refusal",
    "RefusalCode",
    "Refused",
    "Transport",
    "TransportLimits",
    "failure_text",
]
