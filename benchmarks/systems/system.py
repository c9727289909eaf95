"""What is expected of a system that is measured.

A system knows how it is started, where its clients go and which tool loads it, nothing of what is measured.
Only the one that is being measured is awake: what rests is paused by SIGSTOP, so that its timers cost the
others nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.workload import Outcome, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is put between a system and the machine."""

    #: Milliseconds by which bytes are late on each way between two processes; None: links are direct.
    link_ms: float | None = None
    #: Set for each process.
    environment: Mapping[str, str] = field(default_factory=dict)


class Member(Protocol):
    """One process of a system."""

    @property
    def pid(self) -> int:
        """The running process."""

    def kill(self) -> None:
        """kill -9, without waiting for the end."""

    def start(self) -> None:
        """Start it again on its directory, once it has ended; return before it serves."""

    def writer(self) -> Callable[[], bool]:
        """Open a connection; return what tries one write on it, and says whether it was acknowledged.

        Once False for a connection that broke, it is False for good. Raises NoAnswer.
        """

    def serves(self, key: str, value: str) -> bool:
        """Whether it answers the key with that value; never raises for being down."""


class System(Protocol):
    """Three processes that serve one data set."""

    name: str
    #: Whether the others go on when the process that takes the writes is lost.
    takes_over: bool

    def start(self) -> None:
        """Start and wait until it serves."""

    def prove_durable(self) -> str:
        """Return by what it promises to sync before it answers. Raises NotDurable."""

    def members(self) -> dict[str, Member]:
        """Return each process by its part: the one that takes the writes, then the others."""

    def check(self, workload: Workload) -> None:
        """Raise Unsupported when it has nothing that answers to the load."""

    def prepare(self, workload: Workload) -> None:
        """Write what a load of reads is going to find. Raises Disturbed."""

    def run(self, workload: Workload, *, requests: int) -> Outcome:
        """Run the load once. Raises Disturbed, LoadFailed."""

    def load_keys(self, count: int, value: str) -> None:
        """Give that many keys (`key_name`) the value, as fast as it takes them."""

    def wait_until_whole(self) -> None:
        """Wait until all processes serve."""

    def rest(self) -> None:
        """Pause all processes."""

    def wake(self) -> None:
        """Let them go on, and wait until it serves again."""

    def close(self) -> None:
        """End all processes."""


def key_name(number: int) -> str:
    """Return the name of a loaded key, of KEY_BYTES bytes."""
    return f"key:{number:012d}"
