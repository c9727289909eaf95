"""RAFT BACKUP: a client copies a consistent state of this node, file by file, while the node serves.

    RAFT BACKUP BEGIN                          ->  [id, manifest, cluster id, node id]
    RAFT BACKUP READ id file offset length     ->  the bytes
    RAFT BACKUP END id                         ->  OK

One backup at a time; one that nobody reads for a minute is over. Knows nothing of files and threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from raftkv.commands.backup_desk import READ_BYTES_MAX, BackupRefused, OpenBackup
from raftkv.commands.containers import admin_row
from raftkv.commands.session import Session
from raftkv.commands.table import Argument, Awaited, CommandDocs
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, OK, SYNTAX_ERROR, Error, Reply

_Found = TypeVar("_Found", OpenBackup, bytes)
_NEVER: Final = Error("ERR the backup was given up")


def on_backup(session: Session, args: list[bytes]) -> Reply | Awaited:
    """Begin, read or end a backup."""
    word = args[2].lower()
    try:
        if word == b"begin" and len(args) == 3:
            return _begin(session)
        if word == b"read" and len(args) == 7:
            return _read(session, args)
        if word == b"end" and len(args) == 4:
            session.node.backups.end(args[3])
            return OK
    except BackupRefused as refusal:
        return _error_of(refusal)
    return SYNTAX_ERROR


def _begin(session: Session) -> Awaited:
    status = session.node.status()

    def reply_of(found: OpenBackup) -> Reply:
        return [found.backup_id, found.manifest, status.cluster_id.hex().encode(), status.node_id]

    return _awaited(session.node.backups.begin(), reply_of)


def _read(session: Session, args: list[bytes]) -> Reply | Awaited:
    offset, length = parse_integer(args[5]), parse_integer(args[6])
    if offset is None or length is None:
        return NOT_AN_INTEGER
    if not 0 < length <= READ_BYTES_MAX:
        return Error(f"ERR length must be between 1 and {READ_BYTES_MAX}")
    name = args[4].decode("utf-8", "replace")
    found = session.node.backups.read(args[3], name, offset=offset, length=length)
    return _awaited(found, lambda data: data)


def _awaited(
    look: Callable[[], _Found | BackupRefused | None], reply_of: Callable[[_Found], Reply]
) -> Awaited:
    def look_again() -> Reply:
        found = look()
        if found is None:
            return None
        return _error_of(found) if isinstance(found, BackupRefused) else reply_of(found)

    return Awaited(look=look_again, at_last=lambda: _NEVER, timeout_ms=0)


def _error_of(refusal: BackupRefused) -> Error:
    return Error(f"ERR {refusal}")


def _word(name: str, *arguments: str) -> Argument:
    """A word, with the values that follow it."""
    token = Argument(name, "pure-token", token=name.upper())
    values = tuple(Argument(each, "string" if each in ("id", "file") else "integer") for each in arguments)
    return Argument(f"{name}-block", "block", arguments=(token, *values)) if values else token


BACKUP: Final = admin_row(
    b"raft|backup",
    -3,
    on_backup,
    CommandDocs(
        "Copies a consistent state of this node, file by file.",
        "7.2.0",
        "server",
        "O(N) where N is the number of bytes, on a thread",
        arguments=(
            Argument(
                "step",
                "oneof",
                arguments=(
                    _word("begin"),
                    _word("read", "id", "file", "offset", "length"),
                    _word("end", "id"),
                ),
            ),
        ),
    ),
    more_flags=frozenset({"noscript"}),
    tips=("nondeterministic_output",),
)
