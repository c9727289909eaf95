"""CLIENT KILL, PAUSE, UNBLOCK and REPLY, over the wire."""

from __future__ import annotations

from tests.node.driven_cluster import single_node, three_nodes


def test_a_killed_client_is_closed_at_once() -> None:
    """redis CLIENT KILL: whoever it is, and the asking one after its reply."""
    node = single_node()
    killer, victim = node.connect(), node.connect()
    victim.send("WAIT 2 0")
    killer.send("CLIENT KILL ID 2", "SET a 1", "GET a", "CLIENT KILL ID 1 SKIPME no", "PING")
    node.cluster.settle()
    assert killer.take() == b":1\r\n+OK\r\n$1\r\n1\r\n:1\r\n"
    assert victim.take() == b""
    assert victim.is_closed
    assert killer.is_closed
    assert list(node.clients.sessions()) == []


def test_a_pause_of_writes_lets_reads_pass() -> None:
    """redis CLIENT PAUSE WRITE: an error needs no wait either, and order is kept."""
    node = single_node()
    pausing, other = node.connect(), node.connect()
    pausing.send("CLIENT PAUSE 100 WRITE", "GET a", "PING", "GET")
    other.send("GET a", "SET a 1", "GET a")
    node.cluster.run(80)
    assert pausing.take().startswith(b"+OK\r\n$-1\r\n+PONG\r\n-ERR wrong number")
    assert other.take() == b"$-1\r\n"
    pausing.send("CLIENT LIST ID 2")
    assert b" flags=b " in pausing.take()
    node.cluster.run(40)
    assert other.take() == b"+OK\r\n$1\r\n1\r\n"


def test_a_pause_of_all_lets_nothing_pass() -> None:
    """redis CLIENT PAUSE: not even PING, nor what is pipelined behind it."""
    node = single_node()
    pausing, other = node.connect(), node.connect()
    pausing.send("CLIENT PAUSE 100", "SET a 1", "NOSUCH")
    other.send("PING")
    other.send("ECHO x")
    node.cluster.run(80)
    assert pausing.take() == b"+OK\r\n"
    assert other.take() == b""
    node.cluster.run(40)
    assert pausing.take().startswith(b"+OK\r\n-ERR unknown command")
    assert other.take() == b"+PONG\r\n$1\r\nx\r\n"


def test_unpause_ends_a_pause_of_writes() -> None:
    """redis CLIENT UNPAUSE"""
    node = single_node()
    pausing, other = node.connect(), node.connect()
    pausing.send("CLIENT PAUSE 100000 WRITE")
    other.send("SET a 1")
    node.cluster.run(6000)
    assert other.take() == b""
    pausing.send("CLIENT UNPAUSE")
    node.cluster.run(20)
    assert other.take() == b"+OK\r\n"


def test_of_two_pauses_the_longer_and_the_wider_hold() -> None:
    """redis CLIENT PAUSE (pauseActions)"""
    node = single_node()
    pausing, other = node.connect(), node.connect()
    pausing.send("CLIENT PAUSE 200 WRITE", "CLIENT PAUSE 50 ALL")
    other.send("PING")
    node.cluster.run(150)
    assert other.take() == b""
    node.cluster.run(100)
    assert other.take() == b"+PONG\r\n"


def test_a_client_that_waits_is_unblocked() -> None:
    """redis CLIENT UNBLOCK: as by its timeout, or with an error."""
    cluster = three_nodes()
    cluster.cut |= {(1, 3)}
    waiting, other = cluster[1].connect(), cluster[1].connect()
    waiting.send("SET a 1")
    cluster.settle()
    assert waiting.take() == b"+OK\r\n"
    waiting.send("WAIT 2 0", "WAIT 2 0", "PING")
    other.send("CLIENT UNBLOCK 1", "CLIENT UNBLOCK 2", "CLIENT UNBLOCK 99")
    first, *rest = other.take().splitlines()
    assert (first, rest) == (b":1", [b":0", b":0"])
    assert waiting.take() == b":1\r\n"
    other.send("CLIENT UNBLOCK 1 ERROR")
    assert other.take() == b":1\r\n"
    assert waiting.take() == b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n+PONG\r\n"


def test_replies_are_left_out_as_the_client_asks() -> None:
    """redis CLIENT REPLY: pipelined writes and reads, and what was sent before."""
    node = single_node()
    client = node.connect()
    client.send("SET a 1", "CLIENT REPLY SKIP", "SET a 2", "GET a", "CLIENT REPLY SKIP", "NOSUCH", "PING")
    node.cluster.settle()
    assert client.take() == b"+OK\r\n$1\r\n2\r\n+PONG\r\n"
    client.send("SET a 3", "CLIENT REPLY OFF", "SET a 4", "GET a", "PING", "CLIENT REPLY SKIP")
    client.send("GET a")
    client.send("NOSUCH", "CLIENT REPLY ON", "GET a")
    node.cluster.settle()
    assert client.take() == b"+OK\r\n+OK\r\n$1\r\n4\r\n"
    client.send("CLIENT REPLY OFF", "PING", "RESET", "PING")
    assert client.take() == b"+RESET\r\n+PONG\r\n"


def test_a_write_behind_a_read_that_waited_is_paused() -> None:
    """redis CLIENT PAUSE: whatever way a request came to the head of its connection's."""
    cluster = three_nodes(request_timeout_ms=10_000, leader_wait_ms=10_000)
    follower = cluster[2]
    cluster.cut |= {(2, 1), (2, 3)}
    client = follower.connect_standalone()
    client.send("GET a", "SET a 1")
    follower.ask("CLIENT PAUSE 2000 WRITE")
    cluster.cut.clear()
    cluster.run(1000)
    assert client.take() == b"$-1\r\n"
    cluster.run(2000)
    assert client.take() == b"+OK\r\n"
