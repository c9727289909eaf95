"""What clients do to both listeners: each storm is a function of the arena and the seed's randomness.

A storm fails by itself if what it did is not answered as it should be; what it did to the cluster is looked
at afterwards, by `Arena.check`.
"""

from __future__ import annotations

import random
import time

from tests.hostile.arena import Arena, in_turn
from tests.hostile.bare import Bare, replies_in
from tests.hostile.mutations import GOOD, good, mutated, noise, request, with_length
from tests.integration.waiting import wait_until
from tests.integration.wire import Wire, ask

_BIG_BYTES = 256 << 10
#: Seconds within which other clients are served while somebody misbehaves.
_SERVED_SECONDS_MAX = 5.0


def _say_and_end(port: int, data: bytes) -> list[object]:
    """Say it, end this side, and give the replies up to the end, which must come."""
    with Bare(port) as bare:
        bare.say(data)
        bare.end()
        heard = bare.hear_to_the_end()
        return replies_in(heard, may_be_cut=bare.is_reset)


def random_bytes(arena: Arena, source: random.Random) -> None:
    """Noise is refused or unknown; in any case the connection ends when the client does."""
    for port in in_turn(source, 60, arena.client_ports()):
        _say_and_end(port, noise(source))


def mutated_requests(arena: Arena, source: random.Random) -> None:
    """Flipped bits, bytes lost and added, pieces repeated, nested headers."""
    for port in in_turn(source, 120, arena.client_ports()):
        _say_and_end(port, mutated(source))


def wrong_lengths(arena: Arena, source: random.Random) -> None:
    """Huge, negative and unreadable numbers in headers: nothing is allocated for them."""
    for port in in_turn(source, 120, arena.client_ports()):
        _say_and_end(port, with_length(source))


def cut_requests(arena: Arena, source: random.Random) -> None:
    """One request cut at each place: what came before it is answered, and nothing of it is done."""
    args = source.choice([args for args in GOOD if args[0] in (b"SET", b"ECHO", b"MGET", b"INCRBY")])
    whole = request((b"PING",))
    data = request(args)
    places = range(1, len(data)) if len(data) < 60 else sorted(source.sample(range(1, len(data)), 60))
    for port, place in zip(in_turn(source, len(places), arena.client_ports()), places, strict=True):
        replies = _say_and_end(port, whole + data[:place])
        assert replies[0] == b"PONG", replies
        assert len(replies) == 1, f"{data[:place]!r} was answered {replies[1:]!r}"


def leaving_midway(arena: Arena, source: random.Random) -> None:
    """Clients that reset their connection within a write, or with writes under way."""
    for port in in_turn(source, 60, arena.client_ports()):
        bare = Bare(port)
        writes = b"".join(
            request((b"SET", b"{h}left", b"x" * source.randrange(3000))) for _ in range(source.randrange(20))
        )
        whole = request((b"SET", b"{h}left", b"y" * source.choice((10, 100_000))))
        bare.say(writes + whole[: source.randrange(len(whole))])
        bare.reset()


def half_closed(arena: Arena, source: random.Random) -> None:
    """All that was pipelined before the client ended its side is answered, in order, then comes the end."""
    # What is answered at once waits for the writes before it: with ECHO each write takes a round of its own.
    count, has_echo = source.choice(((10, True), (50, True), (2000, False)))
    for node in arena.nodes:
        key = b"{h}half:%d" % source.randrange(1000)
        requests: list[tuple[bytes, ...]] = []
        expected: list[bytes] = []
        for place in range(count):
            number = b"%d" % place
            requests += [(b"SET", key, number), (b"GET", key)] + [(b"ECHO", number)] * has_echo
            expected += [b"OK", number] + [number] * has_echo
        standstills = arena.standstills
        replies = _say_and_end(node.standalone_port, b"".join(map(request, requests)))
        assert len(replies) == len(expected), f"{len(replies)} of {len(expected)} replies"
        pairs = zip(replies, expected, strict=True)
        wrong = [f"{place}: {got!r}" for place, (got, wanted) in enumerate(pairs) if got != wanted]
        # Who stood still for longer than a request may take has to say that it doesn't know.
        assert not wrong or arena.standstills > standstills, f"{len(wrong)} wrong replies, {wrong[:3]}"
    assert _say_and_end(arena.nodes[0].port, b"") == []


def connect_and_reset(arena: Arena, source: random.Random) -> None:
    """A thousand connections that are gone at once."""
    for port in in_turn(source, 1000, arena.client_ports()):
        bare = Bare(port)
        if source.random() < 0.3:
            bare.say(good(source, 2)[: source.randint(1, 40)])
        if source.random() < 0.5:
            bare.reset()
        else:
            bare.close()


def more_than_maxclients(arena: Arena, source: random.Random) -> None:
    """redis maxclients: who is one too many is told, and those who were there are served on."""
    node = source.choice(arena.nodes)
    refusal = b"-ERR max number of clients reached\r\n"
    with node.connect() as wire:
        assert wire.call("CONFIG", "SET", "maxclients", 30) == b"OK"
        crowd = [Bare(port) for port in in_turn(source, 200, [node.port, node.standalone_port])]
        heard = [bare.hear(len(refusal), seconds_max=0.02) for bare in crowd[:10] + crowd[-30:]]
        assert wire.call("PING") == b"PONG"
        assert heard[:10] == [b""] * 10
        assert set(heard[10:]) <= {refusal, b""}
        assert refusal in heard
        for bare in crowd:
            bare.close()
        assert wire.call("CONFIG", "SET", "maxclients", 10_000) == b"OK"
    wait_until(lambda: ask(node.port, "PING") == b"PONG", "room for clients")


