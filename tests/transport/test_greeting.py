"""Hellos: their bytes, and who is turned away for which reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.raft.types import ProtocolError
from raftkv.transport.greeting import (
    BULK,
    REASON_CHARS_MAX,
    URGENT,
    Endpoint,
    Hello,
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
MEMBERS = (2, 3)


def test_hello_and_welcome_come_back_as_they_were() -> None:
    """The diagrams in `greeting`."""
    assert decode_hello(encode_hello(HELLO)) == HELLO
    assert decode_hello(encode_hello(replace(HELLO, channel=URGENT))).channel is URGENT
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
    """Only two are known."""
    with pytest.raises(ProtocolError, match="channel 9"):
        decode_hello(b"\x09" + encode_hello(HELLO)[1:])


def test_a_member_of_the_same_cluster_is_welcome() -> None:
    """The one good case."""
    assert reason_to_refuse(HELLO, LISTENER, MEMBERS) is None


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        (Hello(BULK, replace(DIALER, run_id=LISTENER.run_id), 1), "leads to its own node"),
        (Hello(BULK, replace(DIALER, cluster_id=b"x" * 16), 1), "belongs to cluster 6363"),
        (Hello(BULK, DIALER, 3), "this is node 1, not node 3"),
        (Hello(BULK, replace(DIALER, node_id=1), 1), "there is a node 1 already"),
        (Hello(BULK, replace(DIALER, node_id=4), 1), "node 4 is no member"),
    ],
)
def test_a_wrong_dialer_is_turned_away_with_the_reason(hello: Hello, reason: str) -> None:
    """The operator reads in one line what is wrong."""
    assert reason in (reason_to_refuse(hello, LISTENER, MEMBERS) or "")


def test_the_dialer_leaves_a_wrong_listener() -> None:
    """A listener that welcomes everybody must not get a cluster's data."""
    assert reason_to_leave(LISTENER, HELLO) is None
    assert reason_to_leave(replace(LISTENER, node_id=3), HELLO) == "the listener is node 3"
    assert "cluster 7878" in (reason_to_leave(replace(LISTENER, cluster_id=b"x" * 16), HELLO) or "")


def test_a_refusal_is_short_and_printable_in_the_log() -> None:
    """A peer's words must not forge log lines."""
    assert decode_refusal(encode_refusal("no such node")) == "no such node"
    assert decode_refusal(b"a\nb\x1b[0m\xff") == "a?b?[0m\N{REPLACEMENT CHARACTER}"
    assert decode_refusal(encode_refusal("x" * 1000)) == "x" * REASON_CHARS_MAX
