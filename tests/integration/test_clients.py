"""Real clients, as their users have them: redis-py, redis-cli, redis-benchmark, a raw socket."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.exceptions import ResponseError

from tests.integration.cluster import Cluster, NodeProcess
from tests.integration.programs import run
from tests.integration.waiting import wait_until
from tests.integration.wire import NoAnswer, ask

_NODE_IDS = (1, 2, 3)


def leader_client(shared: Cluster) -> redis.Redis:
    """Return a plain client of the leader."""
    return redis.Redis(port=shared.wait_for_leader().port)


# -- redis-py ---------------------------------------------------------------------------------


@pytest.mark.parametrize("node_id", _NODE_IDS)
@pytest.mark.parametrize("protocol", [None, 2, 3])
def test_redis_cluster_works_from_any_node(shared: Cluster, node_id: int, protocol: int | None) -> None:
    """redis-py RedisCluster, default arguments but the protocol."""
    chosen: dict[str, Any] = {} if protocol is None else {"protocol": protocol}
    key = f"cluster:{node_id}:{protocol}"
    with redis.RedisCluster(host="127.0.0.1", port=shared.node(node_id).port, **chosen) as client:
        assert client.set(key, "1") is True
        assert client.get(key) == b"1"
        assert client.incrby(key, 41) == 42
        assert client.append(key, "!") == 3
        assert client.mset_nonatomic({f"{{{key}}}:a": "1", f"{key}:b": "2"}) == [True, True]
        assert client.mget_nonatomic(f"{{{key}}}:a", f"{key}:b", f"{key}:none") == [b"1", b"2", None]
        assert client.delete(key, f"{{{key}}}:a", f"{key}:b") == 3
        assert client.exists(key) == 0
        pipeline = client.pipeline()
        for place in range(20):
            pipeline.set(f"{key}:{place}", place)
            pipeline.get(f"{key}:{place}")
        assert pipeline.execute() == [reply for place in range(20) for reply in (True, str(place).encode())]
        assert client.cluster_info()["cluster_state"] == "ok"
        assert len(client.get_nodes()) == 3


@pytest.mark.parametrize("node_id", _NODE_IDS)
@pytest.mark.parametrize("protocol", [None, 2, 3])
def test_asyncio_redis_cluster_works_from_any_node(
    shared: Cluster, node_id: int, protocol: int | None
) -> None:
    """redis-py's asyncio RedisCluster, default arguments but the protocol."""
    chosen: dict[str, Any] = {} if protocol is None else {"protocol": protocol}
    key = f"async-cluster:{node_id}:{protocol}"

    async def use() -> None:
        port = shared.node(node_id).port
        async with redis.asyncio.RedisCluster(host="127.0.0.1", port=port, **chosen) as client:
            assert await client.set(key, "1") is True
            counts = await asyncio.gather(*(client.incr(key) for _ in range(50)))
            assert sorted(counts) == list(range(2, 52))
            assert await client.get(key) == b"51"
            pipeline = client.pipeline()
            for place in range(20):
                pipeline.set(f"{key}:{place}", place)
            assert await pipeline.execute() == [True] * 20
            assert await client.delete(key) == 1

    asyncio.run(use())


def test_redis_cluster_reads_from_replicas_what_was_just_written(shared: Cluster) -> None:
    """READONLY reads are linearizable: a follower never lags behind what was acknowledged."""
    port = shared.node(1).port
    policy = redis.cluster.LoadBalancingStrategy.ROUND_ROBIN
    with redis.RedisCluster(host="127.0.0.1", port=port, load_balancing_strategy=policy) as client:
        for place in range(100):
            client.set("replica-read", place)
            assert client.get("replica-read") == str(place).encode()


@pytest.mark.parametrize("protocol", [2, 3])
def test_plain_redis_pipelines_at_the_leader(shared: Cluster, protocol: int) -> None:
    """redis-py Redis; a transaction-less pipeline keeps its order."""
    with redis.Redis(port=shared.wait_for_leader().port, protocol=protocol) as client:
        client.delete("pipelined")
        pipeline = client.pipeline(transaction=False)
        for _ in range(500):
            pipeline.incr("pipelined")
            pipeline.get("pipelined")
        assert pipeline.execute() == [
            reply for count in range(1, 501) for reply in (count, str(count).encode())
        ]


