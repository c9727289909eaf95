"""Options of the sockets between nodes and to clients, and words for their errors."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from typing import Final

from raftkv.config_values import join_address

_KEEPALIVE_IDLE_S: Final = 2
_KEEPALIVE_INTERVAL_S: Final = 1
_KEEPALIVE_COUNT: Final = 3
#: Linux takes no longer one.
_KEEPALIVE_S_MAX: Final = 32767


def tune(transport: asyncio.BaseTransport, *, unacked_ms_max: int) -> None:
    """Send small frames at once, and notice a peer that vanished without a word within seconds."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", _KEEPALIVE_COUNT),
        ("TCP_USER_TIMEOUT", unacked_ms_max),
    ):
        option = getattr(socket, name, None)  # not every system has all of them
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def probe_when_silent(transport: asyncio.BaseTransport, *, after_s: int) -> None:
    """Have TCP notice a client that vanished without a word (redis tcp-keepalive, anetKeepAlive)."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    after_s = min(after_s, _KEEPALIVE_S_MAX)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", after_s),
        ("TCP_KEEPINTVL", max(1, after_s // 3)),
        ("TCP_KEEPCNT", _KEEPALIVE_COUNT),
    ):
        option = getattr(socket, name, None)  # not every system has all of them
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


@contextlib.contextmanager
def addresses_checked(host: str, port: int) -> Iterator[None]:
    """Make an OSError of what resolvers and sockets say of what can be nobody's address."""
    try:
        yield
    except (ValueError, OverflowError) as error:  # a name's encoding, a zero byte in it, the port
        raise OSError(f"{host!r}, port {port} is no address") from error


def address_text(transport: asyncio.BaseTransport) -> str:
    """Name the other end of a connection in a log line."""
    peer = transport.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) >= 2 else "an unknown address"


def end_address(transport: asyncio.BaseTransport, end: str) -> str:
    """An end's address ("peername", "sockname") as CLIENT LIST shows it; "" when the connection has gone."""
    address = transport.get_extra_info(end)
    return "" if address is None else join_address(*address[:2])


def failure_text(error: OSError) -> str:
    """Say in the system's words why a peer isn't reached: the loops' own differ."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    return str(error)
