"""Which loads there are, in named sections, and how long they are measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from benchmarks.workload import At, Workload

#: Sections of loads, in the order in which they run on one start of the systems.
LOAD_SECTIONS = ("pipelines", "connections", "values", "follower", "costs")
#: All sections; the last three need something other than a load on a quiet system.
SECTIONS = (*LOAD_SECTIONS, "delays", "keys", "failover")

_CONNECTIONS = (1, 10, 50, 200, 1000)
_VALUE_BYTES = (64, 1024, 16 << 10, 256 << 10, 1 << 20)
_DELAYS_MS = (0, 1, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much is measured."""

    rounds: int
    #: Length of one run.
    seconds: float
    takeovers: int
    keys_loaded: int
    #: What lies between others, such as a delay of 1 ms, is left out.
    is_quick: bool


FULL = Pace(rounds=3, seconds=2.0, takeovers=7, keys_loaded=1_000_000, is_quick=False)
QUICK = Pace(rounds=1, seconds=0.5, takeovers=3, keys_loaded=100_000, is_quick=True)


@dataclass(frozen=True, slots=True)
class Delay:
    """What is injected. `kind` is "link" (each way between two processes is late) or "fsync"."""

    kind: str
    milliseconds: int

    def __str__(self) -> str:
        return f"{self.kind} +{self.milliseconds} ms"


def loads(section: str, pace: Pace) -> list[Workload]:
    """Return a section's loads. Raises KeyError for one that has none of its own."""
    found = {
        "pipelines": [
            Workload(command=command, pipeline=pipeline)
            for command in ("set", "get", "incr", "mset")
            for pipeline in (1, 16, 64)
        ],
        "connections": _with_gets(Workload(command="set", connections=count) for count in _CONNECTIONS),
        "values": _with_gets(Workload(command="set", value_bytes=size) for size in _VALUE_BYTES),
        "follower": _with_gets(
            Workload(command="set", pipeline=pipeline, at=at) for pipeline in (1, 16) for at in At
        ),
        "costs": [Workload(command="set", pipeline=16, keys=keys) for keys in (1, 1_000_000)],
    }[section]
    return [load for load in found if not (pace.is_quick and _is_between(load))]


def _is_between(load: Workload) -> bool:
    """Whether one can guess it from others, so that it is left out in a hurry."""
    return (
        load.pipeline == 64
        or load.connections in (10, 200)
        or load.value_bytes in (1024, 256 << 10)
        or (load.at is not At.LEADER and load.pipeline != 1)
    )


def rounds_of(section: str, pace: Pace) -> int:
    """Return how often a section's loads are measured: what is compared most, most often."""
    return pace.rounds if section in ("pipelines", "given") else max(1, pace.rounds - 1)


def delays(pace: Pace) -> Sequence[Delay]:
    """Return what is injected, one after the other; 0 goes through the same relay or library."""
    milliseconds = (0, max(_DELAYS_MS)) if pace.is_quick else _DELAYS_MS
    return [Delay(kind, each) for kind in ("link", "fsync") for each in milliseconds]


def delayed_loads(delay: Delay) -> list[Workload]:
    """Return what is asked under a delay."""
    asked = (("set", 1), ("set", 16), ("get", 1))
    return [Workload(command=command, pipeline=pipeline, delay=str(delay)) for command, pipeline in asked]


def _with_gets(sets: Iterable[Workload]) -> list[Workload]:
    """Add a GET behind every SET."""
    return [load for each in sets for load in (each, replace(each, command="get"))]
