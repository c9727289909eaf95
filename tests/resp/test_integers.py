"""Numbers as clients write them (`raftkv.resp.integers`)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.resp.integers import parse_integer


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_every_64_bit_number_is_read_from_its_own_spelling(number: int) -> None:
    """redis string2ll"""
    assert parse_integer(b"%d" % number) == number


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"-", b"-0", b"+1", b" 1", b"1 ", b"1\n", b"1_0", b"007", b"0x1", b"1.0", b"1e3", b"x"),
        *(b"\xb2", "\u0661".encode(), b"1\x00"),
        *(b"9223372036854775808", b"-9223372036854775809", b"9" * 5000),
    ],
)
def test_any_other_spelling_is_no_number(text: bytes) -> None:
    """redis string2ll: the number, all of it and nothing else."""
    assert parse_integer(text) is None
