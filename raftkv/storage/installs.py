"""Puts a received snapshot in the place of a node's state, and clears away what is left of it.

The steps, and what a crash after each leaves:

    1. files/ of the snapshot becomes state-<next>/, synced     the old state counts; `clean_up` undoes it
    2. STATE names state-<next>/, synced                        the new state counts
    3. the snapshot's directory goes, then the old state        `clean_up` finishes it

What the log has to be told is `settle`'s matter. Knows nothing of what is in the files.
"""

from __future__ import annotations

import os
from pathlib import Path

from raftkv.storage.durable_file import remove_tree, sync_directory
from raftkv.storage.errors import DataDirRefused
from raftkv.storage.incoming import IncomingSnapshot, files_in, manifest_in
from raftkv.storage.state_pointer import StatePointer, is_state_name, save_pointer, state_number

INCOMING = "incoming"
SNAPSHOTS = "snapshots"


def install(data_dir: Path, pointer: StatePointer, incoming: IncomingSnapshot) -> StatePointer:
    """Make a snapshot that is finished the state, durably; give the new pointer. Raises OSError."""
    assert incoming.is_finished, "a snapshot is verified and durable before it counts"
    fresh = StatePointer(pointer.next_directory(), incoming.manifest.entry_id)
    os.rename(incoming.files_path, data_dir / fresh.directory)
    sync_directory(incoming.path)
    sync_directory(data_dir)
    save_pointer(data_dir, fresh)
    remove_tree(incoming.path)
    return fresh


def remove_old_states(data_dir: Path, pointer: StatePointer) -> None:
    """Delete the states that were replaced by the one that counts; none may be open. Raises OSError."""
    for name in os.listdir(data_dir):
        if is_state_name(name) and state_number(name) < state_number(pointer.directory):
            remove_tree(data_dir / name)


def check_states(data_dir: Path, pointer: StatePointer) -> None:
    """Refuse a directory whose pointer was lost or is an old one, before anything is deleted.

    Raises OSError, DataDirRefused.
    """
    for name in os.listdir(data_dir):
        is_newer = is_state_name(name) and state_number(name) > state_number(pointer.directory)
        if is_newer and _emptied_by_install(data_dir, pointer, name) is None:
            raise DataDirRefused(
                data_dir,
                f"it holds {name}/, which is newer than {pointer.directory}/, and no STATE file that"
                f" names it: put that back",
                is_damage=True,
            )


def clean_up(data_dir: Path, pointer: StatePointer) -> None:
    """Clear away what a process that ended left behind, after `check_states`. Raises OSError.

    What has come of a snapshot stays, to go on with.
    """
    for name in os.listdir(data_dir):
        if is_state_name(name) and state_number(name) > state_number(pointer.directory):
            received = _emptied_by_install(data_dir, pointer, name)
            assert received is not None, "it was checked"
            os.rename(data_dir / name, files_in(received))
    if (data_dir / pointer.directory).is_dir():
        remove_old_states(data_dir, pointer)
    remove_tree(data_dir / SNAPSHOTS)
    for path in _received(data_dir):
        manifest = manifest_in(path)
        if manifest is None or manifest.snapshot_id.hex() != path.name or not files_in(path).is_dir():
            remove_tree(path)


def _emptied_by_install(data_dir: Path, pointer: StatePointer, name: str) -> Path | None:
    """Give the directory of the snapshot whose files an unfinished install made this state of."""
    emptied = [path for path in _received(data_dir) if manifest_in(path) and not files_in(path).exists()]
    return emptied[0] if name == pointer.next_directory() and len(emptied) == 1 else None


def _received(data_dir: Path) -> list[Path]:
    incoming = data_dir / INCOMING
    return sorted(incoming.iterdir()) if incoming.is_dir() else []
