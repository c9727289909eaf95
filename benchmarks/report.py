"""What was measured, as tables for the eye."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.results import Results
from benchmarks.workload import Run

_NONE = "-"
#: From here on the tool that loads is what limits (`Run.tool_busy`).
_TOOL_BUSY = 0.9


def show(results: Results, console: Console) -> None:
    """Print everything but the single runs."""
    for title, content in (*results.machine.items(), *results.durability.items()):
        console.print(f"{title}: {content}", highlight=False)
    for section in results.sections():
        console.print(_throughput(results, section))
    if results.runs:
        console.print(_costs(results))
    if results.keys:
        console.print(_keys(results))
    if results.takeovers:
        console.print(_takeovers(results))
    for line in dict.fromkeys(results.left_out):
        console.print(f"left out: {line}", highlight=False)


def _throughput(results: Results, section: str) -> Table:
    first, *others = results.systems
    table = Table(
        title=f"{section}: requests per second, median (lowest - highest); latency p50 / p95 / p99 in ms",
        caption="*: the tool that loads was busy all the time, and may be what limits",
    )
    table.add_column("load")
    for name in results.systems:
        table.add_column(name, justify="right")
    for name in others:
        table.add_column(f"{first} / {name}", justify="right", style="bold")
    for workload in results.workloads(section):
        cells = [_throughput_cell(results.of(section, name, workload)) for name in results.systems]
        ratios = [results.ratio(section, workload, name) for name in others]
        table.add_row(str(workload), *cells, *(f"{ratio:.2f}" if ratio else _NONE for ratio in ratios))
    return table


def _costs(results: Results) -> Table:
    table = Table(
        title="processor seconds per million requests; bytes written per byte of key and value; by process",
        caption="bytes as the kernel counts them: without what filesystem and disk add",
    )
    table.add_column("section")
    table.add_column("load")
    for name in results.systems:
        table.add_column(name, justify="right")
    for section in results.sections():
        for workload in results.workloads(section):
            runs = [results.of(section, name, workload) for name in results.systems]
            table.add_row(section, str(workload), *(_costs_cell(each) for each in runs))
    return table


def _keys(results: Results) -> Table:
    table = Table(
        title="many keys: memory per key in bytes, by process; restart after kill -9 until a key is answered",
        caption="memory is what a process grew by (Pss), mapped files that it shares included",
    )
    for heading in ("system", "keys", "memory per key", "restarted", "seconds"):
        table.add_column(heading, justify="left" if heading == "system" else "right")
    for each in results.keys:
        memory = ", ".join(f"{size:.0f}" for size in each.memory_bytes.values())
        seconds = f"{statistics.median(each.restart_seconds):.2f}"
        table.add_row(each.system, f"{each.count:,}", memory, each.restart_part, seconds)
    return table


def _takeovers(results: Results) -> Table:
    table = Table(title="seconds from kill -9 of the leader to the first write on another node")
    for heading in ("system", "times", "median", "worst"):
        table.add_column(heading, justify="left" if heading == "system" else "right")
    for name, seconds in results.takeovers.items():
        if seconds:
            figures = (f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}")
            table.add_row(name, str(len(seconds)), *figures)
        else:
            table.add_row(name, _NONE, "none takes over", _NONE)
    return table


def _throughput_cell(runs: Sequence[Run]) -> str:
    if not runs:
        return _NONE
    found = [run.outcome for run in runs]
    rates = [each.per_second for each in found]
    columns = ([o.p50_ms for o in found], [o.p95_ms for o in found], [o.p99_ms for o in found])
    latencies = " / ".join(f"{statistics.median(column):.1f}" for column in columns)
    mark = "*" if statistics.median(run.tool_busy for run in runs) > _TOOL_BUSY else ""
    spread = f" ({min(rates):,.0f} - {max(rates):,.0f})" if len(rates) > 1 else ""
    return f"{statistics.median(rates):,.0f}{mark}{spread}, {latencies}"


def _costs_cell(runs: Sequence[Run]) -> str:
    if not runs:
        return _NONE
    cell = _medians([run.cpu_seconds for run in runs])
    written = _medians([run.written_per_byte for run in runs])
    return f"{cell}; {written}" if written else cell


def _medians(rows: Sequence[Mapping[str, float]]) -> str:
    """Return the median of each part over all rows."""
    return ", ".join(f"{statistics.median(row[part] for row in rows):.1f}" for part in rows[0])
