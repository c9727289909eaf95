"""LATENCY."""

from __future__ import annotations

from raftkv.commands.monitors import SAMPLES_MAX, Timing
from raftkv.resp.replies import Error, Verbatim
from tests.commands.fake_node import NOW_US, FakeNode, ask, open_session

NOW_S = NOW_US // 1_000_000


def noted(*occurrences: tuple[str, int, int]) -> FakeNode:
    """A node where these events took so many milliseconds, so many seconds ago; 10 ms is the threshold."""
    node = FakeNode()
    for name, latency_ms, ago_s in occurrences:
        node.monitors.latency.note(name, latency_ms, time_s=NOW_S - ago_s)
    return node


def text(node: FakeNode, *words: str) -> str:
    """A reply for people."""
    reply = ask(open_session(node), "LATENCY", *words)
    assert isinstance(reply, Verbatim)
    return reply.text.decode()


def test_only_what_reaches_the_threshold_is_noted() -> None:
    """redis latency-monitor-threshold; 0 turns it off."""
    node = noted(("fsync", 9, 5), ("command", 10, 5))
    assert list(node.monitors.latency.events) == ["command"]
    node.monitors.latency.threshold_ms = 0
    node.monitors.latency.note("fsync", 1000, time_s=NOW_S)
    assert list(node.monitors.latency.events) == ["command"]


def test_latest_and_history() -> None:
    """redis LATENCY LATEST, HISTORY: the longest of a second is its sample."""
    session = open_session(noted(("fsync", 50, 9), ("fsync", 20, 5), ("fsync", 30, 5), ("fsync", 10, 5)))
    assert ask(session, "LATENCY", "LATEST") == [[b"fsync", NOW_S - 5, 30, 50]]
    assert ask(session, "LATENCY", "HISTORY", "fsync") == [[NOW_S - 9, 50], [NOW_S - 5, 30]]
    assert ask(session, "LATENCY", "HISTORY", "nosuch") == []


def test_samples_are_bounded_and_the_maximum_outlives_them() -> None:
    """redis LATENCY_TS_LEN."""
    node = noted(("fsync", 999, 1000), *[("fsync", 10, ago_s) for ago_s in range(SAMPLES_MAX, 0, -1)])
    event = node.monitors.latency.events["fsync"]
    assert len(event.samples) == SAMPLES_MAX
    assert event.samples[0].latency_ms == 10
    assert event.max_ms == 999


def test_reset_forgets_what_is_named_or_all() -> None:
    """redis LATENCY RESET: how many there were."""
    session = open_session(noted(("fsync", 50, 9), ("command", 20, 5), ("event-loop", 20, 5)))
    assert ask(session, "LATENCY", "RESET", "fsync", "fsync", "nosuch") == 1
    assert ask(session, "LATENCY", "RESET") == 2
    assert ask(session, "LATENCY", "RESET") == 0
    assert ask(session, "LATENCY", "LATEST") == []


def test_graph_draws_columns_with_their_ages() -> None:
    """redis LATENCY GRAPH: as redis 7.0.15 draws one sample; here the oldest is at the left."""
    node = noted(("fsync", 10, 7200), ("fsync", 100, 65), ("fsync", 55, 0))
    assert text(node, "GRAPH", "fsync").splitlines() == [
        "fsync - high 100 ms, low 10 ms (all time high 100 ms)",
        "-" * 80,
        " # ",
        " |_",
        " ||",
        "_||",
        "   ",
        "210",
        "hms",
    ]
    assert text(noted(("command", 264, 0)), "GRAPH", "command").splitlines()[2:] == [
        *(" ", " ", " ", "_", " ", "0", "s")
    ]
    assert ask(open_session(node), "LATENCY", "GRAPH", "x") == Error("ERR No samples available for event 'x'")


def test_the_doctor_says_what_was_seen_and_what_to_do() -> None:
    """redis LATENCY DOCTOR."""
    report = text(noted(("fsync", 50, 9), ("fsync", 30, 5)), "DOCTOR")
    assert (
        "1. fsync: 2 latency spikes (average 40ms, mean deviation 10ms, period 4.00 sec). "
        "Worst all time event 50ms." in report.splitlines()
    )
    assert "- fsync: The log is synced to disk" in report
    assert "Nothing took 10 ms" in text(FakeNode(), "DOCTOR")
    off = FakeNode()
    off.monitors.latency.threshold_ms = 0
    assert "CONFIG SET latency-monitor-threshold" in text(off, "DOCTOR")


def test_histogram_cumulates_what_was_measured() -> None:
    """redis LATENCY HISTOGRAM: of all commands or those named, of a container its sub-commands."""
    node = FakeNode()
    for name, durations_us in ((b"get", (0.5, 1.5, 1.6, 40.0)), (b"client|id", (3.0,)), (b"set", ())):
        timing = node.monitors.timings[name] = Timing()
        for duration_us in durations_us:
            timing.add(int(duration_us * 1000))
    get = {b"calls": 4, b"histogram_usec": {1: 1, 2: 3, 65: 4}}
    client_id = {b"calls": 1, b"histogram_usec": {4: 1}}
    session = open_session(node)
    assert ask(session, "LATENCY", "HISTOGRAM") == {b"get": get, b"client|id": client_id}
    assert ask(session, "LATENCY", "HISTOGRAM", "GET", "nosuch", "set") == {b"get": get}
    assert ask(session, "LATENCY", "HISTOGRAM", "client") == {b"client|id": client_id}
    assert ask(session, "LATENCY", "HISTOGRAM", "client|id", "CLIENT|no") == {b"client|id": client_id}


def test_percentiles_are_right_to_an_eighth() -> None:
    """Contract of Timing: never less than what was measured, and at most an eighth more."""
    timing = Timing()
    assert timing.percentile_ns(50) == 0
    for duration_ns in range(1, 100_000, 7):
        timing.add(duration_ns)
    for percent in (1, 50, 99, 99.9, 100):
        exact = percent / 100 * 100_000
        assert exact - 8 <= timing.percentile_ns(percent) <= exact * 9 / 8 + 8
