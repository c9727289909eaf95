"""What one connection does with bytes, byte for byte: order, routes, waiting, flow control."""

from __future__ import annotations

import pytest

from tests.node.driven_cluster import Cluster, Node, request_bytes, single_node, three_nodes

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
    cluster = three_nodes(gather_ms=0.0)
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


def test_hello_leaves_the_replies_before_it_as_they_were() -> None:
    """redis HELLO: also those that were known at once and have not left yet."""
    node = single_node()
    assert told(node, "GET b", "HELLO 3", "GET b", "HELLO 2", "GET b").split(b"%7")[0] == b"$-1\r\n"
    assert told(node, "GET b", "HELLO 3", "GET b").endswith(b"*0\r\n_\r\n")


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


def test_the_end_of_an_earlier_wait_does_not_end_a_later_one() -> None:
    """Connection: a read index that was asked for an earlier read confirms no later one."""
    cluster = three_nodes(request_timeout_ms=100)
    cluster.cut.add((2, 1))
    client = cluster[2].connect()
    client.send("READONLY", "GET a")
    first_number = client.connection.executor._hold_number
    cluster.run(150)
    assert client.replies()[1:] != []
    client.send("MGET a")
    cluster.settle()
    client.connection.executor.on_read_confirmed(first_number, 1)
    assert client.take() == b""
    client.connection.executor.on_read_confirmed(client.connection.executor._hold_number, 1)
    assert client.take() == b"*1\r\n$-1\r\n"


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


# -- what clients do at the end ---------------------------------------------------------------


def test_quit_is_answered_after_the_writes_before_it_and_ends_everything() -> None:
    """redis QUIT: what follows it is neither run nor answered, garbage included."""
    node = single_node()
    client = node.connect()
    client.send_bytes(request_bytes("SET a 1") + request_bytes("QUIT") + request_bytes("SET a 2") + b"*x\r\n")
    node.cluster.settle()
    assert client.take() == b"+OK\r\n+OK\r\n"
    assert client.socket.is_lost
    assert node.ask("GET a") == [b"1"]


@pytest.mark.parametrize("before", ["PING", "SET a 1"])
def test_quit_before_garbage_gets_no_complaint(before: str) -> None:
    """redis QUIT: nothing behind it is looked at."""
    node = single_node()
    client = node.connect()
    client.send_bytes(request_bytes(before) + request_bytes("QUIT") + b"*x\r\n")
    node.cluster.settle()
    assert client.take().endswith(b"+OK\r\n")
    assert client.socket.is_lost


def test_garbage_is_answered_after_the_good_requests_before_it() -> None:
    """redis setProtocolError: answered in order, then the connection is closed."""
    node = single_node()
    client = node.connect()
    client.send_bytes(request_bytes("SET a 1") + request_bytes("GET a") + b"*x\r\n" + request_bytes("PING"))
    assert client.take() == b""
    node.cluster.settle()
    assert client.take() == b"+OK\r\n$1\r\n1\r\n-ERR Protocol error: invalid multibulk length\r\n"
    assert client.socket.is_lost


def test_who_ends_its_side_still_gets_its_replies() -> None:
    """`printf ... | nc` ends its side at once; Redis has answered by then."""
    node = single_node()
    client = node.connect()
    client.send("SET a 1", "PING", "GET a")
    client.end()
    assert not client.is_closed
    node.cluster.settle()
    assert client.take() == b"+OK\r\n+PONG\r\n$1\r\n1\r\n"
    assert client.socket.is_lost
    idle = node.connect()
    idle.end()
    node.cluster.settle()
    assert idle.socket.is_lost


def test_replies_for_who_has_gone_go_nowhere() -> None:
    """ReplySink: every call is harmless after it closed; the write takes effect all the same."""
    node = single_node()
    client = node.connect()
    client.send("SET a 1", "GET a", "PING", "GET a")
    client.socket.abort()
    node.loop.run_once()
    node.cluster.settle()
    assert client.take() == b""
    assert list(node.clients.sessions()) == []
    assert node.clients.held_count == 0
    assert node.ask("GET a") == [b"1"]


# -- limits ------------------------------------------------------------------------------------


