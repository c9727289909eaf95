"""A member's invitation to a node that waits to be taken in (redis CLUSTER MEET).

    member                                    newcomer
      Invite(where to ask, as what)     ->      asks there from now on, see `admission`
                                        <-    Coming(nonce)
                                              a member:   Belongs(cluster id, node id)
                                              else:       Declined(reason)

Knows no sockets. Whoever is invited must be admitted all the same; the nonce tells the member whom to expect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from raftkv.node.questions import said_in
from raftkv.raft import NOBODY

#: The kind of these questions on the peer port.
INVITE: Final = 3


class Invite(msgspec.Struct, array_like=True):
    """Come and be taken in."""

    #: Of the member that is to be asked.
    host: str
    peer_port: int
    #: The voter that is to be replaced; NOBODY: none.
    takes_place_of: int = NOBODY
    #: To stay a learner.
    is_learner: bool = False


class Coming(msgspec.Struct, array_like=True, tag="coming"):
    """It asks there from now on."""

    #: Of its data directory.
    nonce: bytes


class Belongs(msgspec.Struct, array_like=True, tag="belongs"):
    """It is a member already."""

    cluster_id: bytes
    node_id: int


class Declined(msgspec.Struct, array_like=True, tag="declined"):
    """It won't come."""

    reason: str


InviteAnswer = Coming | Belongs | Declined
_question_decoder = msgspec.msgpack.Decoder(Invite)
_answer_decoder: msgspec.msgpack.Decoder[InviteAnswer] = msgspec.msgpack.Decoder(InviteAnswer)


def encode_invite(invite: Invite) -> bytes:
    """Make a question's body."""
    return msgspec.msgpack.encode(invite)


def decode_invite_answer(body: bytes) -> InviteAnswer:
    """Read an answer's body. Raises ProtocolError."""
    return said_in(_answer_decoder, body, what="answer to an invitation")


class Invitations:
    """What a node that waits to be taken in answers to invitations."""

    def __init__(self, *, nonce: bytes, on_invited: Callable[[Invite], str]) -> None:
        """`on_invited` goes there from now on, or says why not; "": it goes."""
        self._nonce = nonce
        self._on_invited = on_invited

    def on_question(self, question: bytes) -> bytes:
        """Answer who invites. Raises ProtocolError."""
        reason = self._on_invited(_decode_invite(question))
        return msgspec.msgpack.encode(Declined(reason) if reason else Coming(self._nonce))


def answers_of_member(cluster_id: bytes, node_id: int) -> Callable[[bytes], bytes]:
    """Give the function with which a member answers invitations: it belongs to a cluster already."""
    answer = msgspec.msgpack.encode(Belongs(cluster_id, node_id))

    def on_question(question: bytes) -> bytes:
        _decode_invite(question)
        return answer

    return on_question


def _decode_invite(question: bytes) -> Invite:
    return said_in(_question_decoder, question, what="invitation")
