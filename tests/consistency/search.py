"""Looks for an order in which one register explains all operations of a key (Wing and Gong; Lowe).

Whatever was called before the first return of an operation that is not taken yet may be taken next, if the
register then answers what was answered. The search remembers every configuration that it has been in (what
was taken, and the register's value), so that none is gone into twice (Wing and Gong, "Testing and verifying
concurrent objects", 1993; Lowe, "Testing for linearizability", 2017). Unlike theirs it doesn't go back
and forth over one list, but keeps the configurations that it hasn't gone into yet and takes up the best.

Writes of unknown outcome are what makes it hard. None has to be taken, so:

* Each costs as much as going back by some events: what was wasted on one reply is missed by another one, much
  later. (`_COST_EVENTS`.)
* One has to be proven: without it somebody would have been answered otherwise. It is not taken if the very
  next operation could as well come before it, or leaves no trace of it.
* Interchangeable ones (equal `Tail`s) are counted, not told apart. A configuration that has used up at least
  as many of each kind as another one with the same value and the same rest is worth no more than that one.

What answers as it was seen to, and by that answer changes nothing wherever it stands, is taken at once and
nothing else is tried instead.

Why nothing is lost by that: of all orders that explain a history take those with the fewest writes of unknown
outcome, of these those that have the operations that change nothing as early as possible, and of these those
with the writes of unknown outcome as late as possible. One of them is never cut off.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tests.consistency.problem import Command, Problem
from tests.consistency.register import State, Step, step_of
from tests.consistency.sightings import Sightings

#: Configurations after which the search gives up; a million takes a minute or two, and a gigabyte.
CONFIGURATIONS_MAX = 500_000
#: What a write of unknown outcome costs, in calls and returns that the search would rather go back.
_COST_EVENTS = 40


class NotFound(Exception):
    """There is no order that explains everything."""


class GivenUp(NotFound):
    """The search took too long: whether there is an order is not known."""


def search(problem: Problem, *, configurations_max: int = CONFIGURATIONS_MAX) -> None:
    """Return if some order explains everything. Raises NotFound, GivenUp."""
    Search(problem, configurations_max).run()


@dataclass(slots=True)
class Configuration:
    """What was taken, and what the register holds."""

    state: State
    #: All musts below this number were taken.
    base: int
    #: Bits by number, less `base`: the others that were.
    window: int
    #: Bits by number: mays that were taken or overtaken.
    mays: int
    #: By kind of tail: how many were used up, less those that came of longer ones.
    spent: tuple[int, ...]
    #: How many writes of unknown outcome were taken.
    cost: int
    #: The newest of these, as long as it is not proven; without it the state would be `shadow`.
    unproven: Step | None
    shadow: State

    def has(self, must: int) -> bool:
        """Whether a must was taken; -1 stands for none."""
        return must < self.base or bool(self.window >> (must - self.base) & 1)


@dataclass(slots=True)
class Called:
    """What a configuration may take next, but for tails."""

    musts: list[int]
    #: The place among all events of the return up to which that is, and its time.
    place: int
    until_ns: int


class Search:
    """One search; `run` is called once."""

    def __init__(self, problem: Problem, configurations_max: int) -> None:
        self.problem = problem
        self._configurations_max = configurations_max
        self._tails = _Tails(problem)
        self.sightings = Sightings(problem)
        # Of what happens at one time calls come first: the operations overlap then.
        events = [(must.invoked_ns, 0, number) for number, must in enumerate(problem.musts)]
        events += [(must.returned_ns, 1, number) for number, must in enumerate(problem.musts)]
        #: (time, 1 for a return, number)
        self._events = sorted(events)
        self._call_places = [0] * len(problem.musts)
        for place, (_, is_return, number) in enumerate(self._events):
            if not is_return:
                self._call_places[number] = place
        steps = [use.step for uses in self._tails.uses for use in uses] + [may.step for may in problem.mays]
        #: An order among writes of unknown outcome, for those that may as well come in the other one.
        self._rank = {id(step): rank for rank, step in enumerate(steps)}
        self._been: dict[tuple[int, int, int, State], list[Configuration]] = {}
        self.count = 0

    def run(self) -> None:
        """Go through the configurations, the best first."""
        if self.sightings.are_impossible:
            raise NotFound
        must_count = len(self.problem.musts)
        begin = Configuration(self.problem.initial, 0, 0, 0, (0,) * len(self._tails.uses), 0, None, None)
        left = [(0, 0, begin)]
        while left:
            _, _, now = heapq.heappop(left)
            if now.base == must_count:
                return
            called = self._called(now)
            for after in self._nexts(now, called):
                if self._is_new(after):
                    heapq.heappush(left, (_COST_EVENTS * after.cost - called.place, -self.count, after))
        raise NotFound

    def _is_new(self, found: Configuration) -> bool:
        """Whether nothing as good was found before; note that this was."""
        known = self._been.setdefault((found.base, found.window, found.mays, found.state), [])
        for other in known:
            is_as_free = other.unproven is None or (
                other.unproven is found.unproven and other.shadow == found.shadow
            )
            if is_as_free and all(map(int.__le__, other.spent, found.spent)):
                return False
        known.append(found)
        self.count += 1
        if self.count > self._configurations_max:
            raise GivenUp(f"gave up after {self.count} configurations")
        return True

    def _called(self, now: Configuration) -> Called:
        """Find the first return that is left, and the calls before it; there must be one."""
        musts: list[int] = []
        place = self._call_places[now.base]
        while True:
            time_ns, is_return, number = self._events[place]
            if not now.has(number):
                if is_return:
                    break
                musts.append(number)
            place += 1
        return Called(musts, place, time_ns)

    def _nexts(self, now: Configuration, called: Called) -> list[Configuration]:
        """Return the configurations that come of taking one more; of equals the last is taken up first."""
        found = []
        for number in called.musts:
            after = self.take_must(now, number)
            if after is not None:
                must = self.problem.musts[number]
                if must.is_idle and not must.drops:
                    return [after]
                found.append((must.returned_ns, after))
        found.sort(key=lambda each: -each[0])
        return [*self.take_unknown(now, called), *(after for _, after in found)]

    def take_unknown(self, now: Configuration, called: Called) -> Iterator[Configuration]:
        """Take a write of unknown outcome."""
        yield from self._take_mays(now, called)
        yield from self._take_tails(now, called)

    def take_must(self, now: Configuration, number: int) -> Configuration | None:
        """Return what comes of taking a must next; None: it can't be next."""
        must = self.problem.musts[number]
        if not now.has(must.before):
            return None
        state, reply = must.step(now.state)
        if not is_as_told(must.is_answered, reply, must.reply, has_changed=state != now.state):
            return None
        unproven, shadow = now.unproven, None
        if unproven is not None:
            shadow, reply = must.step(now.shadow)
            if not is_as_told(must.is_answered, reply, must.reply, has_changed=shadow != now.shadow):
                unproven, shadow = None, None
            elif shadow == state or (not must.drops and unproven(shadow)[0] == state):
                return None
        base, window = now.base, now.window | 1 << (number - now.base)
        while window & 1:
            base, window = base + 1, window >> 1
        after = Configuration(state, base, window, now.mays, now.spent, now.cost, unproven, shadow)
        for may in must.drops:
            after.mays |= 1 << may
        return after if self.sightings.allow(now.state, state, after.has) else None

    def _take_mays(self, now: Configuration, called: Called) -> Iterator[Configuration]:
        for number, may in enumerate(self.problem.mays):
            if now.mays >> number & 1 or may.invoked_ns > called.until_ns or not now.has(may.before):
                continue
            if (state := self._changed(now, may.step)) is not now.state:
                after = self._after_unknown(now, may.step, state)
                for gone in (number, *may.drops):
                    after.mays |= 1 << gone
                yield after

    def _take_tails(self, now: Configuration, called: Called) -> Iterator[Configuration]:
        tails = self._tails
        held_back: Counter[int] = Counter()
        if tails.held_back:
            for number in called.musts:
                for kind, invoked_ns in tails.held_back.get(number, ()):
                    held_back[kind] += invoked_ns <= called.until_ns
        for kind, uses in enumerate(tails.uses):
            if tails.begun(kind, called.until_ns) - held_back[kind] - now.spent[kind] <= 0:
                continue
            for use in uses:
                if (state := self._changed(now, use.step)) is not now.state:
                    after = self._after_unknown(now, use.step, state)
                    spent = list(now.spent)
                    spent[kind] += 1
                    if use.rest >= 0:
                        spent[use.rest] -= 1
                    after.spent = tuple(spent)
                    yield after

    @staticmethod
    def _after_unknown(now: Configuration, step: Step, state: State) -> Configuration:
        return Configuration(state, now.base, now.window, now.mays, now.spent, now.cost + 1, step, now.state)

    def _changed(self, now: Configuration, step: Step) -> State:
        """Return what a write of unknown outcome makes of the state; the same object: it is of no use."""
        state, _ = step(now.state)
        if now.unproven is not None:
            shadow, _ = step(now.shadow)
            if state == shadow:
                return now.state
            is_late = self._rank[id(step)] < self._rank[id(now.unproven)]
            if is_late and now.unproven(shadow)[0] == state:
                return now.state
        if state == now.state or not self.sightings.allow(now.state, state, now.has):
            return now.state
        return state


