"""Reads of many connections in one turn: each gets what it would have got by itself."""

from __future__ import annotations

from tests.node.driven_cluster import Client, Node, single_node


def sent_together(node: Node, *requests: tuple[Client, str]) -> list[bytes]:
    """Let clients send before the node's next turn; what each is told."""
    for client, request in requests:
        client.send(request)
    node.cluster.settle()
    return [client.take() for client, _ in requests]


def test_readers_of_one_turn_are_told_their_own_keys() -> None:
    """redis GET: several keys and pipelines, keys that are not there, other commands in between."""
    node = single_node()
    node.ask("SET a 1", "SET b 22")
    first, second, third, fourth = (node.connect() for _ in range(4))
    first.send("GET a", "GET none", "GET b")
    second.send("GET b")
    third.send("STRLEN b", "STRLEN a")
    fourth.send("GET none", "GET a", "PING", "GET b")
    node.cluster.settle()
    assert first.take() == b"$1\r\n1\r\n$-1\r\n$2\r\n22\r\n"
    assert second.take() == b"$2\r\n22\r\n"
    assert third.take() == b":2\r\n:1\r\n"
    assert fourth.take() == b"$-1\r\n$1\r\n1\r\n+PONG\r\n$2\r\n22\r\n"


def test_readers_of_one_turn_keep_their_protocols_and_databases() -> None:
    """redis HELLO, SELECT: what is no value has another shape in RESP3."""
    node = single_node()
    resp2, resp3, other, resp2_too = (node.connect_standalone() for _ in range(4))
    sent_together(node, (resp3, "HELLO 3"), (other, "SELECT 5"))
    sent_together(node, (other, "SET a five"), (resp2, "SET a zero"))
    asked = sent_together(node, (resp2, "GET a"), (other, "GET a"), (resp3, "GET b"), (resp2_too, "GET b"))
    assert asked == [b"$4\r\nzero\r\n", b"$4\r\nfive\r\n", b"_\r\n", b"$-1\r\n"]


def test_a_reader_that_is_gone_leaves_the_others_their_replies() -> None:
    """The connection is lost between its request and the end of the turn."""
    node = single_node()
    node.ask("SET a 1")
    stays, goes, stays_too = (node.connect() for _ in range(3))
    for client in (stays, goes, stays_too):
        client.send("GET a")
    goes.connection.abort()
    node.cluster.settle()
    assert stays.take() == stays_too.take() == b"$1\r\n1\r\n"
    assert goes.take() == b""


def test_a_read_that_was_silenced_is_counted_and_not_sent() -> None:
    """redis CLIENT REPLY SKIP and OFF: where a read is answered together with others'."""
    node = single_node()
    node.ask("SET a 1")
    silent, loud = node.connect(), node.connect()
    assert sent_together(node, (silent, "CLIENT REPLY SKIP")) == [b""]
    assert sent_together(node, (silent, "GET a"), (loud, "GET a")) == [b"", b"$1\r\n1\r\n"]
    assert sent_together(node, (silent, "GET a"), (loud, "GET a")) == [b"$1\r\n1\r\n"] * 2
    assert sent_together(node, (silent, "CLIENT REPLY OFF")) == [b""]
    assert sent_together(node, (silent, "GET a"), (loud, "GET a")) == [b"", b"$1\r\n1\r\n"]
    assert sent_together(node, (silent, "CLIENT REPLY ON"), (loud, "GET a")) == [b"+OK\r\n", b"$1\r\n1\r\n"]
    assert node.clients.calls[b"get"] == 7


def test_a_key_that_is_due_keeps_only_its_own_reader_waiting() -> None:
    """redis EXPIRE: by the reader's clock the key is gone, by the log's it is not."""
    node = single_node()
    node.ask("SET a 1 PX 50", "SET b 2")
    waits, goes_on = node.connect(), node.connect()
    node.clock.advance(50)
    waits.send("GET a")
    goes_on.send("GET b")
    node.cluster.turn()
    assert (waits.take(), goes_on.take()) == (b"", b"$1\r\n2\r\n")
    node.cluster.settle()
    assert waits.take() == b"$-1\r\n"


def test_a_client_that_has_ended_its_side_is_closed_behind_its_last_read() -> None:
    """A half-closed connection gets what it is owed."""
    node = single_node()
    node.ask("SET a 1")
    client = node.connect()
    client.send("GET a")
    client.end()
    node.cluster.settle()
    assert client.take() == b"$1\r\n1\r\n"
    assert client.is_closed


def test_garbage_behind_a_read_is_answered_though_the_client_has_ended() -> None:
    """redis setProtocolError: the last reply is the complaint, whatever waited in front of it."""
    node = single_node()
    node.ask("SET a 1", "GET a")
    client = node.connect()
    client.send("GET a")
    client.send_bytes(b"*1\r\n:5\r\n")
    client.end()
    node.cluster.settle()
    assert client.take() == b"$1\r\n1\r\n-ERR Protocol error: expected '$', got ':'\r\n"
    assert client.is_closed
