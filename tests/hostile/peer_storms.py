"""What strangers, nodes of other clusters and copies of old bytes do to the peer port.

The peer port asks for no password, and a node that lies is beyond what raftkv promises (see README): nobody
here makes up frames with a right checksum in a member's name, but what members said before is said again.
"""

from __future__ import annotations

import os
import random
import struct
from dataclasses import replace

from raftkv.transport.frames import (
    HEADER_BYTES,
    HELLO,
    MESSAGES,
    MORE,
    PREAMBLE,
    QUESTION,
    REFUSAL,
    FrameReader,
    encode_frame,
)
from raftkv.transport.greeting import FORMATION, URGENT, Channel, Hello, decode_hello, encode_hello
from tests.hostile.arena import Arena, in_turn
from tests.hostile.bare import Bare
from tests.hostile.taps import Recording, flipped
from tests.integration.waiting import wait_until

#: Where a connection's bytes hold the length of its HELLO.
_HELLO_LENGTH = slice(len(PREAMBLE), len(PREAMBLE) + 4)
#: Seconds within which a node closes who does not say who he is.
_SILENCE_SECONDS_MAX = 5.0


def _say(port: int, data: bytes, *, ends: bool = True) -> list[tuple[int, bytes]]:
    """Say it to a peer port and give the frames of the answer, up to the end."""
    with Bare(port) as bare:
        bare.say(data)
        if ends:
            bare.end()
        heard = bare.hear_to_the_end()
        frames = FrameReader(frame_bytes_max=1 << 20)
        return [(frame.kind, bytes(frame.body)) for frame in frames.feed(heard)]


def _genuine_hellos(arena: Arena) -> list[Hello]:
    """What the nodes said at the beginning of their connections that stand."""
    return [_hello_of(each) for each in arena.taps.recordings() if each.is_open and _has_hello(each)]


def _hello_end(recording: Recording) -> int:
    length = int.from_bytes(recording.data[_HELLO_LENGTH], "big")
    return len(PREAMBLE) + HEADER_BYTES + length


def _has_hello(recording: Recording) -> bool:
    return len(recording.data) >= max(_HELLO_LENGTH.stop, _hello_end(recording))


def _hello_of(recording: Recording) -> Hello:
    return decode_hello(bytes(recording.data[len(PREAMBLE) + HEADER_BYTES : _hello_end(recording)]))


def _greeting(hello: Hello) -> bytes:
    return PREAMBLE + encode_frame(HELLO, encode_hello(hello))


def peer_noise(arena: Arena, source: random.Random) -> None:
    """Random bytes, with and without the right beginning."""
    for port in in_turn(source, 60, list(arena.peer_ports.values())):
        beginning = source.choice((b"", PREAMBLE, PREAMBLE[: source.randrange(8)], b"raftkv\x00\x09"))
        _say(port, beginning + source.randbytes(source.choice((1, 12, 200, 70_000))))


def oversized_frames(arena: Arena, source: random.Random) -> None:
    """Lengths that no node sends, before and after a greeting, and bodies without end."""
    for port in in_turn(source, 30, list(arena.peer_ports.values())):
        length = source.choice((1 << 31, (1 << 32) - 1, (256 << 10) + 1, 17 << 10))
        kind = source.choice((HELLO, MESSAGES, QUESTION, MESSAGES | MORE))
        header = struct.pack(">IBII", length, kind, source.randrange(3), 0)
        assert _say(port, PREAMBLE + header + bytes(1000)) == []
    for port in arena.peer_ports.values():
        with Bare(port) as bare:
            pieces = encode_frame(QUESTION | MORE, bytes(1 << 10)) * 10_000
            assert bare.push(PREAMBLE + pieces, seconds_max=5.0) < len(pieces), "10 MB from nobody were taken"


def cut_greetings(arena: Arena, source: random.Random) -> None:
    """A genuine greeting up to each place, and then the end or silence."""
    for hello in source.sample(_genuine_hellos(arena), 2):
        data = _greeting(replace(hello, sender=replace(hello.sender, run_id=os.urandom(8))))
        for place in range(len(data)):
            _say(arena.peer_ports[hello.to], data[:place])
    bare = Bare(arena.peer_ports[hello.to])
    bare.say(data[: source.randrange(len(data))])
    bare.hear_to_the_end(seconds_max=_SILENCE_SECONDS_MAX)
    bare.close()


