"""Who belongs to the cluster, in deeds: peers are dialed, strangers turned away, newcomers taken in.

Between the group, whose log says who the members are, the roster and the transport. A node that wants to join
asks any member; the leader takes it in as a learner, and answers again and again until that is committed:

    newcomer                      member
      Join(nonce, address)   ->   not the leader: "ask there"
                             ->   leader: proposes AddMember         "wait"
                             ->   the nonce is among the members     "you are node 4 of cluster ..."

Knows no sockets. The nonce, of the newcomer's data directory, makes asking twice the same as asking once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from raftkv.config import Config, Member
from raftkv.node.formation import NONCE_BYTES
from raftkv.node.group import Group
from raftkv.node.questions import said_in
from raftkv.node.roster import Roster, encode_place, nonce_in, refusal_of
from raftkv.raft import (
    NOBODY,
    AddMember,
    ChangeDeferred,
    ChangeRefused,
    MoveMember,
    NotLeader,
    ProposalDropped,
    ProtocolError,
)
from raftkv.transport import REMOVED, Address, Refusal, RefusalCode

log = logging.getLogger(__name__)

#: As in the greeting of peers.
_HOST_CHARS_MAX: Final = 255
_PORT_MAX: Final = 65535
#: The kind of these questions on the peer port.
ADMISSION: Final = 2
#: Newcomers whose last answer is remembered.
_ANSWERS_MAX: Final = 64


class Join(msgspec.Struct, array_like=True):
    """A node asks to be taken in."""

    #: Of its data directory.
    nonce: bytes
    host: str
    port: int
    peer_host: str
    peer_port: int
    #: `requirepass` of the cluster.
    password: str
    #: The voter that it is to replace; NOBODY: none.
    takes_place_of: int = NOBODY
    #: It is to stay a learner.
    is_learner: bool = False


class Admitted(msgspec.Struct, array_like=True, tag="admitted"):
    """The newcomer is a member."""

    node_id: int
    cluster_id: bytes
    #: (node id, host, peer port) of all.
    members: list[tuple[int, str, int]]


class Elsewhere(msgspec.Struct, array_like=True, tag="elsewhere"):
    """Somebody else leads."""

    host: str
    peer_port: int


class Later(msgspec.Struct, array_like=True, tag="later"):
    """It is being done, or can't be done just now; ask again."""

    reason: str


class Never(msgspec.Struct, array_like=True, tag="never"):
    """It won't be done."""

    reason: str


Answer = Admitted | Elsewhere | Later | Never
_question_decoder = msgspec.msgpack.Decoder(Join)
_answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode_join(join: Join) -> bytes:
    """Make a question's body."""
    return msgspec.msgpack.encode(join)


def decode_answer(body: bytes) -> Answer:
    """Read an answer's body. Raises ProtocolError."""
    return said_in(_answer_decoder, body, what="answer to who wants to join")


class Peers(Protocol):
    """What is needed of `Transport`."""

    def set_peers(self, peers: dict[int, Address]) -> None:
        """Dial these from now on."""


