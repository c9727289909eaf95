"""Whether a history is linearizable, and if not, what of it can't be.

Linearizability is local (Herlihy and Wing): a history is linearizable if that of each key is. So keys are
checked one by one, each against a `register`. Beyond linearizability it is checked that the operations of
one connection on one key take effect in the order in which they were sent, pipelined or not.

A violation is told by the smallest window of the key's history that was found to be impossible by itself,
and within it by the operations whose replies are needed for the contradiction.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.consistency.history import Operation, by_key
from tests.consistency.problem import problem_of
from tests.consistency.relaxed import is_refuted
from tests.consistency.search import CONFIGURATIONS_MAX, GivenUp, NotFound, search
from tests.consistency.windows import Window, Windows, with_only

#: What is spent before a contradiction is looked for in windows.
_FIRST_CONFIGURATIONS_MAX = 100_000
#: What is spent on making one violation smaller.
_SHRINK_SECONDS = 5.0


class TooHard(Exception):
    """A key's history could be neither explained nor refuted within bounds: nothing is known."""


@dataclass(frozen=True, slots=True)
class Violation:
    """What one key's clients were told, and no single register could have told them."""

    key: bytes
    #: The operations of a window that contradicts itself; those of them that overlap its beginning, and
    #: `core` doesn't name, are taken as if their outcome were unknown.
    window: list[Operation]
    #: The read that says what the key held when the window began; None: it is the history's beginning.
    pin: Operation | None
    #: When the operation returns that can't be explained any more.
    until_ns: int
    #: Those whose replies, with their times, contradict each other (and the pin's); of all others only the
    #: commands are needed. As few as could be found in the time.
    core: list[Operation]

    @property
    def contradicting(self) -> list[Operation]:
        """The core, and the pin if there is one, by the times at which they were sent."""
        pins = [] if self.pin is None else [self.pin]
        return sorted([*pins, *self.core], key=lambda each: each.invoked_ns)

    def __str__(self) -> str:
        contradicting = self.contradicting
        lines = [
            f"key {self.key.decode('latin-1')}: no order explains {len(self.window)} operations in a row;"
            f" {len(contradicting)} contradict each other:"
        ]
        begin_ns = contradicting[0].invoked_ns
        for each in contradicting:
            assert each.returned_ns is not None, "a contradiction is between replies"
            begin_ms, end_ms = (each.invoked_ns - begin_ns) / 1e6, (each.returned_ns - begin_ns) / 1e6
            lines.append(f"  {begin_ms:9.3f} .. {end_ms:9.3f} ms  {each}")
        return "\n".join(lines)


def check(
    operations: Sequence[Operation], *, configurations_max: int = CONFIGURATIONS_MAX
) -> list[Violation]:
    """Return the violations of a history, at most one for each key. Raises TooHard, which names the key."""
    violations = []
    for key, group in by_key(operations).items():
        window = _contradiction_in(key, group, configurations_max)
        if window is not None:
            violations.append(_violation(key, group, window))
    return violations


def _contradiction_in(key: bytes, operations: list[Operation], configurations_max: int) -> Window | None:
    """Find a window that can't be explained; None: all can be."""
    problem = problem_of(operations)
    try:
        search(problem, configurations_max=min(configurations_max, _FIRST_CONFIGURATIONS_MAX))
        return None
    except GivenUp:
        is_certain = is_refuted(problem, configurations_max=configurations_max)
    except NotFound:
        is_certain = True
    windows = Windows(operations)
    window = windows.find()
    if window is None and not is_certain:
        try:
            search(problem, configurations_max=configurations_max)
            return None
        except GivenUp as given_up:
            text = f"key {key.decode('latin-1')}, {len(operations)} operations: {given_up}"
            raise TooHard(text) from None
        except NotFound:
            pass
    return window or windows.beginning()


def _violation(key: bytes, operations: list[Operation], window: Window) -> Violation:
    """Find replies that suffice for the contradiction.

    Sound: who ignores a reply claims less (a read without its reply says nothing, a write may or may not
    have taken effect), so what can't be explained then can't be explained with it either. In ever smaller
    pieces, the oldest first, replies are ignored wherever the contradiction survives it.
    """
    windows = Windows(operations)
    deadline = time.monotonic() + _SHRINK_SECONDS
    told = [place for place, each in enumerate(window.operations) if each.returned_ns is not None]
    size = max(1, len(told) // 2)
    while size and time.monotonic() < deadline:
        first = 0
        while first < len(told) and time.monotonic() < deadline:
            rest = told[:first] + told[first + size :]
            if windows.is_refuted(with_only(window, set(rest))):
                told = rest
            else:
                first += size
        size //= 2
    return Violation(
        key, window.operations, window.pin, window.until_ns, [window.operations[place] for place in told]
    )
