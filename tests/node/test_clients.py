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


def test_a_lower_limit_of_arguments_holds_for_open_connections() -> None:
    """CONFIG SET proto-max-bulk-len"""
    node = single_node()
    former = node.connect()
    former.send("PING")
    assert node.ask("CONFIG SET proto-max-bulk-len 1mb") == [b"OK"]
    for client in (former, node.connect()):
        client.take()
        client.send_bytes(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n")
        assert client.take() == b"-ERR Protocol error: invalid bulk length\r\n"


# -- idle clients and too many of them ----------------------------------------------------------------


def test_idle_clients_are_closed() -> None:
    """redis timeout: who waits for a reply is not idle, and 0 means never."""
    node = single_node()
    asking, idle, busy, waiting = (node.connect() for _ in range(4))
    waiting.send("WAIT 1 0")
    node.cluster.run(5000)
    assert not idle.is_closed
    asking.send("CONFIG SET timeout 2")
    for _ in range(4):
        busy.send("PING")
        node.cluster.run(1000)
    assert idle.is_closed
    assert [busy.is_closed, waiting.is_closed] == [False, False]
    node.cluster.run(4000)
    assert busy.is_closed
    assert busy.take() == b"+PONG\r\n" * 4


def test_a_client_that_takes_its_replies_is_not_idle() -> None:
    """redis timeout: what leaves counts as what comes does; who takes nothing is closed, owed or not."""
    node = single_node(idle_timeout_s=2)
    node.ask([b"SET", b"a", bytes(1000)])
    taking, stuck = node.connect(), node.connect()
    for client in (taking, stuck):
        client.socket.is_stuck = True
        client.send(*["GET a"] * 100)
    for _ in range(4):
        node.cluster.run(1000)
        taking.socket.read_some(1000)
    assert [taking.is_closed, stuck.is_closed] == [False, True]
    taking.socket.read_all()
    node.cluster.run(4000)
    assert taking.is_closed
    assert len(taking.replies()) == 100


def test_a_closing_client_that_takes_nothing_is_cut_off() -> None:
    """redis timeout: also one that said QUIT or garbage, or ended its side."""
    node = single_node(idle_timeout_s=2)
    client = node.connect()
    client.socket.is_stuck = client.socket.keeps_closing = True
    client.send("PING", "QUIT")
    node.cluster.run(1000)
    assert not client.socket.is_lost
    node.cluster.run(3000)
    assert client.socket.is_lost


def test_one_client_too_many_is_told_so() -> None:
    """redis maxclients: a lower limit closes nobody who is there."""
    node = single_node(clients_max=2)
    first, _ = node.connect(), node.connect()
    first.send("CONFIG SET maxclients 1")
    third = node.connect()
    assert third.take() == b"-ERR max number of clients reached\r\n"
    assert third.is_closed
    first.send("CONFIG SET maxclients 3")
    fourth = node.connect()
    fourth.send("PING")
    assert fourth.take() == b"+PONG\r\n"


@pytest.mark.parametrize(("setting_s", "expected"), [(0, [0]), (30, [1, 30, 10, 3]), (99999, [1, 32767])])
def test_tcp_probes_silent_clients(setting_s: int, expected: list[int]) -> None:
    """redis tcp-keepalive: after so long, then every third of it, three times."""
    node = single_node(tcp_keepalive_s=setting_s)
    bound = bind_socket("127.0.0.1", 0)
    address = bound.getsockname()

    async def options() -> list[int]:
        await node.clients.listen(bound, is_standalone=False)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"PING\r\n")
        await reader.readline()
        (connection,) = node.clients._connections.values()
        assert connection._transport is not None
        sock = connection._transport.get_extra_info("socket")
        found = [sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)]
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
            found.append(sock.getsockopt(socket.IPPROTO_TCP, option))
        await node.clients.close()
        writer.close()
        return found

    assert asyncio.run(options())[: len(expected)] == expected