class Admission:
    """One node's dealings with who is a member."""

    def __init__(
        self,
        *,
        config: Config,
        nonce: bytes,
        cluster_id: bytes,
        group: Group,
        roster: Roster,
        peers: Peers,
        now_ns: Callable[[], int],
    ) -> None:
        #: Replaced as a whole when a setting changes.
        self.config = config
        self._nonce = nonce
        self._cluster_id = cluster_id
        self._group = group
        self._roster = roster
        self._peers = peers
        self._now_ns = now_ns
        #: By nonce: what newcomers were told last.
        self._answers: dict[bytes, Answer] = {}
        #: This node was removed, and knows it.
        self.is_removed = False

    # -- members that there are -------------------------------------------------------------

    def welcomes(self, node_id: int) -> Refusal | None:
        """Say why a node of this cluster is turned away."""
        core = self._group.core
        return refusal_of(node_id, core.committed_membership, core.membership)

    def on_members(self) -> None:
        """The membership, or whom this node speaks to, has changed."""
        core = self._group.core
        self._roster.refresh()
        if core.is_removed:
            self._note_removed()
        if not self.is_removed:
            self._peers.set_peers(self._roster.peer_addresses(core.peers))

    def on_peer_address(self, node_id: int, address: Address) -> None:
        """A node says where it listens, other than known here: answers must find it."""
        self._roster.note_peer_address(node_id, address)
        self.on_members()

    def on_refused(self, node_id: int, code: RefusalCode, reason: str) -> None:
        """A peer turned this node away."""
        if code is REMOVED and not self.is_removed:
            log.error("node %d: node %d says: %s", self.config.node_id, node_id, reason)
            self._note_removed()

    def _note_removed(self) -> None:
        """Disturb nobody any more."""
        if self.is_removed:
            return
        self.is_removed = True
        log.error(
            "node %d: this node was removed from the cluster for good, and serves nobody any more;"
            " its directory %s can be deleted",
            self.config.node_id,
            self.config.data_dir,
        )
        self._group.core.step_down(self._now_ns())
        self._peers.set_peers({})

    def on_tick(self) -> None:
        """Now and then: see whether this node is a member still; as the leader, tell the log addresses."""
        if self._group.core.is_removed:
            self._note_removed()
        if self._group.is_serving:
            self._tell_addresses()

    def _tell_addresses(self) -> None:
        """Let the log know how members are reached of whom it doesn't."""
        for member in self._roster.untold():
            nonce = self._nonce if member.node_id == self.config.node_id else b""
            try:
                self._group.change_membership(MoveMember(member.node_id, encode_place(member, nonce)))
            except (NotLeader, ChangeRefused, ProposalDropped):
                return

    # -- newcomers --------------------------------------------------------------------------

    def on_question(self, question: bytes) -> bytes:
        """Answer who wants to join. Raises ProtocolError."""
        join = said_in(_question_decoder, question, what="question of who wants to join")
        _check(join)
        newcomer = Member(1, join.host, join.port, join.peer_host, join.peer_port)
        answer = self._answer(join, newcomer)
        self._answers.pop(join.nonce, None)
        if len(self._answers) >= _ANSWERS_MAX:
            del self._answers[next(iter(self._answers))]
        self._answers[join.nonce] = answer
        return msgspec.msgpack.encode(answer)

    def last_answer(self, nonce: bytes) -> Answer | None:
        """Give what that newcomer was told last, if it asked lately."""
        return self._answers.get(nonce)

    def forget_answer(self, nonce: bytes) -> None:
        """Forget what that newcomer was told: it begins anew."""
        self._answers.pop(nonce, None)

    def _answer(self, join: Join, newcomer: Member) -> Answer:
        if join.password != self.config.requirepass:
            return Never("the password is not the cluster's (requirepass)")
        if self.is_removed:
            return Never("this node was removed from the cluster itself")
        group = self._group
        if not group.is_leader:
            leader = self._roster.member(group.leader_id)
            return (
                Later("no leader is known")
                if leader is None
                else Elsewhere(leader.peer_host, leader.peer_port)
            )
        core = group.core
        node_id = _known_as(join.nonce, core.committed_membership.addresses)
        if node_id != NOBODY:
            members = [(each.node_id, each.peer_host, each.peer_port) for each in self._roster.members]
            return Admitted(node_id, self._cluster_id, members)
        if _known_as(join.nonce, core.membership.addresses) != NOBODY:
            return Later("it is being written to the log")
        if self._roster.untold():
            return Later("the members' addresses are being written to the log")
        change = AddMember(
            encode_place(newcomer, join.nonce),
            is_staged=not join.is_learner,
            takes_place_of=join.takes_place_of,
        )
        try:
            group.change_membership(change)
        except ChangeDeferred as refusal:
            return Later(str(refusal))
        except ChangeRefused as refusal:
            return Never(str(refusal))
        except (NotLeader, ProposalDropped) as refusal:
            return Later(str(refusal))
        return Later("it is being written to the log")


def _check(join: Join) -> None:
    """Raise ProtocolError for what no newcomer says; an empty nonce is that of every founder."""
    if len(join.nonce) != NONCE_BYTES:
        raise ProtocolError(f"who wants to join has a nonce of {len(join.nonce)} bytes")
    for host, port in ((join.host, join.port), (join.peer_host, join.peer_port)):
        if not 0 < len(host) <= _HOST_CHARS_MAX or not host.isprintable() or not 0 < port <= _PORT_MAX:
            raise ProtocolError(f"who wants to join says that it listens at {host[:80]!r}, port {port}")


def _known_as(nonce: bytes, addresses: tuple[tuple[int, bytes], ...]) -> int:
    return next((node_id for node_id, address in addresses if nonce_in(address) == nonce), NOBODY)
