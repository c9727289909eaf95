"""The commands for when things go wrong, as typer sees them: check, log. No logic.

What only one command needs is imported by that command, as in `cli`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

_DirArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Data directory of a stopped node, or a copy.")
]
_JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def add_commands(app: typer.Typer, *, epilog: str) -> None:
    """Let `app` know these commands."""
    for command in (check, log):
        app.command(epilog=epilog)(command)


@contextlib.contextmanager
def refusals_told() -> Iterator[None]:
    """Tell what a data directory or a disk refuses, and end with exit code 1."""
    from raftkv.storage import DataDirRefused, StorageFailure

    try:
        yield
    except (DataDirRefused, StorageFailure) as failure:
        sys.stderr.write(f"raftkv: {failure}\n")
        raise typer.Exit(1) from None


def check(path: _DirArgument, is_json: _JsonOption = False) -> None:
    """Verify everything that a stopped node has on its disk; change nothing. Exit code 1: it is damaged."""
    from raftkv.inspect_cli import run_check

    with refusals_told():
        raise typer.Exit(run_check(path, is_json=is_json))


def log(
    path: _DirArgument,
    first: Annotated[int, typer.Option("--first", min=0, metavar="N", help="First entry to show.")] = 0,
    last: Annotated[
        int | None, typer.Option("--last", min=0, metavar="N", help="Last entry to show.")
    ] = None,
    has_commands: Annotated[bool, typer.Option("--commands", help="Show the commands as well.")] = False,
    is_json: Annotated[bool, typer.Option("--json", help="Write a JSON object per line.")] = False,
) -> None:
    """Show a stopped node's Raft log; change nothing."""
    from raftkv.inspect_cli import LogRequest, run_log

    request = LogRequest(path, first=first, last=last, has_commands=has_commands, is_json=is_json)
    with refusals_told():
        raise typer.Exit(run_log(request, sys.stdout))
