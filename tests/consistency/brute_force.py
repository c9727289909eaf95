"""Linearizability from its definition: tries every order of every choice. For a handful of operations.

Shares nothing with the search but the register, so that one can be held against the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.consistency.history import Operation
from tests.consistency.register import State, step_of


def is_linearizable(operations: Sequence[Operation], *, initial: State = None) -> bool:
    """Whether some order explains a history of one key, given in its order, from a state on."""
    return _is_explained(initial, list(operations))


def _is_explained(state: State, left: list[Operation]) -> bool:
    """Whether what is left can be explained from a state on."""
    if all(each.returned_ns is None for each in left):
        return True
    for place, chosen in enumerate(left):
        if any(_must_precede(each, chosen) for each in left):
            continue
        earlier = [each for each in left[:place] if each.connection == chosen.connection]
        if any(each.returned_ns is not None for each in earlier):
            continue
        state_after, reply = step_of(chosen.command)(state)
        if chosen.returned_ns is not None and not _is_same(reply, chosen.reply):
            continue
        # What the connection sent earlier, and is of unknown outcome, will never take effect.
        rest = [each for each in left if each is not chosen and each not in earlier]
        if _is_explained(state_after, rest):
            return True
    return False


def _must_precede(one: Operation, other: Operation) -> bool:
    """Whether `one` had returned before `other` was invoked."""
    return one.returned_ns is not None and one.returned_ns < other.invoked_ns


def _is_same(reply: object, seen: object) -> bool:
    return reply == seen and type(reply) is type(seen)