def test_a_command_over_the_limit_is_refused_and_nothing_else() -> None:
    """command_bytes_max: a definite error, in its place."""
    node = single_node(command_bytes_max=1 << 20)
    client = node.connect()
    client.send("SET a 1", [b"SET", b"b", bytes(1 << 20)], "SET c 3", "EXISTS b")
    node.cluster.settle()
    assert client.take() == (
        b"+OK\r\n-ERR command is larger than command-bytes-max, nothing was done\r\n+OK\r\n:0\r\n"
    )


def test_a_command_over_the_limit_is_refused_at_once_when_it_comes_alone() -> None:
    """It went the way of writes, and its answer waited for another write's."""
    node = single_node(command_bytes_max=1 << 20)
    refusal = b"-ERR command is larger than command-bytes-max, nothing was done\r\n"
    client = node.connect()
    for count in (1, 3):
        client.send(*[[b"SET", b"b", bytes(1 << 20)]] * count)
        assert client.take() == refusal * count


def test_too_many_requests_that_wait_stop_the_reading() -> None:
    """STYLE.md, Limits: no more bytes are read, and nothing is lost."""
    cluster = Cluster(3, leader_wait_ms=5000)
    node = cluster[1]
    client = node.connect()
    client.send(*["SET a 1"] * 20_001)
    assert client.socket.is_paused
    cluster.elect(1)
    cluster.run(50)
    assert client.take() == b"+OK\r\n" * 20_001
    assert not client.socket.is_paused


def test_a_long_pipeline_does_not_hold_up_the_node() -> None:
    """STYLE.md, Limits: 40,000 GETs in one piece kept a node from being heard for a second."""
    node = single_node()
    greedy, other = node.connect(), node.connect()
    node.cluster.run(20)
    node.clock.advance(60)
    greedy.send(*[f"ECHO {place}" for place in range(300)])
    begun = greedy.replies()
    assert 0 < len(begun) < 100
    assert greedy.socket.is_paused
    other.send("PING")
    assert other.take() == b"+PONG\r\n"
    greedy.end()
    node.cluster.run(20)
    assert [*begun, *greedy.replies()] == [b"%d" % place for place in range(300)]
    assert greedy.is_closed


def test_a_long_pipeline_of_confirmed_reads_does_not_hold_up_the_node() -> None:
    """DESIGN.md: at a follower each turn's reads get a read index of their own."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1")
    follower = cluster[2]
    client = follower.connect()
    cluster.run(20)
    client.send("READONLY", *["GET a"] * 300)
    assert client.replies() == [b"OK"]
    follower.clients._turn_end_ns = 0
    before_count = client.socket.writes_count
    cluster.settle()
    assert client.take() == b"$1\r\n1\r\n" * 300
    assert client.socket.writes_count - before_count >= 300 // 64


def test_clients_with_long_pipelines_take_turns() -> None:
    """Clients.defer: in the order of their waiting, and who is gone is forgotten."""
    node = single_node()
    first, second, gone = node.connect(), node.connect(), node.connect()
    node.cluster.run(20)
    node.clock.advance(60)
    for client in (first, second, gone):
        client.send(*["PING"] * 150)
        assert len(client.replies()) == 64
    gone.socket._lose()
    assert list(node.clients._deferred) == [first.connection.client_id, second.connection.client_id]
    node.cluster.run(10)
    assert [len(client.replies()) for client in (first, second)] == [86, 86]
    assert not first.socket.is_paused
    assert not node.clients._deferred


def test_reads_of_a_turn_are_answered_at_its_end_and_what_follows_them_in_order() -> None:
    """One connection's commands take effect in their order, however they are cut into chunks."""
    node = single_node()
    node.ask("SET a 1", "SET b x")
    reader, other = node.connect(), node.connect()
    reader.send("GET a")
    other.send("GET b")
    reader.send("SET a 2", "GET a", "PING")
    reader.send("INCR b", "GET b")
    assert (reader.take(), other.take()) == (b"", b"")
    node.loop.run_once()
    assert (reader.take(), other.take()) == (b"$1\r\n1\r\n", b"$1\r\nx\r\n")
    node.cluster.settle()
    assert reader.replies()[:3] == [b"OK", b"2", b"PONG"]
    assert node.ask("GET a", "GET b") == [b"2", b"x"]


