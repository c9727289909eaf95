"""The checker itself: histories whose verdict is known, and a definition that it is held against."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.consistency.atomic_model import AtomicModel
from tests.consistency.brute_force import is_linearizable
from tests.consistency.checker import TooHard, Violation, check
from tests.consistency.history import Failure, Fault, History, Operation, Reply
from tests.consistency.problem import weakened

UNKNOWN = -1


def op(text: str, begin: int, end: int, reply: Reply = b"OK", *, connection: int | None = None) -> Operation:
    """Make one operation from times; `end` may be UNKNOWN. By default each has a connection of its own."""
    number = connection if connection is not None else 1000 + begin
    returned = None if end == UNKNOWN else end
    command = tuple(word.encode() for word in text.split())
    return Operation(f"c{number}", number, 1, "cluster", command, begin, returned, reply)


#: name -> a history that one register explains.
GOOD = {
    "nothing": [],
    "read_of_nothing": [op("GET k", 1, 2, None)],
    "overlapping_writes_in_either_order": [
        op("SET k a1;", 1, 9),
        op("SET k b1;", 2, 8),
        op("GET k", 10, 11, b"a1;"),
    ],
    "read_beside_a_write_sees_old_then_new": [
        op("SET k a1;", 1, 2),
        op("SET k b1;", 3, 9),
        op("GET k", 4, 5, b"a1;"),
        op("GET k", 6, 7, b"b1;"),
    ],
    "unknown_write_taking_effect_late": [
        op("SET k a1;", 1, UNKNOWN),
        op("SET k b1;", 2, 3),
        op("GET k", 4, 5, b"b1;"),
        op("GET k", 90, 91, b"a1;"),
    ],
    "unknown_write_never_taking_effect": [op("SET k a1;", 1, UNKNOWN), op("GET k", 4, 5, None)],
    "unseen_unknown_write_that_is_there_to_delete": [op("SET k a1;", 1, UNKNOWN), op("DEL k", 4, 5, 1)],
    "unseen_unknown_append_that_is_long": [
        op("APPEND k a1;", 1, UNKNOWN),
        op("APPEND k b1;", 4, 5, 6),
        op("DEL k", 6, 7, 1),
    ],
    "unknown_incr_counted_once": [
        op("INCR k", 1, 2, 1),
        op("INCR k", 3, UNKNOWN),
        op("INCR k", 5, 6, 3),
    ],
    "conditions_and_old_values": [
        op("SET k a1; XX", 1, 2, None),
        op("SET k a1; NX", 3, 4),
        op("SET k b1; NX", 5, 6, None),
        op("SET k b1; GET", 7, 8, b"a1;"),
        op("SET k c1; NX GET", 9, 10, b"b1;"),
        op("INCR k", 11, 12, Failure("ERR value is not an integer or out of range")),
        op("DEL k", 13, 14, 1),
        op("DEL k", 15, 16, 0),
    ],
    "pipeline_in_order": [
        op("SET k a1;", 1, 5, connection=1),
        op("GET k", 1, 6, b"a1;", connection=1),
        op("SET k b1;", 1, 7, connection=1),
    ],
    "refused_read_in_a_pipeline_hides_nothing": [
        op("SET k a1;", 1, UNKNOWN, connection=1),
        op("SET k b1;", 1, UNKNOWN, connection=1),
        op("GET k", 8, 9, b"b1;"),
    ],
    "keys_have_nothing_to_do_with_each_other": [op("SET k a1;", 1, 2), op("GET other", 3, 4, None)],
}

#: name -> a history that no register explains, and the commands that contradict each other.
BAD = {
    "stale_read": (
        [op("SET k a1;", 1, 2), op("SET k b1;", 3, 4), op("GET k", 5, 6, b"a1;"), op("GET k", 7, 8, b"b1;")],
        ["SET k a1;", "SET k b1;", "GET k"],
    ),
    "stale_read_at_one_node_after_a_fresh_one_at_another": (
        [
            op("SET k a1;", 1, 2),
            op("SET k b1;", 3, UNKNOWN),
            op("GET k", 4, 5, b"b1;"),
            op("GET k", 6, 7, b"a1;"),
        ],
        ["GET k", "GET k"],
    ),
    "lost_update": ([op("SET k a1;", 1, 2), op("GET k", 5, 6, None)], ["SET k a1;", "GET k"]),
    "lost_append": (
        [op("APPEND k a1;", 1, 4, 3), op("APPEND k b1;", 2, 3, 3)],
        ["APPEND k a1;", "APPEND k b1;"],
    ),
    "duplicate_incr": ([op("INCR k", 1, 9, 1), op("INCR k", 2, 8, 1)], ["INCR k", "INCR k"]),
    "unknown_incr_counted_twice": (
        [op("INCR k", 1, 2, 1), op("INCR k", 3, UNKNOWN), op("INCR k", 5, 6, 4)],
        ["INCR k"],
    ),
    "reordered_pipeline": (
        [
            op("SET k a1;", 1, 5, connection=1),
            op("SET k b1;", 1, 6, connection=1),
            op("GET k", 8, 9, b"a1;"),
        ],
        ["SET k b1;", "GET k"],
    ),
    "pipelined_read_before_its_write": (
        [op("SET k a1;", 1, 5, connection=1), op("GET k", 1, 6, None, connection=1)],
        ["SET k a1;", "GET k"],
    ),
    "unknown_write_overtaken_on_its_own_connection": (
        [
            op("SET k a1;", 1, UNKNOWN, connection=1),
            op("SET k b1;", 2, 3, connection=1),
            op("GET k", 4, 5, b"b1;"),
            op("GET k", 6, 7, b"a1;"),
        ],
        ["GET k", "GET k"],
    ),
    "wrong_old_value": (
        [op("SET k a1;", 1, 2), op("SET k b1; GET", 3, 4, None)],
        ["SET k a1;", "SET k b1; GET"],
    ),
    "value_that_nobody_wrote": ([op("GET k", 1, 2, b"a1;")], ["GET k"]),
    "value_seen_before_it_was_sent": ([op("GET k", 1, 2, b"a1;"), op("SET k a1;", 3, UNKNOWN)], ["GET k"]),
    "both_of_two_unknown_writes_seen_and_the_first_again": (
        [
            op("SET k a1;", 1, UNKNOWN),
            op("SET k b1;", 1, UNKNOWN, connection=7),
            op("GET k", 2, 3, b"a1;"),
            op("GET k", 4, 5, b"b1;"),
            op("GET k", 6, 7, b"a1;"),
        ],
        ["GET k", "GET k", "GET k"],
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_history_that_one_register_explains_is_accepted(name: str) -> None:
    """Herlihy and Wing, "Linearizability", 1990."""
    assert check(GOOD[name]) == []
    assert is_linearizable([each for each in GOOD[name] if each.key == b"k"])


@pytest.mark.parametrize("name", BAD)
def test_history_that_no_register_explains_is_rejected(name: str) -> None:
    """The anomalies that this is for; what is reported are the replies that contradict each other."""
    operations, contradicting = BAD[name]
    (violation,) = check(operations)
    assert [b" ".join(each.command).decode() for each in violation.contradicting] == contradicting
    assert not is_linearizable(operations)
    assert str(violation).startswith("key k: no order explains")


def test_violation_is_told_by_its_smallest_window() -> None:
    """From the last read that nothing contradicts up to the first return that can't be explained."""
    before = [op(f"SET k a{number};", 10 * number, 10 * number + 1) for number in range(1, 50)]
    pin = op("GET k", 600, 601, b"a49;")
    bad = [op("SET k b1;", 700, 701), op("APPEND k d1;", 702, 709, 6), op("GET k", 703, 704, b"a49;")]
    after = [op(f"SET k c{number};", 1000 + number, 2000) for number in range(9)]
    (violation,) = check([*before, pin, *bad, *after])
    assert violation.pin is pin
    assert [each.command for each in violation.window] == [each.command for each in bad]
    assert violation.until_ns == 704
    assert violation.core == [bad[0], bad[2]]


