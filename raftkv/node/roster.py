"""Who the members are and how they are reached, put together from the log's membership and the settings.

The log's word counts: each member's address is in the membership, with the nonce of its data directory, by
which a node that asks twice to be taken in is known. Founders are in the settings of all founders until the
first leader has told their addresses to the log. Knows nothing of how a membership changes.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from raftkv.config import Config, Member
from raftkv.raft import NOBODY, Membership
from raftkv.transport import Address, Refusal, RefusalCode


class _Place(msgspec.Struct, array_like=True):
    """A member's address as the log has it."""

    host: str
    port: int
    peer_host: str
    peer_port: int
    #: Of its data directory; empty: not known, as of founders.
    nonce: bytes


_decoder = msgspec.msgpack.Decoder(_Place)


def encode_place(member: Member, nonce: bytes) -> bytes:
    """Make a membership's address of how a member is reached."""
    return msgspec.msgpack.encode(_Place(member.host, member.port, member.peer_host, member.peer_port, nonce))


def decode_place(node_id: int, address: bytes) -> Member | None:
    """Read a membership's address; None: there is none, or it is of a later version."""
    place = _place_of(address)
    return (
        None if place is None else Member(node_id, place.host, place.port, place.peer_host, place.peer_port)
    )


def nonce_in(address: bytes) -> bytes:
    """Give the nonce in a membership's address; empty when it isn't known."""
    place = _place_of(address)
    return b"" if place is None else place.nonce


def _place_of(address: bytes) -> _Place | None:
    try:
        return _decoder.decode(address) if address else None
    except msgspec.DecodeError:
        return None


class Roster:
    """The members as this node knows them."""

    def __init__(self, config: Config, membership: Callable[[], Membership]) -> None:
        """`membership()`: the one in force."""
        self._config = config
        self._membership = membership
        #: Whoever was a member lately keeps an address: it may have to be told that it is none any more.
        self._known: dict[int, Member] = {}
        #: Where nodes said that they listen for peers, as long as the log doesn't say more.
        self._heard: dict[int, Address] = {}
        self._members: tuple[Member, ...] = ()
        self.refresh()

    @property
    def node_id(self) -> int:
        """This node's id."""
        return self._config.node_id

    @property
    def members(self) -> tuple[Member, ...]:
        """Every member whose address is known, by id, and this node, be it one or not."""
        return self._members

    def refresh(self) -> None:
        """Take note of the membership in force."""
        membership = self._membership()
        addresses = dict(membership.addresses)
        founders = {member.node_id: member for member in self._config.members}
        known = dict(self._known)
        for node_id in sorted(membership.member_ids):
            place = decode_place(node_id, addresses.get(node_id, b"")) or founders.get(node_id)
            if place is not None:
                if place != known.get(node_id):
                    self._heard.pop(node_id, None)
                known[node_id] = place
        known[self.node_id] = self._config.member
        self._known = known
        shown = sorted(membership.member_ids | {self.node_id})
        self._members = tuple(known[node_id] for node_id in shown if node_id in known)

    def member(self, node_id: int) -> Member | None:
        """Give a member, or somebody who was one lately; None: nothing is known of it."""
        return self._known.get(node_id)

    def note_peer_address(self, node_id: int, address: Address) -> None:
        """Take note of where a node of this cluster says that it listens for peers."""
        self._heard[node_id] = address

    def peer_addresses(self, peers: frozenset[int]) -> dict[int, Address]:
        """Give where these peers are reached, and whoever spoke to this node though it knows him not."""
        addresses: dict[int, Address] = {}
        for node_id in sorted(peers | self._heard.keys()):
            if node_id == self.node_id:
                continue
            known = self._known.get(node_id)
            if node_id in self._heard:
                addresses[node_id] = self._heard[node_id]
            elif known is not None:
                addresses[node_id] = (known.peer_host, known.peer_port)
        return addresses

    def untold(self) -> list[Member]:
        """Give the members whose address the log doesn't have, or has otherwise than the node itself."""
        membership = self._membership()
        addresses = dict(membership.addresses)
        return [
            member
            for member in self._members
            if not addresses.get(member.node_id)
            or (
                member.node_id == self.node_id
                and decode_place(member.node_id, addresses[member.node_id]) != member
            )
        ]


def refusal_of(node_id: int, committed: Membership, newest: Membership) -> Refusal | None:
    """Say why a node of this cluster is turned away: it was removed, for good; None: it is welcome.

    An id above all that this node knows of may be one that it has yet to learn of.
    """
    if node_id == NOBODY:
        return Refusal(f"node {node_id} is no member", RefusalCode.NO_MEMBER)
    if node_id in committed.member_ids or node_id in newest.member_ids or node_id > committed.newest_id:
        return None
    return Refusal(f"node {node_id} was removed from the cluster", RefusalCode.REMOVED)
