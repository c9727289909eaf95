"""Clients that must authenticate, over the wire (redis requirepass)."""

from __future__ import annotations

import gc
import weakref

import pytest

from tests.node.driven_cluster import Node, request_bytes, single_node

NO_AUTH = b"-NOAUTH Authentication required.\r\n"
WRONG = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"


def guarded_node() -> Node:
    """A node whose password is `secret`."""
    return single_node(requirepass="secret")


def test_nothing_but_the_handshake_is_done_before_authentication() -> None:
    """redis processCommand: unknown names and wrong arities are told of first."""
    node = guarded_node()
    client = node.connect()
    client.send("SET a 1", "GET a", "PING", "CLIENT ID", "NOSUCH", "GET", "CLIENT nosuch")
    node.cluster.settle()
    replies = client.take().splitlines(keepends=True)
    assert replies[:4] == [NO_AUTH] * 4
    assert [reply[:20] for reply in replies[4:]] == [
        b"-ERR unknown command",
        b"-ERR wrong number of",
        b"-ERR unknown subcomm",
    ]
    client.send("HELLO", "HELLO 3 SETNAME me", "RESET", "AUTH nobody secret", "AUTH wrong", "QUIT")
    refused, refused_again, *rest = client.take().splitlines(keepends=True)
    assert refused.startswith(b"-NOAUTH HELLO must be called with the client already authenticated, ")
    assert refused_again == refused
    assert rest == [b"+RESET\r\n", WRONG, WRONG, b"+OK\r\n"]
    assert client.is_closed


def test_a_client_is_let_in_with_the_password() -> None:
    """redis AUTH, HELLO AUTH: what was pipelined behind it is done."""
    node = guarded_node()
    for words in ("AUTH secret", "AUTH default secret", "HELLO 2 AUTH default secret"):
        client = node.connect()
        client.send("GET a", words, "SET a 1", "GET a")
        node.cluster.settle()
        received = client.take()
        assert received.startswith(NO_AUTH)
        assert received.endswith(b"+OK\r\n$1\r\n1\r\n")
        client.send("GET a")
        node.cluster.settle()
        assert client.take() == b"$1\r\n1\r\n"


def test_a_wrong_password_does_not_throw_out_who_is_in() -> None:
    """redis AUTH"""
    node = guarded_node()
    client = node.connect()
    client.send("AUTH secret", "AUTH wrong", "PING")
    assert client.take() == b"+OK\r\n" + WRONG + b"+PONG\r\n"


def test_reset_takes_authentication_away() -> None:
    """redis RESET: for what is pipelined behind it, too."""
    node = guarded_node()
    client = node.connect()
    client.send("AUTH secret", "PING", "RESET", "PING", "GET a")
    client.send("GET a")
    node.cluster.settle()
    assert client.take() == b"+OK\r\n+PONG\r\n+RESET\r\n" + NO_AUTH * 3


def test_a_password_set_later_is_asked_of_new_clients_only() -> None:
    """redis CONFIG SET requirepass: and taken away again, of nobody."""
    node = single_node()
    former = node.connect()
    former.send("CONFIG SET requirepass x", "CONFIG GET requirepass")
    assert former.take() == b"+OK\r\n*2\r\n$11\r\nrequirepass\r\n$1\r\nx\r\n"
    newer = node.connect()
    newer.send("PING")
    former.send("PING", [b"CONFIG", b"SET", b"requirepass", b""])
    newer.send("PING", [b"ECHO", b"0" * 20000])
    assert newer.take() == NO_AUTH + b"+PONG\r\n$20000\r\n" + b"0" * 20000 + b"\r\n"
    assert former.take() == b"+PONG\r\n+OK\r\n"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"*11\r\n$4\r\nPING\r\n", b"unauthenticated multibulk length"),
        (b"*2\r\n$4\r\nECHO\r\n$16385\r\n", b"unauthenticated bulk length"),
        (b"*99999999\r\n", b"invalid multibulk length"),
        (b"*2\r\n$4\r\nECHO\r\n$999999999999\r\n", b"invalid bulk length"),
    ],
)
def test_who_has_not_authenticated_may_not_announce_much(data: bytes, complaint: bytes) -> None:
    """redis processMultibulkBuffer; byte by byte, too."""
    node = guarded_node()
    for pieces in ([b"PING\r\n" + data], [bytes([byte]) for byte in b"PING\r\n" + data]):
        client = node.connect()
        for piece in pieces:
            client.send_bytes(piece)
        assert client.take() == NO_AUTH + b"-ERR Protocol error: " + complaint + b"\r\n"
        assert client.is_closed


def test_the_limits_of_strangers_end_with_authentication() -> None:
    """redis authRequired: a large request may be pipelined behind AUTH, and arrive in any pieces."""
    node = guarded_node()
    large = [b"MSET", *(b"{a}%d" % number for number in range(40))]
    long = [b"SET", b"a", b"0" * 20000]
    data = b"".join(map(request_bytes, ("AUTH secret", large, long, "GET a")))
    expected = b"+OK\r\n+OK\r\n+OK\r\n$20000\r\n" + long[2] + b"\r\n"
    for size in (len(data), 1, 50, 1000):
        client = node.connect()
        for first in range(0, len(data), size):
            client.send_bytes(data[first : first + size])
        node.cluster.settle()
        assert client.take() == expected


def test_the_limits_of_strangers_come_back_with_reset() -> None:
    """redis RESET"""
    client = guarded_node().connect()
    client.send("AUTH secret", "RESET")
    client.send_bytes(b"*11\r\n")
    assert client.take().endswith(b"-ERR Protocol error: unauthenticated multibulk length\r\n")


def test_a_connection_that_is_gone_is_freed_without_a_search_for_cycles() -> None:
    """node._GC_THRESHOLDS: what has grown old is never searched."""
    node = guarded_node()
    client = node.connect()
    client.send("AUTH secret", "SET a 1", "RESET", "GET a")
    node.cluster.settle()
    executor, connection = (weakref.ref(each) for each in (client.connection.executor, client.connection))
    gc.disable()
    try:
        client.socket.abort()
        node.cluster.settle()
        del client
        assert (executor(), connection()) == (None, None)
    finally:
        gc.enable()
