"""The newcomer's side of a membership change: whom it asks, how often, and what it takes for an end.

Source: `raftkv.node.joining`.
"""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from raftkv.config import Config
from raftkv.node.admission import Admitted, Answer, Elsewhere, Join, Later, Never
from raftkv.node.invitations import Invite
from raftkv.node.joining import Joining, JoinRefused
from raftkv.raft import ProtocolError
from raftkv.transport import Address

FIRST = ("first", 17001)
SECOND = ("second", 17002)
THIRD = ("third", 17003)
ADMITTED = Admitted(4, b"cluster", [])
NOBODY_LEADS = Later("nobody leads")


def to(address: Address) -> Elsewhere:
    return Elsewhere(*address)


class Cluster:
    """Answers in the order that the test gives, and notes who was asked what, and every pause."""

    def __init__(self, *answers: Answer | Exception, join: str = "first:7001") -> None:
        self.events: list[Address | str] = []
        self.joins: list[Join] = []
        self._answers = list(answers)
        config = Config(port=7009, join=join)
        self.joining = Joining(
            config, nonce=b"nonce", ask=self._ask, random=random.Random(1), sleep=self._sleep
        )

    def run(self) -> Admitted:
        return asyncio.run(self.joining.run())

    async def _ask(self, address: Address, question: bytes) -> bytes:
        self.events.append(address)
        self.joins.append(msgspec.msgpack.decode(question, type=Join))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return msgspec.msgpack.encode(answer)

    async def _sleep(self, seconds: float) -> None:
        assert 0.05 <= seconds <= 1.0
        self.events.append("pause")
        await asyncio.sleep(0)


def test_who_is_admitted_has_asked_once() -> None:
    cluster = Cluster(ADMITTED)
    assert cluster.run() == ADMITTED
    assert cluster.events == [FIRST]


def test_it_goes_at_once_where_it_is_sent() -> None:
    cluster = Cluster(to(SECOND), ADMITTED)
    cluster.run()
    assert cluster.events == [FIRST, SECOND]


def test_who_is_sent_back_and_forth_takes_its_time() -> None:
    """Two nodes that each take the other for the leader."""
    cluster = Cluster(to(SECOND), to(FIRST), to(SECOND), ADMITTED)
    cluster.run()
    assert cluster.events == [FIRST, SECOND, "pause", FIRST, "pause", SECOND]


def test_who_is_sent_to_whom_it_has_asked_begins_again_after_a_pause() -> None:
    cluster = Cluster(to(SECOND), to(SECOND), ADMITTED)
    cluster.run()
    assert cluster.events == [FIRST, SECOND, "pause", FIRST]


def test_the_leader_is_asked_until_it_is_done() -> None:
    cluster = Cluster(to(SECOND), NOBODY_LEADS, NOBODY_LEADS, ADMITTED)
    cluster.run()
    assert cluster.events == [FIRST, SECOND, "pause", SECOND, "pause", SECOND]


@pytest.mark.parametrize("failure", [ConnectionRefusedError("refused"), ProtocolError("garbage")])
def test_who_finds_nobody_begins_again_with_the_first(failure: Exception) -> None:
    cluster = Cluster(to(SECOND), failure, to(THIRD), ADMITTED)
    cluster.run()
    assert cluster.events == [FIRST, SECOND, "pause", FIRST, THIRD]


def test_a_refusal_is_the_end() -> None:
    cluster = Cluster(Never("the password is wrong"))
    with pytest.raises(JoinRefused, match="the password is wrong"):
        cluster.run()


def test_who_waits_for_an_invitation_asks_nobody_before() -> None:
    """And asks for what the invitation says."""

    async def body() -> None:
        running = asyncio.ensure_future(cluster.joining.run())
        await asyncio.sleep(0)
        assert cluster.events == []
        cluster.joining.on_invited(Invite(*SECOND, takes_place_of=3, is_learner=True))
        await running

    cluster = Cluster(ADMITTED, join="invitation")
    asyncio.run(body())
    (join,) = cluster.joins
    assert cluster.events == [SECOND]
    assert (join.takes_place_of, join.is_learner, join.nonce) == (3, True, b"nonce")


def test_another_invitation_takes_the_place_of_the_first() -> None:
    """Who invited it may be gone."""
    cluster = Cluster(NOBODY_LEADS, NOBODY_LEADS, ADMITTED)
    cluster.joining.on_invited(Invite(*SECOND))

    async def body() -> None:
        task = asyncio.ensure_future(cluster.joining.run())
        await asyncio.sleep(0)
        cluster.joining.on_invited(Invite(*THIRD))
        await task

    asyncio.run(body())
    assert cluster.events[0] == SECOND
    assert cluster.events[-1] == THIRD
