"""Group commit, driven step by step: a sync begins and ends when the test says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from raftkv.storage.errors import StorageFailure
from raftkv.storage.writer import Flusher, SyncWriter

#: Only ends a test that would hang; nothing waits for it to pass.
HANG_SECONDS = 30


class SteppedSync:
    """A sync that reports its begin, and ends when told how: None, or the exception to raise."""

    def __init__(self) -> None:
        self._begun: SimpleQueue[int] = SimpleQueue()
        self._ends: SimpleQueue[BaseException | None] = SimpleQueue()
        self._running = threading.Lock()
        self.count = 0
        self.overlapped = False

    def __call__(self) -> None:
        """Run on the writer's thread."""
        if not self._running.acquire(blocking=False):
            self.overlapped = True
        try:
            self.count += 1
            self._begun.put(self.count)
            outcome = self._ends.get(timeout=HANG_SECONDS)
        finally:
            self._running.release()
        if outcome is not None:
            raise outcome

    def wait_begun(self) -> int:
        """Wait until a sync has begun that was not waited for yet; give its number, from 1."""
        return self._begun.get(timeout=HANG_SECONDS)

    def end(self, outcome: BaseException | None = None) -> None:
        """Let the running sync, or the next one, end."""
        self._ends.put(outcome)


class Reports:
    """Records what a writer reports, for the test to take in order."""

    def __init__(self) -> None:
        self._synced: SimpleQueue[int] = SimpleQueue()
        self._failures: SimpleQueue[BaseException] = SimpleQueue()
        self.threads: set[int] = set()

    def on_synced(self, ticket: int) -> None:
        """Note a report."""
        self.threads.add(threading.get_ident())
        self._synced.put(ticket)

    def on_failure(self, failure: BaseException) -> None:
        """Note a failure."""
        self.threads.add(threading.get_ident())
        self._failures.put(failure)

    def wait_synced(self) -> int:
        """Wait for the next report."""
        return self._synced.get(timeout=HANG_SECONDS)

    def wait_failure(self) -> BaseException:
        """Wait for the next failure."""
        return self._failures.get(timeout=HANG_SECONDS)

    def is_empty(self) -> bool:
        """Tell whether nothing is left to take."""
        return self._synced.empty() and self._failures.empty()


class Driven:
    """A writer with its sync and its reports."""

    def __init__(self) -> None:
        self.sync = SteppedSync()
        self.reports = Reports()
        self.writer = SyncWriter(
            self.sync, on_synced=self.reports.on_synced, on_failure=self.reports.on_failure
        )


@pytest.fixture
def driven() -> Iterator[Driven]:
    """A writer at rest; the syncs that a test left over end well."""
    driven = Driven()
    yield driven
    for _ in range(8):
        driven.sync.end()
    driven.writer.close()
    assert not driven.sync.overlapped


def test_ticket_is_reported_after_its_sync_has_ended(driven: Driven) -> None:
    """Contract: a report says that what was written before the request is durable."""
    driven.writer.request(7)
    driven.sync.wait_begun()
    assert driven.reports.is_empty()
    driven.sync.end()
    assert driven.reports.wait_synced() == 7
    assert driven.reports.threads.isdisjoint({threading.get_ident()})


def test_request_during_a_sync_waits_for_the_next_one(driven: Driven) -> None:
    """Invariant: the sync in flight may have begun before what the new ticket stands for was written."""
    driven.writer.request(1)
    driven.sync.wait_begun()
    driven.writer.request(2)
    driven.sync.end()
    assert driven.reports.wait_synced() == 1
    assert driven.sync.wait_begun() == 2
    assert driven.reports.is_empty()
    driven.sync.end()
    assert driven.reports.wait_synced() == 2


def test_one_sync_covers_all_that_was_asked_meanwhile(driven: Driven) -> None:
    """Group commit: newest wins, and each sync is reported once."""
    driven.writer.request(1)
    driven.sync.wait_begun()
    for ticket in range(2, 100):
        driven.writer.request(ticket)
    driven.sync.end()
    driven.sync.end()
    assert [driven.reports.wait_synced(), driven.reports.wait_synced()] == [1, 99]
    driven.writer.close()
    assert driven.sync.count == 2
    assert driven.reports.is_empty()


def test_nothing_is_synced_unasked(driven: Driven) -> None:
    """Contract: an idle writer leaves the disk alone, at close as well."""
    driven.writer.request(1)
    driven.sync.end()
    assert driven.reports.wait_synced() == 1
    driven.writer.close()
    assert driven.sync.count == 1


