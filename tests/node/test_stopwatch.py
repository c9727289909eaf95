"""How long commands take, measured on the node's tables."""

from __future__ import annotations

from raftkv.commands import build_table
from raftkv.commands.monitors import LatencyMonitor, Monitors, SlowLog
from raftkv.commands.session import Session
from raftkv.commands.table import CommandTable, Sliced
from raftkv.config import Config
from raftkv.node.stopwatch import Stopwatch
from raftkv.resp.replies import Reply
from tests.commands.fake_node import FakeNode, open_session
from tests.machine.replica import Replica
from tests.node.driven_parts import DrivenClock


class Bench:
    """A table with stopwatches, and a clock that goes on by `step_ms` at each look."""

    def __init__(self, **settings: int) -> None:
        self.step_ms = 20.0
        self.table = build_table()
        self.replica = Replica(commands=self.table)
        self.monitors = Monitors(SlowLog(count_max=128), LatencyMonitor(threshold_ms=0))
        self.clock = TickingClock(self)
        self.stopwatch = Stopwatch(self.monitors, self.clock, Config(**settings))  # type: ignore[arg-type]
        self.stopwatch.attach(self.table)
        self.stopwatch.attach(self.replica.machine.commands)

    def local(self, session: Session, *args: bytes) -> Reply:
        """Run a LOCAL command."""
        spec = self.table.resolve(list(args))
        return spec.handler(session, list(args))  # type: ignore[return-value]  # none is asked that waits

    def slow_commands(self) -> list[list[bytes]]:
        """What is in the slow log, oldest first."""
        return [entry.args for entry in reversed(self.monitors.slowlog.newest(-1))]


class TickingClock(DrivenClock):
    """A clock that each look takes time from."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench

    def now_ns(self) -> int:
        self.advance(self._bench.step_ms)
        return self.ns


def test_commands_that_grow_with_their_data_are_always_measured() -> None:
    """Module docstring: MSET is O(N), SET is O(1), MGET is fast; for writes the machine's table counts."""
    bench = Bench()
    bench.replica.write(b"SET", b"a", b"1")
    bench.replica.write(b"mset", b"a", b"1")
    assert bench.slow_commands() == [[b"mset", b"a", b"1"]]
    assert bench.replica.read(b"MGET", b"a") == [b"1"]
    assert bench.replica.read(b"KEYS", b"*") == [b"a"]
    newest, older = bench.monitors.slowlog.newest(-1)
    assert (older.args, older.duration_us, older.address) == ([b"mset", b"a", b"1"], 20_000, "")
    assert newest.args == [b"KEYS", b"*"]


def test_what_is_faster_than_the_threshold_is_not_kept() -> None:
    """redis slowlog-log-slower-than; -1: nothing is."""
    bench = Bench(slowlog_slower_than_us=20_001)
    bench.replica.write(b"MSET", b"a", b"1")
    assert bench.slow_commands() == []
    bench.stopwatch.adopt(Config(slowlog_slower_than_us=20_000))
    bench.replica.write(b"MSET", b"a", b"1")
    assert len(bench.slow_commands()) == 1
    bench.stopwatch.adopt(Config(slowlog_slower_than_us=-1))
    bench.replica.write(b"MSET", b"a", b"1")
    assert len(bench.slow_commands()) == 1


def test_a_low_threshold_has_all_commands_measured() -> None:
    """redis slowlog-log-slower-than 0 keeps all; in every spelling, until it is set back."""
    bench = Bench()
    bench.replica.write(b"sEt", b"a", b"1")
    bench.stopwatch.adopt(Config(slowlog_slower_than_us=0))
    bench.replica.write(b"sEt", b"a", b"2")
    assert bench.replica.read(b"GET", b"a") == b"2"
    assert bench.slow_commands() == [[b"sEt", b"a", b"2"], [b"GET", b"a"]]
    bench.stopwatch.adopt(Config())
    bench.replica.write(b"sEt", b"a", b"3")
    assert len(bench.slow_commands()) == 2


def test_one_tick_in_a_hundred_is_a_sample_of_all_commands() -> None:
    """Module docstring."""
    bench = Bench()
    for _ in range(100):
        bench.replica.write(b"SET", b"a", b"1")
        bench.stopwatch.on_tick()
    assert bench.monitors.timings[b"set"].count == 0
    bench.replica.write(b"SET", b"a", b"1")
    bench.replica.write(b"MSET", b"a", b"1")
    bench.stopwatch.on_tick()
    bench.replica.write(b"SET", b"a", b"1")
    bench.replica.write(b"MSET", b"a", b"1")
    timings = bench.monitors.timings
    assert (timings[b"set"].count, timings[b"mset"].count) == (1, 1)
    assert timings[b"set"].total_ns == 20_000_000


def test_a_long_read_takes_as_long_as_its_pieces() -> None:
    """Handlers that work in slices: the time between them is not theirs."""
    bench = Bench(slowlog_slower_than_us=0)
    bench.step_ms = 0
    for number in range(600):
        bench.replica.write(b"SET", b"%d" % number, b"1")
    bench.step_ms = 1
    spec = bench.table.resolve([b"KEYS", b"*"])
    sliced = bench.replica.machine.read(spec, [b"KEYS", b"*"], db=0, clock_ms=0)
    assert isinstance(sliced, Sliced)
    steps = 0
    for _ in sliced.steps():
        steps += 1
        bench.clock.advance(1000)
    assert steps == 2
    assert isinstance(sliced.result, list)
    assert len(sliced.result) == 600
    assert bench.monitors.timings[b"keys"].total_ns == 4_000_000
    (entry,) = bench.monitors.slowlog.newest(1)
    assert (entry.args, entry.duration_us) == ([b"KEYS", b"*"], 4000)


def test_clients_of_local_commands_are_named_and_secrets_kept() -> None:
    """redis SLOWLOG: address and name; AUTH's arguments are nobody's business."""
    bench = Bench(slowlog_slower_than_us=0)
    session = open_session(FakeNode(commands=bench.table))
    session.name = b"me"
    bench.local(session, b"AUTH", b"user", b"secret")
    bench.local(session, b"client", b"ID")
    newest, older = bench.monitors.slowlog.newest(-1)
    assert older.args == [b"AUTH", b"(redacted)", b"(redacted)"]
    assert (newest.args, newest.address, newest.client_name) == (
        [b"client", b"ID"],
        "127.0.0.1:50000",
        b"me",
    )


def test_slow_commands_are_events_of_latency() -> None:
    """redis LATENCY: command, and fast-command for those with that flag."""
    bench = Bench(slowlog_slower_than_us=0)
    bench.stopwatch.adopt(Config(slowlog_slower_than_us=-1, latency_threshold_ms=20))
    bench.replica.write(b"MSET", b"a", b"1")
    assert list(bench.monitors.latency.events) == ["command"]
    bench.stopwatch.adopt(Config(slowlog_slower_than_us=0, latency_threshold_ms=20))
    bench.replica.read(b"GET", b"a")
    event = bench.monitors.latency.events["fast-command"]
    assert [sample.latency_ms for sample in event.samples] == [20]


def test_the_machines_own_command_is_nobodys() -> None:
    """The removal of due keys is no client's: it isn't measured."""
    bench = Bench()
    assert all(not name.startswith(b"\x00") for name in bench.monitors.timings)
    table = CommandTable(bench.replica.machine.commands)
    assert len(table) == len(bench.table) + 1
