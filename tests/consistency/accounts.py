"""What a turn's counters, lists and members came to, against what each client was told.

A second opinion beside the checker, which knows nothing of sums: the rules of `tests.integration.history`,
for histories of many connections that end with a last look at every key. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from tests.consistency.commands import COUNTER, LIST, MEMBER, name_of
from tests.consistency.history import History, Operation, by_key
from tests.consistency.register import is_read
from tests.integration import history as sums

#: The client whose reads, after everybody else, end a history.
LAST_LOOK = "last look"
_NAMES = (COUNTER, LIST, MEMBER)


def keys_with_sums(history: History) -> list[bytes]:
    """Return the keys that a last look has to read, those that everybody was refused included."""
    keys = dict.fromkeys(each.key for each in (*history.operations, *history.refused))
    return [key for key in keys if name_of(key) in _NAMES]


def complaints_by_key(history: History) -> dict[bytes, list[str]]:
    """Return what is wrong with each key that was looked at last; keys that are right are left out."""
    refused = by_key(history.refused)
    found = {}
    for key, operations in by_key(history.operations).items():
        looks = [each for each in operations if each.client == LAST_LOOK]
        if looks and name_of(key) in _NAMES:
            before = [each for each in operations if each.client != LAST_LOOK]
            complaints = list(_complaints(key, before, refused.get(key, []), _content(looks[-1])))
            if complaints:
                found[key] = complaints
    return found


def _complaints(
    key: bytes, operations: Sequence[Operation], refused: Sequence[Operation], final: bytes
) -> Iterator[str]:
    writes = [each for each in operations if not is_read(each.command)]
    floors = _Floors(writes)
    if name_of(key) == MEMBER:
        yield from _complaints_about_member(writes, final)
        return
    clients = _by_connection(
        [*writes, *(each for each in refused if not is_read(each.command))], refused, floors
    )
    if name_of(key) == COUNTER:
        yield from sums.complaints_about_counter(clients, int(final or 0))
    else:
        yield from sums.complaints_about_appends(clients, final)
    for each in operations:
        if is_read(each.command) and each.returned_ns is not None:
            size = _size(key, each)
            if size < floors.at(each.invoked_ns):
                yield f"read as {size} after {floors.at(each.invoked_ns)} was acknowledged: {each}"


def _complaints_about_member(writes: Sequence[Operation], final: bytes) -> Iterator[str]:
    """One SET NX of a key that nobody else writes."""
    told = [each for each in writes if each.returned_ns is not None]
    if told and not final:
        yield f"is gone: {told[0]}"
    if final and not writes:
        yield "is there, and was refused"
    if final and writes and final != writes[0].command[2]:
        yield f"holds {final!r}: {writes[0]}"
    yield from (f"was there before it was added: {each}" for each in told if each.reply != b"OK")


class _Floors:
    """The largest result that anybody had been told, by time."""

    def __init__(self, writes: Sequence[Operation]) -> None:
        told = sorted(
            (each.returned_ns, each.reply)
            for each in writes
            if each.returned_ns is not None and isinstance(each.reply, int)
        )
        self._times_ns = [time_ns for time_ns, _ in told]
        self._results = list(accumulate((result for _, result in told), max))

    def at(self, time_ns: int) -> int:
        """What had been told before that time."""
        place = bisect_left(self._times_ns, time_ns)
        return self._results[place - 1] if place else 0


def _by_connection(
    writes: Sequence[Operation], refused: Sequence[Operation], floors: _Floors
) -> list[list[sums.Operation]]:
    """Translate, each connection's in its order."""
    were_refused = set(map(id, refused))
    split: dict[int, list[sums.Operation]] = {}
    for each in writes:
        value = each.command[2] if len(each.command) > 2 else b""
        account = sums.Operation(each.key, value, floors.at(each.invoked_ns))
        if id(each) in were_refused:
            account.outcome = sums.REFUSED
        elif each.returned_ns is not None:
            assert isinstance(each.reply, int), f"not the reply of a sum: {each}"
            account.outcome, account.result = sums.ACKNOWLEDGED, each.reply
        split.setdefault(each.connection, []).append(account)
    return list(split.values())


def _size(key: bytes, read: Operation) -> int:
    content = _content(read)
    return int(content or 0) if name_of(key) == COUNTER else len(content)


def _content(read: Operation) -> bytes:
    assert read.reply is None or isinstance(read.reply, bytes), f"not the reply of a GET: {read}"
    return read.reply or b""