def test_close_finishes_what_was_requested(driven: Driven) -> None:
    """Contract: also what is behind a sync in flight is synced and reported before close returns."""
    driven.writer.request(1)
    driven.sync.wait_begun()
    driven.writer.request(2)
    closing = threading.Thread(target=driven.writer.close)
    closing.start()
    driven.sync.end()
    driven.sync.end()
    closing.join(HANG_SECONDS)
    assert not closing.is_alive()
    assert [driven.reports.wait_synced(), driven.reports.wait_synced()] == [1, 2]


def test_failed_sync_is_reported_once_and_never_followed_by_another(driven: Driven) -> None:
    """DESIGN: a second fsync would only seem to succeed."""
    driven.writer.request(1)
    driven.sync.wait_begun()
    driven.writer.request(2)
    driven.sync.end(OSError(5, "Input/output error"))
    failure = driven.reports.wait_failure()
    assert isinstance(failure, StorageFailure)
    assert "Input/output error" in str(failure)
    with pytest.raises(StorageFailure) as refused:
        driven.writer.request(3)
    assert refused.value is failure
    driven.writer.close()
    assert driven.sync.count == 1
    assert driven.reports.is_empty()


def test_failure_that_the_sync_named_is_reported_as_it_is(driven: Driven) -> None:
    """Contract: a StorageFailure already says what was tried."""
    failure = StorageFailure("fsync of the Raft log", "I/O error")
    driven.writer.request(1)
    driven.sync.end(failure)
    assert driven.reports.wait_failure() is failure


def test_failing_report_stops_the_writer_and_is_told() -> None:
    """A report that was lost would leave the node waiting for it for ever."""
    reports = Reports()

    def refuse(_: int) -> None:
        raise RuntimeError("the event loop is closed")

    writer = SyncWriter(lambda: None, on_synced=refuse, on_failure=reports.on_failure)
    writer.request(1)
    assert "the event loop is closed" in str(reports.wait_failure())
    with pytest.raises(StorageFailure):
        writer.request(2)
    writer.close()


def test_tickets_of_several_threads_are_all_covered() -> None:
    """Stress: each report names no ticket that was not requested before its sync began."""
    requested = 0
    lock = threading.Lock()
    seen_at_begin: list[int] = []
    reported: list[int] = []
    failures: list[BaseException] = []

    def sync() -> None:
        with lock:
            seen_at_begin.append(requested)

    writer = SyncWriter(sync, on_synced=reported.append, on_failure=failures.append)

    def ask() -> None:
        nonlocal requested
        for _ in range(500):
            with lock:
                requested += 1
                writer.request(requested)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert not failures
    assert reported[-1] == 2000
    assert reported == sorted(set(reported))
    assert len(reported) == len(seen_at_begin)
    assert all(ticket <= seen for ticket, seen in zip(reported, seen_at_begin, strict=True))


class DrivenFlusher:
    """A flusher with its flush, and what it told."""

    def __init__(self) -> None:
        self.flush = SteppedSync()
        self.reports = Reports()
        self.flusher = Flusher(self.flush, on_failure=self.reports.on_failure)

    def request(self, name: int) -> None:
        """Ask for a flush, which reports `name`."""
        self.flusher.request(self._telling(name))

    def _telling(self, name: int) -> Callable[[], None]:
        return lambda: self.reports.on_synced(name)


def test_flush_tells_who_asked_before_it_began_in_order() -> None:
    """Contract of Flusher: `on_done` comes after a flush that begins from the request on."""
    driven = DrivenFlusher()
    driven.request(1)
    driven.flush.wait_begun()
    driven.request(2)
    driven.request(3)
    driven.flush.end()
    assert driven.reports.wait_synced() == 1
    assert driven.flush.wait_begun() == 2
    assert driven.reports.is_empty()
    driven.flush.end()
    assert [driven.reports.wait_synced(), driven.reports.wait_synced()] == [2, 3]
    driven.flusher.close()
    assert driven.flush.count == 2
    assert not driven.flush.overlapped


def test_failed_flush_is_told_once_and_nobody_is_told_that_it_is_done() -> None:
    """Contract of Flusher: what failed is not durable, and not tried again."""
    driven = DrivenFlusher()
    driven.request(1)
    driven.flush.end(StorageFailure("flushing the state", "No space left on device"))
    assert "No space left" in str(driven.reports.wait_failure())
    with pytest.raises(StorageFailure):
        driven.request(2)
    driven.flusher.close()
    assert driven.flush.count == 1
    assert driven.reports.is_empty()


def test_close_of_a_flusher_finishes_what_was_requested() -> None:
    """Contract of Flusher."""
    driven = DrivenFlusher()
    driven.request(1)
    driven.flush.wait_begun()
    driven.request(2)
    driven.flush.end()
    driven.flush.end()
    driven.flusher.close()
    assert [driven.reports.wait_synced(), driven.reports.wait_synced()] == [1, 2]
