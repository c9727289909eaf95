"""Draws what was measured, with matplotlib; knows nothing of how it was measured.

One figure, `bench.svg`, for the README, and each of its parts alone. Nothing is drawn for sections that
have no runs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import Results
from benchmarks.workload import Workload

_COLOURS = ("#c8102e", "#4477aa", "#66a182", "#bbbbbb")
_WIDTH_INCHES = 6.5
_HEIGHT_INCHES = 4.2
#: Of the space between two groups of bars.
_BARS_WIDTH = 0.8

#: Draws one part.
_Painter = Callable[[Axes, Results], None]


def draw(results: Results, directory: Path) -> list[Path]:
    """Write an SVG for each part that has runs, and one of all; return them."""
    parts = {name: painter for name, (is_there, painter) in _PARTS.items() if is_there(results)}
    if not parts:
        return []
    written: list[Path] = []
    for name, painter in parts.items():
        figure = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), layout="constrained")
        painter(figure.subplots(), results)
        written.append(_save(figure, directory / f"{name}.svg"))
    rows = -(-len(parts) // 2)
    figure = Figure(figsize=(2 * _WIDTH_INCHES, rows * _HEIGHT_INCHES), layout="constrained")
    every = figure.subplots(rows, 2, squeeze=False).flatten()
    for axes, painter in zip(every, parts.values(), strict=False):
        painter(axes, results)
    for axes in every[len(parts) :]:
        axes.set_visible(False)
    return [*written, _save(figure, directory / "bench.svg")]


def _paint_throughput(axes: Axes, results: Results) -> None:
    _paint_bars(axes, results, "pipelines", lambda load: f"{load.command.upper()}\n-P {load.pipeline}")
    axes.set_title("throughput at 50 connections, 64-byte values")


def _paint_delays(axes: Axes, results: Results) -> None:
    def name(load: Workload) -> str:
        return f"{load.command.upper()} -P {load.pipeline}\n{load.delay}"

    _paint_bars(axes, results, "delays", name)
    axes.tick_params(axis="x", labelsize=6, labelrotation=60)
    axes.set_title("throughput with delays injected")


def _paint_bars(axes: Axes, results: Results, section: str, name: Callable[[Workload], str]) -> None:
    """Draw a group of bars for each load, a bar for each system, missing ones left empty."""
    workloads = results.workloads(section)
    width = _BARS_WIDTH / len(results.systems)
    for place, system in enumerate(results.systems):
        rates = [results.per_second(section, system, load) for load in workloads]
        offset = (place - (len(results.systems) - 1) / 2) * width
        spots = [number + offset for number in range(len(workloads))]
        heights = [rate or 0.0 for rate in rates]
        axes.bar(spots, heights, width, label=system, color=_COLOURS[place % len(_COLOURS)])
    axes.set_xticks(range(len(workloads)), [name(load) for load in workloads], fontsize=7)
    _finish(axes, "requests per second")


def _paint_latency(axes: Axes, results: Results) -> None:
    """Draw p50, p95 and p99 of the unpipelined SETs and GETs."""
    loads = [load for load in results.workloads("pipelines") if load.pipeline == 1]
    loads = [load for load in loads if load.command in ("set", "get")]
    for place, system in enumerate(results.systems):
        for load, style in zip(loads, ("-o", "--s"), strict=False):
            outcomes = [run.outcome for run in results.of("pipelines", system, load)]
            if not outcomes:
                continue
            columns = zip(*((o.p50_ms, o.p95_ms, o.p99_ms) for o in outcomes), strict=True)
            label = f"{system}, {load.command.upper()}"
            medians = [statistics.median(column) for column in columns]
            axes.plot(
                ("p50", "p95", "p99"), medians, style, label=label, color=_COLOURS[place % len(_COLOURS)]
            )
    axes.set_title("latency at pipeline 1, 50 connections")
    _finish(axes, "milliseconds")


def _paint_connections(axes: Axes, results: Results) -> None:
    _paint_lines(axes, results, "connections", lambda load: load.connections)
    axes.set_xlabel("connections")
    axes.set_title("throughput over connections, pipeline 1")


def _paint_values(axes: Axes, results: Results) -> None:
    _paint_lines(axes, results, "values", lambda load: load.value_bytes)
    axes.set_xlabel("bytes of a value")
    axes.set_title("throughput over the size of values, pipeline 1")


def _paint_pauses(axes: Axes, results: Results) -> None:
    """Draw how long a lost leader and a restart take."""
    width = _BARS_WIDTH / len(results.systems)
    for place, system in enumerate(results.systems):
        restarts = [
            seconds for each in results.keys if each.system == system for seconds in each.restart_seconds
        ]
        pauses = [
            statistics.median(found) if found else 0.0 for found in (results.takeovers.get(system), restarts)
        ]
        spots = [number + place * width for number in range(len(pauses))]
        axes.bar(spots, pauses, width, label=system, color=_COLOURS[place % len(_COLOURS)])
    count = max((each.count for each in results.keys), default=0)
    names = ["leader killed, until\nanother takes a write", f"follower restarted\nwith {count:,} keys"]
    axes.set_xticks([width * (len(results.systems) - 1) / 2 + number for number in range(2)], names)
    axes.set_ylabel("seconds")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(fontsize=7)
    axes.set_title("failover (Redis: none) and restart, after kill -9")


def _paint_lines(axes: Axes, results: Results, section: str, place_of: Callable[[Workload], int]) -> None:
    """Draw a line for each system and command."""
    for place, system in enumerate(results.systems):
        for command, style in (("set", "-o"), ("get", "--s")):
            loads = [load for load in results.workloads(section) if load.command == command]
            points = [(place_of(load), results.per_second(section, system, load)) for load in loads]
            found = [(where, rate) for where, rate in points if rate is not None]
            if found:
                label, colour = f"{system}, {command.upper()}", _COLOURS[place % len(_COLOURS)]
                axes.plot(*zip(*found, strict=True), style, label=label, color=colour)
    axes.set_xscale("log")
    _finish(axes, "requests per second")


def _finish(axes: Axes, label: str) -> None:
    axes.set_yscale("log")
    axes.set_ylabel(label)
    axes.grid(axis="y", which="both", alpha=0.3)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)


def _has(section: str) -> Callable[[Results], bool]:
    return lambda results: bool(results.workloads(section))


def _save(figure: Figure, path: Path) -> Path:
    """Write text as text, which takes a third of the bytes, and nothing that tells two equal plots apart."""
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": path.stem}):
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path


#: By file name: whether there is anything to draw, and how it is drawn.
_PARTS: dict[str, tuple[Callable[[Results], bool], _Painter]] = {
    "throughput": (_has("pipelines"), _paint_throughput),
    "latency": (_has("pipelines"), _paint_latency),
    "connections": (_has("connections"), _paint_connections),
    "values": (_has("values"), _paint_values),
    "delays": (_has("delays"), _paint_delays),
    "pauses": (lambda results: bool(results.keys or any(results.takeovers.values())), _paint_pauses),
}
