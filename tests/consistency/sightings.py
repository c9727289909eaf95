"""What is still to be seen: cuts the search off from values that come too late for their readers.

A token is written once. So once the value that begins with it is replaced, nobody will see it any more, and
while it stands it only grows. Whoever was shown that value must have been taken by then, and what it was
shown must begin with the value as it is.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.consistency.problem import TOKEN, Problem
from tests.consistency.register import State


class Sightings:
    """Who was shown what, by the first token of the value."""

    def __init__(self, problem: Problem) -> None:
        #: (number of a must, what it was shown)
        self._readers: dict[bytes, list[tuple[int, bytes]]] = {}
        for number, must in enumerate(problem.musts):
            if must.is_answered and isinstance(must.reply, bytes):
                token = _first_token(must.reply)
                if token in problem.unique:
                    self._readers.setdefault(token, []).append((number, must.reply))

        #: Somebody was shown a token that none of these operations can have written.
        self.are_impossible = not self._shown_tokens(problem) <= _written_tokens(problem)

    @staticmethod
    def _shown_tokens(problem: Problem) -> set[bytes]:
        shown = [must.reply for must in problem.musts if must.is_answered and isinstance(must.reply, bytes)]
        return problem.unique.intersection(token for reply in shown for token in TOKEN.findall(reply))

    def allow(self, before: State, after: State, is_taken: Callable[[int], bool]) -> bool:
        """Whether a change leaves all readers what they were shown."""
        if before == after:
            return True
        token, replaced = _first_token(after), _first_token(before)
        if replaced != token and replaced in self._readers:
            for number, _ in self._readers[replaced]:
                if not is_taken(number):
                    return False
        if token in self._readers:
            assert after is not None, "there is a token in it"
            for number, shown in self._readers[token]:
                if not shown.startswith(after) and not is_taken(number):
                    return False
        return True


def _written_tokens(problem: Problem) -> set[bytes]:
    commands = [must.operation.command for must in problem.musts]
    commands += [may.command for may in problem.mays]
    commands += [command for tail in problem.tails for command in tail.commands]
    return {word for command in commands for word in command[2:3]} | set(
        TOKEN.findall(problem.initial or b"")
    )


def _first_token(value: State) -> bytes:
    found = TOKEN.search(value) if value else None
    return found[0] if found else b""
