"""What a last look must find: each rule, by a history that breaks it."""

from __future__ import annotations

import pytest

from tests.consistency.accounts import LAST_LOOK, complaints_by_key, keys_with_sums
from tests.consistency.history import History, Operation, Reply

_COUNTER, _LIST, _MEMBER = b"7:counter:0", b"7:list:0", b"7:member:v00000001;"
_ONE, _TWO = b"v00000001;", b"v00000002;"


def _operation(
    words: tuple[bytes, ...], begin: int, end: int | None = None, reply: Reply = None, connection: int = 1
) -> Operation:
    return Operation("c1", connection, 1, "cluster", words, begin, end, reply)


def _look(key: bytes, content: bytes | None) -> Operation:
    return Operation(LAST_LOOK, 99, 1, "standalone", (b"GET", key), 100, 101, content)


def _told(*operations: Operation, refused: tuple[Operation, ...] = ()) -> str:
    found = complaints_by_key(History(list(operations), [], list(refused)))
    return "\n".join(text for texts in found.values() for text in texts)


@pytest.mark.parametrize(
    ("final", "complaint"), [(b"0", "is 0 after 1"), (b"1", ""), (b"2", ""), (b"3", "is 3 after 1")]
)
def test_counter_is_between_what_was_acknowledged_and_that_with_what_is_uncertain(
    final: bytes, complaint: str
) -> None:
    """README: an acknowledged write is durable; -UNKNOWN may still take effect, once."""
    incr = (b"INCR", _COUNTER)
    told = _told(_operation(incr, 1, 2, 1), _operation(incr, 3, connection=2), _look(_COUNTER, final))
    assert complaint in told
    assert bool(complaint) == bool(told)


def test_read_below_what_was_acknowledged_before_it_was_sent_is_told() -> None:
    """README: reads are linearizable."""
    incr, read = _operation((b"INCR", _COUNTER), 1, 2, 1), _operation((b"GET", _COUNTER), 3, 4, None)
    assert "read as 0 after 1 was acknowledged" in _told(incr, read, _look(_COUNTER, b"1"))
    overlapping = _operation((b"GET", _COUNTER), 1, 4, None)
    assert _told(incr, overlapping, _look(_COUNTER, b"1")) == ""


@pytest.mark.parametrize(
    ("final", "complaint"),
    [
        (_ONE, ""),
        (_ONE + _TWO, "holds the refused"),
        (b"", "holds the acknowledged"),
        (_ONE + _ONE, "2 times"),
        (_ONE + b"v99999999;", "which nobody appended"),
    ],
)
def test_list_has_each_acknowledged_token_once_and_no_refused_one(final: bytes, complaint: str) -> None:
    """README: -TRYAGAIN: nothing was done."""
    done = _operation((b"APPEND", _LIST, _ONE), 1, 2, len(_ONE))
    refused = _operation((b"APPEND", _LIST, _TWO), 3, None)
    told = _told(done, _look(_LIST, final), refused=(refused,))
    assert complaint in told
    assert bool(complaint) == bool(told)


def test_member_is_there_if_it_was_acknowledged_and_not_if_it_was_refused() -> None:
    """A key is added by one command alone."""
    add = (b"SET", _MEMBER, _ONE, b"NX")
    assert _told(_operation(add, 1, 2, b"OK"), _look(_MEMBER, _ONE)) == ""
    assert "is gone" in _told(_operation(add, 1, 2, b"OK"), _look(_MEMBER, None))
    assert _told(_operation(add, 1), _look(_MEMBER, None)) == ""
    assert _told(_operation(add, 1), _look(_MEMBER, _ONE)) == ""
    assert "was refused" in _told(_look(_MEMBER, _ONE), refused=(_operation(add, 1),))
    assert "before it was added" in _told(_operation(add, 1, 2, None), _look(_MEMBER, _ONE))


def test_last_look_is_at_everything_with_a_sum_even_if_all_was_refused() -> None:
    """What was refused must not be there; a mixture of commands has no sum."""
    mixed = _operation((b"SET", b"7:0", b"x"), 1, 2, b"OK")
    refused = _operation((b"APPEND", _LIST, _ONE), 3)
    history = History([mixed, _operation((b"INCR", _COUNTER), 1, 2, 1)], [], [refused])
    assert keys_with_sums(history) == [_COUNTER, _LIST]
