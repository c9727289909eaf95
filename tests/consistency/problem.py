"""What has to be explained about one key: what must have taken effect, and what may have.

The difficulty is outcomes that nobody learnt. Each such write may take effect at any later time or never,
so a hundred of them allow 2 to the 100 explanations, and a search that has to find none would go through
all. Most of them are taken out of the search's way here, none by guessing:

* A read of unknown outcome says nothing. It is left out.
* SEEN. The workload writes a token (a word such as `c07:0123;`) once at most. Tokens never overlap, whatever
  is appended to what, so a reply that holds one proves that its write took effect before that reply came:
  the write is one that must be explained, with its reply open, and is over by then.
* UNSEEN. Where no reply holds the token, no read saw the value while the token was in it; all that
  anybody can have noticed is that there was a value, how long it was, and that it was no integer. So it
  makes no difference which token it was: all such writes of one length become the same command, and the
  search counts them instead of telling them apart.
* Where a key's values are anything but tokens and integers, or a token was written twice, neither is done.

Program order: what one connection sent takes effect in that order, also within a pipeline. So a write of
unknown outcome comes before whatever its connection sent later, or never. (`drops`, `before`.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from tests.consistency.history import Operation, Reply
from tests.consistency.register import State, Step, is_idle, is_read, step_of

Command = tuple[bytes, ...]

#: One letter, and it stands first; one semicolon, and it stands last. So one never begins within another.
TOKEN = re.compile(rb"[a-z][^a-z;]*;")
_INTEGER = re.compile(rb"-?[0-9]+")


@dataclass(slots=True)
class Must:
    """An operation that took effect once, between `invoked_ns` and `returned_ns`."""

    operation: Operation
    step: Step
    reply: Reply
    #: False: it was seen to take effect, but nobody learnt its reply.
    is_answered: bool
    #: Its reply shows that it changed nothing.
    is_idle: bool
    invoked_ns: int
    returned_ns: int
    #: The number of the one that its connection sent before it; -1: none.
    before: int = -1
    #: The numbers of those of `Problem.mays` that can't take effect any more after it.
    drops: list[int] = field(default_factory=list)


@dataclass(slots=True)
class May:
    """A write of unknown outcome that is looked at by itself, since its connection went on after it."""

    command: Command
    step: Step
    invoked_ns: int
    before: int
    #: As `Must.drops`.
    drops: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Tail:
    """The last writes of one connection, sent at once, all of unknown outcome.

    Tails of the same commands differ in nothing but when they begin.
    """

    commands: tuple[Command, ...]
    invoked_ns: int
    before: int


@dataclass(slots=True)
class Problem:
    """One key's operations, sorted by kind. Invariant: `musts` ascend by `invoked_ns`."""

    musts: list[Must]
    mays: list[May]
    tails: list[Tail]
    #: Tokens that were written once.
    unique: set[bytes]
    #: What stands in the key at first.
    initial: State


def problem_of(
    operations: Sequence[Operation], *, unique: set[bytes] | None = None, initial: State = None
) -> Problem:
    """Sort operations of one key, given in the history's order.

    If they are a part of it: `unique` are the whole's `unique_tokens`, none of them in `initial` is written.
    """
    tokens = _Tokens(operations, unique_tokens(operations) if unique is None else unique)
    chosen = [each for each in operations if each.returned_ns is not None or not is_read(each.command)]
    musts = [must for each in chosen if (must := tokens.must_of(each)) is not None]
    musts.sort(key=lambda must: must.invoked_ns)
    problem = Problem(musts, [], [], tokens.unique, initial)
    number_of = {id(must.operation): number for number, must in enumerate(musts)}
    connections: dict[int, list[Operation]] = {}
    for each in chosen:
        connections.setdefault(each.connection, []).append(each)
    for sent in connections.values():
        _order(problem, sent, number_of, tokens)
    return problem


def unique_tokens(operations: Iterable[Operation]) -> set[bytes]:
    """Return the tokens of one key that were written once; none where tokens prove nothing."""
    written = Counter(value for each in operations if (value := value_of(each.command)) is not None)
    if not all(TOKEN.fullmatch(value) or _INTEGER.fullmatch(value) for value in written):
        return set()
    return {value for value, count in written.items() if count == 1 and TOKEN.fullmatch(value)}


def _order(problem: Problem, sent: Iterable[Operation], number_of: dict[int, int], tokens: _Tokens) -> None:
    """Say what the order of one connection's operations means."""
    before = -1
    unknown: list[Operation] = []
    for each in sent:
        number = number_of.get(id(each))
        if number is None:
            unknown.append(each)
            continue
        must = problem.musts[number]
        must.before = before
        must.drops = _add_mays(problem, unknown, before, tokens)
        before, unknown = number, []
    if not unknown:
        return
    if len({each.invoked_ns for each in unknown}) == 1:
        commands = tuple(tokens.plainest(each) for each in unknown)
        problem.tails.append(Tail(commands, unknown[0].invoked_ns, before))
    else:
        _add_mays(problem, unknown, before, tokens)


def _add_mays(problem: Problem, unknown: Iterable[Operation], before: int, tokens: _Tokens) -> list[int]:
    """Add writes that one connection sent between two others; give their numbers."""
    numbers: list[int] = []
    for each in unknown:
        command = tokens.plainest(each)
        may = May(command, step_of(command), each.invoked_ns, before, [*numbers])
        numbers.append(len(problem.mays))
        problem.mays.append(may)
    return numbers


class _Tokens:
    """Which of one key's tokens were seen, and when first."""

    def __init__(self, operations: Sequence[Operation], unique: set[bytes]) -> None:
        self.unique = unique
        self._seen_ns: dict[bytes, int] = {}
        for each in operations:
            if each.returned_ns is not None and isinstance(each.reply, bytes):
                for token in TOKEN.findall(each.reply):
                    known_ns = self._seen_ns.get(token, each.returned_ns)
                    self._seen_ns[token] = min(known_ns, each.returned_ns)

    def must_of(self, operation: Operation) -> Must | None:
        """Give what has to be explained; None: it may be left out."""
        step, returned_ns = step_of(self._unseen(operation.command)), operation.returned_ns
        is_answered = returned_ns is not None
        if returned_ns is None:
            value = value_of(operation.command)
            if value not in self.unique or value not in self._seen_ns:
                return None
            returned_ns = self._seen_ns[value]
            if returned_ns < operation.invoked_ns:
                return None  # seen before it was sent: nothing will explain that
        return Must(
            operation=operation,
            step=step,
            reply=operation.reply,
            is_answered=is_answered,
            is_idle=is_answered and is_idle(operation.command, operation.reply),
            invoked_ns=operation.invoked_ns,
            returned_ns=returned_ns,
        )

    def plainest(self, operation: Operation) -> Command:
        """Give a command that nobody can tell from that of an operation without a reply."""
        name, key, *arguments = self._unseen(operation.command)
        options = sorted({word.upper() for word in arguments[1:]} - {b"GET"})
        return (name.upper(), key, *arguments[:1], *options)

    def _unseen(self, command: Command) -> Command:
        """Replace a token that no reply holds by what all such tokens of its length become."""
        value = value_of(command)
        if value is None or value not in self.unique or value in self._seen_ns:
            return command
        return (*command[:2], b"\0" * len(value), *command[3:])


def value_of(command: Command) -> bytes | None:
    """What a command writes, as far as the command alone tells."""
    return command[2] if command[0].upper() in (b"SET", b"APPEND") else None


def weakened(operation: Operation) -> Operation:
    """Return an operation that claims less: as if its client had learnt nothing."""
    return replace(operation, returned_ns=None, reply=None)
