"""The commands, a module per family, and the table that joins them.

Knows nothing of connections, of Raft or of rows: handlers get a Keyspace or a Session handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftkv.commands.table import CommandTable


def build_table() -> CommandTable:
    """The table of every command that this server knows; one is enough for a process."""
    # Imported here: whoever imports `commands.table` alone must not have to import every family.
    from raftkv.commands.client import COMMANDS as CLIENT
    from raftkv.commands.cluster import COMMANDS as CLUSTER
    from raftkv.commands.command import COMMANDS as COMMAND
    from raftkv.commands.config import COMMANDS as CONFIG
    from raftkv.commands.connection import COMMANDS as CONNECTION
    from raftkv.commands.counters import COMMANDS as COUNTERS
    from raftkv.commands.databases import COMMANDS as DATABASES
    from raftkv.commands.expiries import COMMANDS as EXPIRIES
    from raftkv.commands.keys import COMMANDS as KEYS
    from raftkv.commands.latency import COMMANDS as LATENCY
    from raftkv.commands.lcs import COMMANDS as LCS
    from raftkv.commands.lolwut import COMMANDS as LOLWUT
    from raftkv.commands.memory import COMMANDS as MEMORY
    from raftkv.commands.object import COMMANDS as OBJECT
    from raftkv.commands.persistence import COMMANDS as PERSISTENCE
    from raftkv.commands.raft import COMMANDS as RAFT
    from raftkv.commands.refused import COMMANDS as REFUSED
    from raftkv.commands.scan import COMMANDS as SCAN
    from raftkv.commands.server import COMMANDS as SERVER
    from raftkv.commands.slowlog import COMMANDS as SLOWLOG
    from raftkv.commands.string_ranges import COMMANDS as STRING_RANGES
    from raftkv.commands.strings import COMMANDS as STRINGS
    from raftkv.commands.table import CommandTable

    families = (
        *(STRINGS, COUNTERS, STRING_RANGES, LCS),
        *(KEYS, EXPIRIES, SCAN, DATABASES, OBJECT, MEMORY),
        *(CONNECTION, CLIENT, CONFIG, COMMAND, SERVER, CLUSTER, RAFT),
        *(PERSISTENCE, SLOWLOG, LATENCY, LOLWUT, REFUSED),
    )
    return CommandTable(spec for family in families for spec in family)
