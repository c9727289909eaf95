"""Whether two replies to one request are alike, as far as they have to be.

Equal replies always are. What is left to chance, to the clock or to an order that nobody promises has a rule
here. What differs although it need not is no matter of this module: `differences` explains that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.differential.cases import Request
from tests.differential.replies import Reply


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what both servers answered."""

    request: Request
    #: raftkv's.
    ours: Reply
    #: redis-server's.
    theirs: Reply
    #: Milliseconds since the case began: by so much the servers' clocks may differ.
    elapsed_ms: int
    #: The requests before, of all connections.
    history: tuple[Request, ...] = ()

    @property
    def name(self) -> str:
        """The command in lower case; of a container with the sub-command, `client|id`."""
        words = self.request[: 2 if self.request[0].lower() in _CONTAINERS else 1]
        return "|".join(word.decode("latin-1").lower() for word in words)


#: Milliseconds by which a driven node's time is ahead after a short wait, at most.
_TURN_MS: Final = 30

_CONTAINERS: Final = frozenset(
    b"client cluster config command object memory slowlog latency module acl xinfo xgroup".split()
)


def are_alike(exchange: Exchange) -> bool:
    """Whether the replies differ in nothing but what may differ."""
    if exchange.ours == exchange.theirs:
        return True
    rule = _RULES.get(exchange.name)
    return rule is not None and rule(exchange)


def _differ_by(exchange: Exchange, limit: int) -> bool:
    ours, theirs = exchange.ours.number, exchange.theirs.number
    return ours > 0 and theirs > 0 and abs(ours - theirs) <= limit


def _within_elapsed_ms(exchange: Exchange) -> bool:
    waits_count = sum(map(_may_wait, exchange.history))
    return _differ_by(exchange, exchange.elapsed_ms + 2 + _TURN_MS * waits_count)


def _may_wait(request: Request) -> bool:
    """A driven node's time goes on for who waits, tick by tick, however soon that is over in Redis."""
    name = request[0].lower()
    return name == b"wait" or (name == b"client" and len(request) > 2 and request[1].lower() == b"pause")


def _within_elapsed_seconds(exchange: Exchange) -> bool:
    return _differ_by(exchange, exchange.elapsed_ms // 1000 + 1)


def _in_any_order(exchange: Exchange) -> bool:
    ours, theirs = exchange.ours.items, exchange.theirs.items
    if ours is None or theirs is None or exchange.ours.mark != exchange.theirs.mark:
        return False
    return sorted(map(str, ours)) == sorted(map(str, theirs))


def _some_in_any_order(exchange: Exchange) -> bool:
    """As many as were asked for, of those that there are."""
    ours, theirs = exchange.ours.items, exchange.theirs.items
    if ours is None or theirs is None or len(ours) != len(theirs):
        return False
    return exchange.request[-1] == b"%d" % len(ours) or _in_any_order(exchange)


def _are_both_integers(exchange: Exchange) -> bool:
    return exchange.ours.number > 0 and exchange.theirs.number > 0


def _are_both_counts(exchange: Exchange) -> bool:
    """A cluster has replicas, a redis-server alone has none."""
    return exchange.ours.number >= exchange.theirs.number >= 0


def _roles(exchange: Exchange) -> bool:
    ours, theirs = exchange.ours.items, exchange.theirs.items
    return ours is not None and theirs is not None and ours[0] == theirs[0] and len(ours) == len(theirs)


def _have_one_shape(exchange: Exchange) -> bool:
    return shape_of(exchange.ours) == shape_of(exchange.theirs)


def shape_of(reply: Reply) -> object:
    """The kinds of a reply and of all that it holds; texts of integers and strings don't count."""
    if reply.items is not None:
        return (reply.mark, *map(shape_of, reply.items))
    return reply.mark, reply.text is None, reply.text if reply.is_error else None


def _are_one_kind(exchange: Exchange) -> bool:
    return exchange.ours.mark == exchange.theirs.mark and not exchange.ours.is_error


def _scan_pages(exchange: Exchange) -> bool:
    """A whole iteration finds the same keys; where a page ends is each server's own."""
    ours, theirs = exchange.ours.items, exchange.theirs.items
    if ours is None or theirs is None or exchange.ours.mark != exchange.theirs.mark:
        return False
    if exchange.request[1] != b"0" or any(page[0].text != b"0" for page in (ours, theirs)):
        return [item.mark for item in ours] == [item.mark for item in theirs]
    return sorted(ours[1].leaves()) == sorted(theirs[1].leaves())


def _greetings(exchange: Exchange) -> bool:
    if exchange.ours.mark != exchange.theirs.mark or exchange.ours.items is None:
        return False
    ours, theirs = exchange.ours.pairs(), exchange.theirs.pairs()
    return list(ours) == list(theirs) and all(
        ours[key] == theirs[key] for key in ours if key not in (b"version", b"id")
    )


#: Of CLIENT INFO, what a client has chosen.
_CHOSEN: Final = ("name", "flags", "db", "sub", "psub", "ssub", "multi", "cmd", "user", "redir", "resp")


def _client_lines(exchange: Exchange) -> bool:
    if exchange.ours.mark != exchange.theirs.mark or exchange.ours.text is None:
        return False
    ours, theirs = (
        dict(re.findall(r"(\S+?)=(\S*)", str(reply.text, "latin-1")))
        for reply in (exchange.ours, exchange.theirs)
        if reply.text
    )
    return [key for key in ours if key in theirs] == list(theirs) and all(
        ours[key] == theirs[key] for key in _CHOSEN
    )


def _nulls_stand_alike(exchange: Exchange) -> bool:
    """What COMMAND INFO says of a command is compared by the tests of the table; here: whom it knows."""
    ours, theirs = exchange.ours.items, exchange.theirs.items
    if ours is None or theirs is None or exchange.ours.mark != exchange.theirs.mark:
        return False
    if len(exchange.request) == 2:
        return True
    return [item.items is None for item in ours] == [item.items is None for item in theirs]


_RULES: Final[dict[str, Callable[[Exchange], bool]]] = {
    "ttl": _within_elapsed_seconds,
    "pttl": _within_elapsed_ms,
    "expiretime": _within_elapsed_seconds,
    "pexpiretime": _within_elapsed_ms,
    "keys": _in_any_order,
    "cluster|getkeysinslot": _some_in_any_order,
    "scan": _scan_pages,
    "randomkey": _have_one_shape,
    "time": _have_one_shape,
    "hello": _greetings,
    "client|id": _are_both_integers,
    "client|list": _are_one_kind,
    "client|info": _client_lines,
    "info": _are_one_kind,
    "role": _roles,
    "wait": _are_both_counts,
    "lastsave": _are_both_integers,
    "memory|usage": _are_both_integers,
    "memory|doctor": _are_one_kind,
    "memory|malloc-stats": _are_one_kind,
    "memory|stats": _are_one_kind,
    "object|idletime": _have_one_shape,
    "object|freq": _have_one_shape,
    "command|count": _are_both_integers,
    "command|list": _are_one_kind,
    "command": _are_one_kind,
    "command|info": _nulls_stand_alike,
    "command|docs": _are_one_kind,
    "cluster|myid": _have_one_shape,
    "cluster|myshardid": _have_one_shape,
    "cluster|info": _are_one_kind,
    "cluster|nodes": _are_one_kind,
    "cluster|slots": _are_one_kind,
    "cluster|shards": _are_one_kind,
    "cluster|links": _are_one_kind,
}
