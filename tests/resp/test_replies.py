"""Reply values and their bytes in both protocols."""

from __future__ import annotations

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.resp.replies import (
    DEFINITE,
    ERROR_PREFIXES,
    NULL_ARRAY,
    OK,
    RESP2,
    RESP3,
    Error,
    Push,
    Reply,
    ReplySet,
    Simple,
    Verbatim,
    cluster_down,
    encode,
    encode_many,
    encode_run,
    format_double,
    is_definite,
    loading,
    moved,
    printable,
    printable_at_end,
    try_again,
    unknown_outcome,
)


@pytest.mark.parametrize(
    ("reply", "in_resp2", "in_resp3"),
    [
        (OK, b"+OK\r\n", b"+OK\r\n"),
        (Simple("RESET"), b"+RESET\r\n", b"+RESET\r\n"),
        (Error("ERR no"), b"-ERR no\r\n", b"-ERR no\r\n"),
        (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
        (b"a\r\nb", b"$4\r\na\r\nb\r\n", b"$4\r\na\r\nb\r\n"),
        (b"x" * 2000, b"$2000\r\n" + b"x" * 2000 + b"\r\n", b"$2000\r\n" + b"x" * 2000 + b"\r\n"),
        (0, b":0\r\n", b":0\r\n"),
        (1023, b":1023\r\n", b":1023\r\n"),
        (1024, b":1024\r\n", b":1024\r\n"),
        (-1, b":-1\r\n", b":-1\r\n"),
        (-(1 << 63), b":-9223372036854775808\r\n", b":-9223372036854775808\r\n"),
        (None, b"$-1\r\n", b"_\r\n"),
        (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
        (True, b":1\r\n", b"#t\r\n"),
        (False, b":0\r\n", b"#f\r\n"),
        (1.5, b"$3\r\n1.5\r\n", b",1.5\r\n"),
        ([], b"*0\r\n", b"*0\r\n"),
        (
            [b"a", 1, None, OK],
            b"*4\r\n$1\r\na\r\n:1\r\n$-1\r\n+OK\r\n",
            b"*4\r\n$1\r\na\r\n:1\r\n_\r\n+OK\r\n",
        ),
        ((b"a", [True]), b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", b"*2\r\n$1\r\na\r\n*1\r\n#t\r\n"),
        ({b"a": 1}, b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
        (ReplySet([b"a"]), b"*1\r\n$1\r\na\r\n", b"~1\r\n$1\r\na\r\n"),
        (Push([b"a"]), b"*1\r\n$1\r\na\r\n", b">1\r\n$1\r\na\r\n"),
        (Verbatim(b"ab"), b"$2\r\nab\r\n", b"=6\r\ntxt:ab\r\n"),
    ],
)
def test_reply_has_these_bytes(reply: Reply, in_resp2: bytes, in_resp3: bytes) -> None:
    """RESP2 and RESP3 specifications."""
    assert encode(reply, RESP2) == in_resp2
    assert encode(reply, RESP3) == in_resp3


def test_many_replies_are_each_encoded_alone() -> None:
    """A client gets each reply in its own slot."""
    replies: list[Reply] = [OK, b"a", 5, None, [1], Error("ERR x")]
    assert encode_many(replies, RESP3) == [encode(reply, RESP3) for reply in replies]


def test_a_value_that_is_no_reply_is_a_bug() -> None:
    """House style: a bug is an assertion."""
    with pytest.raises(AssertionError, match="object"):
        encode([object()], RESP2)


def test_a_line_break_never_gets_into_a_one_line_reply() -> None:
    """It would be read as the end of the reply."""
    with pytest.raises(AssertionError, match="line break"):
        encode(Error("ERR a\r\n+OK"), RESP2)
    assert encode(Error(f"ERR {printable(b'a' + bytes([13, 10]) + b'b')}"), RESP2) == b"-ERR a  b\r\n"


def test_a_clients_bytes_come_back_in_an_error_as_they_came() -> None:
    """redis: the text quotes the argument, whatever its bytes."""
    assert encode(Error(f"ERR '{printable(bytes([0xFF, 0xC3, 0xA9]))}'"), RESP2) == b"-ERR '\xff\xc3\xa9'\r\n"
    assert len(printable(b"x" * 500)) == 128


def test_a_clients_bytes_in_an_error_end_at_a_nul() -> None:
    """redis addReplyErrorFormat prints them as C does, and trims line breaks at the end of the text."""
    assert printable(b"a\0b") == "a"
    assert printable(b"a\r\n") == "a  "
    assert printable_at_end(b"a\r\nb\r\n\0c") == "a  b"


_values = st.recursive(
    st.binary(max_size=40) | st.integers(-(1 << 63), (1 << 63) - 1) | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=30,
)


@given(_values)
def test_a_client_reads_back_what_was_encoded(value: Reply) -> None:
    """hiredis is the reader of most clients."""
    reader = hiredis.Reader()
    reader.feed(encode(value, RESP3))
    assert reader.gets() == value


@pytest.mark.parametrize(
    ("number", "text"),
    [(3.0, b"3"), (0.1, b"0.1"), (-2.5, b"-2.5"), (float("inf"), b"inf"), (1e21, b"1e+21"), (1e17, b"1e+17")],
)
def test_double_has_the_shortest_digits(number: float, text: bytes) -> None:
    """redis 7.2 addReplyDouble."""
    assert format_double(number) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (moved(5, "host", 7001), "MOVED 5 host:7001"),
        (cluster_down("no"), "CLUSTERDOWN no"),
        (try_again("no"), "TRYAGAIN no"),
        (loading("no"), "LOADING no"),
    ],
)
def test_definite_errors_say_so_by_their_prefix(error: Error, text: str) -> None:
    """DESIGN: definite and indefinite errors are kept apart, in one table."""
    assert error.text == text
    assert is_definite(error)


def test_only_unknown_is_indefinite() -> None:
    """Whatever else a client hears, its command was not done."""
    assert {prefix for prefix, certainty in ERROR_PREFIXES.items() if certainty is not DEFINITE} == {
        "UNKNOWN"
    }
    assert not is_definite(unknown_outcome("the leader was lost"))


def test_an_error_that_is_not_in_the_table_is_a_bug() -> None:
    """One table decides."""
    with pytest.raises(KeyError):
        is_definite(Error("SURPRISE x"))


@given(
    st.lists(
        st.one_of(st.binary(max_size=9), st.binary(max_size=9), _values, st.just(b"x" * 1024)), max_size=5
    ),
    st.sampled_from([2, 3]),
)
def test_a_run_of_replies_is_what_its_replies_are(replies: list[Reply], protocol: int) -> None:
    """Contract of `encode_run`: whatever is among them."""
    assert encode_run(replies, protocol) == b"".join(encode_many(replies, protocol))