@pytest.mark.parametrize("node_id", _NODE_IDS)
@pytest.mark.parametrize("protocol", [2, 3])
def test_plain_redis_works_at_any_standalone_listener(shared: Cluster, node_id: int, protocol: int) -> None:
    """redis-py Redis, which knows no MOVED; pipelines keep their order, databases are apart."""
    port, key = shared.node(node_id).standalone_port, f"standalone:{node_id}:{protocol}"
    with redis.Redis(port=port, protocol=protocol) as client, redis.Redis(port=port, db=7) as other:
        client.delete(key)
        pipeline = client.pipeline(transaction=False)
        for _ in range(200):
            pipeline.incr(key)
            pipeline.get(key)
        assert pipeline.execute() == [
            reply for count in range(1, 201) for reply in (count, str(count).encode())
        ]
        assert other.get(key) is None
        assert other.mset({f"{key}:a": "1", f"{key}:b": "2"}) is True
        assert other.mget(f"{key}:a", f"{key}:b", f"{key}:none") == [b"1", b"2", None]
        assert other.delete(f"{key}:a", f"{key}:b") == 2
        assert client.info("cluster") == {"cluster_enabled": 0}


def test_asyncio_redis_works_at_every_standalone_listener(shared: Cluster) -> None:
    """redis-py's asyncio Redis: what one node acknowledged every other one knows."""

    async def use() -> None:
        clients = [redis.asyncio.Redis(port=node.standalone_port) for node in shared.nodes]
        await clients[0].delete("async-standalone")
        for _ in range(10):
            counts = await asyncio.gather(*(client.incr("async-standalone") for client in clients))
            assert [await client.get("async-standalone") for client in clients] == [b"%d" % max(counts)] * 3
        assert max(counts) == 30
        for client in clients:
            await client.aclose()

    asyncio.run(use())


def test_errors_reach_the_caller_and_the_connection_goes_on(shared: Cluster) -> None:
    """Redis's texts, within a pipeline too."""
    with leader_client(shared) as client:
        client.set("word", "abc")
        pipeline = client.pipeline(transaction=False)
        pipeline.incr("word").execute_command("NOSUCH", "x").execute_command("GET").get("word")
        wrong_type, unknown, arity, content = pipeline.execute(raise_on_error=False)
        assert isinstance(wrong_type, ResponseError)
        assert str(wrong_type) == "value is not an integer or out of range"
        assert str(unknown).startswith("unknown command 'NOSUCH', with args beginning with: 'x'")
        assert str(arity) == "wrong number of arguments for 'get' command"
        assert content == b"abc"


# -- Redis's own programs ---------------------------------------------------------------------


@pytest.mark.needs_tool("redis-cli")
@pytest.mark.parametrize("node_id", _NODE_IDS)
def test_redis_cli_follows_to_the_leader(shared: Cluster, node_id: int) -> None:
    """redis-cli -c -p PORT, at any node."""
    port = shared.node(node_id).port
    assert run("redis-cli", "-c", "-p", port, "SET", f"cli:{node_id}", "hello") == "OK\n"
    assert run("redis-cli", "-c", "-p", port, "GET", f"cli:{node_id}") == "hello\n"
    assert run("redis-cli", "-c", "-3", "-p", port, "DEL", f"cli:{node_id}") == "1\n"


@pytest.mark.needs_tool("redis-cli")
def test_redis_cli_reads_commands_from_its_input(shared: Cluster) -> None:
    """redis-cli -c < FILE, which begins at a follower."""
    follower, _ = shared.followers()
    script = "SET piped 1\nINCR piped\nGET piped\n"
    assert run("redis-cli", "-c", "-p", follower.port, stdin=script).splitlines()[-3:] == ["OK", "2", "2"]


@pytest.mark.needs_tool("redis-cli")
def test_redis_cli_pipe_mode_loads_data(shared: Cluster) -> None:
    """redis-cli --pipe, at the leader, as it follows nobody."""
    leader = shared.wait_for_leader()
    lines = "".join(f"SET loaded:{place} {place}\r\n" for place in range(5000))
    assert "errors: 0, replies: 5000" in run("redis-cli", "-p", leader.port, "--pipe", stdin=lines)
    assert ask(leader.port, "GET", "loaded:4999") == b"4999"


