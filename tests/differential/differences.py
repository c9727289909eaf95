"""The differences between raftkv and Redis 7.0.15 that have a reason, and what they look like.

An entry explains a reply that differs; its example is a case that shows it, and a test runs each, so that no
entry outlives its reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from tests.differential.comparison import Exchange, are_alike
from tests.differential.replies import NOTHING

_INT_MAX: Final = (1 << 31) - 1
#: Of a client's bytes in an error text.
_QUOTED_BYTES_MAX: Final = 128


@dataclass(frozen=True, slots=True)
class Difference:
    """One kind of reply that differs."""

    reason: str
    explains: Callable[[Exchange], bool]
    #: A case, as text, in which this is the only difference.
    example: str


def explanation_of(exchange: Exchange) -> Difference | None:
    """The entry that explains why two replies differ."""
    return next((each for each in DIFFERENCES if each.explains(exchange)), None)


def _came_with_7_2(exchange: Exchange) -> bool:
    is_unknown = exchange.theirs.is_error and b"unknown subcommand" in (exchange.theirs.text or b"")
    return is_unknown and exchange.name in ("client|setinfo", "client|no-touch", "cluster|myshardid")


def _shows_no_touch(exchange: Exchange) -> bool:
    if exchange.name != "client|info" or exchange.ours.text is None:
        return False
    text = re.sub(rb" flags=T ", b" flags=N ", exchange.ours.text)
    text = re.sub(rb" flags=(\w+)T ", rb" flags=\1 ", text)
    return text != exchange.ours.text and are_alike(replace(exchange, ours=replace(exchange.ours, text=text)))


def _is_help(exchange: Exchange) -> bool:
    if exchange.request[1:2] == () or exchange.request[1].lower() != b"help":
        return False
    return all(
        reply.items and all(item.mark == "+" for item in reply.items)
        for reply in (exchange.ours, exchange.theirs)
    )


def _asks_getkeys_of_a_name_alone(exchange: Exchange) -> bool:
    return (
        exchange.name in ("command|getkeys", "command|getkeysandflags")
        and len(exchange.request) == 3
        and exchange.theirs.text == f"ERR wrong number of arguments for '{exchange.name}' command".encode()
    )


#: What leaves a string in Redis as it happened to be made (redis OBJECT ENCODING).
_MAKERS: Final = frozenset({b"append", b"setrange", b"setbit", b"bitfield", b"incrbyfloat"})


def _was_not_made_by_set(exchange: Exchange) -> bool:
    return (
        exchange.name == "object|encoding"
        and exchange.ours.text in (b"int", b"embstr")
        and exchange.theirs.text in (b"embstr", b"raw")
        and any(request[0].lower() in _MAKERS for request in exchange.history)
    )


def _shares_small_numbers(exchange: Exchange) -> bool:
    return (
        exchange.name == "object|refcount"
        and exchange.ours.number == 1
        and exchange.theirs.number == _INT_MAX
    )


def _reads_all_of_hello(exchange: Exchange) -> bool:
    is_about_user = (exchange.theirs.text or b"").startswith(b"WRONGPASS")
    return exchange.name == "hello" and is_about_user and exchange.ours.is_error


def _was_named_by_a_refused_hello(exchange: Exchange) -> bool:
    return exchange.name in ("client|getname", "client|info") and any(
        request[0].lower() == b"hello" and b"setname" in map(bytes.lower, request)
        for request in exchange.history
    )


def _quotes_much(exchange: Exchange) -> bool:
    ours, theirs = exchange.ours, exchange.theirs
    if not (ours.is_error and theirs.is_error):
        return False
    mine, other = ours.text or b"", theirs.text or b""
    return (
        _QUOTED_BYTES_MAX < len(mine) < len(other) and mine[:_QUOTED_BYTES_MAX] == other[:_QUOTED_BYTES_MAX]
    )


#: The argument counts between raftkv's limit and Redis's.
_LARGE_COUNT: Final = re.compile(rb"\*(\d{7,10})\r")


def _announces_too_much(exchange: Exchange) -> bool:
    if exchange.ours.text != b"ERR Protocol error: invalid multibulk length":
        return False
    counts = map(int, _LARGE_COUNT.findall(exchange.request[0]))
    return any(1 << 20 < count < 1 << 31 for count in counts)


def _waits_behind_a_nul(exchange: Exchange) -> bool:
    return exchange.theirs == NOTHING and b"\0" in exchange.request[0]


#: What begins the lines of a request to a web server.
_HTTP_LINE: Final = re.compile(rb"(?i)(?:^|\n)\s*[\"']?(?:post|host:)[\"']?\s")


def _drops_http(exchange: Exchange) -> bool:
    return exchange.theirs == NOTHING and _HTTP_LINE.search(exchange.request[0]) is not None


def _has_a_long_pattern(exchange: Exchange) -> bool:
    return exchange.ours.text == b"ERR the pattern is longer than 4096 bytes"


DIFFERENCES: Final[tuple[Difference, ...]] = (
    Difference(
        "7.2 brought these sub-commands",
        _came_with_7_2,
        "CLIENT SETINFO lib-name x\n\nCLUSTER MYSHARDID\n\nCLIENT NO-TOUCH ON",
    ),
    Difference(
        "7.2 shows CLIENT NO-TOUCH as a flag of the connection's",
        _shows_no_touch,
        "CLIENT NO-EVICT ON\nCLIENT REPLY SKIP\nCLIENT NO-TOUCH ON\nCLIENT INFO",
    ),
    Difference(
        "HELP is written from raftkv's own table: it names what there is, in its own words",
        _is_help,
        "CLIENT HELP",
    ),
    Difference(
        "7.2 takes a command without arguments here (its arity became -3)",
        _asks_getkeys_of_a_name_alone,
        "COMMAND GETKEYS PING\n\nCOMMAND GETKEYSANDFLAGS GET",
    ),
    Difference(
        "7.2 reads all options of HELLO before it looks at the user",
        _reads_all_of_hello,
        "HELLO 3 AUTH nobody x nosuch",
    ),
    Difference(
        "7.2 names nobody in a HELLO that it refuses",
        _was_named_by_a_refused_hello,
        "HELLO 3 SETNAME me nosuch\n\nCLIENT GETNAME",
    ),
    Difference(
        "a string's encoding follows from its bytes; in Redis, from the command that made it, too",
        _was_not_made_by_set,
        "APPEND k ab\nAPPEND k c\nOBJECT ENCODING k",
    ),
    Difference(
        "Redis shares the values 0 to 9999 among keys, and counts no references to them",
        _shares_small_numbers,
        "SET k 5\nOBJECT REFCOUNT k",
    ),
    Difference(
        "at most 128 of a client's bytes come back in an error text; Redis bounds most texts, not all",
        _quotes_much,
        f"CLIENT LIST TYPE {'h' * 300}",
    ),
    Difference(
        "a request of more than 1,048,576 arguments is refused at its header; Redis 7 takes 2,147,483,647",
        _announces_too_much,
        '!"*1048577\\r\\n"',
    ),
    Difference(
        "Redis closes without a word on HTTP, and loses the replies before it; raftkv says why",
        _drops_http,
        '!"POST / HTTP/1.1\\r\\n"',
    ),
    Difference(
        "a pattern is bounded, for the time that it takes in one piece",
        _has_a_long_pattern,
        f"KEYS {'h' * 5000}",
    ),
    Difference(
        "Redis looks for the end of a line with strchr, and waits for ever when a NUL stands before it",
        _waits_behind_a_nul,
        '!"PI\\x00NG\\r\\n"',
    ),
)
