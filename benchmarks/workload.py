"""What is asked of a system, and what one run of it found. Knows no tool and no system."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

#: Keys of one MSET, as in redis-benchmark.
MSET_KEYS = 10
#: Bytes of redis-benchmark's keys, `key:000000000000`; the other tools' keys are as long.
KEY_BYTES = 16

COMMANDS = ("set", "get", "incr", "mset")


class At(StrEnum):
    """Where clients are connected."""

    LEADER = "leader"
    LEADER_STANDALONE = "leader-standalone"
    FOLLOWER_STANDALONE = "follower-standalone"


class Disturbed(Exception):
    """Leadership moved during a run: it says nothing and has to be done again."""


class LoadFailed(Exception):
    """A system, or the tool, could not go through with a load."""


class Unsupported(Exception):
    """A system has nothing that answers to the load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One load. Its text names what is not as usual."""

    command: str
    #: Requests that a connection sends before it waits for the replies.
    pipeline: int = 1
    connections: int = 50
    value_bytes: int = 64
    #: How many different keys; 1: always the same.
    keys: int = 1
    at: At = At.LEADER
    #: What was injected, such as "10 ms per link".
    delay: str = ""

    def __str__(self) -> str:
        parts = [self.command.upper(), f"-P {self.pipeline}"]
        if self.connections != 50:
            parts.append(f"-c {self.connections}")
        if self.value_bytes != 64:
            parts.append(f"-d {self.value_bytes}")
        if self.keys != 1:
            parts.append(f"-r {self.keys}")
        if self.at is not At.LEADER:
            parts.append(f"at {self.at}")
        if self.delay:
            parts.append(f"({self.delay})")
        return " ".join(parts)

    @property
    def payload_bytes(self) -> int:
        """Bytes of keys and values that one request stores; 0 for what stores none, or hardly any."""
        keys = {"set": 1, "mset": MSET_KEYS}.get(self.command, 0)
        return keys * (KEY_BYTES + self.value_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the load's tool says of one run. Latencies in milliseconds."""

    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured run."""

    section: str
    system: str
    workload: Workload
    round: int
    requests: int
    outcome: Outcome
    #: Processor seconds of the tool itself for each second of the run. At 1 it could not have sent more.
    tool_busy: float
    #: Processor seconds per million requests, by part of the system.
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    #: Bytes that each part of the system sent towards its disk, per byte of key and value. Empty where
    #: nothing is stored.
    written_per_byte: dict[str, float] = field(default_factory=dict)
