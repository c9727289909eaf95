"""What many keys cost: memory of each process, and the time until one that was killed serves again."""

from __future__ import annotations

import time

from benchmarks.process_counters import memory_bytes
from benchmarks.results import LoadedKeys
from benchmarks.systems.system import System, key_name
from tests.integration.waiting import wait_until

_VALUE_BYTES = 64
_RESTARTS = 3
#: Seconds that a process may take to serve again.
_SECONDS_MAX = 600.0


def measure_keys(system: System, count: int) -> LoadedKeys:
    """Load a system that holds nothing yet. It must be awake."""
    before = {part: memory_bytes(member.pid) for part, member in system.members().items()}
    value = "x" * _VALUE_BYTES
    system.load_keys(count, value)
    _wait_for_last_key(system, count, value)
    after = {part: memory_bytes(member.pid) for part, member in system.members().items()}
    part = list(after)[1]
    seconds: list[float] = []
    for _ in range(_RESTARTS):
        seconds.append(_restart_seconds(system, key_name(count - 1), value))
        system.wait_until_whole()
    return LoadedKeys(
        system=system.name,
        count=count,
        value_bytes=_VALUE_BYTES,
        memory_bytes={each: (after[each] - before[each]) / count for each in after},
        restart_part=part,
        restart_seconds=seconds,
    )


def _wait_for_last_key(system: System, count: int, value: str) -> None:
    """Wait until the processes that follow have all keys too."""
    for member in system.members().values():
        wait_until(
            lambda member=member: member.serves(key_name(count - 1), value),  # type: ignore[misc]
            f"all of {system.name} has the keys",
            seconds_max=_SECONDS_MAX,
        )


def _restart_seconds(system: System, key: str, value: str) -> float:
    """Kill the first process that does not lead, start it, and wait until it answers the key."""
    member = list(system.members().values())[1]
    member.kill()
    begin = time.monotonic()
    member.start()
    wait_until(lambda: member.serves(key, value), f"{system.name} serves again", seconds_max=_SECONDS_MAX)
    return time.monotonic() - begin
