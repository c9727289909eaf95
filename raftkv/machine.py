"""The replicated state machine: entries in, replies and rows out.

Depends on the entry and the rows, nothing else: every replica that applied the same entries holds the
same bytes. Knows no Raft but entry ids, no connections and no clock.

Invariant: rows change only in `apply`, and reach the store only in `commit`, together with the
applied index, so that what is stored is always the state after some entry.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec

from raftkv.applied import AppliedState
from raftkv.commands.table import (
    READ,
    WRITE,
    CommandDocs,
    CommandRefused,
    CommandSpec,
    CommandTable,
    KeySpec,
    Sliced,
    keys_of,
)
from raftkv.keyspace import Keyspace, ReadsDueKey, WrongType
from raftkv.raft.types import EntryId
from raftkv.resp.replies import WRONG_TYPE, Error, Reply
from raftkv.rows import ABSENT, DATA_END, DATA_FIRST, RowStore, RowStoreFailure

log = logging.getLogger(__name__)

#: Rows that a long read handles between two looks at the time.
_ROWS_PER_STEP: Final = 256


class Origin(msgspec.Struct, array_like=True):
    """Which node's clients wait for a run, and which of the batches that it passed on the run is of."""

    node_id: int
    #: Tells runs of that node's process apart.
    life: int
    #: Place among the batches that it passed on in the entry's term, from 1.
    number: int


class Run(msgspec.Struct, array_like=True):
    """Consecutive commands of one database."""

    db: int
    commands: list[list[bytes]]
    #: None: they came from the leader's own clients.
    origin: Origin | None = None


class Batch(msgspec.Struct, array_like=True):
    """One entry: the commands that clients sent in one turn of the leader's event loop."""

    #: Milliseconds of the Unix epoch by the leader's log clock.
    time_ms: int
    runs: list[Run]


class CorruptEntry(Exception):
    """An entry's payload is no batch."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Batch)


def encode_batch(batch: Batch) -> bytes:
    """The payload of an entry."""
    return _encoder.encode(batch)


def decode_batch(payload: bytes) -> Batch:
    """Read an entry's payload. Raises CorruptEntry."""
    try:
        return _decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise CorruptEntry(str(error)) from None


@dataclass(slots=True)
class PlacedRead:
    """A read that runs between two commands of a batch."""

    #: How many of the batch's commands come before it.
    after: int
    run: Callable[[], None]


def on_expire_due(keyspace: Keyspace, args: list[bytes]) -> Reply:
    """Remove those of the keys that are still due by the entry's time."""
    for key in args[1:]:
        keyspace.find(key)
    return len(args) - 1


#: The command that removes due keys. No client can send it: only the machine's own table has it.
EXPIRE_DUE: Final = CommandSpec(
    name=b"\x00expire-due",
    arity=-2,
    flags=frozenset({"write"}),
    route=WRITE,
    keys=KeySpec(1, -1, 1, flags=("RM", "delete")),
    handler=on_expire_due,
    acl_categories=frozenset(),
    docs=CommandDocs("Removes keys that have expired.", since="", group="internal", complexity="O(N) keys"),
)


