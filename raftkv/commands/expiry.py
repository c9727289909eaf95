"""Times at which keys expire, as clients give them (redis SET, EXPIRE).

Knows numbers and units, no keys.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, Error

_INT64_MAX: Final = (1 << 63) - 1


class ExpiryUnit(Enum):
    """What the number means: (milliseconds of one unit, counted from now)."""

    SECONDS = (1000, True)
    MILLISECONDS = (1, True)
    SECONDS_AT = (1000, False)
    MILLISECONDS_AT = (1, False)


def invalid_expiry(command: str) -> Error:
    """The number is no time that a key of this command may expire at."""
    return Error(f"ERR invalid expire time in '{command}' command")


def to_milliseconds(number: int, unit: ExpiryUnit, *, now_ms: int) -> int | None:
    """Milliseconds of the Unix epoch, negative ones too; None where 64 bits don't hold it."""
    factor, is_relative = unit.value
    expires_ms: int = number * factor
    if not -_INT64_MAX - 1 <= expires_ms <= _INT64_MAX:
        return None
    if is_relative:
        expires_ms += now_ms
    return expires_ms if expires_ms <= _INT64_MAX else None


def read_expiry(text: bytes, unit: ExpiryUnit, *, now_ms: int, command: str) -> int | Error:
    """Read a positive expiry (redis getExpireMillisecondsOrReply); gives milliseconds of the Unix epoch."""
    number = parse_integer(text)
    if number is None:
        return NOT_AN_INTEGER
    expires_ms = to_milliseconds(number, unit, now_ms=now_ms) if number > 0 else None
    return invalid_expiry(command) if expires_ms is None else expires_ms
