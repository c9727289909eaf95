"""One key as Redis keeps it, without the rest of Redis: what each command does to it and answers.

Written from Redis's documentation alone, so that it shares no mistake with the server; a test compares it
with a real redis-server. Knows SET (with NX, XX and GET), GET, INCR, DEL and APPEND of one key, no expiry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tests.consistency.history import Failure, Reply

#: The key's value; None: it doesn't exist.
State = bytes | None
#: What a command makes of a state, and its reply.
Step = Callable[[State], tuple[State, Reply]]

NOT_AN_INTEGER = Failure("ERR value is not an integer or out of range")
OVERFLOW = Failure("ERR increment or decrement would overflow")
_OK = b"OK"

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1


def step_of(command: Sequence[bytes]) -> Step:
    """Return what a command does. Raises ValueError for one that this register doesn't have."""
    name, arguments = command[0].upper(), command[2:]
    if name == b"SET" and arguments:
        return _set(arguments[0], _options_of(command))
    if name == b"APPEND" and len(arguments) == 1:
        return _append(arguments[0])
    if name in _PLAIN_STEPS and not arguments:
        return _PLAIN_STEPS[name]
    raise ValueError(f"no command of this register: {command!r}")


def is_read(command: Sequence[bytes]) -> bool:
    """Whether a command never changes anything."""
    return command[0].upper() == b"GET"


def is_idle(command: Sequence[bytes], reply: Reply) -> bool:
    """Whether the reply proves that nothing was changed, whatever stood there."""
    name = command[0].upper()
    if name == b"GET" or isinstance(reply, Failure):
        return True
    if name == b"DEL":
        return reply == 0
    return name == b"SET" and reply is None and b"GET" not in _options_of(command)


def _options_of(command: Sequence[bytes]) -> set[bytes]:
    options = {word.upper() for word in command[3:]}
    if not options <= {b"NX", b"XX", b"GET"} or options >= {b"NX", b"XX"}:
        raise ValueError(f"no SET of this register: {command!r}")
    return options


def _set(value: bytes, options: set[bytes]) -> Step:
    """redis SET: with GET the old value is answered whether it is replaced or not."""
    gets, only_if_missing, only_if_exists = (word in options for word in (b"GET", b"NX", b"XX"))

    def step(state: State) -> tuple[State, Reply]:
        is_refused = only_if_exists if state is None else only_if_missing
        if gets:
            return (state if is_refused else value), state
        return (state, None) if is_refused else (value, _OK)

    return step


def _append(value: bytes) -> Step:
    """redis APPEND"""

    def step(state: State) -> tuple[State, Reply]:
        whole = (state or b"") + value
        return whole, len(whole)

    return step


def _get(state: State) -> tuple[State, Reply]:
    """redis GET"""
    return state, state


def _del(state: State) -> tuple[State, Reply]:
    """redis DEL"""
    return None, int(state is not None)


def _incr(state: State) -> tuple[State, Reply]:
    """redis INCR: what isn't an integer as Redis writes one is an error."""
    if state is not None and not _INTEGER.fullmatch(state):
        return state, NOT_AN_INTEGER
    number = int(state or 0)
    if not _INT64_MIN <= number <= _INT64_MAX:
        return state, NOT_AN_INTEGER
    if number == _INT64_MAX:
        return state, OVERFLOW
    return b"%d" % (number + 1), number + 1


_PLAIN_STEPS: dict[bytes, Step] = {b"GET": _get, b"DEL": _del, b"INCR": _incr}