def slow_readers(arena: Arena, source: random.Random) -> None:
    """Clients that ask for much and read nothing: closed at their limit, or read no further."""
    with arena.leader.connect() as wire:
        assert wire.call("SET", "{h}big", bytes(_BIG_BYTES)) == b"OK"
        wire.call("SET", "{h}small", "x" * 20)
    node = source.choice(arena.nodes)
    window_bytes = 64 << 10
    asking_big = request((b"GET", b"{h}big")) * 2000
    asking_small = request((b"GET", b"{h}small")) * 400_000
    greedy = [Bare(node.standalone_port, receive_bytes=window_bytes) for _ in range(3)]
    for bare in greedy:
        bare.push(asking_big, seconds_max=2.0)
        _is_served_meanwhile(arena)
    steady = [Bare(node.standalone_port, receive_bytes=window_bytes) for _ in range(2)]
    for bare in steady:
        taken = bare.push(asking_small, seconds_max=0.5)
        assert taken < len(asking_small), "a client that reads nothing is read without end"
    _is_served_meanwhile(arena)
    for bare in greedy:
        heard = bare.hear_to_the_end()
        assert len(heard) < 2000 * _BIG_BYTES // 4, f"owed 500 MB, {len(heard)} bytes were sent"
    for bare in steady:
        bare.reset()


def _is_served_meanwhile(arena: Arena) -> None:
    for node in arena.nodes:
        begin, standstills = time.monotonic(), arena.standstills
        assert ask(node.standalone_port, "SET", "{h}meanwhile", "1") == b"OK"
        assert arena.standstills > standstills or time.monotonic() - begin < _SERVED_SECONDS_MAX


def slow_senders(arena: Arena, source: random.Random) -> None:
    """Requests that come byte by byte on many connections at once are each answered in the end."""
    data = request((b"ECHO", b"slow"))
    crowd = [Bare(port) for port in in_turn(source, 60, arena.client_ports())]
    for place in range(len(data)):
        for bare in crowd:
            bare.say(data[place : place + 1])
    for bare in crowd:
        assert bare.hear(10) == b"$4\r\nslow\r\n"
        bare.close()


def too_much(arena: Arena, source: random.Random) -> None:
    """A write above command_bytes_max is refused; requests above the query buffer end the connection."""
    port = arena.leader.port
    with Wire(port) as wire:
        reply = wire.call("SET", "{h}huge", bytes(3 << 20))
        assert str(reply) == "ERR command is larger than command-bytes-max, nothing was done"
        assert wire.call("EXISTS", "{h}huge") == 0
    for announced in (100 << 20, 500 << 20):
        with Bare(source.choice(arena.client_ports())) as bare:
            bare.say(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$%d\r\n" % announced)
            taken = bare.push(bytes(64 << 20), seconds_max=10.0)
            bare.hear_to_the_end()
            assert taken < 64 << 20, "more than the query buffer was taken"
    with Bare(source.choice(arena.client_ports())) as bare:
        bare.say(b"x" * (70 << 10))
        heard = bare.hear_to_the_end()
        assert bare.is_reset or heard == b"-ERR Protocol error: too big inline request\r\n"


def flood_of_writes(arena: Arena, source: random.Random) -> None:
    """More than may be uncommitted at once: each write is done or definitely refused."""
    node = source.choice(arena.nodes)
    value = bytes(_BIG_BYTES)
    wires = [Wire(node.standalone_port) for _ in range(20)]
    for wire in wires:
        wire.send(("SET", "{h}flood", value), ("SET", "{h}flood", value))
    for wire in wires:
        for _ in range(2):
            reply = wire.receive()
            assert reply == b"OK" or str(reply).startswith("TRYAGAIN "), reply
        wire.close()


def idle_clients(arena: Arena, source: random.Random) -> None:
    """redis timeout: silent connections are closed, whatever they have begun to say."""
    node = source.choice(arena.nodes)
    with node.connect() as wire:
        assert wire.call("CONFIG", "SET", "timeout", 1) == b"OK"
        crowd = [Bare(port) for port in in_turn(source, 40, [node.port, node.standalone_port])]
        for bare in crowd:
            bare.say(good(source, 1)[: source.randrange(4)])
        for bare in crowd:
            bare.hear_to_the_end()
            bare.close()
    with node.connect() as wire:
        assert wire.call("CONFIG", "SET", "timeout", 0) == b"OK"


def strangers(arena: Arena, source: random.Random) -> None:
    """redis requirepass: who has not authenticated gets nothing done and may not announce much."""
    node = source.choice(arena.nodes)
    with node.connect() as wire:
        assert wire.call("CONFIG", "SET", "requirepass", "secret") == b"OK"
        try:
            for port in in_turn(source, 40, [node.port, node.standalone_port]):
                replies = _say_and_end(port, mutated(source))
                assert all(isinstance(reply, Exception) for reply in replies), replies
            for data, word in ((b"*11\r\n", "multibulk"), (b"*1\r\n$16385\r\n", "bulk")):
                (reply,) = _say_and_end(node.port, data)
                assert str(reply) == f"ERR Protocol error: unauthenticated {word} length"
        finally:
            wire.call("CONFIG", "SET", "requirepass", "")


STORMS = (
    random_bytes,
    mutated_requests,
    wrong_lengths,
    cut_requests,
    leaving_midway,
    half_closed,
    connect_and_reset,
    more_than_maxclients,
    slow_readers,
    slow_senders,
    too_much,
    flood_of_writes,
    idle_clients,
    strangers,
)
