"""What clients send: a mixture of all that a register can do, or one kind of it whose sum can be told.

    name      commands                   what must come out, beside linearizability
    counter   INCR, GET                  as many as were acknowledged, and at most those of unknown outcome
    list      APPEND of a token, GET     each acknowledged token once and at its place, a refused one never
    member    SET of a new key NX, GET   each acknowledged key, a refused one never

The names stand in the keys, so that a history tells what is what. Each token and each member is new.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.consistency.atomic_model import drawn_command
from tests.consistency.recorder import Recorder

COUNTER, LIST, MEMBER = b"counter", b"list", b"member"
#: Each of a turn's counters and lists is used by many clients.
_COUNTERS_COUNT = 2
_LISTS_COUNT = 2
_READ_PART = 0.25
#: How often who only reads looks at what has a sum.
_USED_PART = 0.5
#: Members are looked for among as many of the newest.
_NEWEST_COUNT = 50

Draw = Callable[[random.Random, Recorder], tuple[bytes, ...]]


def name_of(key: bytes) -> bytes:
    """Return what a key is for; one of a mixture has none of the names above."""
    return key.split(b":")[1]


def drawn_mixed(source: random.Random, recorder: Recorder) -> tuple[bytes, ...]:
    """Make any command of a register."""
    return drawn_command(source, source.choice(recorder.keys), recorder.next_token())


def drawn_read(source: random.Random, recorder: Recorder) -> tuple[bytes, ...]:
    """Read what others write, whoever does."""
    used = list(recorder.used_keys)
    return (b"GET", source.choice(used if used and source.random() < _USED_PART else recorder.keys))


def drawn_counter(source: random.Random, recorder: Recorder) -> tuple[bytes, ...]:
    """Count, or read the count."""
    key = recorder.key(b"%s:%d" % (COUNTER, source.randrange(_COUNTERS_COUNT)))
    return (b"GET", key) if source.random() < _READ_PART else (b"INCR", recorder.use(key))


def drawn_append(source: random.Random, recorder: Recorder) -> tuple[bytes, ...]:
    """Append what nobody else appends, or read all of it."""
    key = recorder.key(b"%s:%d" % (LIST, source.randrange(_LISTS_COUNT)))
    if source.random() < _READ_PART:
        return (b"GET", key)
    return (b"APPEND", recorder.use(key), recorder.next_token())


def drawn_member(source: random.Random, recorder: Recorder) -> tuple[bytes, ...]:
    """Add what nobody else adds, or look whether one of the newest is there."""
    newest = [key for key in recorder.used_keys if name_of(key) == MEMBER][-_NEWEST_COUNT:]
    if newest and source.random() < _READ_PART:
        return (b"GET", source.choice(newest))
    token = recorder.next_token()
    return (b"SET", recorder.use(recorder.key(b"%s:%s" % (MEMBER, token))), token, b"NX")
