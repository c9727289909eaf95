"""A node that waits to be taken in, as `raftkv serve --join` runs one: it asks where it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.config import Member
from raftkv.node.admission import (
    ADMISSION,
    Admitted,
    Answer,
    Elsewhere,
    Join,
    Never,
    decode_answer,
    encode_join,
)
from raftkv.node.invitations import INVITE, Invitations, Invite
from raftkv.transport import Address

if TYPE_CHECKING:
    from tests.node.driven_cluster import Cluster


class Newcomer:
    """One such node, until it is admitted or refused."""

    def __init__(self, cluster: Cluster, member: Member, *, nonce: bytes) -> None:
        self.member = member
        self.nonce = nonce
        self.password = ""
        #: Why it declines to come.
        self.reluctance = ""
        #: What it was told last.
        self.answered: Answer | None = None
        self._cluster = cluster
        self._invite: Invite | None = None
        self._target: Address | None = None
        self._invitations = Invitations(nonce=nonce, on_invited=self._on_invited)

    @property
    def address(self) -> Address:
        """Where it listens for peers."""
        return self.member.peer_host, self.member.peer_port

    def answer(self, kind: int, question: bytes) -> bytes | str:
        """Answer on its peer port."""
        return self._invitations.on_question(question) if kind == INVITE else "this kind is not answered"

    def _on_invited(self, invite: Invite) -> str:
        if not self.reluctance:
            self._invite = invite
            self._target = (invite.host, invite.peer_port)
        return self.reluctance

    def tick(self) -> None:
        """Ask once, if it knows whom."""
        invite, target = self._invite, self._target
        if invite is None or target is None or isinstance(self.answered, Never):
            return
        own = self.member
        join = Join(
            self.nonce,
            own.host,
            own.port,
            own.peer_host,
            own.peer_port,
            self.password,
            invite.takes_place_of,
            invite.is_learner,
        )
        said = self._cluster.answer_at(target, ADMISSION, encode_join(join))
        if isinstance(said, str):
            return
        self.answered = decode_answer(said)
        if isinstance(self.answered, Elsewhere):
            self._target = (self.answered.host, self.answered.peer_port)
        elif isinstance(self.answered, Admitted):
            self._cluster.admit(self, self.answered.node_id)