def is_as_told(is_answered: bool, reply: object, told: object, *, has_changed: bool) -> bool:
    """Whether a must can have met this state: by its reply, or else by what was seen of it later."""
    return reply == told and type(reply) is type(told) if is_answered else has_changed


@dataclass(slots=True)
class _Use:
    """Taking one write out of a tail; those before it in the tail are then lost."""

    step: Step
    #: What kind of tail is left; -1: none.
    rest: int


class _Tails:
    """The kinds of tails, and how many of each there are at a time."""

    def __init__(self, problem: Problem) -> None:
        self._kinds: dict[tuple[Command, ...], int] = {}
        self._steps: dict[Command, Step] = {}
        #: By kind: the ways to use one.
        self.uses: list[list[_Use]] = []
        #: By kind: when each begins, ascending.
        self._invoked_ns: list[list[int]] = []
        #: By must: the tails that can't be used before it, as (kind, when).
        self.held_back: dict[int, list[tuple[int, int]]] = {}
        for tail in problem.tails:
            kind = self._kind_of(tail.commands)
            self._invoked_ns[kind].append(tail.invoked_ns)
            if tail.before >= 0:
                self.held_back.setdefault(tail.before, []).append((kind, tail.invoked_ns))
        for times in self._invoked_ns:
            times.sort()

    def begun(self, kind: int, now_ns: int) -> int:
        """How many of a kind begin by that time."""
        return bisect_right(self._invoked_ns[kind], now_ns)

    def _kind_of(self, commands: tuple[Command, ...]) -> int:
        if commands in self._kinds:
            return self._kinds[commands]
        uses = []
        for place, command in enumerate(commands):
            rest = commands[place + 1 :]
            step = self._steps.setdefault(command, step_of(command))
            uses.append(_Use(step, self._kind_of(rest) if rest else -1))
        self._kinds[commands] = len(self.uses)
        self.uses.append(uses)
        self._invoked_ns.append([])
        return self._kinds[commands]
