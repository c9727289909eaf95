"""What is told of requests before they are carried out (`raftkv.node.requests`)."""

from __future__ import annotations

import pytest

from raftkv.commands import build_table
from raftkv.node.requests import common_command

TABLE = build_table()
for name in (b"SET", b"GET", b"get", b"MGET", b"PING", b"INCR", b"CLIENT"):
    TABLE.lookup(name)


@pytest.mark.parametrize(
    ("requests", "name"),
    [
        ([[b"SET", b"k", b"v"]], b"set"),
        ([[b"get", b"k"]], b"get"),
        ([[b"GET", b"k"]] * 3, b"get"),
        ([[b"SET", b"k", b"v"], [b"SET", b"l", b"v", b"NX"]], b"set"),
    ],
)
def test_requests_of_one_command_are_alike(requests: list[list[bytes]], name: bytes) -> None:
    """One spelling, one key each; the number of arguments may differ."""
    spec = common_command(requests, TABLE.known)
    assert spec is not None
    assert spec.name == name


@pytest.mark.parametrize(
    "requests",
    [
        [[b"GET", b"k"], [b"get", b"k"]],
        [[b"GET", b"k"], [b"SET", b"k", b"v"]],
        [[b"GET"]],
        [[b"GET", b"k"], [b"GET", b"k", b"l"]],
        [[b"SET", b"k", b"v"], [b"SET", b"k"]],
        [[b"MGET", b"k"]],
        [[b"PING"]],
        [[b"CLIENT", b"ID"]],
        [[b"gEt", b"k"]],
        [[b"nonsense", b"k"]],
    ],
)
def test_other_requests_are_looked_at_one_by_one(requests: list[list[bytes]]) -> None:
    """Several commands or spellings, several keys or none, a wrong arity, an unknown name."""
    assert common_command(requests, TABLE.known) is None
