"""The peer network: frames, links that dial again, a listener that trusts nobody.

Reading order: `frames` and `outbox` (bytes, no I/O), `greeting` (who talks to whom), `link` (this
node to a peer), `listener` (peers to this node), `transport` (all of them as one thing).
"""

from raftkv.transport.limits import TransportLimits
from raftkv.transport.link import Address, Refused
from raftkv.transport.sockets import failure_text
from raftkv.transport.transport import PeerLinkStatus, Transport

__all__ = ["Address", "PeerLinkStatus", "Refused", "Transport", "TransportLimits", "failure_text"]
