"""The commands, a module per family, and the table that joins them.

Knows nothing of connections, of Raft or of rows: handlers get a Keyspace or a Session handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftkv.commands.table import CommandTable


def build_table() -> CommandTable:
    """The table of every command that this server knows; one is enough for a process."""
    # Imported here, for the keyspace imports `commands.slots`, and the families import the keyspace.
    from raftkv.commands import client, cluster, command, config, connection, keys, raft, server, strings
    from raftkv.commands.table import CommandTable

    families = (strings, keys, connection, client, config, command, server, cluster, raft)
    return CommandTable(spec for family in families for spec in family.COMMANDS)
