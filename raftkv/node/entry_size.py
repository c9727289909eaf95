"""How many commands an entry may hold, so that applying it doesn't hold up the loop.

An entry is applied in one piece. What one command of it takes differs by a factor of thirty: under a
microsecond where the key is cached, twenty where RocksDB has to look through millions of rows. So the size
follows from what the last entries took. Nodes apply what their leader made, each at its own speed; the
leader's own tells enough, as machines of one cluster are alike.

Knows nothing of entries but counts and times.
"""

from __future__ import annotations

from typing import Final

#: What one connection or another node sent together is not taken apart.
COMMANDS_MAX: Final = 2048
#: An entry's fixed costs, its fsyncs and messages above all, are about a millisecond of every node's CPU.
COMMANDS_MIN: Final = 256
#: The time that applying an entry should take at most.
_APPLY_NS: Final = 10_000_000
#: Fewer commands tell more of the fixed costs than of their own.
_TELLING_COUNT: Final = 64
#: The weight of what was measured last.
_WEIGHT: Final = 0.25


class EntrySize:
    """The bound of one group's entries, by what applying took."""

    __slots__ = ("_command_ns", "commands_max")

    def __init__(self) -> None:
        #: Commands that an entry may hold.
        self.commands_max = COMMANDS_MAX
        self._command_ns = 0.0

    def note(self, commands_count: int, elapsed_ns: int) -> None:
        """Note what it took to apply that many commands and to store their rows."""
        if commands_count < _TELLING_COUNT:
            return
        self._command_ns += (elapsed_ns / commands_count - self._command_ns) * _WEIGHT
        fitting = int(_APPLY_NS / max(self._command_ns, 1.0))
        self.commands_max = min(max(fitting, COMMANDS_MIN), COMMANDS_MAX)