def test_each_bad_key_is_reported_once() -> None:
    """Keys are checked one by one."""
    found = check([op("GET k", 1, 2, b"a1;"), op("GET other", 1, 2, b"a1;"), op("GET good", 1, 2, None)])
    assert [violation.key for violation in found] == [b"k", b"other"]


def test_search_that_takes_too_long_says_so() -> None:
    """A check that was not made must not look like one."""
    with pytest.raises(TooHard, match="key k, 8 operations"):
        check(GOOD["conditions_and_old_values"], configurations_max=1)


def test_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    """All kinds of replies, bytes that are no text, and faults."""
    operations = [
        op("SET k a1;", 1, UNKNOWN),
        replace(op("GET k", 2, 3, b"\x00\xff\n"), command=(b"GET", b"\xfe")),
        op("INCR k", 4, 5, Failure("ERR no")),
        op("DEL k", 6, 7, 1),
        op("GET k", 8, 9, None),
    ]
    history = History(operations, [Fault("kill", (1, 2), 3, 4)])
    history.write(tmp_path / "history.jsonl")
    found = History.read(tmp_path / "history.jsonl")
    assert [vars_of(each) for each in found.operations] == [vars_of(each) for each in operations]
    assert found.faults == history.faults


def vars_of(operation: Operation) -> list[object]:
    """An operation's fields."""
    return [getattr(operation, name) for name in Operation.__slots__]


