"""One replica's state machine, driven as a node drives it, and what its rows must keep to."""

from __future__ import annotations

from raftkv.commands import build_table
from raftkv.commands.table import CommandTable, Sliced
from raftkv.machine import Batch, Machine, Run, decode_batch, encode_batch
from raftkv.raft.types import EntryId
from raftkv.resp.replies import Reply
from raftkv.rows import (
    COUNTS,
    EXPIRES,
    KEYS,
    PLACES,
    RowStore,
    counts_row,
    expires_row,
    key_of,
    key_row,
    pack_counts,
    unpack_value,
)
from tests.memory_rows import MemoryRows

CACHE_BYTES = 64 << 20


class Replica:
    """A state machine that is fed one entry after the other."""

    def __init__(
        self,
        store: RowStore | None = None,
        *,
        cache_bytes_max: int = CACHE_BYTES,
        commands: CommandTable | None = None,
    ) -> None:
        self.store = MemoryRows() if store is None else store
        self.commands = build_table() if commands is None else commands
        self.machine = Machine(self.store, self.commands, cache_bytes_max=cache_bytes_max)

    def next_id(self) -> EntryId:
        """The id of the entry that comes next."""
        return EntryId(1, self.machine.applied_index + 1)

    def apply(self, *commands: list[bytes], time_ms: int = 1, db: int = 0) -> list[Reply]:
        """Apply one entry, over its bytes, and store nothing."""
        batch = decode_batch(encode_batch(Batch(time_ms, [Run(db, list(commands))])))
        return self.machine.apply(self.next_id(), batch)

    def write(self, *args: bytes, time_ms: int = 1, db: int = 0) -> Reply:
        """Apply and store an entry of one command."""
        (reply,) = self.apply(list(args), time_ms=time_ms, db=db)
        self.machine.commit()
        return reply

    def read(self, *args: bytes, clock_ms: int = 0, db: int = 0) -> Reply:
        """Run a READ command, to its end."""
        reply = self.machine.read(self.commands.resolve(list(args)), list(args), db=db, clock_ms=clock_ms)
        return reply.run() if isinstance(reply, Sliced) else reply

    def digest(self) -> Reply:
        """What RAFT DIGEST answers."""
        return self.machine.digest().run()

    def all_rows(self) -> list[tuple[bytes, bytes]]:
        """Every row of data, as of what is applied."""
        return list(self.machine.keyspace.rows.scan(b"\x01", None))


def check_rows(replica: Replica) -> None:
    """Assert what rows promise: each key in its place, one `expires` row per expiry, right counts, and no
    two databases in one place.
    """
    rows = dict(replica.all_rows())
    expected: dict[bytes, bytes] = {}
    counts: dict[int, list[int]] = {}
    for row_key, value in rows.items():
        if row_key[0] != KEYS:
            continue
        db = row_key[1]
        assert row_key == key_row(db, key_of(row_key)), "a key's row stands where nobody looks for it"
        expires_ms = unpack_value(value)[1]
        count = counts.setdefault(db, [0, 0])
        count[0] += 1
        if expires_ms:
            count[1] += 1
            expected[expires_row(expires_ms, row_key)] = b""
    actual = {row_key: value for row_key, value in rows.items() if row_key[0] == EXPIRES}
    assert actual == expected
    stored = {row_key: value for row_key, value in rows.items() if row_key[0] == COUNTS}
    assert stored == {counts_row(db): pack_counts(*count) for db, count in counts.items()}
    places = {row_key[1]: value[0] for row_key, value in rows.items() if row_key[0] == PLACES}
    assert sorted(places.values()) == sorted(places), "databases only change places with each other"
    assert all(database != place for database, place in places.items())
