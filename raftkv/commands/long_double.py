"""Numbers as Redis adds them up on x86-64: C's long double, an extended float with 64 bits of mantissa.

Knows no commands. It is all integer arithmetic, exact but for the rounding that is written here, so any
CPU gives the bytes that Redis gives on x86-64 (on other CPUs Redis itself gives others: there a long
double has 53 or 113 bits). Exact decimals would spare 1000.1 + 0 its 1000.09999999999999998, and make a
difference to Redis of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

#: A text this long is no number (redis MAX_LONG_DOUBLE_CHARS).
TEXT_BYTES_END: Final = 5 * 1024

_MANTISSA_BITS: Final = 64
#: Every finite number is below 2 to the power of it.
_EXPONENT_END: Final = 16384
#: Of the last bit of the smallest numbers, which have fewer bits.
_EXPONENT_MIN: Final = -16445
#: More is infinite, less is zero, whatever the digits are: spares powers of ten that nobody can compute.
_TEN_EXPONENT_MAX: Final = 4940
_TEN_EXPONENT_MIN: Final = -4960
#: An exponent as a client writes it is cut here; no digits in a text of this size make up for so much.
_WRITTEN_EXPONENT_MAX: Final = 100_000

#: Digits behind the point that are written (redis ld2string).
_DIGITS: Final = 17

# No piece can match where its neighbour does: a text that is no number is refused in one pass.
_DECIMAL: Final = re.compile(rb"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?")
_HEXADECIMAL: Final = re.compile(rb"([+-]?)0[xX]([0-9a-fA-F]*)(?:\.([0-9a-fA-F]*))?(?:[pP]([+-]?[0-9]+))?")
_INFINITE_WORD: Final = re.compile(rb"[+-]?inf(inity)?", re.IGNORECASE)


@dataclass(slots=True)
class LongDouble:
    """The number mantissa * 2**exponent."""

    #: Invariant: from -2**64 to 2**64.
    mantissa: int
    exponent: int


ZERO: Final = LongDouble(0, 0)
#: Infinite, of either sign: no command has a use for it but to refuse it.
INFINITE: Final = LongDouble(0, _EXPONENT_END)


def parse_long_double(text: bytes) -> LongDouble | None:
    """Read a number as C's strtold does (redis string2ld); None: it is none, or out of range."""
    if len(text) >= TEXT_BYTES_END:
        return None
    match = _DECIMAL.fullmatch(text)
    base = 10
    if match is None:
        match = _HEXADECIMAL.fullmatch(text)
        base = 16
        if match is None:
            return INFINITE if _INFINITE_WORD.fullmatch(text) else None
    sign, whole, fraction, exponent = match.groups(b"")
    if not whole and not fraction:
        return None
    digits = (whole + fraction).lstrip(b"0")
    if not digits:
        return ZERO
    read = _read_decimal if base == 10 else _read_hexadecimal
    number = read(digits, _read_exponent(exponent), len(fraction))
    # What is too small for anything but zero is out of range, too, as in Redis.
    if number is INFINITE or not number.mantissa:
        return None
    return LongDouble(-number.mantissa, number.exponent) if sign == b"-" else number


def add(first: LongDouble, second: LongDouble) -> LongDouble | None:
    """The sum, rounded; None: it is infinite or not a number."""
    if first is INFINITE or second is INFINITE:
        return None
    exponent = min(first.exponent, second.exponent)
    total = (first.mantissa << (first.exponent - exponent)) + (
        second.mantissa << (second.exponent - exponent)
    )
    if not total:
        return ZERO
    rounded = _rounded(abs(total) << max(exponent, 0), 1 << max(-exponent, 0))
    if rounded is INFINITE:
        return None
    return LongDouble(-rounded.mantissa, rounded.exponent) if total < 0 else rounded


def format_long_double(number: LongDouble) -> bytes:
    """A finite number with up to 17 digits behind the point (redis ld2string, LD_STR_HUMAN)."""
    scaled = abs(number.mantissa) * 10**_DIGITS
    if number.exponent >= 0:
        scaled <<= number.exponent
    else:
        scaled = _quotient(scaled, 1 << -number.exponent)
    # Through Decimal, for Python refuses to write integers of more than 4300 digits.
    digits = str(Decimal(scaled)).rjust(_DIGITS + 1, "0")
    text = f"{digits[:-_DIGITS]}.{digits[-_DIGITS:]}".rstrip("0").rstrip(".")
    return f"-{text}".encode() if number.mantissa < 0 and text != "0" else text.encode()


def _read_exponent(text: bytes) -> int:
    digits = text.lstrip(b"+-").lstrip(b"0")
    # The length first: Python refuses to read very long integers.
    size = int(digits or b"0") if len(digits) < 10 else _WRITTEN_EXPONENT_MAX
    size = min(size, _WRITTEN_EXPONENT_MAX)
    return -size if text.startswith(b"-") else size


def _read_decimal(digits: bytes, exponent: int, fraction_count: int) -> LongDouble:
    """`digits` begin with none that is 0; the last `fraction_count` of them stand behind the point."""
    exponent -= fraction_count
    if len(digits) + exponent > _TEN_EXPONENT_MAX:
        return INFINITE
    if len(digits) + exponent < _TEN_EXPONENT_MIN:
        return ZERO
    # Through Decimal, for Python refuses to read integers of more than 4300 digits.
    number = int(Decimal(digits.decode()))
    return _rounded(number * 10 ** max(exponent, 0), 10 ** max(-exponent, 0))


def _read_hexadecimal(digits: bytes, exponent: int, fraction_count: int) -> LongDouble:
    exponent -= 4 * fraction_count
    number = int(digits, 16)
    if number.bit_length() + exponent > _EXPONENT_END:
        return INFINITE
    if number.bit_length() + exponent < _EXPONENT_MIN - 1:
        return ZERO
    return _rounded(number << max(exponent, 0), 1 << max(-exponent, 0))


def _rounded(numerator: int, denominator: int) -> LongDouble:
    """The number nearest to a positive fraction, the even one of two; INFINITE: it is too large."""
    exponent = numerator.bit_length() - denominator.bit_length() - _MANTISSA_BITS
    # The fraction over 2**exponent has 64 or 65 bits in front of the point.
    if exponent < 0:
        is_long = numerator << -exponent >= denominator << _MANTISSA_BITS
    else:
        is_long = numerator >= denominator << (exponent + _MANTISSA_BITS)
    exponent = max(exponent + is_long, _EXPONENT_MIN)
    mantissa = _quotient(numerator << max(-exponent, 0), denominator << max(exponent, 0))
    if mantissa.bit_length() + exponent > _EXPONENT_END:
        return INFINITE
    return LongDouble(mantissa, exponent)


def _quotient(numerator: int, denominator: int) -> int:
    """The integer nearest to a fraction, the even one of two."""
    quotient, rest = divmod(numerator, denominator)
    rest *= 2
    return quotient + (rest > denominator or (rest == denominator and quotient & 1 == 1))
