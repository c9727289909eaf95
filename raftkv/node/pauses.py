"""CLIENT PAUSE: until when this node's clients wait. Knows no connections: they look at it."""

from __future__ import annotations

from raftkv.commands.table import CommandSpec


class Pause:
    """The pause of one node's clients. Those of other nodes, and their writes to this one, don't wait."""

    __slots__ = ("_is_of_all", "end_ns")

    def __init__(self) -> None:
        #: By the node's clock; 0: there is no pause.
        self.end_ns = 0
        self._is_of_all = False

    def begin(self, end_ns: int, *, is_of_all: bool) -> None:
        """Pause all commands, or writes alone. Of two pauses the longer end and the wider reach hold."""
        self._is_of_all = is_of_all or (self.end_ns > 0 and self._is_of_all)
        self.end_ns = max(self.end_ns, end_ns)

    def end(self) -> None:
        """Let clients go on."""
        self.end_ns = 0

    def on_tick(self, now_ns: int) -> None:
        """End the pause when its time has come."""
        if self.end_ns <= now_ns:
            self.end_ns = 0

    def holds(self, spec: CommandSpec) -> bool:
        """Whether a command has to wait (redis processCommand)."""
        return self.end_ns > 0 and (self._is_of_all or not spec.flags.isdisjoint(("write", "may_replicate")))
