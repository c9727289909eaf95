"""One group's turns: proposing, applying, expiring, long reads, and what a change of leader leaves behind."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from raftkv.commands.table import Sliced
from raftkv.raft import decode
from raftkv.resp.replies import Error, Reply
from raftkv.rows import RowStoreFailure
from tests.node.driven_cluster import Cluster, Node, single_node, three_nodes


def lose_entries(cluster: Cluster, count: int) -> Node:
    """Let node 1 propose entries that are cut from its log later on, and make it the leader again."""
    leader = cluster[1]
    leader.set(gather_ms=0.0)
    cluster.isolate(1)
    for number in range(count):
        leader.connect().send(f"SET lost {number}")
        cluster.settle()
    leader.set(gather_ms=5.0)
    cluster.run_until(lambda: cluster[2].group.is_serving or cluster[3].group.is_serving)
    cluster.heal()
    cluster.run(500)
    return cluster.elect(1)


# -- proposing ----------------------------------------------------------------------------


def test_commands_of_one_turn_become_one_entry() -> None:
    """DESIGN.md: one entry is a batch of commands."""
    node = single_node()
    last_index = node.core.last_index
    for client in [node.connect() for _ in range(5)]:
        client.send("SET a 1", "SET b 2")
    node.cluster.settle()
    assert node.core.last_index == last_index + 1


def test_commands_gather_while_a_batch_is_in_flight() -> None:
    """DESIGN.md: new commands gather while batches are in flight, but no longer than `gather_ms`."""
    node = single_node(gather_ms=5.0)
    node.disk.is_slow = True
    last_index = node.core.last_index
    for expected in (1, 1, 1, 1, 1, 2, 2):
        node.connect().send("SET a 1")
        node.cluster.settle()
        assert node.core.last_index == last_index + expected
        node.cluster.run(1)


def test_a_batch_waits_for_the_company_of_clients_who_were_just_answered() -> None:
    """Who was answered speaks again: as long as turns bring commands, those become one entry."""
    node = single_node()
    clients = [node.connect() for _ in range(10)]
    last_index = node.core.last_index
    for client in clients:
        client.send("INCR a")
        node.loop.run_once()
        assert node.core.last_index == last_index
    node.loop.run_once()
    assert node.core.last_index == last_index + 1
    node.cluster.settle()
    assert [client.take() for client in clients] == [b":%d\r\n" % number for number in range(1, 11)]


def test_a_batch_waits_for_company_no_longer_than_a_millisecond() -> None:
    """However many turns bring more."""
    node = single_node()
    last_index = node.core.last_index
    for _ in range(10):
        node.connect().send("INCR a")
        node.loop.run_once()
        node.clock.ns += 100_000
    assert node.core.last_index == last_index
    node.connect().send("INCR a")
    node.loop.run_once()
    assert node.core.last_index == last_index + 1


def test_no_more_batches_than_the_limit_are_in_flight() -> None:
    """batches_in_flight_max"""
    node = single_node(gather_ms=0.0, batches_in_flight_max=3)
    node.disk.is_slow = True
    last_index = node.core.last_index
    clients = [node.connect() for _ in range(5)]
    for client in clients:
        client.send("INCR a")
        node.cluster.settle()
    node.cluster.run(50)
    assert node.core.last_index == last_index + 3
    node.disk.is_slow = False
    node.cluster.settle()
    assert [client.take() for client in clients] == [b":%d\r\n" % number for number in range(1, 6)]


def test_entries_that_were_lost_do_not_slow_down_a_later_term() -> None:
    """A batch is proposed at once when none is in flight; what another leader overwrote isn't."""
    cluster = three_nodes()
    leader = lose_entries(cluster, 20)
    last_index = leader.core.last_index
    leader.connect().send("SET a 1")
    cluster.settle()
    leader.connect().send("SET a 1")
    cluster.settle()
    assert leader.core.last_index == last_index + 2


def test_a_batch_is_cut_at_its_size() -> None:
    """batch_bytes_max: a pipeline that is larger becomes several entries."""
    node = single_node(batch_bytes_max=1024, gather_ms=0.0)
    last_index = node.core.last_index
    client = node.connect()
    client.send(*[[b"SET", b"k%d" % number, b"x" * 400] for number in range(6)])
    node.cluster.settle()
    assert client.take() == b"+OK\r\n" * 6
    assert node.core.last_index == last_index + 3


