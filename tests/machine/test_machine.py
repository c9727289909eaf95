"""Entries in, replies and rows out (`raftkv.machine`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.applied import AppliedState
from raftkv.commands import build_table
from raftkv.commands.table import WRITE, CommandDocs, CommandSpec, CommandTable, KeySpec
from raftkv.keyspace import Keyspace, ReadsDueKey, WrongType
from raftkv.machine import Batch, CorruptEntry, PlacedRead, Run, decode_batch, encode_batch
from raftkv.raft.types import EntryId
from raftkv.resp.replies import OK, WRONG_TYPE, Error, Reply
from raftkv.rows import KEYS
from raftkv.storage.errors import StorageFailure, WriteStalled
from tests.machine.replica import CACHE_BYTES, Replica, check_rows
from tests.memory_rows import MemoryRows

BATCHES = st.builds(
    Batch,
    st.integers(0, 1 << 62),
    st.lists(st.builds(Run, st.integers(0, 15), st.lists(st.lists(st.binary(), min_size=1)))),
)


@given(BATCHES)
def test_batch_is_read_back_as_it_was_written(batch: Batch) -> None:
    """Contract: the payload of an entry."""
    assert decode_batch(encode_batch(batch)) == batch


@given(st.binary(), BATCHES, st.integers(1, 100))
def test_what_is_no_batch_is_a_corrupt_entry(garbage: bytes, batch: Batch, cut: int) -> None:
    """Contract: nothing but CorruptEntry comes out."""
    payload = encode_batch(batch)
    for data in (garbage, payload[:-cut], payload + garbage):
        try:
            decode_batch(data)
        except CorruptEntry:
            continue


def test_batch_with_later_fields_is_read() -> None:
    """Contract: room for a forward's origin behind today's fields."""
    assert decode_batch(b"\x93\x01\x91\x93\x00\x91\x91\xc4\x01x\xc0\xc0") == Batch(1, [Run(0, [[b"x"]])])


def test_applied_state_reaches_the_store_with_the_rows_and_not_before() -> None:
    """DESIGN, "Storage": rows, applied index, term and log time in one batch."""
    store = MemoryRows()
    replica = Replica(store)
    replica.machine.apply(EntryId(3, 1), Batch(50, [Run(0, [[b"SET", b"k", b"1"]])]))
    replica.machine.apply_empty(EntryId(4, 2))
    assert (replica.machine.applied_index, replica.machine.applied_term) == (2, 4)
    assert store.applied == AppliedState()
    assert store.rows == {}
    replica.machine.commit()
    assert store.applied == AppliedState(2, 4, 50)
    assert Replica(store).read(b"GET", b"k") == b"1"
    assert Replica(store).machine.log_time_ms == 50


def test_entries_are_applied_without_a_gap() -> None:
    """Raft §5.3: in the order of the log."""
    replica = Replica()
    with pytest.raises(AssertionError):
        replica.machine.apply_empty(EntryId(1, 2))


def test_log_time_never_goes_back() -> None:
    """DESIGN, "Clients": an entry's time is at least the previous entry's."""
    replica = Replica()
    replica.write(b"SET", b"k", b"v", b"PX", b"100", time_ms=1000)
    replica.write(b"SET", b"other", b"v", b"PX", b"100", time_ms=500)
    assert replica.machine.log_time_ms == 1000
    assert replica.read(b"PTTL", b"other") == 100


def test_refused_commit_can_be_made_again() -> None:
    """DESIGN, "Storage": a stalled write keeps its operations."""
    store = MemoryRows()
    replica = Replica(store)
    replica.write(b"SET", b"old", b"1")
    before = dict(store.rows)
    store.is_stalled = True
    assert replica.machine.is_write_stopped()
    replica.apply([b"SET", b"k", b"1"], [b"DEL", b"old"])
    with pytest.raises(WriteStalled):
        replica.machine.commit()
    assert store.rows == before
    assert store.applied.index == 1
    assert replica.read(b"MGET", b"k", b"old") == [b"1", None]
    replica.apply([b"INCR", b"k"])
    store.is_stalled = False
    replica.machine.commit()
    assert store.applied.index == 3
    fresh = Replica(store)
    assert fresh.read(b"MGET", b"k", b"old") == [b"2", None]
    check_rows(fresh)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([b"nonsense", b"a"], "ERR unknown command 'nonsense', with args beginning with: 'a' "),
        ([b"SET", b"k"], "ERR wrong number of arguments for 'set' command"),
        ([b"GET", b"k"], "ERR 'get' is no write command"),
        ([], "ERR internal error, the command was undone"),
    ],
)
def test_entry_of_another_version_gets_an_error_on_every_replica(args: list[bytes], text: str) -> None:
    """Contract: a newer leader may know commands that this node doesn't."""
    replica = Replica()
    assert replica.apply([b"SET", b"a", b"1"], args, [b"INCR", b"a"]) == [OK, Error(text), 2]


