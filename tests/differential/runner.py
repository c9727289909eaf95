"""Runs one case on both servers and says where they part.

Knows nothing of how the servers are run, and of no command.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from tests.differential.cases import Case, Request, Step, line_of
from tests.differential.comparison import Exchange, are_alike
from tests.differential.differences import Difference, explanation_of
from tests.differential.replies import NOTHING
from tests.differential.servers import Answer, Expected, Link, Server
from tests.differential.silence import Silence


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first unexplained difference of a case."""

    case: Case
    place: int
    text: str

    def report(self) -> str:
        """What was sent up to there, and what came."""
        shown = Case(self.case.steps[: self.place + 1], self.case.seed)
        return f"{shown}\n\n{self.text}"


class Runner:
    """Compares two servers, case by case."""

    def __init__(self, *, ours: Server, theirs: Server) -> None:
        self._ours = ours
        self._theirs = theirs
        #: Requests whose replies were compared, and the differences that were met.
        self.requests_count = 0
        self.met: set[Difference] = set()

    def run(self, case: Case) -> Mismatch | None:
        """Run a case from the beginning; None: the servers agree."""
        run = _Run(self._ours, self._theirs)
        try:
            for place, step in enumerate(case.steps):
                complaint = run.step(step)
                if complaint is not None:
                    return Mismatch(case, place, complaint)
        finally:
            run.close()
            self.requests_count += len(run.history)
            self.met |= run.met
        return None


class _Run:
    """One case under way."""

    def __init__(self, ours: Server, theirs: Server) -> None:
        # From here on, for raftkv's clock may stand still from here on.
        self._begin = time.monotonic()
        ours.begin()
        theirs.begin()
        self._servers = ours, theirs
        self._links: dict[int, tuple[Link, Link]] = {}
        self._silences: dict[int, Silence] = {}
        self.history: list[Request] = []
        self.met: set[Difference] = set()

    def step(self, step: Step) -> str | None:
        """Send one piece to both and compare; gives what is wrong."""
        quits = any(request[0].lower() == b"quit" for request in step.requests)
        silence = self._silences.setdefault(step.client, Silence())
        answered = tuple(request for request in step.requests if silence.breaks(request))
        expected = Expected(len(answered), closes=quits or bool(step.raw), ends=bool(step.raw))
        links = self._links.get(step.client)
        if links is None:
            links = self._links[step.client] = (self._servers[0].connect(), self._servers[1].connect())
        for link in reversed(links):  # Redis works while we do
            link.send(step.data, expected)
        ours, theirs = (link.receive(expected) for link in links)
        complaint = self._compare(step, answered, ours, theirs)
        if ours.is_closed or theirs.is_closed or step.raw:
            self._drop(step.client)
        return complaint

    def _compare(self, step: Step, answered: Sequence[Request], ours: Answer, theirs: Answer) -> str | None:
        elapsed_ms = int(1000 * (time.monotonic() - self._begin))
        replies = list(zip_longest(ours.replies, theirs.replies, fillvalue=NOTHING))
        # Of bytes as they are nobody knows which reply is to what.
        requests: Sequence[Request] = [(step.raw,)] * len(replies) if step.raw else answered
        self.history += [request for request in step.requests if request not in answered]
        for request, (mine, other) in zip_longest(requests[: len(replies)], replies, fillvalue=(b"",)):
            exchange = Exchange(request, mine, other, elapsed_ms, tuple(self.history))
            self.history.append(request)
            if not are_alike(exchange):
                difference = explanation_of(exchange)
                if difference is None:
                    return f"{line_of(request)}\n  raftkv: {mine}\n  redis:  {other}"
                self.met.add(difference)
        if _ending(ours) != _ending(theirs):
            return f"{_shown(step)}\n  raftkv: {_ending_text(ours)}\n  redis:  {_ending_text(theirs)}"
        return None

    def _drop(self, client: int) -> None:
        self._silences.pop(client, None)
        for link in self._links.pop(client):
            link.close()

    def close(self) -> None:
        for client in list(self._links):
            self._drop(client)


def _ending(answer: Answer) -> tuple[bool, bool, bytes]:
    return answer.is_closed, answer.is_silent, answer.rest


def _ending_text(answer: Answer) -> str:
    how = "closed" if answer.is_closed else "silent" if answer.is_silent else "open"
    replies = ", ".join(map(str, answer.replies[-3:]))
    rest = f", then {answer.rest[:80]!r}" if answer.rest else ""
    return f"{len(answer.replies)} replies ({replies}){rest}, {how}"


def _shown(step: Step) -> str:
    return str(Case((step,)))