def test_entries_become_smaller_where_they_take_long_to_apply() -> None:
    """raftkv.node.entry_size: 256 SETs in the time that 10 ms leave to each of them."""
    node = single_node(gather_ms=0.0)
    node.rows.on_write = lambda: node.clock.advance(20)
    clients = [node.connect() for _ in range(4)]
    for _ in range(10):
        for client in clients:
            client.send(*[[b"SET", b"a", b"1"]] * 128)
        last_index = node.core.last_index
        node.cluster.run(100)
    assert node.core.last_index == last_index + 2


def test_too_much_that_waits_is_refused() -> None:
    """uncommitted_bytes_max: definite, since nothing was taken."""
    size_bytes = 1 << 20
    node = single_node(
        uncommitted_bytes_max=size_bytes, command_bytes_max=size_bytes, batch_bytes_max=size_bytes
    )
    client = node.connect()
    node.disk.is_slow = True
    client.send([b"SET", b"a", b"x" * 900_000])
    client.send([b"SET", b"b", b"x" * 900_000])
    node.cluster.settle()
    node.cluster.heal()
    node.cluster.settle()
    assert client.take().startswith(b"+OK\r\n-TRYAGAIN ")
    assert node.ask("EXISTS b") == [0]


def test_a_follower_answers_no_copy_of_an_entry_before_its_disk_has_the_first() -> None:
    """RaftCore.ready: messages_after_persist of a Ready that writes nothing wait for what is written."""
    cluster = three_nodes(gather_ms=0.0)
    follower = cluster[2]
    follower.disk.is_slow = True
    cluster.is_held = True
    cluster[1].connect().send("SET a 1")
    cluster.turn()
    appends = [data for _, to, data in cluster.network if to == 2]
    cluster.network.clear()
    for _ in range(2):
        follower.group.on_messages([decode(data) for data in appends])
        cluster.turn()
    assert not [data for sender, _, data in cluster.network if sender == 2]
    follower.disk.finish_sync()
    cluster.turn()
    assert len([data for sender, _, data in cluster.network if sender == 2]) == 2


# -- time ----------------------------------------------------------------------------------


def test_due_keys_are_removed_by_an_entry() -> None:
    """DESIGN.md: due keys are removed by entries, on every replica."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1 PX 50", "SET b 1")
    cluster.run(40)
    assert [node.machine.keyspace.counts().keys for node in cluster.nodes.values()] == [2, 2, 2]
    cluster.run(50)
    assert [node.machine.keyspace.counts().keys for node in cluster.nodes.values()] == [1, 1, 1]


def test_a_read_of_a_due_key_waits_for_the_logs_time() -> None:
    """DESIGN.md: only log time expires a key; a read that meets one that is due by its clock waits."""
    cluster = three_nodes()
    leader = cluster[1]
    leader.ask("SET a 1 PX 50")
    leader.clock.advance(55)
    client = leader.connect()
    cluster.is_held = True
    client.send("GET a", "PTTL a")
    cluster.settle()
    assert client.take() == b""
    cluster.is_held = False
    cluster.settle()
    assert client.take() == b"$-1\r\n:-2\r\n"
    assert leader.machine.log_time_ms >= leader.clock.wall_ms() - 5


def test_a_follower_reads_a_due_key_after_the_leaders_entry() -> None:
    """DESIGN.md: followers wait for the leader's entry."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1 PX 50")
    cluster.run(20)
    follower = cluster[2]
    follower.clock.advance(40)
    client = follower.connect()
    client.send("READONLY", "GET a", "PING")
    cluster.settle()
    assert client.take() == b"+OK\r\n"
    cluster.run(60)
    assert client.take() == b"$-1\r\n+PONG\r\n"


