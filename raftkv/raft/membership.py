"""Who belongs to a Raft group and who of them votes: a value, and what a change makes of it (Raft §6).

Every `EntryKind.MEMBERSHIP` entry carries a whole `Membership`, so the newest one in a log says it all. A
change of the voters passes through a joint membership, in which both the old and the new voters must agree.

Knows no log, no leader and no time: when a change may begin is `reconfiguration`'s business.

    (voters 1 2 3) --AddMember-->    (voters 1 2 3, learner 4)
                   --it caught up--> (voters 1 2 3 4, outgoing 1 2 3)   joint
                   --committed-->    (voters 1 2 3 4)
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from raftkv.raft.types import NOBODY, ProtocolError

#: Members of one group, learners included: far above what a quorum should have.
MEMBERS_MAX = 64
#: Bytes of one member's address.
ADDRESS_BYTES_MAX = 4096

_COUNT = struct.Struct(">I")
_ID = struct.Struct(">I")
_PAIR = struct.Struct(">II")


class ChangeRefused(Exception):
    """A change of the membership can't be made, or not now; nothing was done."""


class ChangeDeferred(ChangeRefused):
    """Not now: another change is under way, or this leader has yet to commit an entry of its term."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A learner that shall vote as soon as it has caught up."""

    node_id: int
    #: The voter that goes in the same step; NOBODY: none does.
    takes_place_of: int = NOBODY


@dataclass(frozen=True, slots=True)
class Membership:
    """The members of one Raft group. All ids from 1, rising, each once."""

    #: The voters; in a joint membership the new ones. Empty: nothing is known yet, as at a node that joins.
    voters: tuple[int, ...]
    #: The old voters of a joint membership, whose majority is needed as well; else empty.
    outgoing: tuple[int, ...] = ()
    #: Receive everything and vote on nothing.
    learners: tuple[int, ...] = ()
    #: Those of the learners that become voters by themselves.
    staged: tuple[Staged, ...] = ()
    #: (id, how the driver reaches it) of members whose address was ever told, by id.
    addresses: tuple[tuple[int, bytes], ...] = ()
    #: The highest id that any member ever had: no id is used twice.
    newest_id: int = 0

    def __post_init__(self) -> None:
        for ids in (
            self.voters,
            self.outgoing,
            self.learners,
            tuple(node_id for node_id, _ in self.addresses),
        ):
            if list(ids) != sorted(set(ids)) or (ids and ids[0] < 1):
                raise ValueError(f"members are distinct rising ids from 1, not {ids}")
        if set(self.learners) & self.voter_ids:
            raise ValueError(f"nodes {self.learners} can't be learners and voters {self.voters} at once")
        if {staged.node_id for staged in self.staged} - set(self.learners):
            raise ValueError(f"only learners wait to become voters, not {self.staged}")
        if len(self.member_ids) > MEMBERS_MAX:
            raise ValueError(f"a group has at most {MEMBERS_MAX} members")
        if self.outgoing and not self.voters:
            raise ValueError("a joint membership has new voters")

    @property
    def voter_ids(self) -> frozenset[int]:
        """Everybody who votes on anything."""
        return frozenset(self.voters + self.outgoing)

    @property
    def member_ids(self) -> frozenset[int]:
        """Everybody who is sent entries."""
        return frozenset(self.voters + self.outgoing + self.learners)

    @property
    def is_joint(self) -> bool:
        """Whether two majorities are needed."""
        return bool(self.outgoing)

    def is_sole_voter(self, node_id: int) -> bool:
        """Tell whether that node alone is a majority."""
        return self.voters == (node_id,) and self.outgoing in ((), (node_id,))

    def address_of(self, node_id: int) -> bytes:
        """Return how the driver reaches a member; empty when it was never told."""
        return dict(self.addresses).get(node_id, b"")


# --- changes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddMember:
    """Take in a node, at first as a learner."""

    address: bytes
    #: It becomes a voter by itself once it has caught up.
    is_staged: bool = True
    #: The voter that it replaces then; NOBODY: none.
    takes_place_of: int = NOBODY
    #: Must be above every id ever used; NOBODY: the next free one.
    node_id: int = NOBODY


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Let a member go."""

    node_id: int


@dataclass(frozen=True, slots=True)
class PromoteLearner:
    """Make a learner a voter, now; a voter that it was to replace goes."""

    node_id: int


@dataclass(frozen=True, slots=True)
class MoveMember:
    """Note a member's new address."""

    node_id: int
    address: bytes


MembershipChange = AddMember | RemoveMember | PromoteLearner | MoveMember


def changed(old: Membership, change: MembershipChange) -> Membership:
    """Return what a change makes of a membership that isn't joint: joint itself if the voters differ.

    Raises ChangeRefused for what can't be done to these members.
    """
    assert not old.is_joint, "a joint membership is left before another change begins"
    if isinstance(change, AddMember):
        return _with_learner(old, change)
    if isinstance(change, MoveMember):
        _check_is_member(old, change.node_id)
        return replace(old, addresses=_with_address(old, change.node_id, change.address))
    if isinstance(change, PromoteLearner):
        return _with_promoted(old, change.node_id)
    return _without(old, change.node_id)


def left_joint(joint: Membership) -> Membership:
    """Return the membership in which a joint one ends."""
    assert joint.is_joint, "only a joint membership is left"
    return _trimmed(replace(joint, outgoing=()))


