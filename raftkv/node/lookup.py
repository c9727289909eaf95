"""How one connection's requests are looked up: who has yet to authenticate, or spares keys, goes another way.

Knows no requests but the one it is given, and carries nothing out.
"""

from __future__ import annotations

from collections.abc import Callable

from raftkv.commands.no_touch import SparingTable
from raftkv.commands.session import Session
from raftkv.commands.table import CommandRefused, CommandSpec, CommandTable
from raftkv.node import refusals


class Lookup:
    """Finds the commands of one session."""

    __slots__ = ("_is_sparing", "_session", "_table", "has_turned", "is_locked", "known", "resolve")

    def __init__(self, session: Session, table: CommandTable) -> None:
        self._session = session
        self._table = table
        #: As `CommandTable.resolve` and `CommandTable.known`.
        self.resolve: Callable[[list[bytes]], CommandSpec]
        self.known: Callable[[bytes], CommandSpec | None]
        #: The client has to authenticate before anything is done for it.
        self.is_locked = False
        #: `is_locked` has changed; whoever acts on it clears this.
        self.has_turned = False
        self._set_ways()

    def look_at_session(self) -> None:
        """Take note of what the newest request may have changed in the session."""
        if self._session.is_authenticated is self.is_locked:
            self._turn_lock()
        elif self._session.is_touching is self._is_sparing:
            self._set_ways()

    def end(self) -> None:
        """Refer to nothing that refers back: cycles that have grown old are never looked for (see `node`)."""
        self.resolve, self.known = self._table.resolve, self._table.known

    def _set_ways(self) -> None:
        self.is_locked, self._is_sparing = not self._session.is_authenticated, not self._session.is_touching
        table = SparingTable(self._table) if self._is_sparing else self._table
        self.resolve = self._resolve_locked if self.is_locked else table.resolve
        self.known = _knows_nothing if self.is_locked else table.known

    def _turn_lock(self) -> None:
        self._set_ways()
        self.has_turned = True

    def _resolve_locked(self, args: list[bytes]) -> CommandSpec:
        """Resolve a request if it may come before authentication (redis processCommand, authRequired)."""
        spec = self._table.resolve(args)
        if not self._session.must_authenticate:  # there is no password any more
            self._session.is_authenticated = True
            self._turn_lock()
        elif "no_auth" not in spec.flags:
            raise CommandRefused(refusals.NOT_AUTHENTICATED)
        return spec


def _knows_nothing(_name: bytes) -> None:
    return None