def test_a_due_key_that_stays_unsettled_is_not_waited_for_for_ever() -> None:
    """request_timeout_ms; definite, for it is a read."""
    cluster = three_nodes(request_timeout_ms=300)
    cluster[1].ask("SET a 1 PX 50000")
    cluster.run(20)
    follower = cluster[2]
    follower.clock.wall_offset_ms += 60_000
    client = follower.connect()
    client.send("READONLY", "GET a", "PING")
    cluster.run(400)
    assert client.take().startswith(b"+OK\r\n-TRYAGAIN ")
    assert client.owes_nothing


def test_a_lost_expiry_does_not_stop_a_later_terms() -> None:
    """One expiry entry is under way at most, and one that was overwritten isn't."""
    cluster = three_nodes()
    cluster[1].ask("SET a 1 PX 300", "SET b 1 PX 20000")
    cluster.isolate(1)
    cluster[1].set(gather_ms=0.0)
    for number in range(20):
        cluster[1].connect().send(f"SET lost {number}")
        cluster.settle()
    cluster[1].clock.advance(300)
    cluster.run(10)
    cluster.run_until(lambda: cluster[2].group.is_serving or cluster[3].group.is_serving)
    cluster.heal()
    cluster.run(500)
    leader = cluster.elect(1)
    leader.ask("PEXPIRE b 50")
    cluster.run(100)
    assert leader.machine.keyspace.counts().keys == 0
    assert leader.ask("GET b") == [None]


# -- long reads ----------------------------------------------------------------------------


def test_a_long_read_runs_in_slices_while_writes_go_on() -> None:
    """DESIGN.md: work over many rows runs in slices; its view is that of its beginning."""
    node = single_node(gather_ms=0.0)
    node.ask(*[f"SET {number} x" for number in range(3000)])
    node.set(slice_ms=0)
    reader, writer = node.connect(), node.connect()
    slow_clock = node.clock.now_ns

    def now_ns() -> int:  # each look at the clock takes time, so each step is a slice
        node.clock.ns += 1000
        return slow_clock()

    node.clock.now_ns = now_ns
    reader.send("KEYS *", "GET new")
    node.loop.run_once()
    for _ in range(3):
        writer.send("SET new 1")
        node.loop.run_once()
        node.cluster.sync()
        node.loop.run_once()
        assert writer.take() == b"+OK\r\n"
    assert reader.take() == b""
    node.cluster.settle()
    keys, new = reader.replies()
    assert (len(keys), new) == (3000, b"1")
    assert reader.owes_nothing


def test_long_reads_take_turns() -> None:
    """LongReads: a short one isn't held up by a long one that came before it."""
    node = single_node()
    answers: list[Reply] = []

    def work(steps_count: int) -> Generator[None, None, Reply]:
        for _ in range(steps_count):
            node.clock.advance(10)  # longer than a slice
            yield
        return steps_count

    for steps_count in (5, 1, 3):
        node.group.run_sliced(Sliced(work(steps_count)), answers.append)
    node.cluster.settle()
    assert answers == [1, 3, 5]


def test_a_long_read_that_fails_answers_an_error() -> None:
    """STYLE.md, Errors: a handler's defect is that command's alone; a failed disk stops the node."""
    node = single_node()

    def work(error: Exception) -> Generator[None, None, Reply]:
        yield
        raise error

    answers: list[Reply] = []
    node.group.run_sliced(Sliced(work(KeyError("defect"))), answers.append)
    node.cluster.settle()
    assert answers == [Error("ERR internal error")]
    node.group.run_sliced(Sliced(work(RowStoreFailure("disk"))), answers.append)
    with pytest.raises(RowStoreFailure):
        node.cluster.settle()


# -- the end -------------------------------------------------------------------------------


def test_a_stopped_group_does_nothing() -> None:
    """Group.stop: the parts are about to be closed."""
    cluster = three_nodes()
    node = cluster[1]
    node.connect().send("SET a 1")
    node.group.stop()
    written = node.disk.last_index
    cluster.settle()
    node.tick()
    node.group.on_synced(1_000)
    cluster.settle()
    assert node.disk.last_index == written
    assert not node.loop.run_once()


def test_state_is_flushed_after_so_many_commands() -> None:
    """flush_commands_max bounds replay."""
    node = single_node(flush_commands_max=10)
    node.ask(*["INCR a"] * 9)
    assert node.flushes_count == 0
    node.ask("INCR a")
    assert node.flushes_count == 1
