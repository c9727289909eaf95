"""The listener and its connections as a whole."""

from __future__ import annotations

import asyncio
import socket

import pytest

from raftkv.node.clients import bind_socket
from tests.node.driven_cluster import Cluster, single_node, three_nodes


def test_a_busy_address_is_named() -> None:
    """A node that can't listen says where, before it does anything else."""
    taken = bind_socket("127.0.0.1", 0)
    taken.listen()
    port = taken.getsockname()[1]
    with pytest.raises(OSError, match=f"can't listen on 127.0.0.1:{port} for clients"):
        bind_socket("127.0.0.1", port)
    taken.close()


def test_requests_are_served_through_a_real_socket() -> None:
    """Clients.listen: the one test that does not drive the transport by hand."""
    node = single_node()
    bound = bind_socket("127.0.0.1", 0)
    address = bound.getsockname()

    async def talk() -> bytes:
        await node.clients.listen(bound, is_standalone=False)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"PING\r\nNOSUCH\r\n")
        writer.write_eof()
        received = await reader.read()
        await node.clients.close()
        writer.close()
        return received

    assert asyncio.run(talk()).startswith(b"+PONG\r\n-ERR unknown command")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_closing_lets_written_replies_leave_and_cuts_off_who_does_not_take_them() -> None:
    """Clients.close"""
    node = single_node()
    stuck, reading = node.connect(), node.connect()
    stuck.socket.is_stuck = stuck.socket.keeps_closing = True
    stuck.send("PING")
    reading.send("PING")
    asyncio.run(node.clients.close(patience_seconds=0))
    assert stuck.is_closed
    assert reading.is_closed
    assert stuck.socket.unread == b""
    node.cluster.settle()
    assert reading.take() == b"+PONG\r\n"
    assert list(node.clients.sessions()) == []


def test_client_ids_are_never_used_again() -> None:
    """redis CLIENT ID"""
    node = single_node()
    first = node.connect()
    first.send("CLIENT ID")
    first.socket.abort()
    node.cluster.settle()
    second = node.connect()
    second.send("CLIENT ID")
    assert (first.take(), second.take()) == (b":1\r\n", b":2\r\n")


def test_a_known_leader_that_is_another_node_is_told_of() -> None:
    """Clients.other_leader: None at the leader itself, and when nobody leads."""
    cluster = three_nodes()
    assert cluster[1].clients.other_leader() is None
    other = cluster[2].clients.other_leader()
    assert other is not None
    assert other.node_id == 1
    assert Cluster(3)[1].clients.other_leader() is None


# -- settings that change while the node runs ---------------------------------------------------------


def test_a_shorter_request_timeout_holds_at_once() -> None:
    """CONFIG SET request-timeout-ms"""
    cluster = three_nodes()
    assert cluster[1].ask("CONFIG SET request-timeout-ms 100") == [b"OK"]
    cluster.cut |= {(2, 1), (3, 1)}
    client = cluster[1].connect()
    client.send("SET a 1")
    cluster.run(120)
    assert client.take().startswith(b"-UNKNOWN ")


def test_a_shorter_wait_for_a_leader_holds_at_once() -> None:
    """CONFIG SET leader-wait-ms"""
    cluster = Cluster(3)
    node = cluster[1]
    cluster.isolate(1)
    client = node.connect()
    client.send("CONFIG SET leader-wait-ms 0", "SET a 1")
    cluster.run(20)
    assert client.take().startswith(b"+OK\r\n-CLUSTERDOWN ")


def test_another_gather_window_holds_at_once() -> None:
    """CONFIG SET gather-ms"""
    node = single_node(gather_ms=1000.0)
    node.disk.is_slow = True
    first = node.core.last_index
    node.connect().send("SET a 1")
    node.cluster.settle()
    node.connect().send("SET a 2")
    node.cluster.run(30)
    assert node.core.last_index == first + 1
    assert node.ask("CONFIG SET gather-ms 0") == [b"OK"]
    node.cluster.run(10)
    assert node.core.last_index == first + 2


def test_a_shorter_slice_holds_at_once() -> None:
    """CONFIG SET slice-ms"""
    node = single_node()
    assert node.ask("CONFIG SET slice-ms 7") == [b"OK"]
    assert node.group.config.slice_ms == 7


def test_a_lower_query_buffer_limit_holds_for_open_connections() -> None:
    """CONFIG SET client-query-buffer-limit"""
    node = single_node()
    client = node.connect()
    client.send_bytes(b"*2\r\n$3\r\nGET\r\n$90000000\r\n" + bytes(2 << 20))
    assert not client.is_closed
    assert node.ask("CONFIG SET client-query-buffer-limit 1mb") == [b"OK"]
    client.send_bytes(bytes(70 << 10))
    assert client.is_closed
