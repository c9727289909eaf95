"""The life of a node that gets a snapshot, as its driver would have it, up to a crash at any of its calls.

    python -m tests.storage.installing <data directory> <leader's directory> <calls before SIGKILL>

prints the calls that were made.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from raftkv.raft.types import COMMAND, Entry, EntryId, HardState
from raftkv.storage import (
    DataDir,
    Identity,
    IncomingSnapshot,
    KvStore,
    LogStore,
    Manifest,
    Snapshot,
    settle_log_with_state,
)
from tests.storage.states import fill, holds, send, snapshot_at

IDENTITY = Identity(1, ((1, "127.0.0.1:17001"),), bytes(16), ((1, bytes(16)),), b"c" * 16)
#: What the state holds before and after.
OLD = EntryId(1, 5)
NEW = EntryId(2, 20)
OLD_LOG_END = 7
#: Whatever changes a directory or makes something durable.
CALLS = ("fsync", "link", "mkdir", "rename", "replace", "rmdir", "unlink")


def make_leader(folder: Path) -> Manifest:
    """Make the snapshot that is sent; one of its tables is in no other state."""
    manifest = snapshot_at(folder, 19, NEW.index, term=NEW.term).manifest
    (folder / "manifest").write_bytes(manifest.encode())
    return manifest


def snapshot_of(leader: Path) -> Snapshot:
    """The leader's snapshot, as another process finds it."""
    return Snapshot(leader / "snapshots" / "1", Manifest.decode((leader / "manifest").read_bytes()))


def make_follower(folder: Path) -> None:
    """Make a node with a state and a log of its own."""
    data_dir = DataDir.open(folder, 1)
    data_dir.save_identity(IDENTITY)
    log_store = LogStore(data_dir.log_path, create=True)
    entries = [Entry(1, index, COMMAND, b"old") for index in range(1, OLD_LOG_END + 1)]
    log_store.group(0).append(HardState(1, 1), entries)
    log_store.close()
    kv_store = KvStore(data_dir.state_path, create=True)
    fill(kv_store, OLD.index, term=OLD.term)
    kv_store.close()
    data_dir.close()


def live(folder: Path, leader: Path) -> None:
    """Start, get the snapshot if it isn't installed yet, install it, and stop."""
    with ExitStack() as stack:
        data_dir = DataDir.open(folder, 1)
        stack.callback(data_dir.close)
        log_store = LogStore(data_dir.log_path, create=False)
        stack.callback(log_store.close)
        kv_store = KvStore(data_dir.state_path, create=False)
        closing = stack.enter_context(ExitStack())
        closing.callback(kv_store.close)
        group_log = log_store.group(0)
        settle_log_with_state(group_log, kv_store.applied, data_dir.installed)
        log_store.sync()
        if data_dir.installed is None:
            snapshot = snapshot_of(leader)
            incoming = IncomingSnapshot(data_dir.incoming_path, snapshot.manifest, have=[data_dir.state_path])
            send(snapshot, incoming)
            assert incoming.finish() == []
            group_log.append(HardState(NEW.term, 0), [])
            log_store.sync()
            data_dir.install_state(incoming)
            group_log.reset(NEW)
            log_store.sync()
            closing.close()
            kv_store = KvStore(data_dir.state_path, create=False)
            closing.callback(kv_store.close)
            data_dir.remove_old_states()


def check(folder: Path) -> EntryId:
    """Start, compare log and rows, and tell how far the state has come."""
    with ExitStack() as stack:
        data_dir = DataDir.open(folder, 1)
        stack.callback(data_dir.close)
        log_store = LogStore(data_dir.log_path, create=False)
        stack.callback(log_store.close)
        kv_store = KvStore(data_dir.state_path, create=False)
        stack.callback(kv_store.close)
        group_log = log_store.group(0)
        settle_log_with_state(group_log, kv_store.applied, data_dir.installed)
        found = OLD if data_dir.installed is None else NEW
        assert data_dir.installed in (None, NEW)
        assert holds(kv_store, found.index)
        if found == OLD:
            assert (group_log.boundary, group_log.last_index) == (EntryId(0, 0), OLD_LOG_END)
        else:
            assert (group_log.boundary, group_log.last_index) == (NEW, NEW.index)
            assert group_log.hard_state.current_term == NEW.term
        states = [path.name for path in folder.glob("state*")]
        assert states == [data_dir.state_path.name], "no state is left that doesn't count"
    return found


@contextmanager
def end_after(calls_before: int, end: Callable[[], None]) -> Iterator[list[str]]:
    """Have `end` called in place of the call after so many; give those that were made."""
    calls: list[str] = []

    def ending(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **named: object) -> object:
            if len(calls) == calls_before:
                end()
            calls.append(name)
            return real(*args, **named)

        return call

    real = {name: getattr(os, name) for name in CALLS}
    try:
        for name, function in real.items():
            setattr(os, name, ending(name, function))
        yield calls
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def main() -> None:
    """See the module's docstring."""
    folder, leader, calls_before = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with end_after(calls_before, lambda: os.kill(os.getpid(), signal.SIGKILL)) as calls:
        live(folder, leader)
    print(len(calls))


if __name__ == "__main__":
    main()
