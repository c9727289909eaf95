"""What one connection does with bytes, byte for byte: order, routes, waiting, flow control."""

from __future__ import annotations

import pytest

from raftkv.node.connection import Hold
from tests.node.driven_cluster import Client, Cluster, Node, request_bytes, single_node, three_nodes

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
