"""Changes of the cluster that clients ask for: begun here, and watched until they are over.

An `Undertaking` is asked on every tick by who holds the client (`executor`), so nothing here waits. A change
of the members begins as soon as no other one is under way; asked for twice, it is done once. Knows no
Redis syntax and no sockets.
"""

from __future__ import annotations

from collections.abc import Callable

from raftkv.commands.administration import Done, Failed, Outcome, Undertaking, Waiting
from raftkv.config import Member
from raftkv.node.admission import Admission, Never
from raftkv.node.compaction import Compactor
from raftkv.node.group import Group
from raftkv.node.invitations import INVITE, Belongs, Coming, Invite, decode_invite_answer, encode_invite
from raftkv.node.roster import nonce_in
from raftkv.node.saves import Saves
from raftkv.raft import (
    NOBODY,
    ChangeRefused,
    EntryId,
    Membership,
    MembershipChange,
    NotLeader,
    PromoteLearner,
    ProposalDropped,
    ProtocolError,
    RemoveMember,
)
from raftkv.transport import Address

#: (address, kind, question, callback): `asking.Asker.ask`.
Ask = Callable[[Address, int, bytes, Callable[[bytes | str], None]], None]

_LEAD_WAS_LOST = Failed("this node leads no more, and had not begun", is_passing=True)
_OTHER_CHANGE = Waiting("another change of the members is under way")
_NOT_SERVING = Waiting("this leader takes no writes just now")


class GroupAdministration:
    """One group's changes, begun at this node; see `raftkv.commands.administration`."""

    def __init__(
        self,
        *,
        own: Member,
        cluster_id: bytes,
        group: Group,
        admission: Admission,
        saves: Saves,
        compactor: Compactor,
        durable_index: Callable[[], int],
        ask: Ask,
    ) -> None:
        """`durable_index()`: of the state on disk."""
        self._own = own
        self._cluster_id = cluster_id
        self._group = group
        self._admission = admission
        self._saves = saves
        self._compactor = compactor
        self._durable_index = durable_index
        self._ask = ask

    def add(self, host: str, peer_port: int, *, takes_place_of: int, is_learner: bool) -> Undertaking:
        """Invite the node that waits there; whether it is taken in is for the admission to say."""
        voters = self._group.core.membership.voters
        if takes_place_of != NOBODY and takes_place_of not in voters:
            # Found out later this would end the newcomer's process.
            failed = Failed(f"node {takes_place_of} is no voter that could be replaced")
            return lambda: failed
        invite = Invite(self._own.peer_host, self._own.peer_port, takes_place_of, is_learner)
        addition = _Addition(self._cluster_id, self._group, self._admission)
        self._ask((host, peer_port), INVITE, encode_invite(invite), addition.on_answer)
        return addition.look

    def remove(self, node_id: int) -> Undertaking:
        """Let a member go."""

        def is_gone(members: Membership) -> bool:
            return node_id not in members.voters and node_id not in members.learners

        return _Change(self._group, RemoveMember(node_id), node_id, is_gone).look

    def promote(self, node_id: int) -> Undertaking:
        """Make a learner a voter."""
        return _Change(
            self._group, PromoteLearner(node_id), node_id, lambda members: node_id in members.voters
        ).look

    def transfer(self, node_id: int) -> Undertaking:
        """Begin to hand over."""
        group, own_id = self._group, self._own.node_id
        if node_id == own_id:
            return lambda: Done(own_id)
        try:
            if node_id != NOBODY:
                group.transfer_to(node_id)
            elif set(group.core.membership.voters) - {own_id}:
                group.hand_over()
            else:
                raise ValueError("there is no other voter to lead")
        except ValueError as refusal:
            failed = Failed(str(refusal))
            return lambda: failed
        except NotLeader:
            return lambda: _LEAD_WAS_LOST
        return lambda: self._look_who_leads(node_id)

    def _look_who_leads(self, wanted_id: int) -> Outcome | None:
        leader_id = self._group.leader_id
        if leader_id in (NOBODY, self._own.node_id):
            return None
        if wanted_id in (NOBODY, leader_id):
            return Done(leader_id)
        return Failed(f"node {leader_id} was elected instead of node {wanted_id}")

    @property
    def first_index(self) -> int:
        """The oldest entry of the log on disk."""
        return self._compactor.first_index

    def campaign(self) -> None:
        """Ask for votes now, rather than when the election timeout is over."""
        self._group.campaign()

    def flush(self) -> Undertaking:
        """Flush the state."""
        is_done = self._saves.begin()
        return lambda: Done(self._durable_index()) if is_done() else None

    def compact(self, keep_count: int) -> Undertaking:
        """Flush, then drop what need not be kept but for the log's last entries."""
        is_done = self._saves.begin()
        return lambda: Done(self._compactor.drop_all(keep_count)) if is_done() else None


