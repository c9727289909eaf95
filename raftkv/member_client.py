"""Has the members of a running cluster changed, over RESP, by whoever leads it.

A client like any other: it knows RAFT's sub-commands and nothing of the node behind them. What it says is
said to the leader, wherever that is by now, and again while that is harmless, up to a deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import hiredis

from raftkv.commands.changes import WAS_REMOVED
from raftkv.status import Place, StatusUnavailable, converse

#: Seconds between two questions while something is awaited.
POLL_SECONDS = 0.2
#: Seconds that a node has to tell who the members are.
_ANSWER_SECONDS = 2.0
#: What is said again later: nothing was done.
_PASSING = ("MOVED", "CLUSTERDOWN", "TRYAGAIN", "LOADING")


class ChangeFailed(Exception):
    """The cluster refuses a change, or did not make it in time. The text says which."""


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One member, as the leader sees it (RAFT MEMBERS)."""

    id: int
    name: str
    #: "leader", "voter", "learner", "staged", "outgoing" or "stranger".
    role: str
    host: str
    port: int
    peer_port: int
    match_index: int | None
    #: Entries that it lacks of those that are committed.
    lag: int | None
    heard_ms_ago: int | None
    state: str | None
    takes_place_of: int | None
    snapshot_bytes_done: int | None
    snapshot_bytes_total: int | None

    @property
    def place(self) -> Place:
        """Where its clients connect."""
        return Place(self.host, self.port)

    @property
    def is_voting(self) -> bool:
        """It votes, and will go on to."""
        return self.role in ("leader", "voter")

    def as_json(self) -> dict[str, object]:
        """Return what `--json` prints of it."""
        return {key: getattr(self, key) for key in MemberRow.__slots__}


class Leader:
    """Whoever leads, as this process reaches it."""

    def __init__(self, place: Place, *, password: str, timeout_seconds: float) -> None:
        """`place`: any member's."""
        self._first = self._place = place
        self._password = password
        self._timeout_seconds = timeout_seconds
        self._deadline_s = time.monotonic() + timeout_seconds
        #: Where members were seen, to be tried in turns when a node is gone.
        self._known: list[Place] = []

    async def members(self) -> list[MemberRow]:
        """Ask the leader who the members are. Raises StatusUnavailable, ChangeFailed when it is too late."""
        hops_count = 0
        while True:
            try:
                rows = _rows_of(self._place, await self._converse(_ANSWER_SECONDS, "RAFT", "MEMBERS"))
            except StatusUnavailable as failure:
                await self._try_another(failure)
                continue
            self._known = [row.place for row in rows]
            leading = next((row for row in rows if row.role == "leader"), None)
            own = next((row for row in rows if row.state == "self"), None)
            if leading is None and own is not None and own.role == "stranger":
                raise ChangeFailed(f"{self._place} is node {own.id}, which is no member; ask another node")
            if leading is not None and leading.state == "self":
                return rows
            if leading is None or hops_count:
                await self._pause("no leader is known")
            if leading is not None:
                hops_count += 1
                self._place = leading.place

    async def say(self, *words: str) -> int | str | None:
        """Tell the leader to do something, again if it wasn't done; None: nobody knows whether it was.

        Raises StatusUnavailable, ChangeFailed.
        """
        while True:
            try:
                reply = await self._converse(self._seconds_left(), *words)
            except StatusUnavailable as failure:
                if not self._known:
                    raise
                await self._try_another(failure)
                return None
            if isinstance(reply, int | str):
                return reply
            text = str(reply)
            prefix, _, reason = text.partition(" ")
            if prefix == "UNKNOWN":
                return None
            if prefix not in _PASSING:
                raise ChangeFailed(reason if prefix == "ERR" else text)
            if prefix == "MOVED":
                host, _, port = reason.partition(" ")[2].rpartition(":")
                self._place = Place(host, int(port))
            await self._pause(text)

    async def _converse(self, seconds: float, *words: str) -> object:
        place = self._place
        encoded = tuple(word.encode("utf-8", "surrogateescape") for word in words)
        request = hiredis.pack_command(encoded)  # type: ignore[arg-type]  # as in status
        try:
            async with asyncio.timeout(seconds):
                (reply,) = await converse(place, [request], password=self._password)
        except TimeoutError:
            raise StatusUnavailable(str(place), f"did not answer within {seconds:.3g} s") from None
        except OSError as failure:
            raise StatusUnavailable(str(place), f"can't be reached: {failure.strerror or failure}") from None
        except hiredis.ProtocolError:
            raise StatusUnavailable(str(place), "does not speak Redis's protocol") from None
        return reply

    async def _try_another(self, failure: StatusUnavailable) -> None:
        """Go on at another member. Raises `failure` when none is known, or it is too late."""
        others = [place for place in (self._first, *self._known) if place != self._place]
        if not self._known or not others or self._seconds_left() <= POLL_SECONDS:
            raise failure
        self._place = others[0]
        self._known = [*others[1:], others[0]]
        await asyncio.sleep(POLL_SECONDS)

    async def pause(self) -> None:
        """Wait a little between two looks. Raises ChangeFailed when it is too late."""
        await self._pause("it goes on; see raftkv member list")

    async def _pause(self, reason: str) -> None:
        if self._seconds_left() <= POLL_SECONDS:
            raise ChangeFailed(f"not done within {self._timeout_seconds:g} s: {reason}")
        await asyncio.sleep(POLL_SECONDS)

    def _seconds_left(self) -> float:
        return max(0.001, self._deadline_s - time.monotonic())