# -- against a real register, and against the definition -----------------------------------------


@settings(max_examples=150)
@given(seed=st.integers(0, 1 << 62))
def test_what_an_atomic_register_answered_is_accepted(seed: int) -> None:
    """Whatever overlaps, breaks and comes late: there is an order by construction."""
    source = random.Random(seed)
    loss, silence = source.random() / 5, source.choice((0.0, 0.1))
    model = AtomicModel(source, client_count=source.randint(1, 6), pipeline_max=4, loss=loss, silence=silence)
    assert check(model.run(60)) == []


@settings(max_examples=300)
@given(seed=st.integers(0, 1 << 62))
def test_verdict_is_that_of_the_definition(seed: int) -> None:
    """A few operations, one reply changed or forgotten: right or wrong, both say the same."""
    source = random.Random(seed)
    operations = _mutated(_small_history(source), source)
    assert (check(operations) == []) == is_linearizable(operations)


@settings(max_examples=100)
@given(seed=st.integers(0, 1 << 62))
def test_core_of_a_violation_is_a_contradiction_by_the_definition(seed: int) -> None:
    """All other replies may be forgotten, and none of the core's may."""
    source = random.Random(seed)
    operations = _mutated(_small_history(source), source)
    for violation in check(operations):
        assert not _is_explained(violation, violation.core)
        for place in range(len(violation.core)):
            assert _is_explained(violation, violation.core[:place] + violation.core[place + 1 :])


def _is_explained(violation: Violation, core: list[Operation]) -> bool:
    """Whether the window could be, if only these of its replies were known."""
    kept = set(map(id, core))
    operations = [each if id(each) in kept else weakened(each) for each in violation.window]
    initial = None if violation.pin is None else violation.pin.reply
    assert initial is None or isinstance(initial, bytes)
    return is_linearizable(operations, initial=initial)


def _small_history(source: random.Random) -> list[Operation]:
    model = AtomicModel(source, client_count=source.randint(1, 4), pipeline_max=3, loss=0.2, silence=0.1)
    return model.run(source.randint(2, 7))


def _mutated(operations: list[Operation], source: random.Random) -> list[Operation]:
    """Change one reply into another that was given in the same history."""
    answered = [each for each in operations if each.returned_ns is not None]
    if answered:
        chosen = source.choice(answered)
        chosen.reply = source.choice(
            [each.reply for each in answered if each.command[0] == chosen.command[0]]
        )
        if source.random() < 0.3:
            chosen.reply = source.choice((None, 0, 1, 2, 5, b"v001;", b"0"))
    return operations


# -- size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_thousands_of_operations_and_dozens_of_unknown_outcomes_are_searched(seed: int) -> None:
    """The search stays near a few configurations per operation where there is an order."""
    model = AtomicModel(random.Random(seed), client_count=8, pipeline_max=2, loss=0.01)
    operations = model.run(5_000)
    assert sum(each.returned_ns is None for each in operations) > 50
    assert check(operations) == []


def test_stale_read_among_thousands_of_operations_is_found() -> None:
    """Where there is no order, a window shows it."""
    model = AtomicModel(random.Random(2), client_count=8, pipeline_max=2, loss=0.01)
    operations = model.run(3_000)
    reads = [each for each in operations if each.returned_ns is not None and each.command[0] == b"GET"]
    overwritten = {
        each.command[2]
        for each in operations[:1500]
        if each.returned_ns is not None and each.command[0] == b"SET" and each.command[2].endswith(b";")
    }
    stale = next(each for each in reads[300:] if each.reply in overwritten)
    reads[-20].reply = stale.reply
    (violation,) = check(operations)
    assert reads[-20] in violation.contradicting
    assert len(violation.window) < 500