class _Change:
    """A change of those who are members already."""

    def __init__(
        self,
        group: Group,
        change: MembershipChange,
        node_id: int,
        is_reached: Callable[[Membership], bool],
    ) -> None:
        """`is_reached`: whether a membership, or what a joint one will end in, is as it shall be."""
        self._group = group
        self._change = change
        self._node_id = node_id
        self._is_reached = is_reached
        self._entry_id: EntryId | None = None

    def look(self) -> Outcome | None:
        """Begin it if that is possible by now, or see what came of it."""
        core = self._group.core
        committed, newest = core.committed_membership, core.membership
        if self._is_reached(committed) and not committed.is_joint:
            return Done(self._node_id)
        if self._is_reached(newest):
            return None
        if self._entry_id is None:
            return self._begin(is_busy=newest.is_joint or newest is not committed)
        if core.commit_index >= self._entry_id.index:
            return Failed("it was lost with the leader that had begun it", is_passing=True)
        return None

    def _begin(self, *, is_busy: bool) -> Failed | Waiting | None:
        group = self._group
        if not group.is_leader:
            return _LEAD_WAS_LOST
        if is_busy:
            return _OTHER_CHANGE
        if not group.is_serving:
            return _NOT_SERVING
        try:
            self._entry_id = group.change_membership(self._change)
        except ChangeRefused as refusal:
            return Failed(str(refusal))
        except (NotLeader, ProposalDropped):
            return _NOT_SERVING
        return None


class _Addition:
    """A node that was invited, until it is a member."""

    def __init__(self, cluster_id: bytes, group: Group, admission: Admission) -> None:
        self._cluster_id = cluster_id
        self._group = group
        self._admission = admission
        self._nonce = b""
        self._failed: Failed | None = None
        #: It says that it is this member.
        self._claimed_id = NOBODY

    def on_answer(self, answer: bytes | str) -> None:
        """Take what it said, or why it said nothing."""
        if isinstance(answer, str):
            self._failed = Failed(f"no node that waits to be taken in is there: {answer}")
            return
        try:
            said = decode_invite_answer(answer)
        except ProtocolError as error:
            self._failed = Failed(str(error))
            return
        if isinstance(said, Coming):
            self._nonce = said.nonce
            self._admission.forget_answer(said.nonce)
        elif not isinstance(said, Belongs):
            self._failed = Failed(f"the node there declines: {said.reason}")
        elif said.cluster_id != self._cluster_id:
            self._failed = Failed("the node there is a member of another cluster")
        elif said.node_id not in self._group.core.membership.member_ids:
            self._failed = Failed(f"the node there was member {said.node_id}, and was removed for good")
        else:
            self._claimed_id = said.node_id

    def look(self) -> Outcome | None:
        """See whether it is a member."""
        if self._failed is not None:
            return self._failed
        committed = self._group.core.committed_membership
        if self._claimed_id in committed.member_ids:
            return Done(self._claimed_id)
        if not self._nonce:
            return None
        for node_id, address in committed.addresses:
            if nonce_in(address) == self._nonce:
                return Done(node_id)
        answer = self._admission.last_answer(self._nonce)
        return Failed(answer.reason) if isinstance(answer, Never) else None