#: Is told how a newcomer comes on.
Watcher = Callable[[MemberRow], None]


async def add(leader: Leader, place: Place, peer_port: int, *, is_learner: bool, watch: Watcher) -> MemberRow:
    """Have the node that waits there taken in, and wait until it votes or, as a learner, is up to date."""
    words = ("ADD", *(("LEARNER",) if is_learner else ()), place.host, str(place.port))
    node_id = await _take_in(leader, place, peer_port, words)
    return await _until_caught_up(leader, node_id, is_learner=is_learner, watch=watch)


async def replace(
    leader: Leader, replaced_id: int, place: Place, peer_port: int, *, watch: Watcher
) -> MemberRow:
    """Have the node that waits there take a voter's place, and wait until it has."""
    words = ("REPLACE", str(replaced_id), place.host, str(place.port))
    node_id = await _take_in(leader, place, peer_port, words)
    row = await _until_caught_up(leader, node_id, is_learner=False, watch=watch)
    while any(each.id == replaced_id for each in await leader.members()):
        await leader.pause()
    return row


async def remove(leader: Leader, node_id: int) -> bool:
    """Have a member removed; False: it had been before. Raises ChangeFailed."""
    await leader.members()
    was_asked = False
    while True:
        try:
            if await leader.say("RAFT", "REMOVE", str(node_id)) is not None:
                return True
        except ChangeFailed as refusal:
            if str(refusal).endswith(WAS_REMOVED):
                return was_asked
            raise
        was_asked = True
        await leader.pause()


async def transfer(leader: Leader, node_id: int | None) -> int:
    """Have leadership handed over, and return who leads then."""
    before = await leader.members()
    old_id = next(row.id for row in before if row.role == "leader")
    to = () if node_id is None else (str(node_id),)
    reply = await leader.say("RAFT", "TRANSFER", *to)
    if isinstance(reply, int):
        return reply
    # The old leader was lost, perhaps for having done so.
    new_id = next(row.id for row in await leader.members() if row.role == "leader")
    if new_id == node_id or (node_id is None and new_id != old_id):
        return new_id
    raise ChangeFailed(f"node {new_id} leads, and nobody knows whether leadership was handed over")


async def _take_in(leader: Leader, place: Place, peer_port: int, words: tuple[str, ...]) -> int:
    while True:
        known = {row.id for row in await leader.members()}
        reply = await leader.say("RAFT", *words, "PEERPORT", str(peer_port))
        if isinstance(reply, int):
            return reply
        for row in await leader.members():
            if row.id not in known and row.peer_port == peer_port and row.port == place.port:
                return row.id
        await leader.pause()


async def _until_caught_up(leader: Leader, node_id: int, *, is_learner: bool, watch: Watcher) -> MemberRow:
    while True:
        row = next((each for each in await leader.members() if each.id == node_id), None)
        if row is None:
            raise ChangeFailed(f"node {node_id} was removed while it was awaited")
        watch(row)
        if row.is_voting or (is_learner and row.state == "replicate" and row.lag == 0):
            return row
        await leader.pause()


def _rows_of(place: Place, reply: object) -> list[MemberRow]:
    if isinstance(reply, hiredis.ReplyError):
        raise StatusUnavailable(str(place), f"is no raftkv node, or none that is ready: it says {reply}")
    if not isinstance(reply, list):
        raise StatusUnavailable(str(place), "is no raftkv node")
    try:
        return [_row_of(dict(zip(each[::2], each[1::2], strict=True))) for each in reply]
    except (KeyError, TypeError, ValueError) as lack:
        raise StatusUnavailable(str(place), f"is another version of raftkv: {lack}") from None


def _row_of(fields: Mapping[str, object]) -> MemberRow:
    values = {key: fields[key.replace("_", "-")] for key in MemberRow.__slots__}
    return MemberRow(**values)  # type: ignore[arg-type]  # the node's word, shown as it is
