"""RAFT: what only a store over Raft can be asked.

Knows nothing of how a digest is made.
"""

from __future__ import annotations

from raftkv.commands.backup import BACKUP
from raftkv.commands.containers import container
from raftkv.commands.session import Session
from raftkv.commands.table import LOCAL, CommandDocs, CommandSpec, Sliced


def on_digest(session: Session, _args: list[bytes]) -> Sliced:
    """Answer the digest of this node's whole keyspace and the applied index at which it holds."""
    return session.node.digest()


COMMANDS: tuple[CommandSpec, ...] = (
    container(
        b"raft",
        CommandDocs("A container for commands about Raft.", "7.2.0", "server", "Depends on subcommand."),
        (
            CommandSpec(
                name=b"raft|digest",
                arity=2,
                flags=frozenset({"noscript"}),
                route=LOCAL,
                handler=on_digest,
                acl_categories=frozenset({"slow", "keyspace", "dangerous"}),
                docs=CommandDocs(
                    "Returns a digest of all data on this node, and the log index at which it holds.",
                    "7.2.0",
                    "server",
                    "O(N) where N is the number of rows",
                ),
                tips=("nondeterministic_output",),
            ),
            BACKUP,
        ),
    ),
)
