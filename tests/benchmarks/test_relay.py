"""The relay alters nothing."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.relay_process import RelayProcess
from tests.ports import free_ports

_BYTES = 3_000_000


@pytest.fixture(params=[0.0, 5.0], ids=["at once", "late"])
def relayed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection through a relay: who connected, and who was connected to."""
    listen, target = free_ports(2)
    with socket.create_server(("127.0.0.1", target)) as server:
        relay = RelayProcess({listen: target}, delay_ms=request.param, directory=tmp_path)
        relay.start()
        try:
            near = socket.create_connection(("127.0.0.1", listen), timeout=30)
            far, _ = server.accept()
            far.settimeout(30)
            with near, far:
                yield near, far
        finally:
            relay.close()


def received(end: socket.socket, count: int) -> bytes:
    """Read so many bytes, or all until the end."""
    found = bytearray()
    while len(found) < count and (data := end.recv(1 << 16)):
        found += data
    return bytes(found)


def test_bytes_arrive_unaltered_and_in_order_both_ways(relayed: tuple[socket.socket, socket.socket]) -> None:
    """More than any buffer between the two holds."""
    near, far = relayed
    there, back = random.Random(1).randbytes(_BYTES), random.Random(2).randbytes(_BYTES)
    senders = [
        threading.Thread(target=near.sendall, args=(there,)),
        threading.Thread(target=far.sendall, args=(back,)),
    ]
    for sender in senders:
        sender.start()
    readers: dict[str, bytes] = {}
    reader = threading.Thread(target=lambda: readers.update(back=received(near, _BYTES)))
    reader.start()
    assert received(far, _BYTES) == there
    for thread in (*senders, reader):
        thread.join()
    assert readers["back"] == back


def test_end_arrives_behind_the_last_byte(relayed: tuple[socket.socket, socket.socket]) -> None:
    """Who closes has still sent."""
    near, far = relayed
    near.sendall(b"last words")
    near.close()
    assert received(far, 100) == b"last words"
    assert far.recv(1) == b""


def test_connection_to_nobody_is_closed(tmp_path: Path) -> None:
    """As a refused one, only later."""
    listen, target = free_ports(2)
    relay = RelayProcess({listen: target}, delay_ms=0, directory=tmp_path)
    relay.start()
    try:
        end = socket.create_connection(("127.0.0.1", listen), timeout=30)
        with end, contextlib.suppress(ConnectionResetError):
            assert end.recv(1) == b""
    finally:
        relay.close()
