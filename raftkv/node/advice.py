"""What to do about a node that can't start because its data is damaged or gone: words for its log.

Knows the settings and the commands, and changes nothing.
"""

from __future__ import annotations

from pathlib import Path

from raftkv.config import Config
from raftkv.config_values import INVITATION
from raftkv.storage import NO_ID, DataDirRefused, StorageFailure
from raftkv.storage.inspection import read_identity
from raftkv.storage.rocks import is_data_lost


def advice_on(failure: StorageFailure | DataDirRefused, config: Config) -> str:
    """Say how to go on after a node could not start; empty when its data is not the reason."""
    is_damage = failure.is_damage if isinstance(failure, DataDirRefused) else is_data_lost(failure)
    if not is_damage:
        return ""
    path = config.data_dir
    aside = f"`raftkv check {path}` says what is damaged. Set it aside (`mv {path} {path}.damaged`) and"
    others = config.other_members
    if not config.join and not others:
        return (
            f"{aside} restore a backup, for no other node has this data: `raftkv restore PATH"
            f" --node-id {config.node_id} --data-dir {path}`"
        )
    place = config.join if config.join not in ("", INVITATION) else "HOST:PORT"
    return (
        f"{aside} let a new node take this one's place, for this one must not vote with what it has:"
        f" `raftkv serve --join {others[0].address if others else place} --join-in-place-of"
        f" {_own_id(config)} --data-dir {path}`, with the other settings as they are, but without node_id and"
        f" members. That takes a majority of the nodes; without one, see 'When things go wrong' in the README"
    )


def _own_id(config: Config) -> str:
    """Give this node's id, which only the directory knows of one that joined."""
    if not config.join:
        return str(config.node_id)
    try:
        identity = read_identity(Path(config.data_dir))
    except (DataDirRefused, OSError):
        identity = None
    return "ID" if identity is None or identity.node_id == NO_ID else str(identity.node_id)