def test_queued_reads_survive_what_comes_between() -> None:
    """The client ends its side, sends garbage or is gone before the turn that answers."""
    node = single_node()
    node.ask("SET a 1")
    ending, garbling, gone = node.connect(), node.connect(), node.connect()
    for client in (ending, garbling, gone):
        client.send("GET a")
    ending.end()
    garbling.send_bytes(b"*1\r\n$x\r\n")
    gone.socket._lose()
    node.cluster.settle()
    assert ending.take() == b"$1\r\n1\r\n"
    assert garbling.take() == b"$1\r\n1\r\n-ERR Protocol error: invalid bulk length\r\n"
    assert ending.is_closed
    assert garbling.is_closed


def test_queued_reads_wait_for_a_leader_when_the_lease_has_run_out() -> None:
    """What may not be read at the end of the turn goes the way of every other read."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1")
    client = cluster[1].connect()
    cluster.isolate(1)
    cluster[1].clock.ns += 10_000_000_000
    client.send("GET a", "GET a")
    cluster[1].loop.run_once()
    assert client.take() == b""
    cluster.heal()
    cluster.run(3000)
    assert len(client.replies()) == 2


def test_a_slow_reader_is_read_no_further() -> None:
    """Backpressure: who doesn't take its replies isn't asked for more."""
    node = single_node()
    node.ask([b"SET", b"a", bytes(1 << 20)])
    client = node.connect()
    client.socket.is_stuck = True
    client.send("GET a", "GET a")
    node.cluster.settle()
    assert client.socket.is_paused
    client.socket.read_all()
    assert not client.socket.is_paused
    assert [len(reply) for reply in client.replies()] == [1 << 20] * 2


def test_a_slow_reader_is_closed_at_its_limit() -> None:
    """output_buffer_bytes_max (redis client-output-buffer-limit)"""
    node = single_node()
    node.ask([b"SET", b"a", bytes(1 << 20)])
    node.ask("CONFIG SET output-buffer-bytes-max 4mb", "CONFIG GET output-buffer-bytes-max")
    client = node.connect()
    client.socket.is_stuck = True
    for _ in range(3):
        client.send("GET a")
        node.loop.run_once()
    assert not client.is_closed
    client.send("GET a")
    node.loop.run_once()
    assert client.is_closed
    node.cluster.settle()
    assert client.socket.is_lost


def test_a_slow_reader_is_closed_that_stays_above_the_soft_limit() -> None:
    """redis client-output-buffer-limit: soft bytes for longer than the soft seconds, at a stretch."""
    node = single_node()
    node.ask([b"SET", b"a", bytes(100_000)])
    assert node.ask("CONFIG SET output-buffer-soft-bytes-max 64kb output-buffer-soft-s 3") == [b"OK"]
    stuck, hesitant, quick = node.connect(), node.connect(), node.connect()
    for client in (stuck, hesitant):
        client.socket.is_stuck = True
        client.send("GET a")
    for second in range(6):
        quick.send("GET a")
        node.cluster.run(1000)
        assert stuck.is_closed is (second > 2)
        if second == 2:
            hesitant.socket.read_all()
            node.cluster.run(1000)
            hesitant.socket.is_stuck = True
            hesitant.send("GET a")
    assert [hesitant.is_closed, quick.is_closed] == [False, False]
    assert len(quick.replies()) == 6


def test_a_small_output_limit_holds() -> None:
    """redis closeClientOnOutputBufferLimitReached: what fits into the client's own 16 KB does not count."""
    node = single_node(output_buffer_bytes_max=1)
    node.ask([b"SET", b"a", bytes(30_000)])
    small, large = node.connect(), node.connect()
    for client in (small, large):
        client.socket.is_stuck = True
    small.send("PING")
    large.send("GET a")
    node.cluster.settle()
    assert [small.is_closed, large.is_closed] == [False, True]


def test_without_an_output_limit_nobody_is_closed() -> None:
    """redis client-output-buffer-limit 0: a client that does not read is read no further, that is all."""
    node = single_node(output_buffer_bytes_max=0)
    node.ask([b"SET", b"a", bytes(1 << 20)])
    client = node.connect()
    client.socket.is_stuck = True
    client.send(*["GET a"] * 300)
    node.cluster.settle()
    assert not client.is_closed
    assert client.socket.is_paused


def test_one_pipeline_can_not_make_more_replies_than_its_limit() -> None:
    """output_buffer_bytes_max holds within one chunk of requests too: replies aren't made without end."""
    node = single_node(output_buffer_bytes_max=8 << 20)
    node.ask([b"SET", b"a", bytes(1 << 20)])
    client = node.connect()
    client.socket.is_stuck = True
    client.send(*["GET a"] * 2000)
    assert client.is_closed
    assert client.socket.peak_bytes <= 1 << 30


