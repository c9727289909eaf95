"""CLIENT NO-TOUCH, over the wire: whose reads count as uses of keys."""

from __future__ import annotations

import pytest

from tests.node.driven_cluster import Client, Node, single_node, three_nodes

SECONDS = 1000


def idle_s(node: Node) -> int:
    """For how long `k` has been idle on a node, as a client of its own sees it."""
    (idle,) = (
        node.ask("OBJECT IDLETIME k")
        if node.group.is_leader
        else node.ask("READONLY", "OBJECT IDLETIME k")[1:]
    )
    return int(idle)


def sparing_client(node: Node) -> Client:
    """A client whose reads touch nothing, on a node whose `k` was set five seconds ago."""
    node.ask("SET k 1")
    client = node.connect()
    client.send("CLIENT NO-TOUCH ON")
    node.cluster.run(5 * SECONDS)
    return client


@pytest.mark.parametrize(
    "requests",
    [
        ("GET k",),
        ("GET k", "GET k"),
        ("STRLEN k", "GET k", "PING", "GETRANGE k 0 1"),
        ("MGET k none k", "LCS k k"),
        ("SET other 1", "GET k"),
        ("GET none", "EXISTS k", "TYPE k", "TTL k", "OBJECT ENCODING k"),
    ],
)
def test_reads_of_who_said_no_touch_are_no_use(requests: tuple[str, ...]) -> None:
    """redis CLIENT NO-TOUCH: one by one or alike, at once or behind a write of the connection's own."""
    node = single_node()
    client = sparing_client(node)
    client.send(*requests)
    node.cluster.settle()
    assert client.owes_nothing
    assert idle_s(node) == 5


def test_touch_is_a_use_all_the_same() -> None:
    """redis CLIENT NO-TOUCH: unless it sends the TOUCH command."""
    node = single_node()
    client = sparing_client(node)
    client.send("TOUCH k")
    assert client.take() == b"+OK\r\n:1\r\n"
    assert idle_s(node) == 0


@pytest.mark.parametrize("end", ["CLIENT NO-TOUCH OFF", "RESET"])
def test_reads_count_again_afterwards(end: str) -> None:
    """redis CLIENT NO-TOUCH, RESET: from the next request of the same piece on."""
    node = single_node()
    client = sparing_client(node)
    client.send("GET k", end, "CLIENT NO-TOUCH ON", "GET k")
    assert idle_s(node) == 5
    client.send("GET k", end, "GET k")
    assert idle_s(node) == 0


def test_no_touch_is_of_one_connection() -> None:
    """redis CLIENT NO-TOUCH: others use keys as before, and the flag shows whose it is."""
    node = single_node()
    client = sparing_client(node)
    other = node.connect()
    other.send("GET k")
    node.cluster.settle()
    assert idle_s(node) == 0
    client.send("CLIENT INFO")
    assert b" flags=T " in client.take()
    other.send("CLIENT INFO")
    assert b" flags=N " in other.take()


def test_a_write_counts_whoever_sends_it() -> None:
    """An entry of the log does not say whose a command is."""
    node = single_node()
    client = sparing_client(node)
    client.send("APPEND k 1")
    node.cluster.settle()
    assert idle_s(node) == 0


def test_no_touch_holds_at_a_follower() -> None:
    """Reads that wait for their read index are looked up alike."""
    cluster = three_nodes()
    cluster[1].ask("SET k 1")
    client = cluster[2].connect()
    client.send("READONLY", "CLIENT NO-TOUCH ON")
    cluster.run(5 * SECONDS)
    client.send("GET k")
    cluster.settle()
    assert client.take().endswith(b"$1\r\n1\r\n")
    assert idle_s(cluster[2]) == 5


def test_who_must_authenticate_is_asked_whatever_it_said() -> None:
    """redis RESET: both go at once, and AUTH does not bring the one back."""
    node = single_node(requirepass="secret")
    client = node.connect()
    client.send(
        "AUTH secret", "SET k 1", "CLIENT NO-TOUCH ON", "RESET", "GET k", "AUTH secret", "CLIENT INFO"
    )
    node.cluster.settle()
    received = client.take()
    assert b"-NOAUTH Authentication required." in received
    assert b" flags=N " in received
