"""redis-py in all its modes at every listener: the same calls, the same values.

Locks and `register_script` want Lua, pipelines with `transaction=True` want MULTI: neither is used here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from itertools import takewhile
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.integration.cluster import Cluster

_NODE_IDS = (1, 2, 3)

#: (method, arguments, what it gives to a client that decodes), in this order. `{key}` is a prefix of the
#: run's own, and all keys share its slot.
CALLS: tuple[tuple[str, tuple[Any, ...], Any], ...] = (
    ("ping", (), True),
    ("set", ("{key}", "10"), True),
    ("setnx", ("{key}", "11"), False),
    ("get", ("{key}",), "10"),
    ("get", ("{key}none",), None),
    ("incrby", ("{key}", 5), 15),
    ("decrby", ("{key}", 3), 12),
    ("incrbyfloat", ("{key}", 0.5), 12.5),
    ("append", ("{key}", "!"), 5),
    ("strlen", ("{key}",), 5),
    ("setrange", ("{key}", 1, "abc"), 5),
    ("getrange", ("{key}", 0, 2), "1ab"),
    ("substr", ("{key}", 0, 1), "1a"),
    ("getset", ("{key}", "new"), "1abc!"),
    ("set", ("{key}", "text", 1000), True),
    ("ttl", ("{key}none",), -2),
    ("persist", ("{key}",), True),
    ("ttl", ("{key}",), -1),
    ("expireat", ("{key}", 32503680000), True),
    ("expiretime", ("{key}",), 32503680000),
    ("getex", ("{key}",), "text"),
    ("type", ("{key}",), "string"),
    ("exists", ("{key}", "{key}none"), 1),
    ("touch", ("{key}", "{key}none"), 1),
    ("object", ("ENCODING", "{key}"), "embstr"),
    ("copy", ("{key}", "{key}copy"), True),
    ("rename", ("{key}copy", "{key}moved"), True),
    ("renamenx", ("{key}moved", "{key}"), False),
    ("mset", ({"{key}a": "1", "{key}b": "ü"},), True),
    ("msetnx", ({"{key}a": "2", "{key}c": "3"},), False),
    ("mget", ("{key}a", "{key}b", "{key}c"), ["1", "ü", None]),
    ("lcs", ("{key}", "{key}moved"), "text"),
    ("getdel", ("{key}moved",), "text"),
    ("unlink", ("{key}a", "{key}b"), 2),
    ("delete", ("{key}", "{key}none"), 1),
)


#: Those that a cluster client takes in a pipeline: PING has no key, and from EXISTS on some are refused by
#: name, or split by slot outside the pipeline's order.
PIPELINED = tuple(takewhile(lambda call: call[0] != "exists", CALLS[1:]))


def filled(value: Any, key: str) -> Any:
    """A call's argument for one run's keys."""
    if isinstance(value, dict):
        return {filled(name, key): each for name, each in value.items()}
    return value.replace("{key}", key) if isinstance(value, str) else value


def arguments_of(arguments: tuple[Any, ...], key: str) -> list[Any]:
    """A call's arguments for one run's keys."""
    return [filled(each, key) for each in arguments]


def shown(value: Any) -> Any:
    """What a client that decodes would have got."""
    if isinstance(value, list):
        return [shown(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value


def standalone_options(shared: Cluster, node_id: int) -> dict[str, Any]:
    """For `Redis`."""
    return {"port": shared.node(node_id).standalone_port}


def cluster_options(shared: Cluster, node_id: int) -> dict[str, Any]:
    """For `RedisCluster`."""
    return {"host": "127.0.0.1", "port": shared.node(node_id).port}


FACES = {
    "Redis": (redis.Redis, redis.asyncio.Redis, standalone_options),
    "RedisCluster": (redis.RedisCluster, redis.asyncio.RedisCluster, cluster_options),
}


@pytest.mark.parametrize("node_id", _NODE_IDS)
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decodes", [True, False])
@pytest.mark.parametrize("face", sorted(FACES))
def test_every_call_gives_what_it_promises(
    shared: Cluster, face: str, node_id: int, protocol: int, decodes: bool
) -> None:
    """redis-py, one call after the other, then in a pipeline."""
    make, _, options = FACES[face]
    key = f"{{{face}:{node_id}:{protocol}:{decodes}}}"
    shared.wait_for_leader()
    with make(protocol=protocol, decode_responses=decodes, **options(shared, node_id)) as client:
        for method, arguments, expected in CALLS:
            found = getattr(client, method)(*arguments_of(arguments, key))
            assert shown(found) == expected, method
        pipeline = client.pipeline(transaction=False)
        for method, arguments, _ in PIPELINED:
            getattr(pipeline, method)(*arguments_of(arguments, key))
        assert shown(pipeline.execute()) == [expected for _, _, expected in PIPELINED]


@pytest.mark.parametrize("node_id", _NODE_IDS)
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decodes", [True, False])
@pytest.mark.parametrize("face", sorted(FACES))
def test_every_awaited_call_gives_what_it_promises(
    shared: Cluster, face: str, node_id: int, protocol: int, decodes: bool
) -> None:
    """redis-py's asyncio clients, likewise."""
    _, make, options = FACES[face]
    key = f"{{async {face}:{node_id}:{protocol}:{decodes}}}"
    shared.wait_for_leader()

    async def use() -> None:
        async with make(protocol=protocol, decode_responses=decodes, **options(shared, node_id)) as client:
            for method, arguments, expected in CALLS:
                answer: Awaitable[Any] = getattr(client, method)(*arguments_of(arguments, key))
                assert shown(await answer) == expected, method
            pipeline = client.pipeline(transaction=False)
            for method, arguments, _ in PIPELINED:
                getattr(pipeline, method)(*arguments_of(arguments, key))
            assert shown(await pipeline.execute()) == [expected for _, _, expected in PIPELINED]

    asyncio.run(use())


@pytest.mark.parametrize("node_id", _NODE_IDS)
@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_looks_around_at_a_standalone_listener(shared: Cluster, node_id: int, protocol: int) -> None:
    """Iteration, databases, clients and settings, which redis-py parses."""
    with redis.Redis(
        db=5, protocol=protocol, decode_responses=True, **standalone_options(shared, node_id)
    ) as client:
        client.flushdb()
        client.mset({f"each:{number}": number for number in range(300)})
        assert sorted(client.scan_iter("each:*", count=10)) == sorted(
            f"each:{number}" for number in range(300)
        )
        assert len(client.keys("each:?")) == 10
        assert client.randomkey().startswith("each:")
        assert client.dbsize() == 300
        assert client.move("each:1", 6) is True
        assert client.swapdb(5, 6) is True
        assert client.dbsize() == 1
        assert client.swapdb(5, 6) is True
        assert client.client_setname("me") is True
        assert (client.client_getname(), client.client_info()["db"]) == ("me", 5)
        assert client.client_id() in [int(each["id"]) for each in client.client_list()]
        assert client.client_no_touch("ON") == "OK"
        assert client.client_info()["flags"] == "T"
        assert client.client_kill_filter(addr="1.2.3.4:5") == 0
        assert client.config_get("maxmemory") == {"maxmemory": "0"}
        assert client.info("server")["redis_mode"] == "standalone"
        assert client.command_count() == len(client.command())
        assert client.memory_usage("each:2") > 0
        assert client.slowlog_get() == [] or client.slowlog_len() > 0
        assert client.time()[0] > 1_600_000_000
        assert client.wait(0, 10) >= 0
        assert client.flushdb() is True
        client.select(6)
        assert client.flushdb() is True
