"""`raftkv status` at nodes that ask for a password: where it comes from, and what is said without it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from raftkv.config import ConfigError
from raftkv.passwords import given_password
from raftkv.status import ClusterStatus, PasswordRefused, Place, StatusUnavailable, look
from raftkv.status_view import changes, table_of
from tests.cli.command import environment, raftkv
from tests.cli.test_status import cluster, node, places_of, replies_of
from tests.ports import free_port_run

NO_AUTH = b"-NOAUTH Authentication required.\r\n"
WRONG = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"


def auth(password: bytes) -> bytes:
    """What a client begins with that has a password."""
    return b"*3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$%d\r\n%b\r\n" % (len(password), password)


@contextlib.asynccontextmanager
async def guarded(passwords: Mapping[int, bytes], places: Mapping[int, Place]) -> AsyncIterator[None]:
    """Nodes that answer to their passwords, of which the first leads (redis AUTH)."""

    async def serve(node_id: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"CLUSTER NODES\r\n")
        role = "leader" if node_id == 1 else "follower"
        replies = replies_of(node_id, dict(places), role=role, leader=1)
        if not request.startswith(b"*"):
            replies = [NO_AUTH] * 4
        elif request.startswith(auth(passwords[node_id])):
            replies = [b"+OK\r\n", *replies]
        else:
            replies = [WRONG] + [NO_AUTH] * 4
        writer.writelines(replies)
        writer.close()

    async with contextlib.AsyncExitStack() as servers:
        for node_id in passwords:
            port = places[node_id].port
            server = await asyncio.start_server(
                lambda reader, writer, node_id=node_id: serve(node_id, reader, writer), "127.0.0.1", port
            )
            await servers.enter_async_context(server)
        yield


def look_at(passwords: Mapping[int, bytes], password: str) -> ClusterStatus:
    """One look by who has that password."""
    places = places_of(len(passwords))

    async def ask() -> ClusterStatus:
        async with guarded(passwords, places):
            return await look(places[1], password=password)

    return asyncio.run(ask())


def test_every_node_is_given_the_password() -> None:
    """redis AUTH default <password>, which a node without one takes as well."""
    status = look_at({1: b"s p\xc3\xa4ce", 2: b"s p\xc3\xa4ce"}, "s päce")
    assert [each.role for each in status.nodes] == ["leader", "follower"]


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "asks for a password: NOAUTH Authentication required."),
        ("wrong", "refuses the password: WRONGPASS invalid username-password pair or user is disabled."),
    ],
)
def test_a_missing_and_a_wrong_password_are_told_apart(password: str, reason: str) -> None:
    """redis NOAUTH, WRONGPASS."""
    with pytest.raises(PasswordRefused) as caught:
        look_at({1: b"secret"}, password)
    assert str(caught.value).endswith(reason)


def test_a_member_with_another_password_is_not_called_unreachable() -> None:
    """It answers, and is shown with what it says: nothing."""
    status = look_at({1: b"secret", 2: b"other"}, "secret")
    row = status.nodes[1]
    assert (row.reachable, row.role, row.is_refusing) == (True, None, True)
    assert changes(None, status)[1] == "node 2 refuses the password"
    assert "password refused" in list(table_of(status, notes={}).columns[2].cells)


def test_only_a_change_of_refusal_is_a_line() -> None:
    """`raftkv up` while somebody says CONFIG SET requirepass."""
    before = cluster(node(1, "leader"), leader=1)
    refusing = look_at({1: b"secret", 2: b"other"}, "secret")
    assert changes(refusing, refusing) == []
    answering = cluster(node(1, "leader"), node(2), leader=1)
    assert "node 2 answers at h:2 as follower, term 3" in changes(refusing, answering)
    assert "node 2 does not answer" in changes(refusing, cluster(node(1, "leader"), node(2, None), leader=1))
    assert changes(before, before) == []


def test_the_word_wins_over_the_environment(tmp_path: Path) -> None:
    """The client's own variable, then the node's setting."""
    path = tmp_path / "password"
    path.write_text("in a file \nsecond line\n")
    node_only = {"RAFTKV_REQUIREPASS": "node's"}
    both = {**node_only, "RAFTKV_PASSWORD": "client's"}
    assert given_password(word=None, path=None, environ={}) == ""
    assert given_password(word=None, path=None, environ=node_only) == "node's"
    assert given_password(word=None, path=None, environ=both) == "client's"
    assert given_password(word="word", path=None, environ=both) == "word"
    assert given_password(word=None, path=path, environ=both) == "in a file "


def test_a_file_without_a_password_is_refused(tmp_path: Path) -> None:
    """Which file, and why."""
    path = tmp_path / "password"
    with pytest.raises(ConfigError, match="can't be read: No such file or directory"):
        given_password(word=None, path=path, environ={})
    path.write_text("\n")
    with pytest.raises(ConfigError, match="has no password in its first line"):
        given_password(word=None, path=path, environ={})
    with pytest.raises(ConfigError, match="can't be given with --password"):
        given_password(word="x", path=path, environ={})


def test_the_command_takes_it_from_the_environment(tmp_path: Path) -> None:
    """RAFTKV_PASSWORD is the command's, and no setting of a node's."""
    port = free_port_run(1)
    done = raftkv("status", "--port", str(port), cwd=tmp_path, RAFTKV_PASSWORD="x")
    assert done.stderr.startswith(f"raftkv: 127.0.0.1:{port} can't be reached: ")
    done = raftkv("serve", "--port", "x", cwd=tmp_path, RAFTKV_PASSWORD="x")
    assert done.stderr.startswith("raftkv: --port: ")


def status_with_input(place: Place, stdin: int) -> subprocess.Popen[str]:
    """The command, in a session of its own: no terminal but what stands in for its input."""
    return subprocess.Popen(
        [sys.executable, "-m", "raftkv", "status", "--port", str(place.port)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
    )


def test_on_a_terminal_it_is_asked_for() -> None:
    """And nowhere else, where nobody would answer."""
    places = places_of(1)

    async def ask() -> tuple[str, str]:
        async with guarded({1: b"secret"}, places):
            ours, theirs = pty.openpty()
            command = status_with_input(places[1], theirs)
            os.close(theirs)
            assert command.stderr is not None, "it is piped"
            prompt = f"Password of {places[1]}: "
            # What is typed before the prompt is dropped.
            assert await asyncio.to_thread(command.stderr.read, len(prompt)) == prompt
            os.write(ours, b"secret\n")
            shown = await asyncio.to_thread(command.communicate, timeout=60)
            os.close(ours)
            silent = status_with_input(places[1], subprocess.DEVNULL)
            refused = await asyncio.to_thread(silent.communicate, timeout=60)
            assert (command.returncode, silent.returncode) == (0, 1)
            assert "secret" not in shown[0] + shown[1]
            return shown[0], refused[1]

    table, complaint = asyncio.run(ask())
    assert "leader" in table
    assert complaint.startswith(f"raftkv: {places[1]} asks for a password: ")


def test_a_refused_password_is_no_missing_node() -> None:
    """Whoever catches the one catches the other."""
    assert issubclass(PasswordRefused, StatusUnavailable)