class Machine:
    """One group's state machine."""

    def __init__(self, store: RowStore, commands: CommandTable, *, cache_bytes_max: int) -> None:
        self.keyspace = Keyspace(store, cache_bytes_max=cache_bytes_max)
        self._cache_bytes_max = cache_bytes_max
        self._store = store
        self._commands = CommandTable([*commands, EXPIRE_DUE])
        self._applied = store.applied
        #: Keys that READ commands named, since this node started.
        self.lookups_count = 0

    @property
    def commands(self) -> CommandTable:
        """The table that entries are applied by, with the one command that no client can send."""
        return self._commands

    @property
    def applied_index(self) -> int:
        """The newest entry applied, stored or not."""
        return self._applied.index

    @property
    def applied_term(self) -> int:
        """That entry's term."""
        return self._applied.term

    @property
    def log_time_ms(self) -> int:
        """The log's time after that entry; it never goes back."""
        return self._applied.log_time_ms

    def is_write_stopped(self) -> bool:
        """Whether `commit` would be refused at the moment."""
        return self._store.is_write_stopped()

    # -- entries ----------------------------------------------------------------------------

    def apply(self, entry_id: EntryId, batch: Batch, placed_reads: Sequence[PlacedRead] = ()) -> list[Reply]:
        """Apply one entry; give its commands' replies, in order. `placed_reads` ascend by `after`."""
        self._begin(entry_id, max(batch.time_ms, self.log_time_ms))
        replies: list[Reply] = []
        reads = deque(placed_reads)
        for run in batch.runs:
            first = 0
            run_first = len(replies)
            while reads and reads[0].after < run_first + len(run.commands):
                end = reads[0].after - run_first
                self._apply_commands(run.db, run.commands[first:end], replies)
                first = end
                reads.popleft().run()
            self._apply_commands(run.db, run.commands[first:] if first else run.commands, replies)
        for read in reads:
            read.run()
        self.keyspace.is_applying = False
        return replies

    def apply_empty(self, entry_id: EntryId) -> None:
        """Apply an entry without commands."""
        self._begin(entry_id, self.log_time_ms)
        self.keyspace.is_applying = False

    def apply_membership(self, entry_id: EntryId, membership: bytes) -> None:
        """Apply an entry that says who the members are from now on."""
        self._begin(entry_id, self.log_time_ms)
        applied = self._applied
        self._applied = AppliedState(applied.index, applied.term, applied.log_time_ms, membership)
        self.keyspace.is_applying = False

    @property
    def membership(self) -> bytes:
        """What the newest such entry said; empty when there was none."""
        return self._applied.membership

    def begin_anew(self) -> None:
        """Go on from what the store holds now: a snapshot took the place of its rows."""
        old = self.keyspace
        self.keyspace = Keyspace(self._store, cache_bytes_max=self._cache_bytes_max)
        self.keyspace.expired_count, self.keyspace.missed_count = old.expired_count, old.missed_count
        self._applied = self._store.applied

    def commit(self) -> None:
        """Store what was applied since the last commit, whole or not at all.

        Raises WriteStalled: nothing was stored, everything is still here, call again later.
        """
        self.keyspace.rows.write(self._applied)

    def _begin(self, entry_id: EntryId, time_ms: int) -> None:
        applied = self._applied
        assert entry_id.index == applied.index + 1, f"entry {entry_id.index} applied after {applied.index}"
        self._applied = AppliedState(entry_id.index, entry_id.term, time_ms, applied.membership)
        self.keyspace.begin_entry(version=entry_id.index, time_ms=time_ms)

    def _apply_commands(self, db: int, commands: list[list[bytes]], replies: list[Reply]) -> None:
        """Apply commands of one database, with no read in between, and append their replies."""
        keyspace = self.keyspace
        keyspace.db = db
        # A placed read may have run before.
        keyspace.clock_ms = keyspace.now_ms
        keyspace.is_applying = True
        if len(commands) > 1 and (alike := self._apply_alike(commands)) is not None:
            replies += alike
            return
        known = self._commands.known
        savepoint = keyspace.rows.savepoint
        append = replies.append
        for args in commands:
            before = savepoint()
            try:
                spec = known(args[0])
                if spec is None or not spec.args_min <= len(args) <= spec.args_max:
                    spec = self._commands.resolve(args)
                if spec.route is WRITE:
                    append(spec.handler(keyspace, args))  # type: ignore[arg-type]  # a write's reply is a plain one
                else:
                    append(Error(f"ERR '{spec.name.decode()}' is no write command"))
            except WrongType:
                keyspace.rollback(before)
                append(WRONG_TYPE)
            except CommandRefused as refused:
                append(refused.reply)
            except (MemoryError, RowStoreFailure):
                raise
            except Exception:
                # The same on every replica, since it follows from the entry and the rows.
                log.exception("command %r failed and was undone", args[:1])
                keyspace.rollback(before)
                append(Error("ERR internal error, the command was undone"))

    def _apply_alike(self, commands: list[list[bytes]]) -> list[Reply] | None:
        """Apply many commands at once, if they are one and the same and it has a bulk handler; else None."""
        first, last = commands[0], commands[-1]
        if first[:1] != last[:1]:
            return None
        try:
            names, *columns = zip(*commands, strict=True)
        except ValueError:
            return None
        spec = self._commands.known(names[0])
        if spec is None or spec.bulk_handler is None or spec.route is not WRITE:
            return None
        if len(columns) + 1 != spec.args_min or names.count(names[0]) != len(names):
            return None
        before = self.keyspace.rows.savepoint()
        try:
            return spec.bulk_handler(self.keyspace, *columns)
        except (MemoryError, RowStoreFailure):
            raise
        except Exception:  # noqa: BLE001 - it will be met again, and told
            self.keyspace.rollback(before)
            return None

    # -- expiry -----------------------------------------------------------------------------

    def expiry_commands(self, time_ms: int, count_max: int) -> list[Run]:
        """The runs of a batch that removes keys which are due at `time_ms`; none: nothing is due."""
        due = self.keyspace.due_keys(time_ms, count_max)
        return [Run(db, [[EXPIRE_DUE.name, *keys]]) for db, keys in due.items()]

    # -- reads ------------------------------------------------------------------------------

    def read(self, spec: CommandSpec, args: list[bytes], *, db: int, clock_ms: int) -> Reply | Sliced:
        """Run a READ command on what is applied. Raises ReadsDueKey."""
        keyspace = self._begin_read(spec, db, clock_ms)
        try:
            reply = spec.handler(keyspace, args)
            self.lookups_count += 1 if spec.has_one_key else len(keys_of(spec, args))
            return reply  # type: ignore[return-value]  # a read awaits nothing
        except WrongType:
            return WRONG_TYPE
        except (MemoryError, RowStoreFailure, ReadsDueKey):
            raise
        except Exception:
            log.exception("command %r failed", args[:1])
            return Error("ERR internal error")

    def _begin_read(self, spec: CommandSpec, db: int, clock_ms: int) -> Keyspace:
        assert spec.route is READ, f"{spec.name!r} is no read"
        keyspace = self.keyspace
        keyspace.db = db
        keyspace.is_applying = False
        keyspace.now_ms = self.log_time_ms
        keyspace.clock_ms = max(clock_ms, self.log_time_ms)
        return keyspace

    def read_alike(
        self, spec: CommandSpec, requests: list[list[bytes]], *, db: int, clock_ms: int
    ) -> list[Reply] | None:
        """Run READ requests of one command; None: one of them is to be run by itself, with `read`."""
        keyspace = self._begin_read(spec, db, clock_ms)
        handler = spec.handler
        try:
            replies = [handler(keyspace, args) for args in requests]
        except (MemoryError, RowStoreFailure):
            raise
        except Exception:  # noqa: BLE001 - `read` will meet it again, and tell what it means
            return None
        if Sliced in map(type, replies):
            return None
        self.lookups_count += len(requests)
        return replies  # type: ignore[return-value]  # a read awaits nothing

    def read_keys(
        self, spec: CommandSpec, keys: list[bytes], *, db: int, clock_ms: int
    ) -> list[Reply] | None:
        """Run a READ command that has a bulk handler; None: one of the keys is to be read by itself."""
        keyspace = self._begin_read(spec, db, clock_ms)
        assert spec.bulk_handler is not None, f"{spec.name!r} takes one key at a time"
        try:
            replies = spec.bulk_handler(keyspace, keys)
        except (MemoryError, RowStoreFailure):
            raise
        except Exception:  # noqa: BLE001 - `read` will meet it again, and tell what it means
            return None
        self.lookups_count += len(keys)
        return replies

    def count_keys_in_slot(self, slot: int) -> Sliced:
        """The number of live keys in a slot."""
        return Sliced(_count(self._keys_in_slot(slot)))

    def keys_in_slot(self, slot: int, *, count_max: int) -> Sliced:
        """The first live keys in a slot, in the order of their rows."""
        return Sliced(_collect(self._keys_in_slot(slot), count_max))

    def _keys_in_slot(self, slot: int) -> Iterator[tuple[bytes, int]]:
        self.keyspace.db = 0  # the only one where there are slots (redis cluster spec)
        return self.keyspace.keys_in_slot(slot)

    def digest(self) -> Sliced:
        """[digest of all rows in hex, the applied index at which it holds]; equal rows, equal digest."""
        return Sliced(_digest(self.keyspace.rows.scan(DATA_FIRST, DATA_END), self.applied_index))


def _count(found: Iterator[tuple[bytes, int]]) -> Generator[None, None, Reply]:
    count = 0
    for position, (_, kind) in enumerate(found, 1):
        count += kind != ABSENT
        if position % _ROWS_PER_STEP == 0:
            yield
    return count


def _collect(found: Iterator[tuple[bytes, int]], count_max: int) -> Generator[None, None, Reply]:
    keys: list[bytes] = []
    for position, (key, kind) in enumerate(found, 1):
        if len(keys) >= count_max:
            break
        if kind != ABSENT:
            keys.append(key)
        if position % _ROWS_PER_STEP == 0:
            yield
    return keys


def _digest(stored: Iterator[tuple[bytes, bytes]], index: int) -> Generator[None, None, Reply]:
    digest = blake2b(digest_size=20)
    for position, (row_key, value) in enumerate(stored):
        if position % _ROWS_PER_STEP == 0:
            yield
        digest.update(b"%d %d " % (len(row_key), len(value)))
        digest.update(row_key)
        digest.update(value)
    return [digest.hexdigest().encode(), index]
