"""The file that says which directory holds the state, and which snapshot it was installed from.

    STATE    JSON: the directory's name, and term and index of the snapshot; a checksum over these

Without the file the state is in `state/`, where it has been since the founding. A state that was
installed is in `state-<number>/`, numbers rise, and the file changes in one durable step: before it the
old state counts, after it the new one. Knows nothing of what is in the directories.
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from raftkv.raft.types import EntryId
from raftkv.storage.durable_file import replace_file
from raftkv.storage.errors import DataDirRefused

FIRST_STATE = "state"
POINTER_FILE = "STATE"
_INSTALLED = re.compile(r"state-([1-9][0-9]{0,17})", re.ASCII)


@dataclass(frozen=True, slots=True)
class StatePointer:
    """Where the state is."""

    directory: str = FIRST_STATE
    #: The snapshot that it was installed from; None: it grew here.
    installed: EntryId | None = None

    def next_directory(self) -> str:
        """A name that the next state to be installed can have."""
        return f"{FIRST_STATE}-{state_number(self.directory) + 1}"


def is_state_name(name: str) -> bool:
    """Tell whether a directory of this name in a data directory holds a state, or once did."""
    return name == FIRST_STATE or _INSTALLED.fullmatch(name) is not None


def state_number(name: str) -> int:
    """Give the number of a state's directory: states are installed in the order of their numbers."""
    found = _INSTALLED.fullmatch(name)
    return 0 if found is None else int(found[1])


def read_pointer(data_dir: Path) -> StatePointer:
    """Give the pointer of a data directory. Raises OSError, DataDirRefused when it is damaged."""
    file = data_dir / POINTER_FILE
    if not file.exists():
        return StatePointer()
    try:
        fields = json.loads(file.read_bytes())
        directory, term, index = fields["directory"], fields["term"], fields["index"]
        is_whole = fields == _fields_of(directory, EntryId(term, index)) and _INSTALLED.fullmatch(directory)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataDirRefused(
            data_dir, f"its STATE file is damaged: {error or type(error).__name__}", is_damage=True
        ) from error
    if not is_whole:
        raise DataDirRefused(data_dir, "its STATE file is damaged: its checksum is wrong", is_damage=True)
    return StatePointer(directory, EntryId(term, index))


def save_pointer(data_dir: Path, pointer: StatePointer) -> None:
    """Make it durable before returning. Raises OSError; it is the old or the new one then."""
    assert pointer.installed is not None, "the first state needs no pointer"
    fields = _fields_of(pointer.directory, pointer.installed)
    replace_file(data_dir / POINTER_FILE, json.dumps(fields, indent=1).encode() + b"\n")


def _fields_of(directory: str, installed: EntryId) -> dict[str, object]:
    fields: dict[str, object] = {"directory": directory, "term": installed.term, "index": installed.index}
    checksum = zlib.crc32(json.dumps(fields, sort_keys=True).encode())
    return {**fields, "checksum": f"{checksum:08x}"}
