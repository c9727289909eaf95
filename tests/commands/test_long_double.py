"""Numbers as Redis adds them up. See also test_strings_against_redis, which asks Redis itself."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.commands.long_double import (
    INFINITE,
    TEXT_BYTES_END,
    ZERO,
    LongDouble,
    add,
    format_long_double,
    parse_long_double,
)


def number_of(text: bytes) -> LongDouble:
    """A text that is a finite number."""
    number = parse_long_double(text)
    assert number is not None, text
    assert number is not INFINITE, text
    return number


def exactly(number: LongDouble) -> Fraction:
    """Its value."""
    return number.mantissa * Fraction(2) ** number.exponent


@pytest.mark.parametrize(
    ("text", "written"),
    [
        *((b"0", b"0"), (b"-0", b"0"), (b"+5", b"5"), (b"5.", b"5"), (b".5", b"0.5"), (b"007", b"7")),
        *(
            (b"10.50", b"10.5"),
            (b"5.0e3", b"5000"),
            (b"5E-1", b"0.5"),
            (b"2e+2", b"200"),
            (b"0e999999", b"0"),
        ),
        *((b"0x10", b"16"), (b"-0X.8", b"-0.5"), (b"0x1p3", b"8"), (b"0x1P-1", b"0.5")),
        *(
            (b"9223372036854775807", b"9223372036854775807"),
            (b"18446744073709551617", b"18446744073709551616"),
        ),
        *((b"1000.1", b"1000.09999999999999998"), (b"0.1", b"0.1"), (b"1e-17", b"0.00000000000000001")),
        *((b"1e-18", b"0"), (b"-1e-18", b"0"), (b"1e-4950", b"0"), (b"3.6e-4951", b"0")),
    ],
)
def test_number_is_written_as_redis_writes_it(text: bytes, written: bytes) -> None:
    """redis string2ld, ld2string: what redis-server 7.0 on x86-64 answered."""
    assert format_long_double(number_of(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b".", b"-", b"x", b"e5", b"1e", b"1e+", b" 1", b"1 ", b"1_0", b"1,5", b"--1", b"1f", b"1\n"),
        *(b"0x", b"0x.", b"0xg", b"0x1p", b"0b1", b"nan", b"-nan", b"nan(1)", b"infin", b"1\x00", b"\xb2"),
        *(b"1e5000", b"-1e99999999999999999999", b"1.1898e4932", b"0x1p16384", b"1e-5000", b"1e-9999999999"),
        *(b"1.8e-4951", b"0x1p-16446", b"1e" + b"9" * 5000, b"1" * TEXT_BYTES_END),
    ],
)
def test_what_is_no_number_or_out_of_range_is_none(text: bytes) -> None:
    """redis string2ld"""
    assert parse_long_double(text) is None


@pytest.mark.parametrize("text", [b"inf", b"-INF", b"+Infinity"])
def test_infinity_is_a_number_that_adds_up_to_nothing(text: bytes) -> None:
    """redis INCRBYFLOAT"""
    assert parse_long_double(text) is INFINITE
    assert add(INFINITE, ZERO) is add(ZERO, INFINITE) is add(INFINITE, INFINITE) is None


def test_extremes_are_read_and_written_in_full() -> None:
    """redis MAX_LONG_DOUBLE_CHARS: the largest number has 4933 digits, the longest text 5119."""
    largest = number_of(b"0x.ffffffffffffffffp16384")
    assert len(format_long_double(largest)) == 4933
    assert number_of(b"1.189731495357231765e4932") == largest
    assert add(largest, largest) is None
    assert add(largest, ZERO) == largest
    assert number_of(b"0" * (TEXT_BYTES_END - 2) + b"7") == number_of(b"7")
    assert number_of(b"0." + b"0" * 4999 + b"1e5000") == number_of(b"1")
    assert number_of(b"1e-4950") == LongDouble(3, -16445)
    assert exactly(number_of(b"9" * 5000 + b"e-5000")) == 1


@pytest.mark.parametrize(
    ("bits", "rounded"),
    [
        (2**64 + 1, 2**64),
        (2**64 + 3, 2**64 + 4),
        (2**65 + 3, 2**65 + 4),
        (2**65 - 1, 2**65),
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_the_nearest_number_is_taken_and_the_even_one_of_two(bits: int, rounded: int) -> None:
    """IEEE 754, round to nearest, with 64 bits."""
    assert exactly(number_of(b"%d" % bits)) == rounded
    assert exactly(number_of(b"-0x%x" % bits)) == -rounded


@given(
    numbers=st.lists(
        st.tuples(st.integers(-(2**64) + 1, 2**64 - 1), st.integers(-80, 80)), min_size=2, max_size=2
    )
)
def test_a_sum_is_the_exact_one_rounded_once(numbers: list[tuple[int, int]]) -> None:
    """IEEE 754: no other number of 64 bits is nearer."""
    first, second = (LongDouble(mantissa, exponent) for mantissa, exponent in numbers)
    exact = exactly(first) + exactly(second)
    found = add(first, second)
    assert found is not None
    assert abs(found.mantissa) <= 2**64
    # What one more in the 64th bit of the exact sum would be; it has at most 80 bits behind the point.
    step = Fraction(2) ** (int(abs(exact) * 2**80).bit_length() - 80 - 64)
    assert exactly(found) / step == round(exact / step)
