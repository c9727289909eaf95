"""The data directory of a node that has stopped, with keys, expiries and changes of the membership."""

from __future__ import annotations

from pathlib import Path

from raftkv.commands import build_table
from raftkv.machine import Batch, Machine, Run, decode_batch, encode_batch
from raftkv.raft import COMMAND, EMPTY, MEMBERSHIP, Entry, EntryId, HardState, Membership, encode_membership
from raftkv.storage import DataDir, Identity, KvStore, LogStore

IDENTITY = Identity(
    2,
    ((1, "127.0.0.1:17001"), (2, "127.0.0.1:17002"), (3, "127.0.0.1:17003")),
    b"n" * 16,
    ((1, b"m" * 16), (2, b"n" * 16), (3, b"o" * 16)),
    b"c" * 16,
)
#: Node 4 has taken the place of node 1; 5 was there once.
MEMBERS = Membership((2, 3, 4), addresses=((2, b"place of 2"), (4, b"place of 4")), newest_id=5)
TIME_MS = 1_700_000_000_000
TERM = 3
KEY_COUNT = 200
EXPIRING_COUNT = 50
LAST_INDEX = 2 * KEY_COUNT + 2
APPLIED_INDEX = LAST_INDEX - 3


def entries() -> list[Entry]:
    """Give the whole log."""
    found = [Entry(1, 1, EMPTY, b"")]
    for number in range(2 * KEY_COUNT):
        key = b"key:%d" % (number % KEY_COUNT)
        command = [b"set", key, b"value %d" % number * 30]
        if number % KEY_COUNT < EXPIRING_COUNT:
            command += [b"px", b"%d" % (1_000_000 + number)]
        batch = Batch(TIME_MS + number, [Run(number % 3, [command])])
        found.append(Entry(2 if number < KEY_COUNT else TERM, number + 2, COMMAND, encode_batch(batch)))
    found.append(Entry(TERM, LAST_INDEX, MEMBERSHIP, encode_membership(MEMBERS)))
    return found


def make_closed_node(path: Path, *, applied_index: int = APPLIED_INDEX) -> Path:
    """Make the directory; part of the log and of the state is in tables, the rest in write-ahead logs."""
    data_dir = DataDir.open(path, IDENTITY.node_id)
    data_dir.save_identity(IDENTITY)
    log_store = LogStore(data_dir.log_path, create=True)
    kv_store = KvStore(data_dir.state_path, create=True)
    machine = Machine(kv_store, build_table(), cache_bytes_max=1 << 20)
    log_store.group(0).append(HardState(TERM, 3), entries())
    for entry in entries()[:applied_index]:
        apply(machine, entry)
        if entry.index % 100 == 0:
            machine.commit()
            kv_store.flush()
    machine.commit()
    log_store.group(0).compact(20)
    kv_store.close()
    log_store.close()
    data_dir.close()
    return path


def apply(machine: Machine, entry: Entry) -> None:
    """Apply an entry as a node does."""
    entry_id = EntryId(entry.term, entry.index)
    if entry.kind is COMMAND:
        machine.apply(entry_id, decode_batch(entry.payload))
    elif entry.kind is MEMBERSHIP:
        machine.apply_membership(entry_id, entry.payload)
    else:
        machine.apply_empty(entry_id)


def fingerprint(path: Path) -> dict[str, tuple[int, bytes]]:
    """Give every file's time of change and content, by its place."""
    return {
        str(file.relative_to(path)): (file.stat().st_mtime_ns, file.read_bytes())
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
