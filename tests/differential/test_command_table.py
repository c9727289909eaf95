"""COMMAND INFO and DOCS of every command that both have.

Not compared: summaries and complexities, which are in raftkv's own words, and what raftkv has nothing of
(history, deprecation, notes).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftkv.commands import build_table
from tests.differential.cases import Step
from tests.differential.replies import Reply
from tests.differential.servers import DrivenServer, Face, Link, RedisServer
from tests.differential.servers import ask as ask_bytes
from tests.differential.table_differences import NEW_COMMANDS, TABLE_DIFFERENCES

pytestmark = pytest.mark.needs_tool("redis-server")

NAMES = [spec.name.decode() for row in build_table() for spec in (row, *row.subcommands.values())]
_INFO_FIELDS = ("name", "arity", "flags", "first key", "last key", "step", "acl", "tips", "key specs")
_UNORDERED = frozenset({"flags", "acl", "tips"})
_DOCS_FIELDS = (b"since", b"group", b"arguments")


def ask(link: Link, *words: str) -> Reply:
    """The reply to a request of these words."""
    return ask_bytes(link, Step((tuple(word.encode() for word in words),)).data)


def without(reply: Reply, *keys: bytes) -> Reply:
    """A reply whose maps, however deep, lack some keys."""
    if reply.items is None:
        return reply
    items = [without(item, *keys) for item in reply.items]
    if reply.mark == "%":
        pairs = zip(items[::2], items[1::2], strict=True)
        items = [item for key, value in pairs if key.text not in keys for item in (key, value)]
    return Reply(reply.mark, None, tuple(items))


def fields_of(link: Link, name: str) -> Iterator[tuple[str, object]]:
    """What a server says of a command, field by field."""
    (row,) = ask(link, "COMMAND", "INFO", name).items or ()
    if not row.items:
        return
    for field, value in zip(_INFO_FIELDS, row.items, strict=False):
        is_unordered = field in _UNORDERED and value.items is not None
        yield (
            field,
            (value.mark, sorted(map(str, value.items or ()))) if is_unordered else without(value, b"notes"),
        )
    docs = ask(link, "COMMAND", "DOCS", name).pairs()[name.encode()].pairs()
    for key in _DOCS_FIELDS:
        # Flags of an argument come in no particular order.
        yield key.decode(), plain(without(docs[key], b"display_text")) if key in docs else None


def plain(reply: Reply) -> object:
    """A reply whose sets have no order."""
    if reply.items is None:
        return str(reply)
    items = list(map(plain, reply.items))
    return reply.mark, sorted(map(str, items)) if reply.mark == "~" else items


@pytest.fixture
def links(face: Face, redis: RedisServer) -> Iterator[tuple[Link, Link]]:
    """Connections to raftkv and to Redis that speak RESP3, which tells sets and maps from arrays."""
    ours, theirs = DrivenServer(face).connect(), redis.connect()
    for link in (ours, theirs):
        ask(link, "HELLO", "3")
    yield ours, theirs
    ours.close()
    theirs.close()


def test_commands_that_redis_lacks_are_known(links: tuple[Link, Link]) -> None:
    """redis COMMAND INFO answers null for them."""
    _, theirs = links
    rows = ask(theirs, "COMMAND", "INFO", *NAMES).items or ()
    assert {name for name, row in zip(NAMES, rows, strict=True) if not row.items} == set(NEW_COMMANDS) & set(
        NAMES
    )


def test_every_other_command_is_described_as_redis_describes_it(links: tuple[Link, Link]) -> None:
    """redis COMMAND INFO and COMMAND DOCS; and every listed difference is one."""
    ours, theirs = links
    differing: dict[tuple[str, str], str] = {}
    for name in NAMES:
        if name not in NEW_COMMANDS:
            expected = dict(fields_of(theirs, name))
            for field, value in fields_of(ours, name):
                if value != expected[field]:
                    differing[name, field] = f"raftkv: {value}\nredis:  {expected[field]}"
    unexplained = {key: text for key, text in differing.items() if key not in TABLE_DIFFERENCES}
    assert not unexplained, "\n".join(f"{key}\n{text}" for key, text in unexplained.items())
    needed = {(name, field) for name, field in TABLE_DIFFERENCES if name in NAMES}
    assert set(differing) == needed, "an explanation is of no use any more"
