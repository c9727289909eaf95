"""One run of a load on one system, with what it cost each process."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping

from benchmarks.process_counters import cpu_seconds, written_bytes
from benchmarks.systems.system import System
from benchmarks.workload import Disturbed, LoadFailed, Run, Workload

#: Length of the run that finds out how many requests a measured run takes, and by how much each try is
#: larger than the one before.
_PROBE_SECONDS = 0.1
_PROBE_GROWTH = 8
#: Payload of one run: raftkv keeps its log, three times on this disk.
_PAYLOAD_BYTES_MAX = 256 << 20
#: How often a run is tried while leadership moves under it.
_TRIES = 4


class Turn:
    """The systems' turns; remembers how many requests make a run of the wanted length."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._requests: dict[tuple[str, Workload], int] = {}

    def measure(self, system: System, workload: Workload, *, section: str, round_number: int) -> Run:
        """Wake the system, measure, and let it rest; what was disturbed is measured again.

        Raises LoadFailed.
        """
        for _ in range(_TRIES):
            system.wake()
            try:
                return self._measure(system, workload, section=section, round_number=round_number)
            except Disturbed as disturbed:
                print(f"again: {disturbed}", file=sys.stderr)
            finally:
                system.rest()
        raise LoadFailed(f"changed its leader in each of {_TRIES} tries")

    def _measure(self, system: System, workload: Workload, *, section: str, round_number: int) -> Run:
        system.prepare(workload)
        requests = self._requests.get((system.name, workload))
        if requests is None:
            requests = self._requests[system.name, workload] = self._requests_for(system, workload)
        pids = {part: member.pid for part, member in system.members().items()}
        cpu, written = _Spent(pids, cpu_seconds), _Spent(pids, written_bytes)
        tool_before = _tool_seconds()
        outcome = system.run(workload, requests=requests)
        tool = _tool_seconds() - tool_before
        payload = workload.payload_bytes * requests
        return Run(
            section=section,
            system=system.name,
            workload=workload,
            round=round_number,
            requests=requests,
            outcome=outcome,
            tool_busy=tool / (requests / outcome.per_second),
            cpu_seconds=cpu.per(requests / 1e6),
            written_per_byte=written.per(payload) if payload else {},
        )

    def _requests_for(self, system: System, workload: Workload) -> int:
        """Try the load, longer and longer; return how many requests take about the wanted time."""
        # Each connection's pipeline is filled at least once.
        least = requests = workload.connections * workload.pipeline
        while True:
            per_second = system.run(workload, requests=requests).per_second
            if requests / per_second >= _PROBE_SECONDS:
                break
            requests *= _PROBE_GROWTH
        wanted = min(int(per_second * self._seconds), _PAYLOAD_BYTES_MAX // workload.value_bytes)
        return max(least, wanted)


class _Spent:
    """What a counter of each process counts from now on."""

    def __init__(self, pids: Mapping[str, int], counter: Callable[[int], float]) -> None:
        self._pids = pids
        self._counter = counter
        self._before = {part: counter(pid) for part, pid in pids.items()}

    def per(self, unit: float) -> dict[str, float]:
        return {part: (self._counter(pid) - self._before[part]) / unit for part, pid in self._pids.items()}


def _tool_seconds() -> float:
    """Return the processor time of all ended children; while a load runs only its tool ends."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
