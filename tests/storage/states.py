"""Small states, the snapshots that are made of them, and a peer that sends these."""

from __future__ import annotations

from pathlib import Path

from raftkv.applied import AppliedState
from raftkv.raft import encode_membership, founding_membership
from raftkv.storage import IncomingSnapshot, KvStore, Snapshot, make_snapshot

MEMBERSHIP = encode_membership(founding_membership((1, 2, 3)))
ROW_COUNT = 300


def fill(store: KvStore, index: int, *, term: int = 2) -> None:
    """Have all rows, which fill more than one chunk, say `index`; flushed to a table of their own."""
    rows = {b"\x01%d" % row: b"%d of %d" % (index, row) * 20 for row in range(ROW_COUNT)}
    store.write(rows, [], AppliedState(index, term, index * 10, MEMBERSHIP))
    store.flush()


def holds(store: KvStore, index: int) -> bool:
    """Tell whether all rows say `index`, as the applied index does."""
    rows = dict(store.scan(b"\x01", b"\x02"))
    expected = {b"\x01%d" % row: b"%d of %d" % (index, row) * 20 for row in range(ROW_COUNT)}
    return rows == expected and store.applied.index == index


def snapshot_at(folder: Path, *indexes: int, term: int = 2) -> Snapshot:
    """Make a state that went through `indexes` in `folder`, and a snapshot of it."""
    store = KvStore(folder / "state", create=True)
    for index in indexes:
        fill(store, index, term=term)
    snapshot = make_snapshot(store, folder / "snapshots")
    store.close()
    return snapshot


def send(snapshot: Snapshot, incoming: IncomingSnapshot, *, chunk_bytes: int = 1000) -> int:
    """Send what is missing; give the number of chunks."""
    count = 0
    while missing := incoming.missing():
        part = missing[0]
        length = min(part.length, chunk_bytes)
        assert incoming.write(part.name, part.offset, snapshot.read(part.name, part.offset, length))
        count += 1
    return count
