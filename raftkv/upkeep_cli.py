"""The commands for when things go wrong, as typer sees them: check, log, backup, recover. No logic.

What only one command needs is imported by that command, as in `cli`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from raftkv.config import ConfigError
from raftkv.passwords import PASSWORD_VARIABLE, given_password
from raftkv.status import Place

_DirArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Data directory of a stopped node, or a copy.")
]
#: No log comes so far; an index has 64 bits.
_INDEX_MAX = (1 << 63) - 1
_JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def add_commands(app: typer.Typer, *, epilog: str) -> None:
    """Let `app` know these commands."""
    for command in (check, log, backup, recover):
        app.command(epilog=epilog)(command)


@contextlib.contextmanager
def refusals_told() -> Iterator[None]:
    """Tell what a data directory or a disk refuses, and end with exit code 1."""
    from raftkv.backup_cli import BackupFailed
    from raftkv.storage import DataDirRefused, SnapshotRefused, StorageFailure
    from raftkv.storage.backups import BackupDamaged

    try:
        yield
    except (DataDirRefused, StorageFailure, SnapshotRefused, BackupDamaged, BackupFailed) as failure:
        sys.stderr.write(f"raftkv: {failure}\n")
        raise typer.Exit(1) from None


def check(path: _DirArgument, is_json: _JsonOption = False) -> None:
    """Verify everything that a stopped node has on its disk; change nothing. Exit code 1: it is damaged."""
    from raftkv.inspect_cli import run_check

    with refusals_told():
        raise typer.Exit(run_check(path, is_json=is_json))


def log(
    path: _DirArgument,
    first: Annotated[
        int, typer.Option("--first", min=0, max=_INDEX_MAX, metavar="N", help="First entry to show.")
    ] = 0,
    last: Annotated[
        int | None, typer.Option("--last", min=0, max=_INDEX_MAX, metavar="N", help="Last entry to show.")
    ] = None,
    has_commands: Annotated[bool, typer.Option("--commands", help="Show the commands as well.")] = False,
    is_json: Annotated[bool, typer.Option("--json", help="Write a JSON object per line.")] = False,
) -> None:
    """Show a stopped node's Raft log; change nothing."""
    from raftkv.inspect_cli import LogRequest, run_log

    request = LogRequest(path, first=first, last=last, has_commands=has_commands, is_json=is_json)
    with refusals_told():
        raise typer.Exit(run_log(request, sys.stdout))


def backup(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="Where to put it: a directory, or one file if it ends with .tar."
        ),
    ],
    node: Annotated[
        str, typer.Option("--node", metavar="HOST:PORT", help="Any node; its port for clients.")
    ] = "127.0.0.1:7001",
    rate_mb: Annotated[
        int,
        typer.Option("--rate", min=0, metavar="MB", help="Megabytes a second at most; 0: as many as come."),
    ] = 64,
    is_verification: Annotated[
        bool, typer.Option("--verify", help="Verify the backup at PATH instead.")
    ] = False,
    word: Annotated[
        str | None,
        typer.Option(
            "--password",
            metavar="TEXT",
            help=f"The node's password. Who lists processes sees it: better use {PASSWORD_VARIABLE}, "
            "--password-file, or neither on a terminal, where it is asked for.",
        ),
    ] = None,
    password_path: Annotated[
        Path | None,
        typer.Option("--password-file", metavar="FILE", help="A file whose first line is the password."),
    ] = None,
) -> None:
    """Copy a consistent state of a running node, which goes on serving; or verify such a copy."""
    from raftkv.backup_cli import BackupRequest, run_backup, run_verify

    with refusals_told():
        if is_verification:
            raise typer.Exit(run_verify(path))
        password = given_password(word=word, path=password_path, environ=os.environ)
        raise typer.Exit(run_backup(BackupRequest(place_of(node), path, password, rate_mb << 20)))


def recover(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Data directory of a stopped node.")],
    is_forced: Annotated[
        bool,
        typer.Option(
            "--force-new-cluster", help="Make the node the only voter of a new cluster. Loses data."
        ),
    ] = False,
    is_confirmed: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
) -> None:
    """Go on with one surviving node after a majority was lost for good: the last resort."""
    if not is_forced:
        raise ConfigError(
            "has to be given: it is all that this can do, and the last resort; the README tells what to try"
            " before, under 'When things go wrong'",
            source="--force-new-cluster",
        )
    from raftkv.recover_cli import RecoverRequest, run_recover

    with refusals_told():
        raise typer.Exit(run_recover(RecoverRequest(path, is_confirmed)))


def place_of(text: str) -> Place:
    """Read HOST:PORT. Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ConfigError(f"{text!r} must be HOST:PORT", source="--node")
    return Place(host.removeprefix("[").removesuffix("]"), int(port))
