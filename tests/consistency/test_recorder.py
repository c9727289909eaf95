"""The notes of a run: what a turn's history holds, when it is whole, and the figures."""

from __future__ import annotations

import time

import pytest

from tests.consistency.figures import Figures
from tests.consistency.history import Operation
from tests.consistency.recorder import Recorder


def _begun(recorder: Recorder, node: int = 1) -> Operation:
    command = (b"SET", recorder.keys[0], recorder.next_token())
    operation = Operation("c1", recorder.next_connection(), node, "cluster", command, time.monotonic_ns())
    recorder.begin(operation)
    return operation


def test_turn_is_whole_once_nobody_waits_for_an_answer_about_its_keys() -> None:
    """What comes late belongs to the turn in which it was sent."""
    recorder = Recorder()
    answered, lost = _begun(recorder), _begun(recorder)
    recorder.answer(answered, b"OK")
    recorder.turn()
    newer = _begun(recorder)
    assert recorder.take_closed() == []
    recorder.lose(lost)
    (history,) = recorder.take_closed()
    assert history.operations == [answered, lost]
    assert lost.returned_ns is None
    recorder.answer(newer, b"OK")
    assert recorder.take_closed() == []


def test_what_was_refused_is_no_part_of_the_history() -> None:
    """README: -MOVED, -CLUSTERDOWN, -TRYAGAIN and -LOADING mean that nothing was done."""
    recorder = Recorder()
    refused, answered = _begun(recorder), _begun(recorder)
    recorder.refuse(refused)
    recorder.answer(answered, b"OK")
    recorder.turn()
    (history,) = recorder.take_closed()
    assert history.operations == [answered]


def test_history_has_the_faults_of_its_time_the_running_one_included() -> None:
    """A fault that was over before is not drawn."""
    recorder = Recorder()
    recorder.begin_fault("kill", (1,))
    recorder.end_fault()
    operation = _begun(recorder)
    recorder.begin_fault("pause", (2,))
    recorder.answer(operation, b"OK")
    recorder.turn()
    (history,) = recorder.take_closed()
    assert [fault.kind for fault in history.faults] == ["pause"]


@pytest.mark.parametrize("is_over", [False, True])
def test_no_answer_is_a_complaint_unless_the_node_was_paused(is_over: bool) -> None:
    """README: within bounded time a request gets its reply or an error."""
    recorder = Recorder()
    recorder.begin_fault("pause leader", (1,))
    paused, awake = _begun(recorder, 1), _begun(recorder, 2)
    if is_over:
        recorder.end_fault()
    recorder.on_hang(paused)
    assert recorder.complaints == []
    recorder.on_hang(awake)
    assert len(recorder.complaints) == 1


def test_no_answer_is_no_complaint_if_the_clients_themselves_stood_still() -> None:
    """Whoever is stopped with the nodes, or sleeps with the machine, can't tell how long anything took."""
    recorder = Recorder()
    operation = _begun(recorder)
    recorder.on_stall(operation.invoked_ns)
    recorder.on_hang(operation)
    assert recorder.complaints == []


def test_recovery_ends_with_a_write_that_was_sent_after_the_fault_began() -> None:
    """One that was under way by then says nothing."""
    figures = Figures()
    figures.on_write(invoked_ns=0, returned_ns=1_000_000_000)
    figures.on_fault("kill leader", 2_000_000_000)
    figures.on_write(invoked_ns=1_900_000_000, returned_ns=2_100_000_000)
    assert not figures.is_recovered
    figures.on_write(invoked_ns=2_500_000_000, returned_ns=3_500_000_000)
    assert figures.is_recovered
    assert figures.recoveries == {"kill leader": [1.5]}
    assert figures.write_gap_ns_max == 1_400_000_000