def silent_crowd(arena: Arena, source: random.Random) -> None:
    """More silent connections than may be half open: the oldest are closed, and all in the end."""
    crowd = [Bare(port) for port in in_turn(source, 400, list(arena.peer_ports.values()))]
    for bare in crowd:
        bare.hear_to_the_end(seconds_max=_SILENCE_SECONDS_MAX)
        bare.close()


def peer_resets(arena: Arena, source: random.Random) -> None:
    """A thousand connections that are gone at once."""
    for port in in_turn(source, 1000, list(arena.peer_ports.values())):
        bare = Bare(port)
        if source.random() < 0.3:
            bare.say(PREAMBLE)
        bare.reset()


def impostors(arena: Arena, source: random.Random) -> None:
    """Nodes of another cluster with the same ids, no members, connections that lead elsewhere: refused."""
    for hello in _genuine_hellos(arena):
        sender = replace(hello.sender, run_id=os.urandom(8))
        wrong = [
            (replace(hello, sender=replace(sender, cluster_id=os.urandom(16))), b"belongs to cluster"),
            (replace(hello, sender=replace(sender, node_id=0)), b"node 0 is no member"),
            (replace(hello, sender=replace(sender, node_id=hello.to)), b"already"),
            (replace(hello, sender=sender, to=77), b"not node 77"),
        ]
        for impostor, reason in wrong:
            heard = _say(arena.peer_ports[hello.to], _greeting(impostor), ends=source.random() < 0.5)
            assert [kind for kind, _ in heard] == [REFUSAL], heard
            assert reason in heard[0][1], heard


def bootstrap_questions(arena: Arena, source: random.Random) -> None:
    """Questions of a node that has no cluster yet: garbage closes, and a formed node forms no other."""
    for port in in_turn(source, 40, list(arena.peer_ports.values())):
        kind = source.choice((b"", bytes([FORMATION]), source.randbytes(1)))
        question = encode_frame(QUESTION, kind + source.randbytes(source.choice((0, 1, 40, 120, 3000))))
        _say(port, PREAMBLE + question * source.choice((1, 50)))


def _recordings(arena: Arena, source: random.Random) -> list[Recording]:
    """What was said on each connection that stands, in a random order."""
    found = [each for each in arena.taps.recordings() if each.is_open and len(each.data) > 200]
    source.shuffle(found)
    return found


def _wait_for_links(arena: Arena) -> None:
    """Wait until all nodes can talk to each other again."""
    links = len(Channel) * len(arena.nodes) * (len(arena.nodes) - 1)
    wait_until(lambda: len(_genuine_hellos(arena)) == links, "all links are up")


def replays(arena: Arena, source: random.Random) -> None:
    """A member's recorded bytes said again: old terms, old acknowledgements and old forwards do nothing.

    The node takes it for the member, which then dials again.
    """
    for recording in _recordings(arena, source)[:4]:
        data = bytes(recording.data)
        if source.random() < 0.5:
            data = data[: source.randrange(50, len(data))]
        with Bare(recording.target_port) as bare:
            bare.say(data)
            bare.end()
            bare.hear_to_the_end()
        _wait_for_links(arena)


def spoiled_replays(arena: Arena, source: random.Random) -> None:
    """The same with a bit flipped behind the greeting: what stands behind it is not looked at."""
    for recording in _recordings(arena, source)[:4]:
        data = bytes(recording.data)
        place = source.randrange(len(data))
        with Bare(recording.target_port) as bare:
            bare.say(data[:place] + flipped(source, data[place:]))
            bare.end()
            bare.hear_to_the_end()
        _wait_for_links(arena)


def spoiled_links(arena: Arena, source: random.Random) -> None:
    """A bit flips on a link that is in use: that connection is given up, and made anew."""
    recording = next(each for each in _recordings(arena, source) if _carries_heartbeats(arena, each))
    arena.taps.spoil(recording)
    wait_until(lambda: not recording.is_open, "a spoiled link is given up")
    _wait_for_links(arena)


def _carries_heartbeats(arena: Arena, recording: Recording) -> bool:
    """Whether something is said all the time: by the leader or to it."""
    hello = _hello_of(recording)
    return hello.channel == URGENT and arena.leader.node_id in (hello.sender.node_id, hello.to)


STORMS = (
    peer_noise,
    oversized_frames,
    cut_greetings,
    silent_crowd,
    peer_resets,
    impostors,
    bootstrap_questions,
    replays,
    spoiled_replays,
    spoiled_links,
)