def _with_learner(old: Membership, change: AddMember) -> Membership:
    node_id = change.node_id or old.newest_id + 1
    if node_id <= old.newest_id:
        raise ChangeRefused(f"id {node_id} was used before, the next free one is {old.newest_id + 1}")
    if len(old.member_ids) >= MEMBERS_MAX:
        raise ChangeRefused(f"there are {MEMBERS_MAX} members already")
    if change.takes_place_of != NOBODY and change.takes_place_of not in old.voters:
        raise ChangeRefused(f"node {change.takes_place_of} is no voter that could be replaced")
    if any(staged.takes_place_of == change.takes_place_of != NOBODY for staged in old.staged):
        raise ChangeRefused(f"node {change.takes_place_of} is being replaced already")
    staged = (*old.staged, Staged(node_id, change.takes_place_of)) if change.is_staged else old.staged
    return replace(
        old,
        learners=(*old.learners, node_id),
        staged=staged,
        addresses=_with_address(old, node_id, change.address),
        newest_id=node_id,
    )


def _with_promoted(old: Membership, node_id: int) -> Membership:
    if node_id in old.voters:
        raise ChangeRefused(f"node {node_id} votes already")
    if node_id not in old.learners:
        raise ChangeRefused(f"node {node_id} is no learner")
    replaced = {staged.takes_place_of for staged in old.staged if staged.node_id == node_id}
    return replace(
        old,
        voters=tuple(sorted((set(old.voters) - replaced) | {node_id})),
        outgoing=old.voters,
        learners=tuple(learner for learner in old.learners if learner != node_id),
        staged=tuple(staged for staged in old.staged if staged.node_id != node_id),
    )


def _without(old: Membership, node_id: int) -> Membership:
    _check_is_member(old, node_id)
    if node_id in old.learners:
        return _trimmed(
            replace(
                old,
                learners=tuple(learner for learner in old.learners if learner != node_id),
                staged=tuple(staged for staged in old.staged if staged.node_id != node_id),
            )
        )
    voters = tuple(voter for voter in old.voters if voter != node_id)
    if not voters:
        raise ChangeRefused(f"node {node_id} is the last voter")
    return replace(old, voters=voters, outgoing=old.voters)


def _trimmed(membership: Membership) -> Membership:
    """Forget the addresses of those who left, and that they were to be replaced."""
    members = membership.member_ids
    return replace(
        membership,
        staged=tuple(
            each if each.takes_place_of in members else replace(each, takes_place_of=NOBODY)
            for each in membership.staged
        ),
        addresses=tuple(pair for pair in membership.addresses if pair[0] in members),
    )


def _with_address(old: Membership, node_id: int, address: bytes) -> tuple[tuple[int, bytes], ...]:
    if len(address) > ADDRESS_BYTES_MAX:
        raise ChangeRefused(f"an address of {len(address)} bytes, {ADDRESS_BYTES_MAX} are allowed")
    return tuple(sorted({**dict(old.addresses), node_id: address}.items()))


def _check_is_member(membership: Membership, node_id: int) -> None:
    if node_id not in membership.member_ids:
        raise ChangeRefused(f"node {node_id} is no member")


# --- bytes --------------------------------------------------------------------------------------


def founding_membership(voters: Iterable[int], addresses: Mapping[int, bytes] | None = None) -> Membership:
    """Return the membership of a group that begins with these voters; none: of a node that joins one."""
    ids = tuple(voters)
    return Membership(ids, addresses=tuple(sorted((addresses or {}).items())), newest_id=max(ids, default=0))


def encode_membership(membership: Membership) -> bytes:
    """Return the payload of a MEMBERSHIP entry, all integers big-endian and unsigned.

    newest id 4, then four lists, each a count 4 and its ids of 4 bytes: voters, outgoing, learners, staged
    (pairs: learner, the voter that it replaces or 0); then the addresses: count 4, each an id 4, a length 4
    and the bytes.
    """
    parts = [_ID.pack(membership.newest_id)]
    for ids in (membership.voters, membership.outgoing, membership.learners):
        parts.append(_COUNT.pack(len(ids)))
        parts.extend(_ID.pack(node_id) for node_id in ids)
    parts.append(_COUNT.pack(len(membership.staged)))
    parts.extend(_PAIR.pack(staged.node_id, staged.takes_place_of) for staged in membership.staged)
    parts.append(_COUNT.pack(len(membership.addresses)))
    for node_id, address in membership.addresses:
        parts.append(_PAIR.pack(node_id, len(address)) + address)
    return b"".join(parts)


def decode_membership(data: bytes) -> Membership:
    """Return the membership that `data` is, all of it. Raises ProtocolError."""
    reader = _Reader(data)
    try:
        membership = Membership(
            newest_id=reader.number(),
            voters=reader.ids(),
            outgoing=reader.ids(),
            learners=reader.ids(),
            staged=tuple(Staged(reader.number(), reader.number()) for _ in range(reader.count())),
            addresses=tuple((reader.number(), reader.taken(reader.number())) for _ in range(reader.count())),
        )
    except (struct.error, ValueError) as error:
        raise ProtocolError(f"no membership: {error}") from error
    if reader.position != len(data):
        raise ProtocolError(f"{len(data) - reader.position} bytes behind a membership")
    return membership


class _Reader:
    """Takes the parts of an encoded membership one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def number(self) -> int:
        value: int = _ID.unpack_from(self._data, self.position)[0]
        self.position += _ID.size
        return value

    def count(self) -> int:
        count = self.number()
        if count > MEMBERS_MAX:
            raise ValueError(f"a list of {count} members")
        return count

    def ids(self) -> tuple[int, ...]:
        return tuple(self.number() for _ in range(self.count()))

    def taken(self, length: int) -> bytes:
        if length > len(self._data) - self.position:
            raise ValueError("an address is cut off")
        self.position += length
        return self._data[self.position - length : self.position]
