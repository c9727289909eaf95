"""Redis's own programs in all their modes, at any listener: redis-cli and redis-benchmark."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.integration.cluster import Cluster
from tests.integration.programs import complaint_of, run, shown_on_terminal

pytestmark = pytest.mark.needs_tool("redis-cli")

#: The listeners that do what is asked: those of the standalone face, and the leader's.
LISTENERS = ("standalone at node 1", "standalone at node 2", "standalone at node 3", "cluster at the leader")


@dataclass(frozen=True)
class Listener:
    """Where a tool is pointed."""

    port: int
    is_standalone: bool


@pytest.fixture(params=LISTENERS)
def listener(request: pytest.FixtureRequest, shared: Cluster) -> Listener:
    """Each of them in turn."""
    leader = shared.wait_for_leader()
    face, _, place = request.param.partition(" at ")
    if face == "cluster":
        return Listener(leader.port, is_standalone=False)
    return Listener(shared.node(int(place[-1])).standalone_port, is_standalone=True)


# -- redis-cli ----------------------------------------------------------------------------------


def test_cli_loads_counts_and_lists_keys(listener: Listener) -> None:
    """redis-cli --pipe, --scan --pattern, --bigkeys, --memkeys, with -i too."""
    lines = "".join(f"SET listed:{number} {'x' * number}\r\n" for number in range(1, 251))
    assert "errors: 0, replies: 250" in run("redis-cli", "-p", listener.port, "--pipe", stdin=lines)
    found = run("redis-cli", "-p", listener.port, "--scan", "--pattern", "listed:*5").split()
    assert sorted(found) == sorted(f"listed:{number}" for number in range(5, 251, 10))
    assert "strings with" in run("redis-cli", "-p", listener.port, "--bigkeys", "-i", "0.001")
    assert "strings with" in run("redis-cli", "-p", listener.port, "--memkeys", "--memkeys-samples", 3)
    lines = "".join(f"DEL listed:{number}\r\n" for number in range(1, 251))
    assert "errors: 0, replies: 250" in run("redis-cli", "-p", listener.port, "--pipe", stdin=lines)


def test_cli_watches_and_measures(listener: Listener) -> None:
    """redis-cli --stat, --latency, --latency-history, --latency-dist: until somebody stops them."""
    port = listener.port
    assert "keys" in shown_on_terminal(
        "redis-cli", "-p", port, "--stat", "-i", "0.05", until=r"(\d+ \(\+\d+\).*\n.*){3}"
    )
    shortest, longest, average, count = run("redis-cli", "-p", port, "--latency", "-i", "0.1").split()
    assert float(shortest) <= float(average) <= float(longest)
    assert int(count) > 0
    shown_on_terminal("redis-cli", "-p", port, "--latency-history", "-i", "0.1", until="seconds range.*\n")
    shown_on_terminal("redis-cli", "-p", port, "--latency-dist", "-i", "0.1", until="Z?\x1b.*\x1b.*\n")


def test_cli_speaks_both_protocols_and_all_forms(listener: Listener) -> None:
    """redis-cli -2, -3, --json, --csv, --raw, --no-raw, -x, -X, -r, -D, -e, -n, --quoted-input."""
    cli = ("redis-cli", "-p", listener.port)
    assert run(*cli, "-x", "SET", "forms", stdin="a\nb") == "OK\n"
    assert run(*cli, "-X", "tag", "STRLEN", "tag", stdin="forms") == "3\n"
    assert run(*cli, "-2", "GET", "forms") == "a\nb\n"
    assert run(*cli, "--no-raw", "GET", "forms") == '"a\\nb"\n'
    assert run(*cli, "--csv", "MGET", "forms", "{forms}none") == '"a\\nb",NULL\n'
    assert json.loads(run(*cli, "--json", "GET", "forms")) == "a\nb"
    assert json.loads(run(*cli, "-3", "--json", "CONFIG", "GET", "maxmemory")) == {"maxmemory": "0"}
    assert json.loads(run(*cli, "--json", "COMMAND", "DOCS", "get"))["get"]["group"] == "string"
    assert run(*cli, "--quoted-input", "SET", r'"\x00f"', r'"\xff"') == "OK\n"
    assert run(*cli, "--no-raw", "--quoted-input", "GET", r'"\x00f"') == '"\\xff"\n'
    assert run(*cli, "-d", ";", "MGET", "forms", "forms") == "a\nb;a\nb\n"
    counts = run(*cli, "-r", 3, "-i", "0.001", "INCR", f"counted:{listener.port}").split()
    assert counts == ["1", "2", "3"]
    assert "WRONG" not in run(*cli, "-e", "PING")
    assert "ERR wrong number of arguments" in complaint_of(*cli, "-e", "GET")
    elsewhere = run(*cli, "-n", 9, "SET", "of-nine", "1")
    assert elsewhere == "OK\n"
    if listener.is_standalone:
        assert run(*cli, "GET", "of-nine") == "\n"
    assert run(*cli, "DEL", "forms") == "1\n"


def test_cli_is_used_by_hand(listener: Listener) -> None:
    """redis-cli without a command: what is typed, mistakes included."""
    script = (
        "SET typed 'a b'",
        "GET typed",
        "GET",
        "nosuch x",
        "HELLO 3",
        'GET "open',
        "3 ECHO hi",
        "quit",
        "PING",
    )
    lines = run("redis-cli", "-p", listener.port, stdin="\n".join(script)).splitlines()
    assert lines[:2] == ["OK", "a b"]
    assert "ERR wrong number of arguments for 'get' command" in lines
    assert "ERR unknown command 'nosuch', with args beginning with: 'x' " in lines
    assert "proto 3" in lines
    assert "Invalid argument(s)" in lines
    assert lines[-3:] == ["hi"] * 3


def test_cli_is_told_why_there_is_no_dump(listener: Listener) -> None:
    """redis-cli --rdb asks for a replication stream."""
    refused = complaint_of("redis-cli", "-p", listener.port, "--rdb", "/dev/null")
    assert "SYNC is not supported: there is no replication stream" in refused


@pytest.mark.parametrize("node_id", [1, 2, 3])
def test_cli_as_a_cluster_client_reaches_every_node(shared: Cluster, node_id: int) -> None:
    """redis-cli -c and --cluster call, from any node."""
    shared.wait_for_leader()
    port = shared.node(node_id).port
    script = "".join(f"SET hop:{number} {number}\nGET hop:{number}\n" for number in range(20))
    lines = run("redis-cli", "-c", "-p", port, stdin=script).splitlines()
    assert [line for line in lines if line.isdigit()] == [str(number) for number in range(20)]
    called = run("redis-cli", "--cluster", "call", f"127.0.0.1:{port}", "PING")
    assert called.count("PONG") == 3
    assert run("redis-cli", "-c", "-3", "--json", "-p", port, "GET", "hop:3") == '"3"\n'


# -- redis-benchmark ----------------------------------------------------------------------------

#: Each a way in which it talks to a server.
WAYS = ([], ["-P", 16, "-r", 1000, "-3"], ["-P", 16, "--threads", 2, "-d", 500])


def names_of_runs(output: str) -> list[str]:
    """The tests of a `-q` run, by name."""
    ends = [line.split("\r")[-1] for line in output.splitlines()]
    return [line.partition(":")[0].strip() for line in ends if "requests per second" in line]


@pytest.mark.needs_tool("redis-benchmark")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(map(str, way)) or "plain")
def test_benchmark_runs_to_its_end(listener: Listener, way: list[str | int]) -> None:
    """redis-benchmark -t ping,set,get,incr,mset -q: with no error, which would end it."""
    names = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR"]
    chosen = "ping,set,get,incr"
    if listener.is_standalone:
        names.append("MSET (10 keys)")
        chosen += ",mset"
    output = run("redis-benchmark", "-p", listener.port, "-t", chosen, "-n", 320, "-q", *way)
    assert names_of_runs(output) == names
    assert "rror" not in output


@pytest.mark.needs_tool("redis-benchmark")
def test_benchmark_sets_several_keys_where_they_share_a_slot(shared: Cluster) -> None:
    """Without -r MSET names one key ten times; with it, ten keys of many slots (-CROSSSLOT)."""
    command = ("redis-benchmark", "-p", shared.wait_for_leader().port, "-t", "mset", "-n", 100, "-q")
    assert names_of_runs(run(*command)) == ["MSET (10 keys)"]
    assert "CROSSSLOT Keys in request don't hash to the same slot" in complaint_of(*command, "-r", 1000)


@pytest.mark.needs_tool("redis-benchmark")
def test_benchmark_runs_any_command(listener: Listener) -> None:
    """redis-benchmark with a command of one's own, -x and __rand_int__."""
    command = ("redis-benchmark", "-p", listener.port, "-n", 200, "-r", 50, "-q")
    assert "requests per second" in run(*command, "SETEX", "own:__rand_int__", "60", "v")
    assert "requests per second" in run(*command, "-x", "SET", "own:x", stdin="value")
    assert run("redis-cli", "-p", listener.port, "GET", "own:x") == "value\n"
