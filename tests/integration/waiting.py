"""Waiting for what real processes do: a condition with a generous deadline, never a fixed pause."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_Found = TypeVar("_Found")

#: Seconds; many times what anything here takes on a busy machine.
SECONDS_MAX = 30.0
#: Seconds between two looks.
_LOOK_SECONDS = 0.02


def wait_until(condition: Callable[[], _Found], what: str, *, seconds_max: float = SECONDS_MAX) -> _Found:
    """Look until `condition` returns something true, and return that. Fails with `what` at the deadline."""
    deadline = time.monotonic() + seconds_max
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds_max:g} s: {what}; last seen: {found!r}")
        time.sleep(_LOOK_SECONDS)
