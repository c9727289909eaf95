"""CLIENT NO-TOUCH: how the reads of a connection that said so are looked up.

Knows nothing of connections. What a client writes counts as a use of its keys all the same: an entry of the
log does not say who sent a command, and on every node it is carried out alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from raftkv.commands.table import READ, Awaited, CommandSpec, CommandTable, Sliced, keys_of
from raftkv.keyspace import Keyspace
from raftkv.resp.replies import Reply

#: What is sent in order to use keys, and does.
_TOUCH: Final = b"touch"


class SparingTable:
    """Finds what a table finds; the reads use no key (redis CLIENT_NO_TOUCH)."""

    __slots__ = ("_made", "_table")

    def __init__(self, table: CommandTable) -> None:
        self._table = table
        #: By name: a row of the table, and the one in its place.
        self._made: dict[bytes, tuple[CommandSpec, CommandSpec]] = {}

    def known(self, _name: bytes) -> CommandSpec | None:
        """None, which says nothing: every request takes the longer way."""
        return None

    def resolve(self, args: list[bytes]) -> CommandSpec:
        """As `CommandTable.resolve`."""
        spec = self._table.resolve(args)
        if spec.route is not READ or spec.keys.first == 0 or spec.name == _TOUCH:
            return spec
        row, made = self._made.get(spec.name, (None, spec))
        if row is not spec:
            made = sparing(spec)
            self._made[spec.name] = spec, made
        return made


def sparing(spec: CommandSpec) -> CommandSpec:
    """The same READ command, but that it doesn't count as a use of its keys."""
    handler = spec.handler

    def handle(keyspace: Keyspace, args: list[bytes]) -> Reply | Sliced | Awaited:
        with keyspace.untouched(keys_of(spec, args)):
            return handler(keyspace, args)

    return replace(spec, handler=handle, bulk_handler=None)