def change_a_lot(keyspace: Keyspace) -> None:
    """Keys of the test below: in every way that there is."""
    keyspace.set_string(b"kept", b"changed", 77777)
    keyspace.set_string(b"new", b"value", 88888)
    keyspace.delete(b"gone")
    keyspace.set_expiry(b"timed", 0)
    keyspace.find(b"due")


def flush_and_change(keyspace: Keyspace) -> None:
    """All keys, and then some."""
    keyspace.flush_all()
    assert keyspace.find(b"timed") is None, "what is remembered as missing has to come back too"
    keyspace.set_string(b"kept", b"after")
    keyspace.set_string(b"new", b"after", 99999)


def flush_one_and_change(keyspace: Keyspace) -> None:
    """All keys of one database, which is looked into afterwards."""
    keyspace.flush_db()
    assert keyspace.find(b"timed") is None, "what is remembered as missing has to come back too"
    keyspace.set_string(b"kept", b"after")


def swap_and_change(keyspace: Keyspace) -> None:
    """Databases and keys that change places."""
    keyspace.copy(b"kept", b"new", to_db=2)
    keyspace.swap(0, 1)
    keyspace.set_string(b"kept", b"elsewhere")
    keyspace.swap(1, 2)
    keyspace.move(b"kept", b"gone", to_db=1)


def broken_table(change: Callable[[Keyspace], None], fault: Callable[[], None]) -> CommandTable:
    """The commands, and one more that makes a change and then fails."""

    def on_broken(keyspace: Keyspace, _args: list[bytes]) -> Reply:
        change(keyspace)
        fault()
        return OK

    broken = CommandSpec(
        name=b"broken",
        arity=-1,
        flags=frozenset({"write"}),
        route=WRITE,
        handler=on_broken,
        acl_categories=frozenset(),
        docs=CommandDocs("Fails.", since="", group="test", complexity="O(1)"),
    )
    return CommandTable([*build_table(), broken])


