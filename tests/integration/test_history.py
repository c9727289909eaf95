"""The judge of the kill rounds finds what it is there to find."""

from __future__ import annotations

from tests.integration.history import (
    ACKNOWLEDGED,
    REFUSED,
    UNCERTAIN,
    Operation,
    Outcome,
    complaints_about_appends,
    complaints_about_counter,
)


def increment(outcome: Outcome = ACKNOWLEDGED, result: int = 0, floor: int = 0) -> Operation:
    """An INCR with that reply."""
    return Operation(b"c", b"", floor, outcome, result)


def append(value: bytes, outcome: Outcome = ACKNOWLEDGED, result: int = 0, floor: int = 0) -> Operation:
    """An APPEND with that reply."""
    return Operation(b"a", value, floor, outcome, result)


def test_counter_may_hold_uncertain_increments_or_not() -> None:
    """Two acknowledged, one uncertain, one refused: 2 or 3, and 4 where the uncertain came between."""
    clients = [[increment(result=1), increment(UNCERTAIN)], [increment(result=2), increment(REFUSED)]]
    assert list(complaints_about_counter(clients, 2)) == []
    assert list(complaints_about_counter(clients, 3)) == []


def test_lost_increment_is_found() -> None:
    """Acknowledged and gone after a restart."""
    clients = [[increment(result=1)], [increment(result=2)]]
    assert list(complaints_about_counter(clients, 1)) == [
        "is 1 after 2 acknowledged and 0 uncertain increments",
        "answered 2 and ended as 1",
    ]


def test_increment_done_twice_is_found() -> None:
    """One client's command was applied two times."""
    assert list(complaints_about_counter([[increment(result=2)]], 2)) == [
        "is 2 after 1 acknowledged and 0 uncertain increments"
    ]


def test_refused_increment_that_was_done_is_found() -> None:
    """A definite error is definite."""
    assert list(complaints_about_counter([[increment(REFUSED)]], 1)) == [
        "is 1 after 0 acknowledged and 0 uncertain increments"
    ]


def test_result_answered_twice_is_found() -> None:
    """Two leaders served at once."""
    clients = [[increment(result=1)], [increment(result=1)]]
    assert "answered 1 to 2 operations" in list(complaints_about_counter(clients, 2))


def test_result_from_the_past_is_found() -> None:
    """Sent after somebody was told 5, answered 3: not linearizable."""
    clients = [[increment(UNCERTAIN)] * 3, [increment(result=3, floor=5), increment(result=5)]]
    assert list(complaints_about_counter(clients, 5)) == [
        "answered 3 to what was sent after 5 had been answered"
    ]


def test_results_out_of_order_on_one_connection_are_found() -> None:
    """A pipeline's commands take effect in order."""
    assert list(complaints_about_counter([[increment(result=2), increment(result=1)]], 2)) == [
        "answered 1 after 2 to one client"
    ]


def test_appends_may_hold_uncertain_values_or_not() -> None:
    """Nothing to complain about with the uncertain one in between, and without it."""
    assert list(complaints_about_appends([[append(b"a;", result=2), append(b"b;", UNCERTAIN)]], b"a;")) == []
    assert (
        list(complaints_about_appends([[append(b"b;", UNCERTAIN), append(b"a;", result=4)]], b"b;a;")) == []
    )
    assert list(complaints_about_appends([[append(b"a;", REFUSED)]], b"")) == []


def test_lost_append_is_found() -> None:
    """Acknowledged and gone."""
    assert list(complaints_about_appends([[append(b"a;", result=2)]], b"")) == [
        "holds the acknowledged b'a;' 0 times",
        "has b'' where b'a;' was acknowledged",
    ]


def test_append_done_twice_is_found() -> None:
    """Acknowledged or uncertain, at most once."""
    clients = [[append(b"a;", result=2), append(b"b;", UNCERTAIN)]]
    assert list(complaints_about_appends(clients, b"a;a;b;b;")) == [
        "holds the acknowledged b'a;' 2 times",
        "holds the uncertain b'b;' 2 times",
    ]


def test_append_in_the_wrong_place_is_found() -> None:
    """The reply said where it stands."""
    clients = [[append(b"a;", result=4)], [append(b"b;", result=2)]]
    assert list(complaints_about_appends(clients, b"a;b;")) == [
        "has b'b;' where b'a;' was acknowledged",
        "has b'a;' where b'b;' was acknowledged",
    ]


def test_refused_foreign_and_torn_values_are_found() -> None:
    """What must not be there at all."""
    assert list(complaints_about_appends([[append(b"a;", REFUSED)]], b"a;x;b")) == [
        "ends within a value: b'a;x;b'",
        "holds b'x;', which nobody appended",
        "holds the refused b'a;' 1 times",
    ]
