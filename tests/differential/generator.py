"""Cases out of a seed: every command of the table, with arguments that its docs describe, or nearly so.

A command that joins the table takes part by itself: its arguments are drawn from its docs. What that can't
give, `by_hand` writes. The same seed and table give the same case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from raftkv.commands.table import Argument, CommandSpec, CommandTable
from tests.differential.by_hand import LEFT_OUT, LEFT_OUT_FLAGS, WRITERS, is_racy
from tests.differential.cases import Case, Request, Step
from tests.differential.malformed import malformed
from tests.differential.silence import BARRIER, Silence
from tests.differential.values import ODD_KEYS, TAGGED_KEYS, Values

#: Pieces of a case, if nobody asks for another number.
STEPS_COUNT = 40
_REQUESTS_MAX = 8
_INLINE_BYTES_MAX = 8_000
#: What of the arguments is drawn at least this often, by the first family that a reader thinks of.
_WEIGHTS = {"string": 6, "generic": 5, "connection": 2}


def weighted(table: CommandTable) -> list[CommandSpec]:
    """Every command and sub-command that takes part, those about data several times."""
    return [
        spec for spec in _all(table) if _takes_part(spec) for _ in range(_WEIGHTS.get(spec.docs.group, 1))
    ]


def _all(table: CommandTable) -> Iterator[CommandSpec]:
    for spec in table:
        yield from spec.subcommands.values() or (spec,)


def _takes_part(spec: CommandSpec) -> bool:
    name = spec.name.decode()
    if name in WRITERS:
        return True
    container = name.partition("|")[0]
    return not (name in LEFT_OUT or container in LEFT_OUT or spec.flags & LEFT_OUT_FLAGS)


class Generator:
    """Makes one case."""

    def __init__(self, table: CommandTable, seed: int) -> None:
        self._table = table
        self._random = Random(seed)
        self._values = Values(self._random)
        self._seed = seed
        self._specs = weighted(table)

    def case(self, steps_count: int) -> Case:
        """A case of about that many pieces; what is left behind is looked at in the last ones."""
        # Most cases keep to a few commands: those are then seen in every order.
        if not self._values.chance(4):
            self._specs = self._random.sample(self._specs, 12)
        steps = list(self._openings())
        steps += [self._step() for _ in range(steps_count)]
        if self._values.chance(4):
            steps.append(Step(raw=malformed(self._values)))
        steps += _looks()
        return Case(tuple(steps), self._seed)

    def _openings(self) -> Iterator[Step]:
        for client in (0, 1):
            protocol = self._random.choice((None, b"2", b"3"))
            if protocol is not None:
                yield Step(((b"HELLO", protocol),), client)

    def _step(self) -> Step:
        client = 1 if self._values.chance(8) else 0
        count = self._random.randrange(2, _REQUESTS_MAX) if self._values.chance(3) else 1
        requests = tuple(heard(self._request() for _ in range(count)))
        is_small = all(sum(map(len, request)) < _INLINE_BYTES_MAX for request in requests)
        return Step(requests, client, is_inline=is_small and self._values.chance(20))

    def _request(self) -> Request:
        while True:
            request = self._any_request()
            if not is_racy(request):
                return request

    def _any_request(self) -> Request:
        if self._values.chance(40):
            return self._unknown()
        spec = self._random.choice(self._specs)
        words = [self._values.scrambled(word) for word in spec.name.split(b"|")]
        names_count = len(words)
        writer = WRITERS.get(spec.name.decode())
        words += writer(self._values) if writer is not None else self._arguments(spec.docs.arguments)
        if self._values.chance(6):
            self._spoil(words, names_count)
        return tuple(words)

    def _unknown(self) -> Request:
        names = (
            b"NOSUCH",
            b"",
            b"get\x00",
            b"GE T",
            b"\r\n",
            b"x" * 200,
            b"client|list",
            b"CLIENT",
            b"SE\xd4",
        )
        words = [self._values.odd_text() for _ in range(self._random.randrange(4))]
        return (self._random.choice(names), *words)

    # -- arguments from docs ----------------------------------------------------------------

    def _arguments(self, arguments: tuple[Argument, ...]) -> list[bytes]:
        """Values for arguments; options come in any order."""
        required: list[bytes] = []
        options: list[list[bytes]] = []
        for argument in arguments:
            if "optional" not in argument.flags:
                required += self._some(argument)
            elif self._values.chance(3):
                options.append(self._some(argument))
        self._random.shuffle(options)
        if options and self._values.chance(8):
            options.append(self._random.choice(options))
        return required + [word for option in options for word in option]

    def _some(self, argument: Argument) -> list[bytes]:
        count = self._random.randrange(1, 4) if "multiple" in argument.flags else 1
        words: list[bytes] = []
        for place in range(count):
            if (
                argument.token
                and argument.type != "pure-token"
                and not (place and "multiple_token" not in argument.flags)
            ):
                words.append(self._values.word(argument.token))
            words += self._one(argument)
        return words

    def _one(self, argument: Argument) -> list[bytes]:
        values = self._values
        match argument.type:
            case "pure-token":
                return [values.word(argument.token)]
            case "oneof":
                return self._some(self._random.choice(argument.arguments))
            case "block":
                return self._arguments(argument.arguments)
            case "key":
                return [values.key()]
            case "integer" if "seconds" in argument.name:
                return [values.time(argument.name)]
            case "unix-time":
                return [values.time(f"unix {argument.name}")]
            case "integer":
                return [values.integer()]
            case "double":
                return [values.double()]
            case "pattern":
                return [values.pattern()]
        return [values.text()]

    def _spoil(self, words: list[bytes], names_count: int) -> None:
        """Make one thing wrong, or nearly so."""
        random, values = self._random, self._values
        place = random.randrange(names_count, len(words)) if len(words) > names_count else len(words)
        match random.randrange(6):
            case 0:
                del words[place:]
            case 1:
                words.append(values.odd_text())
            case 2:
                words.insert(place, random.choice(words))
            case 3:
                words[place:] = words[place + 1 :]
            case 4:
                rest = words[names_count:]
                random.shuffle(rest)
                words[names_count:] = rest
            case _:
                words[place : place + 1] = [values.odd_text()]


def heard(requests: Iterable[Request]) -> Iterator[Request]:
    """The requests, and what ends a silence behind them.

    And before QUIT: Redis closes when the last byte of a reply has left, and then would wait for one.
    """
    silence = Silence()
    for request in requests:
        if silence.holds and request[0].lower() == b"quit":
            silence.breaks(BARRIER)
            yield BARRIER
        silence.breaks(request)
        yield request
    if silence.holds:
        yield BARRIER


def _looks() -> Iterator[Step]:
    """Read all that a case may have left behind, on a connection of its own."""
    asked = (((b"TYPE", key), (b"GET", key), (b"PTTL", key)) for key in TAGGED_KEYS + ODD_KEYS)
    yield Step(tuple(request for each in asked for request in each), client=2)
    for database in (b"0", b"1", b"15"):
        yield Step(((b"SELECT", database), (b"KEYS", b"*")), client=2)
