"""LATENCY's texts for people: a graph of one event, and what a doctor makes of all of them.

Knows only the samples: why something took long is guessed from the name of its event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, zip_longest
from types import MappingProxyType
from typing import Final

from raftkv.commands.monitors import LatencyEvent, LatencyMonitor, LatencySample

_COLUMNS: Final = 80
_ROWS: Final = 4
#: From the bottom of a row to its top (redis sparkline.c).
_FILLS: Final = "_o#"
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))

#: What to do about an event.
_ADVICE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "fsync": (
            "The log is synced to disk before a write is acknowledged. Look for others who write to that "
            "disk, and consider a faster one, with power-loss protection if there can be."
        ),
        "state-flush": (
            "The state was flushed to disk beside the event loop. This delays nobody, but the disk is slow "
            "or busy."
        ),
        "command": (
            "Look at the slow log (SLOWLOG GET) for the commands that took long, and prefer many small ones: "
            "SCAN for KEYS, smaller values and collections."
        ),
        "fast-command": (
            "Commands that take microseconds took long: the process was kept from running, or a value was "
            "read from a slow disk. Look for other programs on these processors."
        ),
        "event-loop": (
            "The event loop was kept from its next turn. If no command is in the slow log, the machine or "
            "its processors were busy with something else; with virtual machines, look at steal time."
        ),
    }
)


def graph_of(name: str, event: LatencyEvent, *, now_s: int) -> str:
    """The newest samples as a line of little columns, each labelled with its age (redis LATENCY GRAPH)."""
    samples = list(event.samples)[-_COLUMNS:]
    latencies = [sample.latency_ms for sample in samples]
    heading = f"{name} - high {max(latencies)} ms, low {min(latencies)} ms (all time high {event.max_ms} ms)"
    lines = [heading, "-" * _COLUMNS, *_columns(latencies)]
    lines += _turned([_age(max(0, now_s - sample.time_s)) for sample in samples])
    return "\n".join(lines) + "\n"


def _columns(latencies: Sequence[int]) -> list[str]:
    """`_ROWS` lines, from the top down (redis sparklineRenderRange)."""
    low, high = min(latencies), max(latencies)
    steps = len(_FILLS) * _ROWS
    heights = [min(steps - 1, (latency - low) * steps // ((high - low) or 1)) for latency in latencies]
    return [
        "".join(_fill(height - row * len(_FILLS)) for height in heights) for row in reversed(range(_ROWS))
    ] + [" " * len(latencies)]


def _fill(height: int) -> str:
    """What a column has in a row; `height` is counted from the row's bottom."""
    return " " if height < 0 else "|" if height >= len(_FILLS) else _FILLS[height]


def _turned(labels: Sequence[str]) -> list[str]:
    """Labels written from the top down, side by side."""
    return ["".join(letters) for letters in zip_longest(*labels, fillvalue=" ")]


def _age(seconds: int) -> str:
    """How long ago, in one unit: 45s, 3m, 2h."""
    unit_s, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    return f"{seconds // unit_s}{unit}"


def diagnosis_of(monitor: LatencyMonitor) -> str:
    """What was observed, and advice (redis LATENCY DOCTOR)."""
    if not monitor.threshold_ms:
        return (
            "Latency monitoring is off on this node. Turn it on with CONFIG SET latency-monitor-threshold "
            "<milliseconds>, and come back when something was slow.\n"
        )
    if not monitor.events:
        return (
            f"Nothing took {monitor.threshold_ms} ms (latency-monitor-threshold) or longer on this node "
            "since it was last reset.\n"
        )
    lines = ["Some things took long on this node:", ""]
    for position, (name, event) in enumerate(sorted(monitor.events.items()), 1):
        lines.append(
            f"{position}. {name}: {_spikes(list(event.samples))}. Worst all time event {event.max_ms}ms."
        )
    lines += ["", "Some advice:", ""]
    lines += [f"- {name}: {_ADVICE[name]}" for name in sorted(monitor.events) if name in _ADVICE]
    return "\n".join(lines) + "\n"


def _spikes(samples: Sequence[LatencySample]) -> str:
    latencies = [sample.latency_ms for sample in samples]
    mean_ms = sum(latencies) / len(latencies)
    deviation_ms = sum(abs(latency - mean_ms) for latency in latencies) / len(latencies)
    spans_s = [later.time_s - earlier.time_s for earlier, later in pairwise(samples)]
    period_s = sum(spans_s) / len(spans_s) if spans_s else 0
    return (
        f"{len(samples)} latency spikes (average {mean_ms:.0f}ms, mean deviation {deviation_ms:.0f}ms, "
        f"period {period_s:.2f} sec)"
    )
