"""What one connection does with bytes, byte for byte: order, routes, waiting, flow control."""

from __future__ import annotations

import pytest

from tests.node.driven_cluster import Node, single_node, three_nodes

MOVED_TO_1 = b"-MOVED 15495 127.0.0.1:7001\r\n"
MOVED_TO_2 = b"-MOVED 15495 127.0.0.1:7002\r\n"


def told(node: Node, *requests: str) -> bytes:
    """The bytes that a new client gets for a pipeline, once everything has settled."""
    client = node.connect()
    client.send(*requests)
    node.cluster.settle()
    return client.take()


# -- order --------------------------------------------------------------------------------


def test_a_pipeline_takes_effect_in_its_order() -> None:
    """DESIGN.md, Clients: a connection's commands take effect in their order."""
    node = single_node()
    assert told(node, "SET a 1", "GET a", "INCR a", "INCR a", "GET a", "SET a x", "INCR a", "GET a") == (
        b"+OK\r\n$1\r\n1\r\n:2\r\n:3\r\n$1\r\n3\r\n+OK\r\n"
        b"-ERR value is not an integer or out of range\r\n$1\r\nx\r\n"
    )


@pytest.mark.parametrize("between", ["NOSUCH", "GET", "PING", "MSET a 1 b 2", "GET z"])
def test_a_read_reflects_the_own_write_before_it_whatever_stands_between(between: str) -> None:
    """DESIGN.md, Clients: a read behind an unapplied write of its own connection runs at its place."""
    node = single_node()
    replies = node.ask("GET a", "SET a 1", between, "GET a")
    assert (replies[1], replies[3]) == (b"OK", b"1")


def test_a_read_reflects_an_older_write_that_is_pending_when_a_newer_one_is_refused() -> None:
    """DESIGN.md, Clients: order, where a leadership transfer lets the newest batch fail first."""
    cluster = three_nodes()
    client = cluster[1].connect()
    client.send("SET a old")
    cluster.settle()
    cluster.is_held = True
    client.send("SET a new")
    cluster.turn()
    cluster[1].group.hand_over()
    cluster.turn()
    client.send("SET a newest", "PING", "GET a")
    cluster[1].clock.advance(10)
    cluster.turn()
    cluster.heal()
    cluster.run(1000)
    replies = client.replies()
    assert replies[:2] == [b"OK", b"OK"]
    assert str(replies[2]).startswith("TRYAGAIN")
    assert replies[3] == b"PONG"
    assert replies[4] == b"new" or str(replies[4]).startswith("MOVED")
    assert client.owes_nothing


def test_hello_changes_the_protocol_only_of_what_comes_after_it() -> None:
    """redis HELLO: replies before it, one of them made in slices after the own write, keep theirs."""
    node = single_node()
    client = node.connect()
    client.send("SET a 1", "GET b", "HELLO 3", "GET b", "SET a 2", "HELLO 2", "GET b")
    node.cluster.settle()
    received = client.take()
    assert received.startswith(b"+OK\r\n$-1\r\n%7\r\n")
    assert b"_\r\n+OK\r\n*14\r\n" in received
    assert received.endswith(b"$-1\r\n")


def test_hello_waits_for_a_read_that_was_placed_behind_what_is_committed() -> None:
    """Group.place_read: such a read runs after the own write's entry, and is answered in its protocol."""
    cluster = three_nodes()
    leader = cluster[1]
    client, other = leader.connect(), leader.connect()
    leader.disk.is_slow = True
    leader.set(gather_ms=0.0)
    client.send("SET a 1")
    cluster.settle()
    other.send("SET b 1")
    cluster.settle()
    assert leader.group.commit_index > leader.core.last_applied + 1
    client.send("GET nothing", "HELLO 3", "GET nothing")
    cluster.settle()
    assert client.take() == b""
    cluster.heal()
    cluster.settle()
    assert client.take().startswith(b"+OK\r\n$-1\r\n%7\r\n")


# -- flow control -------------------------------------------------------------------------


def test_reading_goes_on_once_owed_replies_have_left() -> None:
    """STYLE.md, Limits: backpressure is taken back."""
    node = single_node()
    client = node.connect()
    client.send(*["SET a 1"] * 20_001)
    assert client.socket.is_paused
    node.cluster.settle()
    assert client.take() == b"+OK\r\n" * 20_001
    assert not client.socket.is_paused


# -- what is lost ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_sudden", [True, False])
def test_a_write_whose_rows_can_not_be_stored_in_time_is_answered_unknown(is_sudden: bool) -> None:
    """DESIGN.md: a bounded time; committed as it is, no reply leaves before its rows are stored."""
    node = single_node(request_timeout_ms=100)
    client = node.connect()
    node.rows.is_stalled, node.rows.will_stall = not is_sudden, is_sudden
    client.send("SET a 1", "GET a", "PING")
    node.cluster.run(90)
    assert client.take() == b""
    node.cluster.run(30)
    first, second, third = client.replies()
    assert str(first).startswith("UNKNOWN")
    assert str(second).startswith("TRYAGAIN")
    assert third == b"PONG"
    assert node.rows.is_stalled
    node.rows.is_stalled = False
    node.cluster.run(20)
    assert client.take() == b""
    assert client.owes_nothing
    assert node.ask("GET a") == [b"1"]


@pytest.mark.parametrize("is_sudden", [True, False])
def test_nothing_leaves_while_rows_can_not_be_stored(is_sudden: bool) -> None:
    """DESIGN.md: pause apply and serve no read of the batch until the retry succeeds."""
    node = single_node()
    writer, reader = node.connect(), node.connect()
    node.rows.is_stalled, node.rows.will_stall = not is_sudden, is_sudden
    writer.send("SET a 1", "GET a")
    node.cluster.run(20)
    reader.send("GET a")
    node.cluster.run(20)
    assert (writer.take(), reader.take()) == (b"", b"")
    node.rows.is_stalled = False
    node.cluster.run(20)
    assert (writer.take(), reader.take()) == (b"+OK\r\n$1\r\n1\r\n", b"$1\r\n1\r\n")
