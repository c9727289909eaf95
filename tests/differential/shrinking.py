"""Makes a case that shows a difference as short as it gets.

Any difference will do: one that a shorter case shows is as real as the one that was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from tests.differential.cases import Case, Step
from tests.differential.runner import Mismatch, Runner

_Item = TypeVar("_Item")

#: Runs of cases; a case of fifty pieces takes about two hundred.
_RUNS_MAX = 600


def shrunk(runner: Runner, mismatch: Mismatch) -> Mismatch:
    """The same or another difference, from as few pieces, requests and bytes as can be."""
    found = mismatch
    runs_left = _RUNS_MAX

    def fails(case: Case) -> bool:
        nonlocal found, runs_left
        if runs_left == 0:
            return False
        runs_left -= 1
        seen = runner.run(case)
        if seen is not None:
            found = seen
        return seen is not None

    shorter = True
    while shorter and runs_left:
        steps = found.case.steps[: found.place + 1]
        before = steps
        for candidates in (_with_fewer, _with_smaller_pieces, _with_shorter_arguments):
            steps = _smallest(
                steps, candidates, lambda each: fails(replace(mismatch.case, steps=tuple(each)))
            )
        shorter = steps != before
    return found


def _smallest(
    start: Sequence[_Item],
    candidates: Callable[[Sequence[_Item]], Iterator[Sequence[_Item]]],
    fails: Callable[[Sequence[_Item]], bool],
) -> Sequence[_Item]:
    """Take the first candidate that still fails, until there is none."""
    best = start
    while True:
        smaller = next((each for each in candidates(best) if fails(each)), None)
        if smaller is None:
            return best
        best = smaller


def _with_fewer(steps: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Without a half, a quarter, ... a single one."""
    size = len(steps) // 2
    while size:
        for first in range(0, len(steps), size):
            rest = [*steps[:first], *steps[first + size :]]
            if rest:
                yield rest
        size //= 2


def _with_smaller_pieces(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    for place, step in enumerate(steps):
        for requests in _with_fewer(step.requests):
            yield [*steps[:place], replace(step, requests=tuple(requests)), *steps[place + 1 :]]
        if step.client:
            yield [*steps[:place], replace(step, client=0), *steps[place + 1 :]]
        if step.is_inline:
            yield [*steps[:place], replace(step, is_inline=False), *steps[place + 1 :]]
        if len(step.raw) > 1:
            for raw in _with_fewer(step.raw):
                yield [*steps[:place], replace(step, raw=bytes(raw)), *steps[place + 1 :]]


def _with_shorter_arguments(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    for place, step in enumerate(steps):
        for number, request in enumerate(step.requests):
            for position in range(1, len(request)):
                for arg in _shorter(request[position]):
                    changed = (*request[:position], *arg, *request[position + 1 :])
                    requests = (*step.requests[:number], changed, *step.requests[number + 1 :])
                    yield [*steps[:place], replace(step, requests=requests), *steps[place + 1 :]]


def _shorter(arg: bytes) -> Iterator[tuple[bytes, ...]]:
    """Nothing instead, or half of it."""
    yield ()
    if len(arg) > 40:
        yield (arg[: len(arg) // 2],)
