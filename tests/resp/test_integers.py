"""Numbers as clients write them (redis string2ll)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.resp.integers import parse_integer


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_every_64_bit_number_is_read(number: int) -> None:
    """redis string2ll."""
    assert parse_integer(b"%d" % number) == number


@pytest.mark.parametrize(
    "text",
    [b"", b"-", b"+1", b" 1", b"1 ", b"01", b"-0", b"-01", b"1.0", b"1_0", b"0x1", b"--1", b"\xb2"]
    + [b"%d" % number for number in (1 << 63, -(1 << 63) - 1, 10**19, 10**30)],
)
def test_nothing_else_is_a_number(text: bytes) -> None:
    """redis string2ll: one spelling per number, 64 bits."""
    assert parse_integer(text) is None