def raise_fault() -> None:
    """A bug."""
    raise KeyError("a bug in a handler")


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("cache_bytes_max", [0, 1 << 20])
@pytest.mark.parametrize(
    ("change", "more_keys_count"),
    [
        (change_a_lot, 0),
        (flush_and_change, 0),
        (flush_and_change, 300),
        (flush_one_and_change, 0),
        (flush_one_and_change, 300),
        (swap_and_change, 0),
    ],
)
def test_command_that_fails_midway_leaves_nothing_behind(
    is_stored: bool,
    cache_bytes_max: int,
    change: Callable[[Keyspace], None],
    more_keys_count: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """DESIGN, "Apply": an unexpected exception undoes that command, cache included."""
    replica = Replica(commands=broken_table(change, raise_fault), cache_bytes_max=cache_bytes_max)
    replica.apply(*([b"SET", b"more%d" % number, b"v"] for number in range(more_keys_count)))
    replica.apply(
        [b"SET", b"kept", b"1"],
        [b"SET", b"gone", b"2"],
        [b"SET", b"timed", b"3", b"PXAT", b"99999"],
        [b"SET", b"due", b"4", b"PXAT", b"50"],
        [b"MGET", b"new"],
    )
    if is_stored:
        replica.machine.commit()
    before = replica.all_rows()
    assert replica.apply([b"broken", b"secret"], time_ms=60) == [
        Error("ERR internal error, the command was undone")
    ]
    assert "a bug in a handler" in caplog.text
    assert "secret" not in caplog.text
    assert replica.all_rows() == before
    check_rows(replica)
    names = (b"kept", b"gone", b"timed", b"due", b"new")
    assert replica.read(b"MGET", *names) == [b"1", b"2", b"3", None, None]
    assert replica.read(b"PTTL", b"kept") == -1
    assert replica.write(b"INCR", b"kept", time_ms=60) == 2
    assert replica.write(b"SET", b"new", b"5", b"NX", time_ms=60) == OK
    check_rows(replica)


@pytest.mark.parametrize("failure", [MemoryError(), StorageFailure("reading", "the disk is gone")])
def test_failure_of_the_node_is_no_reply(failure: BaseException) -> None:
    """DESIGN, "Apply": it would differ from replica to replica, so the node stops."""

    def fail() -> None:
        raise failure

    replica = Replica(commands=broken_table(flush_and_change, fail))
    with pytest.raises(type(failure)):
        replica.apply([b"broken"])


def test_placed_reads_run_between_the_commands_that_they_came_between() -> None:
    """DESIGN, "Clients": pipelined `SET a 1; GET a` answers 1, in every place and database."""
    replica = Replica()
    seen: list[Reply] = []

    def look(db: int) -> Callable[[], None]:
        return lambda: seen.append(replica.read(b"GET", b"k", db=db, clock_ms=replica.machine.log_time_ms))

    batch = Batch(
        1,
        [
            Run(0, [[b"SET", b"k", b"1"], [b"INCR", b"k"]]),
            Run(3, [[b"SET", b"k", b"three"], [b"APPEND", b"k", b"!"]]),
        ],
    )
    places = [(0, 0), (1, 0), (1, 3), (2, 0), (3, 0), (3, 3), (4, 3)]
    reads = [PlacedRead(after, look(db)) for after, db in places]
    assert replica.machine.apply(EntryId(1, 1), batch, reads) == [OK, 2, OK, 6]
    assert seen == [None, b"1", None, b"2", b"2", b"three", b"three!"]
    check_rows(replica)


def test_placed_read_sees_keys_expire_by_the_time_of_the_entry() -> None:
    """Contract: a read behind own writes is served by the entry's log time."""
    replica = Replica()
    seen: list[Reply] = []
    read = PlacedRead(1, lambda: seen.append(replica.read(b"GET", b"k", clock_ms=100)))
    batch = Batch(100, [Run(0, [[b"SET", b"k", b"v", b"PXAT", b"100"], [b"EXISTS", b"k"], [b"DEL", b"k"]])])
    replies = replica.machine.apply(EntryId(1, 1), batch, [read])
    assert seen == [None]
    assert replies[2] == 0
    assert [row_key for row_key, _ in replica.all_rows() if row_key[0] == KEYS] == [], "DEL removed it"


def test_read_of_a_key_due_by_the_clock_alone_waits_for_the_log() -> None:
    """DESIGN, "Clients": only log time expires a key, and what was seen expired never comes back."""
    replica = Replica()
    replica.write(b"SET", b"k", b"v", b"PXAT", b"100", time_ms=50)
    assert replica.read(b"GET", b"k", clock_ms=99) == b"v"
    assert replica.read(b"PTTL", b"k", clock_ms=99) == 1
    for name in (b"GET", b"TTL", b"EXISTS", b"TYPE", b"STRLEN", b"MGET"):
        with pytest.raises(ReadsDueKey):
            replica.read(name, b"k", clock_ms=100)
    replica.machine.apply(replica.next_id(), Batch(100, []))
    for name, reply in ((b"GET", None), (b"TTL", -2), (b"EXISTS", 0), (b"STRLEN", 0)):
        assert replica.read(name, b"k", clock_ms=100) == reply
    assert replica.read(b"DBSIZE") == 1, "as in Redis, until it is removed"
    assert replica.read(b"KEYS", b"*") == []


def test_reads_that_are_alike_give_what_each_of_them_gives() -> None:
    """Contract of `read_alike`: the replies of `read`, or None when one of them is to be run by itself."""
    replica = Replica()
    replica.write(b"SET", b"k", b"v", b"PXAT", b"100", time_ms=50)
    replica.write(b"SET", b"l", b"w", time_ms=50)
    requests = [[b"GET", key] for key in (b"l", b"k", b"x", b"l")]
    get = replica.commands.resolve(requests[0])
    assert replica.machine.read_alike(get, requests, db=0, clock_ms=99) == [b"w", b"v", None, b"w"]
    assert replica.machine.read_alike(get, requests, db=1, clock_ms=99) == [None] * 4
    assert replica.machine.read_alike(get, requests, db=0, clock_ms=100) is None, "k is due by the clock"
    keys = replica.commands.resolve([b"KEYS", b"*"])
    assert replica.machine.read_alike(keys, [[b"KEYS", b"*"]], db=0, clock_ms=99) is None, "it is long"


def test_reads_change_no_rows() -> None:
    """Replicas don't serve the same reads: what those left behind would tell replicas apart."""
    replica = Replica()
    replica.write(b"SET", b"k", b"v", b"PXAT", b"100", time_ms=50)
    replica.machine.apply(replica.next_id(), Batch(200, []))
    before = replica.all_rows()
    for args in ([b"GET", b"k"], [b"MGET", b"k", b"x"], [b"KEYS", b"*"], [b"SCAN", b"0"], [b"TTL", b"k"]):
        replica.read(*args)
    assert replica.all_rows() == before


def test_due_keys_are_removed_by_entries_and_checked_again_there() -> None:
    """DESIGN, "Clients": due keys are removed by entries, re-checked at apply."""
    replica = Replica()
    for name in (b"gone", b"saved", b"replaced"):
        replica.write(b"SET", name, b"v", b"PXAT", b"100", time_ms=50, db=2)
    replica.write(b"SET", b"later", b"v", b"PXAT", b"101", time_ms=50)
    assert replica.machine.expiry_commands(99, 10) == []
    runs = replica.machine.expiry_commands(100, 10)
    assert [(run.db, sorted(run.commands[0][1:])) for run in runs] == [(2, [b"gone", b"replaced", b"saved"])]
    replica.write(b"PERSIST", b"saved", time_ms=60, db=2)
    replica.write(b"SET", b"replaced", b"new", b"PXAT", b"500", time_ms=60, db=2)
    assert replica.machine.apply(replica.next_id(), Batch(100, runs)) == [3]
    replica.machine.commit()
    assert replica.read(b"MGET", b"gone", b"saved", b"replaced", db=2) == [None, b"v", b"new"]
    assert replica.read(b"DBSIZE", db=2) == 2
    check_rows(replica)


def test_no_client_can_send_the_internal_command() -> None:
    """Contract: only the machine's own table has it."""
    replica = Replica()
    replica.write(b"SET", b"k", b"v", b"PXAT", b"100")
    (run,) = replica.machine.expiry_commands(100, 10)
    assert build_table().lookup(run.commands[0][0]) is None


def test_digest_tells_rows_apart_and_nothing_else() -> None:
    """Contract: replicas with the same applied index agree, whatever their caches and commits."""
    script = [
        [b"SET", b"a", b"1"],
        [b"SET", b"b", b"2", b"PXAT", b"100"],
        [b"INCR", b"a"],
        [b"DEL", b"b"],
        [b"APPEND", b"c", b"x"],
    ]
    plain, restarted, lazy = Replica(), Replica(cache_bytes_max=0), Replica()
    for args in script:
        plain.write(*args)
        restarted.write(*args)
        restarted = Replica(restarted.store, cache_bytes_max=0)
        lazy.apply(args)
    assert plain.digest() == restarted.digest() == lazy.digest()
    (digest, index) = plain.digest()  # type: ignore[misc]  # a list of two
    assert index == 5
    plain.write(b"APPEND", b"c", b"")
    restarted.write(b"SET", b"d", b"")
    assert len({digest, plain.digest()[0], restarted.digest()[0]}) == 3  # type: ignore[index]  # as above


def test_digest_tells_where_a_row_key_ends() -> None:
    """Contract: lengths are framed."""
    digests = []
    for row_key, value in ((b"\x01ab", b"c"), (b"\x01a", b"bc")):
        store = MemoryRows()
        store.rows[row_key] = value
        digests.append(Replica(store).digest())
    assert digests[0] != digests[1]


def test_digest_shows_the_moment_it_was_asked_for() -> None:
    """Contract: a long read takes its view at once, and runs later."""
    replica = Replica()
    for number in range(600):
        replica.apply([b"SET", b"%d" % number, b"v"])
    expected, asked = replica.digest(), replica.machine.digest()
    steps = asked.steps()
    next(steps)
    replica.write(b"FLUSHALL")
    assert len(list(steps)) >= 2
    assert asked.result == expected
    assert replica.digest() != expected


def test_many_keys_are_read_as_one_by_one() -> None:
    """Contract of `read_keys`, as of `read_alike`; keys that the cache doesn't hold included."""
    replica = Replica(cache_bytes_max=1)
    replica.write(b"SET", b"k", b"v", b"PXAT", b"100", time_ms=50)
    replica.write(b"SET", b"l", b"w", time_ms=50)
    get = replica.commands.resolve([b"GET", b"k"])
    keys = [b"l", b"k", b"x", b"l"]
    assert replica.machine.read_keys(get, keys, db=0, clock_ms=99) == [b"w", b"v", None, b"w"]
    assert replica.machine.read_keys(get, keys, db=1, clock_ms=99) == [None] * 4
    assert replica.machine.read_keys(get, keys, db=0, clock_ms=100) is None, "k is due by the clock"
    assert replica.machine.lookups_count == 8


def _written(
    commands: list[list[bytes]], *, cache_bytes_max: int
) -> tuple[list[Reply], list[tuple[bytes, bytes]]]:
    """The replies and rows of entries with these commands, after some keys were set in other ways."""
    replica = Replica(cache_bytes_max=cache_bytes_max)
    replica.write(b"SET", b"due", b"v", b"PXAT", b"100", time_ms=50)
    replica.write(b"SET", b"lasting", b"v", time_ms=50)
    replies = replica.machine.apply(replica.next_id(), Batch(200, [Run(0, commands), Run(3, commands)]))
    check_rows(replica)
    return replies, replica.all_rows()


@pytest.mark.parametrize("cache_bytes_max", [1, CACHE_BYTES])
@given(
    commands=st.lists(
        st.builds(
            lambda name, key, value, options: [name, key, value, *options],
            st.just(b"SET"),
            st.sampled_from([b"due", b"lasting", b"new", b"newer"]),
            st.binary(max_size=3),
            st.sampled_from([[], [], [], [b"NX"]]),
        ),
        max_size=6,
    )
)
def test_many_sets_at_once_do_what_they_do_one_by_one(
    cache_bytes_max: int, commands: list[list[bytes]]
) -> None:
    """Contract of `bulk_handler`: same replies, same rows, whatever a cache holds."""
    apart = [[b"set" if place % 2 else b"SET", *args] for place, (_, *args) in enumerate(commands)]
    assert _written(commands, cache_bytes_max=cache_bytes_max) == _written(
        apart, cache_bytes_max=cache_bytes_max
    )


def test_what_fails_at_once_is_undone_and_carried_out_one_by_one() -> None:
    """Contract of `bulk_handler`: it may fail behind some of the requests."""

    def on_many(keyspace: Keyspace, keys: Sequence[bytes]) -> list[Reply]:
        for key in keys:
            if key == b"bad":
                raise WrongType
            keyspace.set_string(key, b"many")
        return [OK] * len(keys)

    def on_one(keyspace: Keyspace, args: list[bytes]) -> Reply:
        if args[1] == b"bad":
            raise WrongType
        keyspace.set_string(args[1], (keyspace.get_string(args[1]) or b"") + b"one")
        return OK

    touchy = CommandSpec(
        name=b"touchy",
        arity=2,
        flags=frozenset({"write"}),
        route=WRITE,
        keys=KeySpec(1, 1, 1, flags=("RW", "update")),
        handler=on_one,
        bulk_handler=on_many,
        acl_categories=frozenset(),
        docs=CommandDocs("Fails at times.", since="", group="test", complexity="O(1)"),
    )
    replica = Replica(commands=CommandTable([*build_table(), touchy]))
    replica.machine.commands.lookup(b"TOUCHY")
    requests = [[b"TOUCHY", key] for key in (b"a", b"bad", b"b")]
    assert replica.machine.apply(replica.next_id(), Batch(1, [Run(0, requests)])) == [OK, WRONG_TYPE, OK]
    assert (replica.read(b"GET", b"a"), replica.read(b"GET", b"b")) == (b"one", b"one")
    requests = [[b"TOUCHY", key] for key in (b"a", b"c")]
    assert replica.machine.apply(replica.next_id(), Batch(2, [Run(0, requests)])) == [OK, OK]
    assert (replica.read(b"GET", b"a"), replica.read(b"GET", b"c")) == (b"many", b"many")