@pytest.mark.needs_tool("redis-cli")
@pytest.mark.parametrize("node_id", _NODE_IDS)
def test_redis_cli_cluster_check_is_content(shared: Cluster, node_id: int) -> None:
    """redis-cli --cluster check and info, at any node."""
    address = f"127.0.0.1:{shared.node(node_id).port}"
    checked = run("redis-cli", "--cluster", "check", address)
    assert "[OK] All nodes agree about slots configuration." in checked
    assert "[OK] All 16384 slots covered." in checked
    assert "[ERR]" not in checked
    assert "[WARNING]" not in checked
    info = run("redis-cli", "--cluster", "info", address)
    assert f"127.0.0.1:{shared.wait_for_leader().port}" in info
    assert "16384 slots | 2 slaves" in info


@pytest.mark.needs_tool("redis-benchmark")
def test_redis_benchmark_runs_at_the_leader(shared: Cluster) -> None:
    """redis-benchmark -p LEADER -t set,get,incr,ping -P 16."""
    port = shared.wait_for_leader().port
    output = run("redis-benchmark", "-p", port, "-t", "set,get,incr,ping", "-P", 16, "-n", 20_000, "--csv")
    names = [line.split(",")[0].strip('"') for line in output.splitlines()[1:]]
    assert names == ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR"]
    assert ask(port, "GET", "counter:__rand_int__") == b"20000"


# -- the cluster's face -----------------------------------------------------------------------


def test_follower_moves_clients_to_the_leader(shared: Cluster) -> None:
    """-MOVED slot host:port for writes and, without READONLY, for reads (Redis Cluster)."""
    leader = shared.wait_for_leader()
    for follower in shared.followers():
        slot = ask(follower.port, "CLUSTER", "KEYSLOT", "moved")
        for command in (("SET", "moved", "1"), ("GET", "moved")):
            assert str(ask(follower.port, *command)) == f"MOVED {slot} 127.0.0.1:{leader.port}"


def test_follower_serves_linearizable_reads_under_readonly(shared: Cluster) -> None:
    """READONLY, then READWRITE takes it back; a write is moved all the same."""
    leader = shared.wait_for_leader()
    for follower in shared.followers():
        with leader.connect() as writer, follower.connect() as reader:
            assert reader.call("READONLY") == b"OK"
            for place in range(200):
                writer.call("SET", "read-only", place)
                assert reader.call("GET", "read-only") == str(place).encode()
            assert str(reader.call("SET", "read-only", "x")).startswith("MOVED ")
            assert reader.call("READWRITE") == b"OK"
            assert str(reader.call("GET", "read-only")).startswith("MOVED ")


def test_keys_of_several_slots_are_refused(shared: Cluster) -> None:
    """-CROSSSLOT (Redis Cluster); a hash tag makes it one slot. On every node."""
    port = shared.wait_for_leader().port
    refusal = "CROSSSLOT Keys in request don't hash to the same slot"
    assert str(ask(port, "MSET", "a", "1", "b", "2")) == refusal
    assert str(ask(port, "MGET", "a", "b")) == refusal
    assert str(ask(shared.followers()[0].port, "DEL", "a", "b")) == refusal
    assert ask(port, "MSET", "{tag}a", "1", "{tag}b", "2") == b"OK"
    assert ask(port, "MGET", "{tag}a", "{tag}b") == [b"1", b"2"]


def test_every_node_names_the_same_master_and_replicas(shared: Cluster) -> None:
    """CLUSTER SLOTS, SHARDS, NODES and ROLE agree on who leads."""
    leader = shared.wait_for_leader()
    ports = {node.port for node in shared.nodes}
    for node in shared.nodes:
        ((first, last, master, *replicas),) = ask(node.port, "CLUSTER", "SLOTS")
        assert (first, last, master[1]) == (0, 16383, leader.port)
        assert {replica[1] for replica in replicas} == ports - {leader.port}
        role = ask(node.port, "ROLE")
        assert role[0] == (b"master" if node is leader else b"slave")
        lines = ask(node.port, "CLUSTER", "NODES").decode().splitlines()
        (mine,) = (line for line in lines if "myself" in line)
        assert f"127.0.0.1:{node.port}@" in mine
        assert ("myself,master" in mine) is (node is leader)


def test_wait_counts_the_replicas_that_have_the_write(shared: Cluster) -> None:
    """redis WAIT: both followers have it at last."""
    with shared.wait_for_leader().connect() as wire:
        assert wire.call("SET", "waited", "1") == b"OK"
        assert wire.call("WAIT", 2, 10_000) == 2


# -- one connection ---------------------------------------------------------------------------


