"""Hellos: their bytes, and who is turned away for which reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.raft.types import ProtocolError
from raftkv.transport.greeting import (
    BULK,
    HOST_BYTES_MAX,
    OTHER,
    REASON_CHARS_MAX,
    REMOVED,
    SNAPSHOT,
    URGENT,
    Endpoint,
    Hello,
    Refusal,
    decode_hello,
    decode_refusal,
    decode_welcome,
    encode_hello,
    encode_refusal,
    encode_welcome,
    reason_to_leave,
    reason_to_refuse,
)

CLUSTER = b"c" * 16
LISTENER = Endpoint(node_id=1, cluster_id=CLUSTER, run_id=b"11111111")
DIALER = Endpoint(node_id=2, cluster_id=CLUSTER, run_id=b"22222222")
HELLO = Hello(BULK, DIALER, to=1)


def welcomes(node_id: int) -> Refusal | None:
    return None if node_id in (2, 3) else Refusal(f"node {node_id} was removed from the cluster", REMOVED)


def test_hello_and_welcome_come_back_as_they_were() -> None:
    """The diagrams in `greeting`."""
    assert decode_hello(encode_hello(HELLO)) == HELLO
    for channel in (URGENT, BULK, SNAPSHOT):
        assert decode_hello(encode_hello(replace(HELLO, channel=channel))).channel is channel
    for host in ("10.0.0.1", "fe80::1%eth0", "a" * HOST_BYTES_MAX, "n\u00f6de-1"):
        announced = replace(HELLO, address=(host, 17001))
        assert decode_hello(encode_hello(announced)) == announced
    assert decode_welcome(encode_welcome(LISTENER)) == LISTENER


@given(st.binary(max_size=50))
def test_garbage_raises_nothing_but_protocol_error(body: bytes) -> None:
    """STYLE 7."""
    for decode in (decode_hello, decode_welcome, decode_refusal):
        try:
            decode(body)
        except ProtocolError:
            continue


def test_an_unknown_channel_is_refused() -> None:
    """Only three are known."""
    with pytest.raises(ProtocolError, match="channel 9"):
        decode_hello(b"\x09" + encode_hello(HELLO)[1:])


@pytest.mark.parametrize(
    "end", [b"\x00\x00host", b"\x00\x01", b"\x00\x01a b", b"\x00\x01a\nb", b"\x00\x01a\x00", b"\x00\x01\xff"]
)
def test_an_announced_address_that_can_be_none_is_garbage(end: bytes) -> None:
    """It is handed to a resolver, and written into logs and files."""
    with pytest.raises(ProtocolError, match="an address that can't be one"):
        decode_hello(encode_hello(HELLO)[:-2] + end)


def test_an_announced_host_is_bounded() -> None:
    """STYLE 8: it is kept."""
    with pytest.raises(ProtocolError, match="wrong length"):
        decode_hello(encode_hello(HELLO) + b"a" * (HOST_BYTES_MAX + 1))


def test_a_member_of_the_same_cluster_is_welcome() -> None:
    """The one good case."""
    assert reason_to_refuse(HELLO, LISTENER, welcomes) is None


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        (Hello(BULK, replace(DIALER, run_id=LISTENER.run_id), 1), "leads to its own node"),
        (Hello(BULK, replace(DIALER, cluster_id=b"x" * 16), 1), "belongs to cluster 6363"),
        (Hello(BULK, DIALER, 3), "this is node 1, not node 3"),
        (Hello(BULK, replace(DIALER, node_id=1), 1), "there is a node 1 already"),
        (Hello(BULK, replace(DIALER, node_id=4), 1), "node 4 was removed"),
    ],
)
def test_a_wrong_dialer_is_turned_away_with_the_reason(hello: Hello, reason: str) -> None:
    """The operator reads in one line what is wrong."""
    refusal = reason_to_refuse(hello, LISTENER, welcomes)
    assert refusal is not None
    assert reason in refusal.reason
    assert refusal.code is (REMOVED if hello.sender.node_id == 4 else OTHER)


def test_the_dialer_leaves_a_wrong_listener() -> None:
    """A listener that welcomes everybody must not get a cluster's data."""
    assert reason_to_leave(LISTENER, HELLO) is None
    assert reason_to_leave(replace(LISTENER, node_id=3), HELLO) == "the listener is node 3"
    assert "cluster 7878" in (reason_to_leave(replace(LISTENER, cluster_id=b"x" * 16), HELLO) or "")


def test_a_refusal_is_short_and_printable_in_the_log() -> None:
    """A peer's words must not forge log lines."""
    assert decode_refusal(encode_refusal(Refusal("no such node", REMOVED))) == Refusal(
        "no such node", REMOVED
    )
    assert decode_refusal(b"\x00a\nb\x1b[0m\xff").reason == "a?b?[0m\N{REPLACEMENT CHARACTER}"
    assert decode_refusal(encode_refusal(Refusal("x" * 1000))) == Refusal("x" * REASON_CHARS_MAX)


def test_a_refusal_with_an_unknown_code_is_read_by_its_reason() -> None:
    """A later version's code tells an older node nothing; it must not take it for a removal."""
    assert decode_refusal(b"\xfflater") == Refusal("later", OTHER)
    assert decode_refusal(b"") == Refusal("", OTHER)
