"""Ports for the servers of tests.

Tests run in several processes, and a port is free while its node is down: so each process takes its ports
from a share of its own. All are below what the kernel hands to outgoing connections (32768 and up), one of
which could take the port of a node that is down.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket

#: Those of `raftkv up` and the like, whose nodes have peer ports 10000 higher.
_RUNS = range(10_500, 14_000)
#: All others.
_PORTS = range(24_000, 32_000)
_SHARE_COUNT = 16


def _share_of(ports: range) -> range:
    """Give this process's share; xdist numbers its workers gw0, gw1 and so on."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARE_COUNT
    size = len(ports) // _SHARE_COUNT
    return ports[number * size : (number + 1) * size]


def free_ports(count: int) -> list[int]:
    """Return different ports on which nothing listens just now."""
    ports: list[int] = []
    source = random.SystemRandom()
    while len(ports) < count:
        port = source.choice(_share_of(_PORTS))
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in ports:
                ports.append(port)
    return ports


def free_port_run(count: int) -> int:
    """Return a port from which `count` ports, and those 10000 higher, were free just now."""
    for first in _share_of(_RUNS)[: -count + 1 or None : count]:
        if all(_is_free(port) and _is_free(port + 10_000) for port in range(first, first + count)):
            return first
    raise AssertionError("no free ports on this machine")


def _is_free(port: int) -> bool:
    """Whether nothing listens on the port on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
