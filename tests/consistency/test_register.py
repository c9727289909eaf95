"""The sequential model against a real redis-server: the same commands get the same replies."""

from __future__ import annotations

import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hiredis
import pytest

from tests.consistency.atomic_model import drawn_command
from tests.consistency.history import Failure, Reply
from tests.consistency.register import State, is_idle, step_of

_COMMANDS_COUNT = 3_000
#: Integers as Redis writes them, and what looks like one.
_ODD_VALUES = (
    *(b"", b"0", b"-1", b"-0", b"+1", b"01", b" 1", b"1.0", b"1" * 30),
    *(b"9223372036854775806", b"9223372036854775807", b"9223372036854775808"),
    *(b"-9223372036854775808", b"-9223372036854775809"),
)


@pytest.fixture
def redis_socket(tmp_path: Path) -> Iterator[socket.socket]:
    """A connection to a redis-server of our own."""
    path = str(tmp_path / "redis.sock")
    arguments = ("--port", "0", "--unixsocket", path, "--save", "", "--dir", str(tmp_path))
    with subprocess.Popen(("redis-server", *arguments), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None, "the output is piped"
        assert any(b"accept connections" in line for line in process.stdout), "redis-server did not start"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            yield connection
        process.terminate()
        process.communicate()


@pytest.mark.needs_tool("redis-server")
@pytest.mark.parametrize("seed", range(3))
def test_register_answers_as_redis_does(seed: int, redis_socket: socket.socket) -> None:
    """redis SET, GET, INCR, DEL and APPEND, with values that are nearly integers too."""
    source = random.Random(seed)
    state: State = None
    for _ in range(_COMMANDS_COUNT):
        value = source.choice(_ODD_VALUES) if source.random() < 0.5 else b"v1;"
        command = drawn_command(source, b"k", value)
        before, (state, reply) = state, step_of(command)(state)
        assert reply == _asked(redis_socket, command), (before, command)
        assert not is_idle(command, reply) or state == before


def _asked(connection: socket.socket, command: tuple[bytes, ...]) -> Reply:
    connection.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub knows tuples of one
    reader = hiredis.Reader(notEnoughData=Ellipsis)
    while (reply := reader.gets()) is Ellipsis:
        reader.feed(connection.recv(1 << 16))
    if isinstance(reply, hiredis.ReplyError):
        return Failure(str(reply))
    assert reply is None or isinstance(reply, int | bytes), reply
    return reply


@pytest.mark.parametrize(
    "text", ["SET k", "SET k v NX XX", "SET k v EX 1", "GET k v", "LPUSH k v", "INCR k 1"]
)
def test_command_that_the_register_does_not_have_is_refused(text: str) -> None:
    """A history that the checker doesn't understand is never accepted."""
    with pytest.raises(ValueError, match="of this register"):
        step_of([word.encode() for word in text.split()])
