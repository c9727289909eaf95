"""The command line about members: `raftkv member ...` and `raftkv transfer-leader`.

Arguments to requests, and what came of them to exit codes: 0 done, 1 it failed, 2 the command line is wrong.
Knows nothing of how a change is made; `member_client` has the cluster do it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from raftkv.config import PEER_PORT_OFFSET, ConfigError
from raftkv.passwords import PASSWORD_VARIABLE, given_password
from raftkv.status import PasswordRefused, Place

if TYPE_CHECKING:
    from raftkv.member_client import Leader, MemberRow, Watcher

_Outcome = TypeVar("_Outcome")
_EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 the command line is wrong."
_PORT_MAX = 65535

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="See and change who is in a running cluster."
)

_Node = Annotated[str, typer.Option("--node", metavar="HOST:PORT", help="Any member.")]
_Json = Annotated[bool, typer.Option("--json", help="Write one JSON value.")]
_Timeout = Annotated[float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="Longest wait.")]
_Word = Annotated[
    str | None,
    typer.Option(
        "--password",
        metavar="TEXT",
        help=f"The nodes' password. Who lists processes sees it: better use {PASSWORD_VARIABLE}, "
        "--password-file, or neither on a terminal, where it is asked for.",
    ),
]
_File = Annotated[
    Path | None,
    typer.Option("--password-file", metavar="FILE", help="A file whose first line is the password."),
]
_Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="A member's id.")]
_Address = Annotated[
    str,
    typer.Argument(
        metavar="HOST:PORT[@PEER_PORT]",
        help="The node that was started with --join and waits; PEER_PORT is PORT + 10000 unless given.",
    ),
]
_DEFAULT_NODE = "127.0.0.1:7001"


@app.command("list", epilog=_EXIT_CODES)
def list_members(
    node: _Node = _DEFAULT_NODE,
    is_json: _Json = False,
    timeout: _Timeout = 10,
    word: _Word = None,
    path: _File = None,
) -> None:
    """Show the members as the leader sees them."""
    request = _Request(node, word, path, timeout)
    rows = request.run(lambda leader: leader.members())
    if is_json:
        _write_json([row.as_json() for row in rows])
        return
    from rich.console import Console

    from raftkv.member_view import table_of

    Console().print(table_of(rows))


@app.command(epilog=_EXIT_CODES)
def add(
    address: _Address,
    is_learner: Annotated[
        bool, typer.Option("--learner", help="It receives everything and never votes.")
    ] = False,
    node: _Node = _DEFAULT_NODE,
    is_json: _Json = False,
    timeout: _Timeout = 600,
    word: _Word = None,
    path: _File = None,
) -> None:
    """Take in a node, and wait until it has caught up and votes."""
    from raftkv.member_client import add as add_member

    place, peer_port = _newcomer_of(address)
    request = _Request(node, word, path, timeout)
    row = request.run_watched(
        lambda leader, watch: add_member(leader, place, peer_port, is_learner=is_learner, watch=watch),
        is_silent=is_json,
    )
    _tell_row(row, f"node {row.id} at {row.place} is a {row.role}", is_json=is_json)


@app.command(epilog=_EXIT_CODES)
def replace(
    replaced_id: _Id,
    address: _Address,
    node: _Node = _DEFAULT_NODE,
    is_json: _Json = False,
    timeout: _Timeout = 600,
    word: _Word = None,
    path: _File = None,
) -> None:
    """Take in a node that takes a voter's place once it has caught up, and wait until it has."""
    from raftkv.member_client import replace as replace_member

    place, peer_port = _newcomer_of(address)
    request = _Request(node, word, path, timeout)
    row = request.run_watched(
        lambda leader, watch: replace_member(leader, replaced_id, place, peer_port, watch=watch),
        is_silent=is_json,
    )
    _tell_row(row, f"node {row.id} at {row.place} votes in place of node {replaced_id}", is_json=is_json)


@app.command(epilog=_EXIT_CODES)
def remove(
    node_id: _Id,
    node: _Node = _DEFAULT_NODE,
    is_json: _Json = False,
    timeout: _Timeout = 30,
    word: _Word = None,
    path: _File = None,
) -> None:
    """Let a member go for good; done before, there is nothing to do."""
    from raftkv.member_client import remove as remove_member

    was_member = _Request(node, word, path, timeout).run(lambda leader: remove_member(leader, node_id))
    if is_json:
        _write_json({"id": node_id, "was_member": was_member})
    else:
        text = "was removed; it can be stopped, and its data directory deleted"
        sys.stdout.write(f"node {node_id} {text if was_member else 'was removed before'}\n")


