"""Who votes (Raft §6), fixed at start for now.

Changing the members while the group runs (learners, joint consensus) has its place here: the
`Membership` value is what an `EntryKind.MEMBERSHIP` entry will carry. Nothing writes one yet.
"""

from __future__ import annotations

from dataclasses import dataclass


class MembershipChangeUnsupported(Exception):
    """The members of a running group can't be changed yet."""

    def __init__(self) -> None:
        super().__init__("the members of a running group can't be changed in this version")


@dataclass(frozen=True, slots=True)
class Membership:
    """The voting members of one Raft group."""

    #: Rising, each from 1.
    voters: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.voters:
            raise ValueError("a group has at least one voter")
        if list(self.voters) != sorted(set(self.voters)) or self.voters[0] < 1:
            raise ValueError(f"voters are distinct rising ids from 1, not {self.voters}")

    def peers_of(self, node_id: int) -> tuple[int, ...]:
        """Return every voter but `node_id`, which must be one."""
        if node_id not in self.voters:
            raise ValueError(f"node {node_id} isn't among the voters {self.voters}")
        return tuple(voter for voter in self.voters if voter != node_id)