def test_pipelined_get_sees_the_set_before_it(shared: Cluster) -> None:
    """A connection's commands take effect in their order."""
    with shared.wait_for_leader().connect() as wire:
        wire.send(("SET", "ordered", "1"), ("GET", "ordered"), ("DEL", "ordered"), ("GET", "ordered"))
        assert [wire.receive() for _ in range(4)] == [b"OK", b"1", 1, None]


def test_replies_leave_in_the_order_of_the_requests(shared: Cluster) -> None:
    """Writes, reads, errors and local commands mixed, 3,000 of them in one piece."""
    with shared.wait_for_leader().connect() as wire:
        wire.call("DEL", "mixed")
        for place in range(600):
            wire.send(("INCR", "mixed"), ("ECHO", place), ("GET", "mixed"), ("NOSUCH",), ("STRLEN", "mixed"))
        for place in range(600):
            count = str(place + 1).encode()
            replies = [wire.receive() for _ in range(5)]
            assert replies[:3] == [place + 1, str(place).encode(), count]
            assert str(replies[3]).startswith("ERR unknown command")
            assert replies[4] == len(count)


def test_deep_pipeline_is_answered_to_its_end(shared: Cluster) -> None:
    """More requests than a node takes from one connection at a time: it stops reading, and goes on."""
    count = 100_000
    with shared.wait_for_leader().connect() as wire:
        wire.call("DEL", "deep")
        sender = threading.Thread(target=lambda: wire.send(*[("INCR", "deep")] * count))
        sender.start()
        try:
            assert [wire.receive() for _ in range(count)] == list(range(1, count + 1))
        finally:
            wire.shut_down()
            sender.join()


def test_increments_of_many_connections_are_not_mixed_up(shared: Cluster) -> None:
    """Each connection gets its own replies, each number exactly once."""
    leader = shared.wait_for_leader()
    wires = [leader.connect() for _ in range(20)]
    try:
        wires[0].call("DEL", "many")
        for wire in wires:
            wire.send(*[("INCR", "many")] * 50)
        answers = [[wire.receive() for _ in range(50)] for wire in wires]
    finally:
        for wire in wires:
            wire.close()
    assert all(own == sorted(own) for own in answers)
    assert sorted(count for own in answers for count in own) == list(range(1, 1001))


def test_large_values_come_back_whole(shared: Cluster) -> None:
    """One entry, many chunks on the peer link; a follower has it too."""
    value = bytes(range(256)) * (6 << 12)
    with shared.wait_for_leader().connect() as wire:
        assert wire.call("SET", "large", value) == b"OK"
        assert wire.call("GET", "large") == value
    with shared.followers()[0].connect() as reader:
        reader.call("READONLY")
        assert reader.call("GET", "large") == value


def test_inline_commands_are_understood(shared: Cluster) -> None:
    """As typed into telnet, with quotes and empty lines."""
    with shared.wait_for_leader().connect() as wire:
        wire.send_bytes(b'\r\nset inline "a b\\n"\r\nGET inline\n  ping\r\n')
        assert [wire.receive() for _ in range(3)] == [b"OK", b"a b\n", b"PONG"]


@pytest.mark.parametrize(
    ("garbage", "text"),
    [
        (b"*2000000\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n$600000000\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$-5\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n:5\r\n", "ERR Protocol error: expected '$', got ':'"),
        (b'set inline "a\r\n', "ERR Protocol error: unbalanced quotes in request"),
    ],
)
def test_protocol_error_closes_that_connection_alone(shared: Cluster, garbage: bytes, text: str) -> None:
    """What came before it in the same piece is done and answered (redis)."""
    leader = shared.wait_for_leader()
    with leader.connect() as other, leader.connect() as wire:
        wire.send_bytes(b"*3\r\n$3\r\nSET\r\n$7\r\ngarbage\r\n$1\r\n1\r\n" + garbage)
        assert wire.receive() == b"OK"
        assert str(wire.receive()) == text
        with pytest.raises(NoAnswer, match="closed the connection"):
            wire.receive()
        assert other.call("GET", "garbage") == b"1"


def test_quit_is_answered_and_closes(shared: Cluster) -> None:
    """redis QUIT, after the replies before it."""
    with shared.wait_for_leader().connect() as wire:
        wire.send(("INCR", "quit"), ("QUIT",), ("INCR", "quit"))
        assert isinstance(wire.receive(), int)
        assert wire.receive() == b"OK"
        with pytest.raises(NoAnswer, match="closed the connection"):
            wire.receive()


# -- expiry -----------------------------------------------------------------------------------


