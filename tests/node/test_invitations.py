"""Invitations on the peer port: bytes from strangers, and what each kind of node answers."""

from __future__ import annotations

import asyncio

import pytest

from raftkv.node.asking import Asker
from raftkv.node.invitations import (
    Belongs,
    Coming,
    Declined,
    Invitations,
    Invite,
    answers_of_member,
    decode_invite_answer,
    encode_invite,
)
from raftkv.raft import ProtocolError
from raftkv.transport import Address, Refused

INVITE = Invite("10.0.0.1", 17001, takes_place_of=3)


def test_an_invitation_reaches_who_waits() -> None:
    """And its answer names the newcomer's directory."""
    invited: list[Invite] = []

    def on_invited(invite: Invite) -> str:
        invited.append(invite)
        return ""

    invitations = Invitations(nonce=b"n" * 16, on_invited=on_invited)
    assert decode_invite_answer(invitations.on_question(encode_invite(INVITE))) == Coming(b"n" * 16)
    assert invited == [INVITE]


def test_who_will_not_come_says_why_and_a_member_says_whose_it_is() -> None:
    """The three answers are told apart."""
    declining = Invitations(nonce=b"", on_invited=lambda _: "busy")
    assert decode_invite_answer(declining.on_question(encode_invite(INVITE))) == Declined("busy")
    member = answers_of_member(b"c" * 16, 7)
    assert decode_invite_answer(member(encode_invite(INVITE))) == Belongs(b"c" * 16, 7)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x91" * 2000])
def test_garbage_is_refused(data: bytes) -> None:
    """The peer port is open to strangers."""
    with pytest.raises(ProtocolError):
        answers_of_member(b"c", 1)(data)
    with pytest.raises(ProtocolError):
        decode_invite_answer(data)


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (b"answer", b"answer"),
        (ConnectionRefusedError(111, "x"), "Connection refused"),
        (TimeoutError(), "no answer in time"),
        (Refused("not these"), "not these"),
        (ProtocolError("nonsense"), "nonsense"),
    ],
)
def test_every_question_ends(outcome: bytes | Exception, told: bytes | str) -> None:
    """What is answered, or why nothing is."""

    class Port:
        async def ask_address(self, address: Address, question: bytes, *, kind: int) -> bytes:
            assert (address, question, kind) == (("h", 1), b"q", 9)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

    async def ask() -> bytes | str:
        future: asyncio.Future[bytes | str] = asyncio.get_running_loop().create_future()
        Asker(Port()).ask(("h", 1), 9, b"q", future.set_result)
        return await future

    assert asyncio.run(ask()) == told
