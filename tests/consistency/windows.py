"""Parts of a key's history: a contradiction is mostly within a few operations, and is found faster there.

A window begins with a read, its pin: while that ran the key held what it was answered. It ends with the
return of some operation. It claims less than the whole history does, so where the window can't be explained
the whole can't be either:

* What had returned before the pin was sent is over, and left out.
* What overlaps the pin may have taken effect before it. So it is as if its outcome were unknown.
* A write whose token the pin was shown took effect before it, and is left out. One whose token is shown to
  somebody in the window, but not to the pin, took effect in the window: else it would be gone by then.
* What was sent after the end of the window is left out, and explains nothing in it. What returns after it may
  have been answered by what is left out: as if its outcome were unknown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.consistency.history import Operation
from tests.consistency.problem import problem_of, unique_tokens, value_of, weakened
from tests.consistency.register import State, is_read
from tests.consistency.relaxed import is_refuted
from tests.consistency.search import GivenUp, NotFound, search

#: What a window may cost; a contradiction that is harder to see is looked for elsewhere.
_CONFIGURATIONS_MAX = 15_000
#: How many returns long the windows are that are tried, one size after the other.
_SIZES = (30, 120, 480)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a key's history."""

    #: Its read; None: it begins with the history.
    pin: Operation | None
    until_ns: int
    #: In the history's order; those of unknown outcome include what overlaps the pin.
    operations: list[Operation]

    @property
    def initial(self) -> State:
        """What the key held at first."""
        if self.pin is None:
            return None
        assert self.pin.reply is None or isinstance(self.pin.reply, bytes), "what GET answers is a value"
        return self.pin.reply


class Windows:
    """The windows of one key's history."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self._unique = unique_tokens(operations)
        self._returns_ns = sorted(each.returned_ns for each in operations if each.returned_ns is not None)
        #: By their returns.
        self._pins = sorted(
            (each for each in operations if each.returned_ns is not None and is_read(each.command)),
            key=_end_of,
        )
        self._pin_ends_ns = [_end_of(pin) for pin in self._pins]

    def is_refuted(self, window: Window) -> bool:
        """Whether a window certainly can't be explained."""
        problem = problem_of(window.operations, unique=self._unique, initial=window.initial)
        try:
            search(problem, configurations_max=_CONFIGURATIONS_MAX // 8)
        except GivenUp:
            return is_refuted(problem, configurations_max=_CONFIGURATIONS_MAX)
        except NotFound:
            return True
        return False

    def find(self) -> Window | None:
        """Look for a window that is refuted all over the history, the small ones first."""
        for size in _SIZES:
            for first in range(0, len(self._returns_ns), size // 2):
                pin_place = bisect_left(self._pin_ends_ns, self._returns_ns[first]) if first else -1
                last = min(first + size, len(self._returns_ns) - 1)
                if pin_place == len(self._pins) or (
                    pin_place >= 0 and self._pin_ends_ns[pin_place] >= self._returns_ns[last]
                ):
                    continue
                window = self._window(
                    self._pins[pin_place] if pin_place >= 0 else None, self._returns_ns[last]
                )
                if self.is_refuted(window):
                    return self._with_last_pin(self._with_first_end(window))
        return None

    def beginning(self) -> Window:
        """Return the window from the history's beginning up to the first return with which it is refuted."""
        return self._with_first_end(self._window(None, self._returns_ns[-1]))

    def _with_first_end(self, window: Window) -> Window:
        """Give the window the earliest end with which it is refuted."""
        low, high = 0, bisect_left(self._returns_ns, window.until_ns)
        while low < high:
            middle = (low + high) // 2
            tried = self._window(window.pin, self._returns_ns[middle])
            if self.is_refuted(tried):
                window, high = tried, middle
            else:
                low = middle + 1
        return window

    def _with_last_pin(self, window: Window) -> Window:
        """Give the window the latest beginning with which it is refuted."""
        end = bisect_left(self._pin_ends_ns, window.until_ns)
        for pin in reversed(self._pins[:end]):
            if pin is window.pin:
                break
            tried = self._window(pin, window.until_ns)
            if self.is_refuted(tried):
                return tried
        return window

    def _window(self, pin: Operation | None, until_ns: int) -> Window:
        known_from_ns = -1 if pin is None else _end_of(pin)
        operations = []
        for each in self._operations:
            if each.invoked_ns > until_ns or (pin is not None and (each is pin or self._is_over(each, pin))):
                continue
            is_known = each.returned_ns is not None and each.returned_ns <= until_ns
            operations.append(each if is_known and each.invoked_ns > known_from_ns else weakened(each))
        return Window(pin, until_ns, operations)

    def _is_over(self, operation: Operation, pin: Operation) -> bool:
        """Whether an operation certainly took effect before the pin."""
        if operation.returned_ns is not None and operation.returned_ns < pin.invoked_ns:
            return True
        value = value_of(operation.command)
        return value in self._unique and isinstance(pin.reply, bytes) and value in pin.reply


def with_only(window: Window, told: set[int]) -> Window:
    """Return the window as if of its operations only those in these places had been answered."""
    operations = [each if place in told else weakened(each) for place, each in enumerate(window.operations)]
    return replace(window, operations=operations)


def _end_of(operation: Operation) -> int:
    assert operation.returned_ns is not None, "a pin was answered"
    return operation.returned_ns
