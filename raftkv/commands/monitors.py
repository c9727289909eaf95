"""What a node observes of its own speed: slow commands, events that took long, how long commands take.

Knows no clock and no handler: whoever measures hands in times, and SLOWLOG, LATENCY and INFO read.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

#: What is kept of a slow command's arguments (redis slowlogCreateEntry).
_ARGS_COUNT_MAX: Final = 32
_ARG_BYTES_MAX: Final = 128
#: Samples of one latency event (redis LATENCY_TS_LEN).
SAMPLES_MAX: Final = 160
#: Below so many nanoseconds each has a bucket of its own; above, each octave has as many as eight.
_EXACT_NS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class SlowCommand:
    """One entry of the slow log."""

    number: int
    #: Seconds of the Unix epoch.
    time_s: int
    duration_us: int
    args: list[bytes]
    #: "host:port" and name of the client; empty where the log, not a client, handed the command over.
    address: str = ""
    client_name: bytes = b""


class SlowLog:
    """The newest slow commands (redis SLOWLOG)."""

    def __init__(self, *, count_max: int) -> None:
        self._entries: deque[SlowCommand] = deque(maxlen=count_max)
        self._next_number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def newest(self, count: int) -> list[SlowCommand]:
        """The newest entries first, at most `count`; a negative one: all."""
        return list(islice(reversed(self._entries), None if count < 0 else count))

    def note(
        self, args: list[bytes], *, time_s: int, duration_us: int, address: str = "", client_name: bytes = b""
    ) -> None:
        """Keep a command that was slow; long requests are cut."""
        self._entries.append(
            SlowCommand(self._next_number, time_s, duration_us, _shortened(args), address, client_name)
        )
        self._next_number += 1

    def resize(self, count_max: int) -> None:
        """Keep so many from now on; the oldest go."""
        self._entries = deque(self._entries, maxlen=count_max)

    def reset(self) -> None:
        """Forget all entries; numbers go on."""
        self._entries.clear()


def _shortened(args: list[bytes]) -> list[bytes]:
    if len(args) <= _ARGS_COUNT_MAX:
        return [_shortened_one(arg) for arg in args]
    left_out_count = len(args) - _ARGS_COUNT_MAX + 1
    kept = [_shortened_one(arg) for arg in args[: _ARGS_COUNT_MAX - 1]]
    return [*kept, b"... (%d more arguments)" % left_out_count]


def _shortened_one(arg: bytes) -> bytes:
    if len(arg) <= _ARG_BYTES_MAX:
        return arg
    return b"%b... (%d more bytes)" % (arg[:_ARG_BYTES_MAX], len(arg) - _ARG_BYTES_MAX)


@dataclass(slots=True)
class LatencySample:
    """The longest of one second."""

    time_s: int
    latency_ms: int


@dataclass(slots=True)
class LatencyEvent:
    """Something that took long now and then. Invariant: there is a sample, and their times ascend."""

    samples: deque[LatencySample] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))
    #: Of all times, while `samples` are the newest ones.
    max_ms: int = 0

    def note(self, latency_ms: int, time_s: int) -> None:
        """Take one occurrence; those of one second are one sample (redis latencyAddSample)."""
        self.max_ms = max(self.max_ms, latency_ms)
        newest = self.samples[-1] if self.samples else None
        if newest is not None and newest.time_s == time_s:
            newest.latency_ms = max(newest.latency_ms, latency_ms)
        else:
            self.samples.append(LatencySample(time_s, latency_ms))


class LatencyMonitor:
    """What took longer than `threshold_ms`, by kind of event (redis LATENCY); 0: nothing is noted."""

    def __init__(self, *, threshold_ms: int) -> None:
        self.threshold_ms = threshold_ms
        self.events: dict[str, LatencyEvent] = {}

    def note(self, name: str, latency_ms: int, *, time_s: int) -> None:
        """Note that something took so long, if it is long enough."""
        if 0 < self.threshold_ms <= latency_ms:
            self.events.setdefault(name, LatencyEvent()).note(latency_ms, time_s)

    def reset(self, names: list[str]) -> int:
        """Forget these events, or all when none is named; say how many there were."""
        chosen = [name for name in dict.fromkeys(names or self.events) if name in self.events]
        for name in chosen:
            del self.events[name]
        return len(chosen)


class Timing:
    """How long one command took, as far as it was measured."""

    __slots__ = ("_buckets", "count", "total_ns")

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        #: Number of measurements by `_bucket_of`.
        self._buckets: Counter[int] = Counter()

    def reset(self) -> None:
        """Forget all measurements."""
        self.count = self.total_ns = 0
        self._buckets.clear()

    def add(self, duration_ns: int) -> None:
        """Take one measurement."""
        self.count += 1
        self.total_ns += duration_ns
        self._buckets[_bucket_of(duration_ns)] += 1

    def percentile_ns(self, percent: float) -> int:
        """What that share of the measurements did not exceed, to an eighth; 0 without any."""
        wanted = percent / 100 * self.count
        reached = 0
        for bucket in sorted(self._buckets):
            reached += self._buckets[bucket]
            if reached >= wanted:
                return _end_of(bucket) - 1
        return 0

    def cumulated(self) -> Iterator[tuple[int, int]]:
        """Microseconds and how many measurements took less (redis LATENCY HISTOGRAM).

        Of 1, 2, 4, 8, 16, 32, 65 and so on, those where the number rises.
        """
        limit_ns, reached = 1024, 0
        for bucket in sorted(self._buckets):
            if reached and _end_of(bucket) > limit_ns:
                yield limit_ns // 1000, reached
            while _end_of(bucket) > limit_ns:
                limit_ns *= 2
            reached += self._buckets[bucket]
        if reached:
            yield limit_ns // 1000, reached


def _bucket_of(duration_ns: int) -> int:
    """The number of the bucket: buckets are an eighth of an octave wide, and ascend."""
    if duration_ns < _EXACT_NS_MAX:
        return max(0, duration_ns)
    octave = duration_ns.bit_length() - 4
    return (octave << 3) + (duration_ns >> octave)


def _end_of(bucket: int) -> int:
    """The first number of nanoseconds that is past a bucket."""
    if bucket < _EXACT_NS_MAX:
        return bucket + 1
    octave = (bucket >> 3) - 1
    return (bucket - (octave << 3) + 1) << octave


@dataclass(slots=True)
class Monitors:
    """All that a node observes of its speed."""

    slowlog: SlowLog
    latency: LatencyMonitor
    #: By full name of the command; those never measured may be missing.
    timings: dict[bytes, Timing] = field(default_factory=dict)
