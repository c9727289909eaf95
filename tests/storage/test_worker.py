"""Jobs on a thread of their own: in order, reported, and none after a failure."""

from __future__ import annotations

import threading

from raftkv.storage.worker import Worker

SECONDS_MAX = 30.0


def test_jobs_are_done_in_their_order_and_reported_on_the_thread() -> None:
    reports: list[tuple[int, str]] = []
    worker = Worker(on_failure=lambda _: None, name="jobs")
    for number in range(5):
        worker.submit(
            lambda number=number: number, lambda done: reports.append((done, threading.current_thread().name))
        )
    worker.close()
    assert reports == [(number, "jobs") for number in range(5)]


def test_after_a_failure_nothing_is_done_any_more() -> None:
    """The node stops; a later job could build on what failed."""
    failures: list[BaseException] = []
    has_failed = threading.Event()
    done: list[int] = []

    def fail() -> None:
        raise OSError("disk")

    def note(error: BaseException) -> None:
        failures.append(error)
        has_failed.set()

    worker = Worker(on_failure=note, name="jobs")
    worker.submit(fail, lambda _: done.append(0))
    assert has_failed.wait(SECONDS_MAX)
    worker.submit(lambda: 1, done.append)
    worker.close()
    assert [str(each) for each in failures] == ["disk"]
    assert done == []


def test_a_report_that_raises_counts_as_a_failure() -> None:
    """Whoever waits for it would wait for ever."""
    failures: list[BaseException] = []

    def report(_: int) -> None:
        raise RuntimeError("nobody listens")

    worker = Worker(on_failure=failures.append, name="jobs")
    worker.submit(lambda: 1, report)
    worker.close()
    assert [str(each) for each in failures] == ["nobody listens"]
