"""A search that claims too much: refutes a history fast, or says nothing.

It takes writes of unknown outcome as often as it likes, once they were sent, in any order, and whatever their
connections did later. (INCR alone is bounded, or there would be no end of values; and a value longer than any
that was told is of no use.) So it explains more than there was; but what it can't explain nobody can.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from tests.consistency.problem import Command, Problem
from tests.consistency.register import State, step_of
from tests.consistency.search import Called, Configuration, GivenUp, NotFound, Search, is_as_told


def is_refuted(problem: Problem, *, configurations_max: int) -> bool:
    """Whether certainly no order explains everything."""
    try:
        _RelaxedSearch(problem, configurations_max).run()
    except GivenUp:
        return False
    except NotFound:
        return True
    return False


class _RelaxedSearch(Search):
    """Takes writes of unknown outcome with the must for whose sake it does: there are few configurations."""

    def __init__(self, problem: Problem, configurations_max: int) -> None:
        super().__init__(problem, configurations_max)
        sent = [(tail.invoked_ns, command) for tail in problem.tails for command in tail.commands]
        sent += [(may.invoked_ns, may.command) for may in problem.mays]
        sent.sort()
        self._sent_ns = [time_ns for time_ns, _ in sent]
        #: By how many were sent so far: how often each.
        self._supplies: list[Counter[Command]] = [Counter()]
        for _, command in sent:
            self._supplies.append(self._supplies[-1] + Counter([command]))
        told = (must.reply for must in problem.musts)
        lengths = (len(reply) if isinstance(reply, bytes) else reply for reply in told if reply is not None)
        #: Longer than that no answer said that the value is.
        self._length_max = max((each for each in lengths if isinstance(each, int)), default=0)
        self._steps_of = {command: step_of(command) for command in self._supplies[-1]}
        self._closures: dict[tuple[State, int], list[State]] = {}
        self._known_bridges: dict[tuple[State, int, int], list[State]] = {}

    def take_unknown(self, now: Configuration, called: Called) -> Iterator[Configuration]:
        """Take a must, and before it what makes it possible."""
        supply = bisect_right(self._sent_ns, called.until_ns)
        if not supply:
            return
        for number in called.musts:
            if now.has(self.problem.musts[number].before):
                for state in self._bridges(now.state, supply, number):
                    if self.sightings.allow(now.state, state, now.has):
                        between = replace(now, state=state, cost=now.cost + 1)
                        after = self.take_must(between, number)
                        if after is not None:
                            yield after

    def _bridges(self, state: State, supply: int, number: int) -> list[State]:
        """Return what can be made of a state that has a must answered as it was, and makes a difference."""
        key = (state, supply, number)
        if key not in self._known_bridges:
            must = self.problem.musts[number]
            plain = must.step(state)[0]
            is_met = self._is_met(number, state)
            self._known_bridges[key] = [
                made
                for made in self._closure(state, supply)
                if self._is_met(number, made) and not (is_met and must.step(made)[0] == plain)
            ]
        return self._known_bridges[key]

    def _is_met(self, number: int, state: State) -> bool:
        must = self.problem.musts[number]
        after, reply = must.step(state)
        return is_as_told(must.is_answered, reply, must.reply, has_changed=after != state)

    def _closure(self, state: State, supply: int) -> list[State]:
        """Return what can be made of a state by what was sent so far, but for the state itself."""
        if (state, supply) not in self._closures:
            commands = self._supplies[supply]
            integer_max = max(map(_integer_of, (state, *(word for each in commands for word in each[2:3]))))
            integer_max += sum(count for command, count in commands.items() if command[0] == b"INCR")
            found = {state}
            left = [state]
            while left:
                now = left.pop()
                for command in commands:
                    after, _ = self._steps_of[command](now)
                    if after in found or _integer_of(after) > integer_max:
                        continue
                    if after is None or len(after) <= max(self._length_max, len(state or b"")):
                        found.add(after)
                        left.append(after)
            found.remove(state)
            self._closures[state, supply] = sorted(found, key=repr)
        return self._closures[state, supply]


def _integer_of(state: State) -> int:
    return int(state) if state is not None and state.isdigit() else 0