def test_a_client_whose_requests_pile_up_is_closed() -> None:
    """query_buffer_bytes_max (redis client-query-buffer-limit): an unfinished request, or waiting ones."""
    node = Cluster(3)[1]
    node.set(query_buffer_bytes_max=1 << 20)
    unfinished, waiting, modest = node.connect(), node.connect(), node.connect()
    unfinished.send_bytes(b"*2\r\n$3\r\nGET\r\n$9000000\r\n" + bytes(900_000))
    modest.send([b"SET", b"a", bytes(900_000)])
    waiting.send([b"SET", b"a", bytes(900_000)])
    assert not unfinished.is_closed
    assert not waiting.is_closed
    unfinished.send_bytes(bytes(200_000))
    waiting.send([b"SET", b"a", bytes(200_000)])
    assert unfinished.is_closed
    assert waiting.is_closed
    assert not modest.is_closed


def test_a_busy_client_is_not_taken_for_one_whose_requests_pile_up() -> None:
    """query_buffer_bytes_max counts what waits, not what went through."""
    node = single_node()
    node.set(query_buffer_bytes_max=1 << 20)
    client = node.connect()
    for _ in range(10):
        client.send([b"SET", b"a", bytes(200_000)], "PING")
        client.send([b"SET", b"a", bytes(100_000)], "PING")
        node.cluster.settle()
        assert not client.is_closed
    assert client.replies() == [b"OK", b"PONG"] * 20


def test_too_many_clients_are_turned_away() -> None:
    """redis maxclients, changed while the node runs."""
    node = single_node()
    first = node.connect()
    first.send("CONFIG SET maxclients 2")
    second = node.connect()
    third = node.connect()
    assert third.take() == b"-ERR max number of clients reached\r\n"
    node.cluster.settle()
    assert third.socket.is_lost
    second.socket.abort()
    node.cluster.settle()
    fourth = node.connect()
    fourth.send("PING")
    assert fourth.take() == b"+PONG\r\n"


# -- what is told of connections ------------------------------------------------------------------


def test_client_list_tells_what_a_connection_did_and_what_waits() -> None:
    """redis CLIENT LIST: cmd, idle, qbuf and omem."""
    cluster = Cluster(3)
    node = cluster[1]
    waiting, busy, watching = node.connect(), node.connect(), node.connect()
    waiting.send("SET a 1", "GET a")
    busy.socket.is_stuck = True
    busy.send("ECHO 1234567890")
    busy.send_bytes(b"*2\r\n$4\r\nECHO\r\n$100\r\n" + b"x" * 60)
    node.clock.advance(2500)
    watching.send("CLIENT LIST")
    lines = watching.replies()[0].decode().splitlines()
    fields = [dict(field.split("=", 1) for field in line.split(" ")) for line in lines]
    assert [each["cmd"] for each in fields] == ["set", "echo", "client|list"]
    assert [each["idle"] for each in fields] == ["2", "2", "0"]
    assert int(fields[0]["qbuf"]) > len("SETa1GETa")
    assert int(fields[1]["qbuf"]) >= 60
    assert int(fields[1]["omem"]) == len("$10\r\n1234567890\r\n")
    assert fields[2]["addr"].startswith("127.0.0.1:")


def test_info_counts_commands_bytes_and_errors() -> None:
    """redis INFO stats and errorstats; those of connections that are gone included."""
    node = single_node()
    client = node.connect()
    requests = ["SET a 1", "GET a", "GET", "NOSUCH", "PING", "KEYS *", "SET a x", "INCR a", "WAIT 0 0"]
    client.send(*requests)
    node.cluster.settle()
    received = client.take()
    client.socket.abort()
    node.cluster.settle()
    info = node.connect()
    info.send("INFO stats", "INFO errorstats")
    stats, errors = (reply.decode() for reply in info.replies())
    assert "total_commands_processed:7\r\n" in stats  # those that were refused before they began don't count
    sent_bytes = sum(len(request_bytes(request)) for request in (*requests, "INFO stats", "INFO errorstats"))
    assert f"total_net_input_bytes:{sent_bytes}\r\n" in stats
    assert f"total_net_output_bytes:{len(received)}\r\n" in stats
    assert "total_error_replies:3\r\n" in stats
    assert "errorstat_ERR:count=3\r\n" in errors