def read_everywhere(shared: Cluster, *command: str) -> list[object]:
    """Run a read at the leader and, under READONLY, at the followers."""

    def at(node: NodeProcess) -> object:
        with node.connect() as wire:
            wire.call("READONLY")
            return wire.call(*command)

    return [at(node) for node in shared.nodes]


@pytest.mark.parametrize("first", _NODE_IDS)
def test_key_that_a_client_saw_expired_never_comes_back(shared: Cluster, first: int) -> None:
    """Only log time expires a key: whoever sees it gone first, it is gone everywhere."""
    key = f"expires:{first}"
    leader = shared.wait_for_leader()
    for _ in range(5):
        assert ask(leader.port, "SET", key, "1", "PX", 100) == b"OK"
        with shared.node(first).connect() as wire:
            wire.call("READONLY")
            wait_until(lambda: wire.call("GET", key) is None, "the key expires")
        assert read_everywhere(shared, "GET", key) == [None] * 3
        assert read_everywhere(shared, "PTTL", key) == [-2] * 3
        assert read_everywhere(shared, "EXISTS", key) == [0] * 3


def test_expiry_can_be_read_taken_back_and_set(shared: Cluster) -> None:
    """redis TTL, PTTL, PERSIST, EXPIRE, PEXPIRE; a plain SET clears it."""
    with shared.wait_for_leader().connect() as wire:
        assert wire.call("SET", "lasting", "1", "EX", 100) == b"OK"
        assert 0 < wire.call("TTL", "lasting") <= 100
        assert 0 < wire.call("PTTL", "lasting") <= 100_000
        assert wire.call("PERSIST", "lasting") == 1
        assert wire.call("TTL", "lasting") == -1
        assert wire.call("PEXPIRE", "lasting", 50_000) == 1
        assert 0 < wire.call("PTTL", "lasting") <= 50_000
        assert wire.call("SET", "lasting", "2") == b"OK"
        assert wire.call("TTL", "lasting") == -1
        assert wire.call("TTL", "never-there") == -2


def test_expired_keys_are_removed_without_being_touched(shared: Cluster) -> None:
    """DBSIZE goes down by itself: entries of the leader's remove what is due."""
    with shared.wait_for_leader().connect() as wire:
        before = wire.call("DBSIZE")
        wire.send(*[("SET", f"due:{place}", "1", "PX", 200) for place in range(500)])
        assert [wire.receive() for _ in range(500)] == [b"OK"] * 500
        wait_until(lambda: wire.call("DBSIZE") == before, "500 due keys are removed")


# -- replicas ---------------------------------------------------------------------------------


def test_replicas_hold_the_same_after_all_that(shared: Cluster) -> None:
    """RAFT DIGEST at one applied index, after a write, is one digest."""
    assert ask(shared.wait_for_leader().port, "SET", "last", "1") == b"OK"
    before = shared.wait_for_equal_digests()
    assert ask(shared.wait_for_leader().port, "SET", "last", "2") == b"OK"
    assert shared.wait_for_equal_digests() != before


@pytest.mark.needs_tool("redis-benchmark")
def test_redis_benchmark_runs_at_a_followers_standalone_listener(shared: Cluster) -> None:
    """redis-benchmark stops at its first MOVED: there is none."""
    shared.wait_for_leader()
    port = shared.followers()[0].standalone_port
    output = run(
        "redis-benchmark", "-p", port, "-t", "ping,set,get,incr,mset", "-P", 16, "-n", 4_000, "--csv"
    )
    assert [line.split(",")[0] for line in output.splitlines()[1:]] == [
        '"PING_INLINE"',
        '"PING_MBULK"',
        '"SET"',
        '"GET"',
        '"INCR"',
        '"MSET (10 keys)"',
    ]


@pytest.mark.needs_tool("redis-cli")
def test_redis_cli_looks_around_at_a_followers_standalone_listener(shared: Cluster) -> None:
    """redis-cli --scan, --bigkeys and --pipe, which know no cluster."""
    shared.wait_for_leader()
    port = shared.followers()[-1].standalone_port
    lines = "".join(f"SET looked:{number} {number}\r\n" for number in range(300))
    assert "errors: 0, replies: 300" in run("redis-cli", "-p", port, "--pipe", stdin=lines)
    assert len(run("redis-cli", "-p", port, "--scan", "--pattern", "looked:*").split()) == 300
    assert "strings with" in run("redis-cli", "-p", port, "--bigkeys")