def transfer_leader(
    to: Annotated[
        int | None,
        typer.Option("--to", min=1, metavar="ID", help="Who is to lead; else who has most of the log."),
    ] = None,
    node: _Node = _DEFAULT_NODE,
    is_json: _Json = False,
    timeout: _Timeout = 30,
    word: _Word = None,
    path: _File = None,
) -> None:
    """Hand leadership over, as before the leader's machine is taken down."""
    from raftkv.member_client import transfer

    leader_id = _Request(node, word, path, timeout).run(lambda leader: transfer(leader, to))
    if is_json:
        _write_json({"leader": leader_id})
    else:
        sys.stdout.write(f"node {leader_id} leads\n")


def add_to(root: typer.Typer) -> None:
    """Put these commands among the others."""
    root.add_typer(app, name="member")
    root.command("transfer-leader", epilog=_EXIT_CODES)(transfer_leader)


class _Request:
    """Whom to ask, as whom, and for how long."""

    def __init__(self, node: str, word: str | None, path: Path | None, timeout_seconds: float) -> None:
        self._place = _place_of(node, source="--node")
        self._password = given_password(word=word, path=path, environ=os.environ)
        self._timeout_seconds = timeout_seconds

    def run(self, work: Callable[[Leader], Coroutine[None, None, _Outcome]]) -> _Outcome:
        """Do the work; ask at the terminal, if there is one, for a password that turns out to miss."""
        try:
            return self._run_with(self._password, work)
        except PasswordRefused as refusal:
            if self._password or not sys.stdin.isatty():
                raise
            address = refusal.address
        return self._run_with(getpass(f"Password of {address}: "), work)

    def _run_with(self, password: str, work: Callable[[Leader], Coroutine[None, None, _Outcome]]) -> _Outcome:
        from raftkv.member_client import ChangeFailed, Leader

        async def begin() -> _Outcome:
            return await work(Leader(self._place, password=password, timeout_seconds=self._timeout_seconds))

        try:
            return asyncio.run(begin())
        except ChangeFailed as failure:
            sys.stderr.write(f"raftkv: {failure}\n")
            raise typer.Exit(1) from None

    def run_watched(
        self,
        work: Callable[[Leader, Watcher], Coroutine[None, None, MemberRow]],
        *,
        is_silent: bool,
    ) -> MemberRow:
        """Do work that brings a newcomer, and show how that comes on: as a bar, or in lines."""
        if is_silent:
            return self.run(lambda leader: work(leader, lambda _: None))
        from rich.console import Console

        from raftkv.member_view import BarWatcher, PlainWatcher

        if not sys.stdout.isatty():
            plain = PlainWatcher(_write_now)
            return self.run(lambda leader: work(leader, plain))
        with BarWatcher(Console()) as bar:
            return self.run(lambda leader: work(leader, bar))


def _write_now(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


def _tell_row(row: MemberRow, text: str, *, is_json: bool) -> None:
    if is_json:
        _write_json(row.as_json())
    else:
        sys.stdout.write(f"{text}\n")


def _write_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _newcomer_of(text: str) -> tuple[Place, int]:
    """Read HOST:PORT[@PEER_PORT]. Raises ConfigError."""
    address, at, peer_text = text.partition("@")
    place = _place_of(address, source="HOST:PORT[@PEER_PORT]")
    peer_port = _port_of(peer_text) if at else place.port + PEER_PORT_OFFSET
    if not 0 < peer_port <= _PORT_MAX:
        raise ConfigError(f"{text!r} needs a peer port from 1 to {_PORT_MAX}", source="HOST:PORT[@PEER_PORT]")
    return place, peer_port


def _place_of(text: str, *, source: str) -> Place:
    host, _, port_text = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    port = _port_of(port_text)
    if not host or not 0 < port <= _PORT_MAX or any(each.isspace() for each in host):
        raise ConfigError(f"{text!r} must be HOST:PORT", source=source)
    return Place(host, port)


def _port_of(text: str) -> int:
    """Read a port; 0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_PORT_MAX)) else 0
