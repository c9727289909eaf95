"""Linearizability of keys that are only appended to and read; pure.

Every append has a token that no other one has, so the final value tells the order of all appends, and
each reply where it stands in it: an append's is the length after it, a read's the value, which must
be a beginning of the final one. What was answered before something else was sent stands before it,
and so does what one client sent earlier (the store's own promise).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import hiredis

#: Error prefixes that leave the outcome open (`raftkv.resp.replies.ERROR_PREFIXES`).
INDEFINITE = ("UNKNOWN",)
TOKEN_BYTES = 8


@dataclass
class Operation:
    """One APPEND or GET of one client; `number`s are in the order of events."""

    client: int
    key: bytes
    #: b"" for a read.
    token: bytes
    sent: int
    #: None: never answered.
    answered: int | None = None
    reply: Any = None

    @property
    def is_refused(self) -> bool:
        """A definite error came: it was not done."""
        return isinstance(self.reply, hiredis.ReplyError) and not str(self.reply).startswith(INDEFINITE)

    @property
    def place(self) -> int | None:
        """Where it stands in the key's history: the value's length behind it; None: not known."""
        if self.answered is None or isinstance(self.reply, hiredis.ReplyError):
            return None
        return self.reply if self.token else len(self.reply or b"")


def complaints(operations: Sequence[Operation], final: bytes) -> Iterator[str]:
    """What is wrong with the history of one key, which ended with the value `final`."""
    tokens = [final[at : at + TOKEN_BYTES] for at in range(0, len(final), TOKEN_BYTES)]
    if len(set(tokens)) != len(tokens):
        yield "something was appended twice"
    for each in operations:
        yield from _complaints_about(each, final, tokens)
    placed = sorted((each for each in operations if each.place is not None), key=lambda each: each.sent)
    yield from _complaints_about_order(placed)


def _complaints_about(operation: Operation, final: bytes, tokens: list[bytes]) -> Iterator[str]:
    if operation.is_refused and operation.token in tokens:
        yield f"{operation} was refused and done"
    if operation.place is None:
        return
    if operation.token and final[operation.place - TOKEN_BYTES : operation.place] != operation.token:
        yield f"{operation} isn't where it was said to be"
    if not operation.token and not final.startswith(operation.reply or b""):
        yield f"{operation} read what never was"


def _complaints_about_order(placed: Sequence[Operation]) -> Iterator[str]:
    """Check real time and each client's own order; `placed` are in the order of sending."""
    answered = sorted(placed, key=lambda each: each.answered or 0)
    position, floor = 0, 0
    newest_of: dict[int, int] = {}
    for each in placed:
        while position < len(answered) and (answered[position].answered or 0) < each.sent:
            floor = max(floor, answered[position].place or 0)
            position += 1
        place = each.place or 0
        least = max(floor, newest_of.get(each.client, 0)) + (TOKEN_BYTES if each.token else 0)
        if place < least:
            yield f"{each} came too early: {least} were there before it"
        newest_of[each.client] = max(place, newest_of.get(each.client, 0))
