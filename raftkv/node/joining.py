"""How an empty node becomes a member of a cluster that runs: it asks until it is taken in.

The newcomer's side of `admission`. It asks the address that it was given, goes where it is sent, and says in
the log what it waits for. What it gets, an id of its own and the cluster's id, the caller saves.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from raftkv.config import Config
from raftkv.config_values import address_to_join
from raftkv.node.admission import Admitted, Elsewhere, Join, Later, decode_answer, encode_join
from raftkv.node.invitations import Invite
from raftkv.raft import ProtocolError
from raftkv.transport import Address, Refused, failure_text

log = logging.getLogger(__name__)

#: Seconds between two questions, from one to the other as nothing changes.
_PAUSE_SECONDS: Final = (0.1, 1.0)
#: Seconds between two log lines that say the same.
_LOG_SECONDS: Final = 10.0

#: (address, question) -> answer. Raises OSError, Refused, ProtocolError.
Ask = Callable[[Address, bytes], Awaitable[bytes]]


class JoinRefused(Exception):
    """The cluster won't take this node in."""


class Joining:
    """One attempt to get in; lasts until it succeeds or is refused for good."""

    def __init__(
        self,
        config: Config,
        *,
        nonce: bytes,
        ask: Ask,
        random: random.Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`nonce`: of the data directory, saved before."""
        own = config.member
        self._join = Join(
            nonce=nonce,
            host=own.host,
            port=own.port,
            peer_host=own.peer_host,
            peer_port=own.peer_port,
            password=config.requirepass,
            takes_place_of=config.join_in_place_of,
            is_learner=config.join_as_learner,
        )
        self._ask = ask
        self._random = random
        self._sleep = sleep
        self._first = address_to_join(config.join)
        self._invited = asyncio.Event()
        self._said = ""
        self._said_time = 0.0

    def on_invited(self, invite: Invite) -> str:
        """Ask there from now on: a member came to this node. An empty text says that it will."""
        self._first = (invite.host, invite.peer_port)
        self._join.takes_place_of = invite.takes_place_of
        self._join.is_learner = invite.is_learner
        self._invited.set()
        return ""

    async def run(self) -> Admitted:
        """Ask until this node is a member. Raises JoinRefused."""
        if self._first is None:
            self._say("it waits for a member's CLUSTER MEET")
            await self._invited.wait()
        target = asked_first = self._first
        pause = _PAUSE_SECONDS[0]
        was_sent = False
        while True:
            assert target is not None, "somebody is asked"
            answer = await self._ask_once(target)
            if isinstance(answer, Admitted):
                return answer
            self._say(f"{target[0]}:{target[1]} says: {_words_of(answer)}")
            is_sent = isinstance(answer, Elsewhere) and (answer.host, answer.peer_port) != target
            if isinstance(answer, Elsewhere) and is_sent:
                target = (answer.host, answer.peer_port)
            elif not isinstance(answer, Later) or self._first not in (None, asked_first):
                target = asked_first = self._first
            # Who is sent on twice in a row may be sent back and forth while a leader is elected.
            if was_sent or not is_sent:
                await self._sleep(pause * self._random.uniform(0.5, 1.0))
                pause = min(2 * pause, _PAUSE_SECONDS[1])
            was_sent = is_sent

    async def _ask_once(self, target: Address) -> Admitted | Elsewhere | Later | str:
        """Ask; a text says why there was no answer."""
        try:
            answer = decode_answer(await self._ask(target, encode_join(self._join)))
        except OSError as error:
            return failure_text(error)
        except (Refused, ProtocolError) as error:
            return str(error)
        if isinstance(answer, Admitted | Elsewhere | Later):
            return answer
        raise JoinRefused(answer.reason)

    def _say(self, text: str) -> None:
        now = asyncio.get_running_loop().time()
        if text != self._said or now - self._said_time >= _LOG_SECONDS:
            self._said, self._said_time = text, now
            log.info("this node is not a member yet: %s", text)


def _words_of(answer: Elsewhere | Later | str) -> str:
    if isinstance(answer, Elsewhere):
        return f"ask {answer.host}:{answer.peer_port}"
    return answer.reason if isinstance(answer, Later) else answer
