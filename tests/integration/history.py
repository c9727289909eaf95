"""What clients were told against what the store holds: nothing lost, nothing done twice.

Pure. An operation increments a counter or appends a value that no other one appends; its reply is the
counter's new value, or the new length, which tells where the value must stand.

    told              the store may hold it
    ACKNOWLEDGED      exactly once, and where the reply said
    REFUSED           never
    UNCERTAIN         once or never
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """What the client knows about its operation."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"


ACKNOWLEDGED = Outcome.ACKNOWLEDGED
REFUSED = Outcome.REFUSED
UNCERTAIN = Outcome.UNCERTAIN

#: Ends every appended value, so that the whole can be taken apart again.
END_OF_VALUE = b";"


@dataclass(slots=True)
class Operation:
    """One INCR (`value` is b"") or APPEND; a client's operations are kept in the order of sending."""

    key: bytes
    value: bytes
    #: The largest result acknowledged to anybody for this key before this was sent.
    floor: int
    outcome: Outcome = UNCERTAIN
    #: What an acknowledged one was answered.
    result: int = 0


def complaints_about_counter(clients: Sequence[Sequence[Operation]], final: int) -> Iterator[str]:
    """Check the INCRs of one counter, by client, against its final value."""
    told = Counter(each.outcome for operations in clients for each in operations)
    acknowledged, uncertain = told[ACKNOWLEDGED], told[UNCERTAIN]
    if not acknowledged <= final <= acknowledged + uncertain:
        yield f"is {final} after {acknowledged} acknowledged and {uncertain} uncertain increments"
    yield from _complaints_about_results(clients)
    for operations in clients:
        for each in operations:
            if each.outcome is ACKNOWLEDGED and each.result > final:
                yield f"answered {each.result} and ended as {final}"


def complaints_about_appends(clients: Sequence[Sequence[Operation]], final: bytes) -> Iterator[str]:
    """Check the APPENDs to one key, by client, against its final content."""
    present = Counter(part + END_OF_VALUE for part in final.split(END_OF_VALUE)[:-1])
    everything = [each for operations in clients for each in operations]
    if not final.endswith(END_OF_VALUE) and final:
        yield f"ends within a value: {final[-40:]!r}"
    for value in present.keys() - {each.value for each in everything}:
        yield f"holds {value!r}, which nobody appended"
    for each in everything:
        count = present[each.value]
        least, most = _BOUNDS[each.outcome]
        if not least <= count <= most:
            yield f"holds the {each.outcome.value} {each.value!r} {count} times"
        start = each.result - len(each.value)
        if each.outcome is ACKNOWLEDGED and final[max(start, 0) : each.result] != each.value:
            yield f"has {final[max(start, 0) : each.result]!r} where {each.value!r} was acknowledged"
    yield from _complaints_about_results(clients)


_BOUNDS = {ACKNOWLEDGED: (1, 1), REFUSED: (0, 0), UNCERTAIN: (0, 1)}


def _complaints_about_results(clients: Sequence[Sequence[Operation]]) -> Iterator[str]:
    """No result twice, each above all that was acknowledged before it was sent, each client's in order."""
    acknowledged = [[each for each in operations if each.outcome is ACKNOWLEDGED] for operations in clients]
    for result, count in Counter(_results(acknowledged)).items():
        if count > 1:
            yield f"answered {result} to {count} operations"
    for operations in acknowledged:
        last = 0
        for each in operations:
            if each.result <= each.floor:
                yield f"answered {each.result} to what was sent after {each.floor} had been answered"
            if each.result <= last:
                yield f"answered {each.result} after {last} to one client"
            last = each.result


def _results(clients: Iterable[Iterable[Operation]]) -> Iterator[int]:
    return (each.result for operations in clients for each in operations)
