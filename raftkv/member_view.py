"""Shows the members of a cluster, and how a newcomer comes on, to a person or to a log.

Pure but for what it is given to write to: knows no connections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from raftkv.config import join_address
from raftkv.member_client import MemberRow

_MB = 1 << 20
#: A plain line is written for each of so many percent.
_PERCENT_STEP = 10
_UNKNOWN = "-"


def table_of(rows: Sequence[MemberRow]) -> Table:
    """Draw one row per member."""
    table = Table(box=None, pad_edge=False)
    for column in ("node", "address"):
        table.add_column(column, no_wrap=True)
    table.add_column("role")
    for column in ("match", "behind", "heard ms ago"):
        table.add_column(column, justify="right")
    table.add_column("state")
    for row in rows:
        table.add_row(
            str(row.id),
            join_address(row.host, row.port),
            _role_of(row),
            *(_shown(number) for number in (row.match_index, row.lag, row.heard_ms_ago)),
            _state_of(row),
            style="bold green" if row.role == "leader" else "red" if row.state == "unreachable" else "",
        )
    return table


def _role_of(row: MemberRow) -> str:
    if row.takes_place_of is not None:
        return f"{row.role}, in place of {row.takes_place_of}"
    return row.role


def _state_of(row: MemberRow) -> str:
    if row.snapshot_bytes_done is None:
        return "" if row.state in ("self", None) else row.state
    return _step_of(row).text


def _shown(number: int | None) -> str:
    return _UNKNOWN if number is None else str(number)


class _Step:
    """Where a newcomer is: what it is about, and how much of it is done."""

    def __init__(self, text: str, *, done: int, total: int) -> None:
        self.text = text
        self.done = done
        self.total = total


def _step_of(row: MemberRow) -> _Step:
    done, total = row.snapshot_bytes_done, row.snapshot_bytes_total
    if done is not None and total:
        return _Step(f"snapshot {done / _MB:.1f} of {total / _MB:.1f} MB", done=done, total=total)
    if done is not None or row.state == "snapshot":
        return _Step("a snapshot is being made", done=0, total=1)
    if row.lag is None or row.match_index is None or row.state == "unreachable":
        return _Step("not connected", done=0, total=1)
    text = f"{row.lag} entries behind" if row.lag else "caught up"
    return _Step(text, done=row.match_index, total=row.match_index + row.lag or 1)


class PlainWatcher:
    """Writes a line when something else is being done, and every ten percent of a snapshot."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._said: tuple[str, int] | None = None

    def __call__(self, row: MemberRow) -> None:
        """Take a look at the newcomer."""
        step = _step_of(row)
        part = 100 * step.done // step.total // _PERCENT_STEP
        if (step.text.partition(" ")[0], part) != self._said:
            self._said = (step.text.partition(" ")[0], part)
            self._write(f"node {row.id}: {row.role}, {step.text}\n")


class BarWatcher:
    """Draws a bar on a terminal; use it in a `with` block."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task: TaskID | None = None

    def __enter__(self) -> BarWatcher:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, row: MemberRow) -> None:
        """Take a look at the newcomer."""
        step = _step_of(row)
        description = f"node {row.id}: {row.role}, {step.text}"
        if self._task is None:
            self._task = self._progress.add_task(description, total=step.total, completed=step.done)
        self._progress.update(self._task, description=description, total=step.total, completed=step.done)
