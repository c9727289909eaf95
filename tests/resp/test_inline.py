"""Inline commands as people type them (redis sdssplitargs)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.resp.inline import split_inline


@pytest.mark.parametrize(
    ("line", "args"),
    [
        (b"", []),
        (b" \t ", []),
        (b"SET key value", [b"SET", b"key", b"value"]),
        (b"  GET\tkey  ", [b"GET", b"key"]),
        (b'SET key "a b"', [b"SET", b"key", b"a b"]),
        (b'"\\x41\\xfF\\n\\r\\t\\b\\a\\q\\\\\\""', [b'A\xff\n\r\t\b\aq\\"']),
        (b'"\\xZZ"', [b"xZZ"]),
        (b"'a \\' b\\n'", [b"a ' b\\n"]),
        (b'foo"bar"\'', None),
        (b'foo"bar baz" x', [b"foobar baz", b"x"]),
        (b'""', [b""]),
        (b"'' ''", [b"", b""]),
        (b'"a"b', None),
        (b'"a', None),
        (b'"a\\"', None),
        (b"'a", None),
        (b"'abc\\'", None),
        (b"'a'b", None),
        (b"caf\xc3\xa9 \x00", [b"caf\xc3\xa9", b"\x00"]),
    ],
)
def test_line_is_split_as_redis_does(line: bytes, args: list[bytes] | None) -> None:
    """redis sdssplitargs."""
    assert split_inline(line) == args


@given(st.lists(st.binary(max_size=10)))
def test_what_is_quoted_byte_by_byte_comes_back(args: list[bytes]) -> None:
    """redis sdscatrepr writes what sdssplitargs reads."""
    line = b" ".join(b'"' + b"".join(b"\\x%02x" % byte for byte in arg) + b'"' for arg in args)
    assert split_inline(line) == args


@given(st.text(alphabet="ab '\"\\x4\t").map(str.encode))
def test_no_line_is_too_odd(line: bytes) -> None:
    """Refused or split, and quick: every quote is looked at once."""
    args = split_inline(line)
    assert args is None or all(isinstance(arg, bytes) for arg in args)
