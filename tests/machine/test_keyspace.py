"""Keys, expiry, iteration and the cache in front of them (`raftkv.keyspace`, `raftkv.cache`)."""

from __future__ import annotations

from binascii import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raftkv import keyspace as keyspace_module
from raftkv.cache import Record, RecordCache, cost_bytes
from raftkv.keyspace import ReadsDueKey
from raftkv.resp.replies import OK, Reply
from raftkv.rows import EXPIRES, key_row
from raftkv.slots import slot_of
from tests.machine.replica import Replica, check_rows
from tests.memory_rows import MemoryRows


def check_size(cache: RecordCache) -> None:
    """Assert that the cache knows its own size."""
    held = [each for shelf in cache._shelves.values() for records in shelf.shards for each in records.items()]
    assert cache.size_bytes == sum(cost_bytes(key, record) for key, record in held)
    assert sum(shelf.count for shelf in cache._shelves.values()) == len(held)


KEYS = st.sampled_from([b"a", b"b", b"{a}c", b"", b"\xff"])
TIMES = st.integers(1, 60)


class CacheOfOneKey(RuleBasedStateMachine):
    """A replica with a cache of one key, one restarted at will, and one with all in memory stay the same."""

    def __init__(self) -> None:
        super().__init__()
        self.replicas = [Replica(cache_bytes_max=0), Replica(), Replica()]
        self.time_ms = 1

    def do(self, *args: bytes, db: int) -> None:
        """The same command on all, the same reply from all."""
        replies = [replica.write(*args, time_ms=self.time_ms, db=db) for replica in self.replicas]
        assert replies[1:] == replies[:-1]

    @rule(key=KEYS, db=st.integers(0, 1), value=st.binary(max_size=3), expiry=st.none() | TIMES)
    def set(self, key: bytes, db: int, value: bytes, expiry: int | None) -> None:
        """With an expiry and without."""
        options = [] if expiry is None else [b"PXAT", b"%d" % expiry]
        self.do(b"SET", key, value, *options, db=db)

    @rule(key=KEYS, db=st.integers(0, 1), name=st.sampled_from([b"DEL", b"INCR", b"PERSIST", b"UNLINK"]))
    def change(self, key: bytes, db: int, name: bytes) -> None:
        """What takes a key alone."""
        self.do(name, key, db=db)

    @rule(keys=st.lists(KEYS, min_size=1), db=st.integers(0, 1))
    def change_several(self, keys: list[bytes], db: int) -> None:
        """What takes many keys."""
        self.do(b"MSET", *[word for key in keys for word in (key, key)], db=db)
        self.do(b"DEL", *keys[: len(keys) // 2], b"a", db=db)

    @rule(
        key=KEYS,
        left_ms=st.integers(-5, 40),
        words=st.sampled_from([[], [b"NX"], [b"XX"], [b"GT"], [b"LT"], [b"XX", b"LT"]]),
    )
    def expire(self, key: bytes, left_ms: int, words: list[bytes]) -> None:
        """Past times, too."""
        self.do(b"PEXPIRE", key, b"%d" % left_ms, *words, db=0)

    @rule(key=KEYS, option=st.sampled_from([b"NX", b"XX", b"GET", b"KEEPTTL"]))
    def set_with_option(self, key: bytes, option: bytes) -> None:
        """What looks before it sets."""
        self.do(b"SET", key, b"opt", option, db=0)

    @rule(key=KEYS)
    def append(self, key: bytes) -> None:
        """A value that grows."""
        self.do(b"APPEND", key, b"x" * 50, db=0)

    @rule(key=KEYS, at=st.integers(0, 9), name=st.sampled_from([b"GETEX", b"SETRANGE", b"INCRBYFLOAT"]))
    def change_in_part(self, key: bytes, at: int, name: bytes) -> None:
        """What leaves some of a value or of its expiry."""
        words = {b"GETEX": [b"PXAT", b"%d" % (at * 7)], b"SETRANGE": [b"%d" % at, b"5"]}
        self.do(name, key, *words.get(name, [b"%d.5" % at]), db=0)

    @rule(key=KEYS, value=st.binary(max_size=3), name=st.sampled_from([b"GETSET", b"SETNX", b"MSETNX"]))
    def set_and_look(self, key: bytes, value: bytes, name: bytes) -> None:
        """What depends on what was there, and then goes."""
        self.do(name, key, value, db=0)
        self.do(b"GETDEL", b"a", db=0)

    @rule()
    def flush(self) -> None:
        """All at once."""
        self.do(b"FLUSHALL", db=1)

    @rule(db=st.integers(0, 2))
    def flush_one(self, db: int) -> None:
        """One database of three."""
        self.do(b"FLUSHDB", db=db)

    @rule(first=st.integers(0, 2), second=st.integers(0, 2))
    def swap(self, first: int, second: int) -> None:
        """Two databases, or one with itself."""
        self.do(b"SWAPDB", b"%d" % first, b"%d" % second, db=0)

    @rule(key=KEYS, db=st.integers(0, 1), to_db=st.integers(0, 2))
    def move(self, key: bytes, db: int, to_db: int) -> None:
        """To another database, or not."""
        self.do(b"MOVE", key, b"%d" % to_db, db=db)

    @rule(
        key=KEYS,
        new_key=KEYS,
        db=st.integers(0, 1),
        words=st.sampled_from([[], [b"REPLACE"], [b"DB", b"1"], [b"DB", b"0", b"REPLACE"]]),
    )
    def copy(self, key: bytes, new_key: bytes, db: int, words: list[bytes]) -> None:
        """Within a database and from one to another."""
        self.do(b"COPY", key, new_key, *words, db=db)

    @rule(key=KEYS, new_key=KEYS, db=st.integers(0, 1), name=st.sampled_from([b"RENAME", b"RENAMENX"]))
    def rename(self, key: bytes, new_key: bytes, db: int, name: bytes) -> None:
        """To itself, too."""
        self.do(name, key, new_key, db=db)

    @rule(by_ms=st.integers(1, 20))
    def pass_time(self, by_ms: int) -> None:
        """Some keys get due."""
        self.time_ms += by_ms
        self.do(b"SET", b"tick", b"", db=0)

    @rule()
    def remove_due_keys(self) -> None:
        """As the leader does it; all find the same."""
        runs = [replica.machine.expiry_commands(self.time_ms, 3) for replica in self.replicas]
        assert runs[1:] == runs[:-1]
        for run in runs[0]:
            self.do(*run.commands[0], db=run.db)

    @rule()
    def restart(self) -> None:
        """One of them comes back with an empty cache."""
        self.replicas[2] = Replica(self.replicas[2].store)

    @rule(
        args=st.sampled_from(
            [
                (b"KEYS", b"*"),
                (b"SCAN", b"0"),
                (b"DBSIZE",),
                (b"MGET", b"a", b"b", b"{a}c"),
                (b"TOUCH", b"a"),
                (b"GETRANGE", b"a", b"-2", b"-1"),
                (b"LCS", b"a", b"{a}c", b"IDX"),
            ]
        ),
        db=st.integers(0, 2),
    )
    def read(self, args: tuple[bytes, ...], db: int) -> None:
        """Reads warm caches up and change nothing else."""
        replies = [replica.read(*args, db=db) for replica in self.replicas]
        assert replies[1:] == replies[:-1]

    @invariant()
    def rows_are_the_same_and_right(self) -> None:
        """Byte for byte."""
        rows = [replica.all_rows() for replica in self.replicas]
        assert rows[1:] == rows[:-1]
        check_rows(self.replicas[0])
        for replica in self.replicas:
            check_size(replica.machine.keyspace._cache)


TestCacheOfOneKey = CacheOfOneKey.TestCase
TestCacheOfOneKey.settings = settings(max_examples=60, stateful_step_count=40)


def fill(replica: Replica, keys: list[bytes]) -> None:
    """Give every key a value."""
    replica.apply(*([b"SET", key, b"v"] for key in keys))
    replica.machine.commit()


def scan(replica: Replica, cursor: bytes, *options: bytes) -> tuple[bytes, list[bytes]]:
    """One page and the cursor behind it."""
    reply = replica.read(b"SCAN", cursor, *options)
    assert isinstance(reply, list), "SCAN replies with two items"
    after, keys = reply
    return after, keys


def scan_all(replica: Replica, *options: bytes) -> list[list[bytes]]:
    """Every page of a scan."""
    cursor, keys = scan(replica, b"0", *options)
    pages = [keys]
    while cursor != b"0":
        cursor, keys = scan(replica, cursor, *options)
        pages.append(keys)
    return pages


@given(keys=st.lists(st.binary(max_size=3), unique=True, max_size=40), count=st.integers(1, 50))
def test_scan_gives_every_key_once_in_the_order_of_the_rows(keys: list[bytes], count: int) -> None:
    """redis SCAN: what is there from the beginning to the end is given; here, never twice."""
    replica = Replica()
    fill(replica, keys)
    pages = scan_all(replica, b"COUNT", b"%d" % count)
    assert [key for page in pages for key in page] == sorted(keys, key=lambda key: key_row(0, key))
    assert all(len(page) == count for page in pages[:-1])
    assert scan_all(Replica(replica.store, cache_bytes_max=0), b"COUNT", b"%d" % count) == pages


def test_keys_of_one_slot_and_hash_come_in_one_page() -> None:
    """DESIGN, "Storage": the cursor is slot and crc32 of the next row."""
    # CRC-32 is linear: the bits of its polynomial, flipped in a key, don't change the key's checksum.
    plain = b"{t}....."
    mask = int(f"{0x104C11DB7:b}"[::-1], 2) << 24
    twins = [plain, (int.from_bytes(plain, "little") ^ mask).to_bytes(8, "little")]
    assert crc32(twins[0]) == crc32(twins[1])
    assert slot_of(twins[0]) == slot_of(twins[1])
    replica = Replica()
    fill(replica, [*twins, b"{t}a", b"{t}b", b"{t}c"])
    pages = scan_all(replica, b"COUNT", b"1")
    assert sorted(map(len, pages)) == [1, 1, 1, len(twins)]


def test_scan_goes_on_where_it_was_after_keys_came_and_went() -> None:
    """redis SCAN, "Scan guarantees": the cursor is a place, not a memory."""
    replica = Replica()
    keys = [b"%d" % number for number in range(50)]
    fill(replica, keys)
    cursor, first = scan(replica, b"0", b"COUNT", b"20")
    replica.write(b"DEL", *first, *keys[:10])
    fill(replica, [b"new%d" % number for number in range(30)])
    seen = set(first)
    while cursor != b"0":
        cursor, page = scan(replica, cursor, b"COUNT", b"7")
        seen.update(page)
    assert seen >= set(keys[10:])


@pytest.mark.parametrize("cursor", [16384 << 32, 16383 << 32 | 0xFFFFFFFF, (1 << 64) - 1])
def test_scan_behind_the_last_slot_is_at_its_end(cursor: int) -> None:
    """redis SCAN: an invalid cursor gives undefined keys, never an error."""
    replica = Replica()
    fill(replica, [b"k"])
    assert replica.read(b"SCAN", b"%d" % cursor) == [b"0", []]


def test_keys_in_a_slot_are_found_and_counted() -> None:
    """redis CLUSTER COUNTKEYSINSLOT, GETKEYSINSLOT; the first, a middle and the last slot."""
    tags = {slot_of(b"%d" % number): b"%d" % number for number in range(200_000)}
    replica = Replica()
    for slot in (0, 7000, 16383):
        keys = [b"{%b}%d" % (tags[slot], number) for number in range(3)]
        fill(replica, keys)
        replica.write(b"SET", b"{%b}due" % tags[slot], b"v", b"PXAT", b"1")
    replica.write(b"SET", b"{%b}elsewhere" % tags[7000], b"v", db=1)
    machine = replica.machine
    for slot in (0, 7000, 16383):
        found = machine.keys_in_slot(slot, count_max=10).run()
        assert isinstance(found, list)
        assert sorted(found) == [b"{%b}%d" % (tags[slot], number) for number in range(3)]
        assert machine.keys_in_slot(slot, count_max=2).run() == found[:2]
        assert machine.keys_in_slot(slot, count_max=0).run() == []
        assert machine.count_keys_in_slot(slot).run() == 3
    assert machine.keys_in_slot(1, count_max=10).run() == []
    assert machine.count_keys_in_slot(1).run() == 0


def test_long_looks_at_a_slot_come_in_slices_of_what_there_was() -> None:
    """DESIGN, "Storage": all keys of a hash tag share a slot, however many they are."""
    replica = Replica()
    slot = slot_of(b"t")
    fill(replica, [b"{t}%d" % number for number in range(1000)])
    count, keys = replica.machine.count_keys_in_slot(slot), replica.machine.keys_in_slot(slot, count_max=1000)
    replica.write(b"FLUSHALL")
    assert len(list(count.steps())) >= 3
    assert len(list(keys.steps())) >= 3
    assert count.result == 1000
    assert len(set(keys.result)) == 1000  # type: ignore[arg-type]  # a list of keys


def test_databases_are_apart_and_flushed_together() -> None:
    """redis SELECT, FLUSHALL"""
    replica = Replica()
    for db in range(16):
        for number in range(db):
            replica.write(b"SET", b"%d" % number, b"%d" % db, b"PXAT", b"%d" % (1000 + number), db=db)
    assert [replica.read(b"DBSIZE", db=db) for db in range(16)] == list(range(16))
    assert replica.read(b"GET", b"0", db=15) == b"15"
    assert replica.read(b"GET", b"0", db=0) is None
    counts = replica.machine.keyspace.counts_by_db()
    assert {db: (count.keys, count.expiring) for db, count in counts.items()} == {
        db: (db, db) for db in range(1, 16)
    }
    replica.write(b"FLUSHALL", db=3)
    assert replica.all_rows() == []
    assert [replica.read(b"DBSIZE", db=db) for db in range(16)] == [0] * 16


@pytest.mark.parametrize("count", [10, 1000])
def test_flushed_keys_stay_away_and_can_come_again(count: int) -> None:
    """redis FLUSHALL, for a few rows and for a range; unstored rows and cached values go as well."""
    replica = Replica()
    fill(replica, [b"%d" % number for number in range(count)])
    replica.apply([b"SET", b"pending", b"v", b"PX", b"5"], [b"FLUSHALL"], [b"APPEND", b"1", b"new"])
    for each in (replica, replica):
        assert each.read(b"MGET", b"0", b"1", b"pending") == [None, b"new", None]
        assert each.read(b"DBSIZE") == 1
        check_rows(each)
        each.machine.commit()
    assert replica.machine.expiry_commands(1000, 10) == []
    assert Replica(replica.store).read(b"KEYS", b"*") == [b"1"]


def test_due_keys_come_longest_due_first_and_not_too_many() -> None:
    """Contract: due_keys(now_ms, count_max)."""
    replica = Replica()
    for number in (30, 10, 40, 20):
        replica.write(b"SET", b"k%d" % number, b"v", b"PXAT", b"%d" % number)
    keyspace = replica.machine.keyspace
    assert keyspace.due_keys(9, 10) == {}
    assert keyspace.due_keys(30, 2) == {0: [b"k10", b"k20"]}
    assert keyspace.due_keys(30, 10) == {0: [b"k10", b"k20", b"k30"]}
    replica.write(b"SET", b"k5", b"v", b"PXAT", b"5")
    assert keyspace.due_keys(30, 1) == {0: [b"k5"]}, "a time before those that were seen"


def test_due_keys_of_all_databases_come_in_one_order() -> None:
    """Contract: due_keys, the longest due first; by the numbers that databases have now."""
    replica = Replica()
    for number in (30, 10, 40, 20, 50):
        replica.write(b"SET", b"k%d" % number, b"v", b"PXAT", b"%d" % number, db=number // 10 % 3)
    replica.write(b"SWAPDB", b"1", b"7")
    keyspace = replica.machine.keyspace
    assert keyspace.due_keys(60, 3) == {7: [b"k10"], 2: [b"k20"], 0: [b"k30"]}
    assert keyspace.due_keys(60, 9) == {7: [b"k10", b"k40"], 2: [b"k20", b"k50"], 0: [b"k30"]}
    for run in replica.machine.expiry_commands(45, 10):
        replica.write(*run.commands[0], time_ms=45, db=run.db)
    assert {db: count.keys for db, count in keyspace.counts_by_db().items()} == {2: 1}
    check_rows(replica)


def test_due_keys_of_a_database_that_was_swapped_meanwhile_are_found_again() -> None:
    """The entry that removes due keys names their database, which may be another when it is applied."""
    replica = Replica()
    replica.write(b"SET", b"k", b"v", b"PXAT", b"10")
    replica.write(b"SET", b"k", b"lasting", db=1)
    (run,) = replica.machine.expiry_commands(20, 10)
    replica.write(b"SWAPDB", b"0", b"1")
    replica.write(*run.commands[0], time_ms=20, db=run.db)
    assert replica.read(b"GET", b"k", db=0) == b"lasting"
    assert replica.machine.keyspace.due_keys(20, 10) == {1: [b"k"]}


@pytest.mark.parametrize("keys_count", [1, 1000])
def test_swap_costs_the_same_for_any_number_of_keys(keys_count: int) -> None:
    """Contract of `swap`: two rows; and back again, none is left."""
    replica = Replica()
    fill(replica, [b"%d" % number for number in range(keys_count)])
    before = replica.all_rows()
    replica.write(b"SWAPDB", b"0", b"9")
    assert len(replica.all_rows()) == len(before) + 2
    assert replica.read(b"DBSIZE", db=9) == keys_count
    assert Replica(replica.store).read(b"GET", b"0", db=9) == b"v"
    replica.write(b"SWAPDB", b"9", b"0")
    assert replica.all_rows() == before


def test_due_keys_that_are_long_come_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract: an entry has a bounded size; one key comes in any case."""
    monkeypatch.setattr(keyspace_module, "DUE_BYTES_MAX", 100)
    replica = Replica()
    for number in range(5):
        replica.write(b"SET", b"%d" % number + b"x" * 80, b"v", b"PXAT", b"%d" % (10 + number))
    (run,) = replica.machine.expiry_commands(50, 10)
    assert [key[:1] for key in run.commands[0][1:]] == [b"0", b"1"]


class ScanRecorder(MemoryRows):
    """Notes which ranges were looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.scanned: list[tuple[bytes, bytes | None]] = []

    def scan(self, first, end):  # type: ignore[no-untyped-def]  # as its parent's
        """Note it."""
        self.scanned.append((first, end))
        return super().scan(first, end)


def test_due_keys_does_not_look_again_where_it_found_nothing() -> None:
    """A leader looks every tick, and removed rows are walked over one by one: not before one is due."""
    store = ScanRecorder()
    replica = Replica(store)
    replica.write(b"SET", b"k", b"v", b"PXAT", b"70")
    keyspace = replica.machine.keyspace
    keyspace.due_keys(50, 10)
    store.scanned.clear()
    assert keyspace.due_keys(50, 10) == keyspace.due_keys(69, 10) == {}
    assert store.scanned == []
    assert keyspace.due_keys(80, 10) == {0: [b"k"]}
    ((first, _),) = [each for each in store.scanned if each[0][0] == EXPIRES]
    assert int.from_bytes(first[2:10], "big") == 70
    assert keyspace.due_keys(80, 10) == {0: [b"k"]}, "until it is removed"
    replica.write(b"DEL", b"k", time_ms=80)
    assert keyspace.due_keys(90, 10) == {}
    store.scanned.clear()
    assert keyspace.due_keys(1 << 60, 10) == {}, "there is none at all"
    assert store.scanned == []
    replica.write(b"SET", b"l", b"v", b"PXAT", b"95", time_ms=80)
    assert keyspace.due_keys(95, 10) == {0: [b"l"]}


def test_hot_keys_are_served_without_the_store() -> None:
    """DESIGN, "Storage": reads of hot keys never touch RocksDB, missing ones included."""
    replica = Replica()
    fill(replica, [b"k"])
    replica.read(b"MGET", b"k", b"missing")
    replica.store.gets_count = 0  # type: ignore[attr-defined]  # MemoryRows has it
    for _ in range(3):
        assert replica.read(b"MGET", b"k", b"missing") == [b"v", None]
        assert replica.read(b"EXISTS", b"missing") == 0
    assert replica.store.gets_count == 0  # type: ignore[attr-defined]  # as above


class CacheModel(RuleBasedStateMachine):
    """The cache's bookkeeping under any use."""

    @initialize(bytes_max=st.integers(0, 3000))
    def begin(self, bytes_max: int) -> None:
        """Room for nothing, or for a few."""
        self.cache = RecordCache(bytes_max)
        self.bytes_max = bytes_max
        self.db = 0
        self.newest: bytes | None = None

    @rule(db=st.integers(0, 2))
    def select(self, db: int) -> None:
        """Another database."""
        self.cache.select(db)
        self.db = db
        self.newest = None

    @rule(key=KEYS, size=st.integers(0, 2000))
    def use(self, key: bytes, size: int) -> None:
        """Look a key up, add it when it is missing, change its value."""
        record = self.cache.get(key)
        if record is None:
            record = Record(b"", 1, 0, 0, b"")
            self.cache.add(key, record)
        record.used_ms += 1
        grown_bytes = size - len(record.value)
        record.value = b"x" * size
        self.cache.resize(key, grown_bytes)
        self.newest = key
        assert self.cache.get(key) is record, "the key in use stays"

    @precondition(lambda self: self.newest is not None)
    @rule(db=st.integers(0, 2), key=KEYS)
    def drop(self, db: int, key: bytes) -> None:
        """Held or not."""
        self.cache.drop(db, key)
        if db == self.db:
            assert self.cache.get(key) is None
            self.newest = None

    @rule()
    def clear(self) -> None:
        """Everything."""
        self.cache.clear()
        self.newest = None

    @invariant()
    def size_is_right_and_bounded(self) -> None:
        """`size_bytes` is exact; above the limit only what is in use is left."""
        if not hasattr(self, "cache"):
            return
        check_size(self.cache)
        held_count = sum(shelf.count for shelf in self.cache._shelves.values())
        assert self.cache.size_bytes <= self.bytes_max or held_count == 1


TestCacheModel = CacheModel.TestCase
TestCacheModel.settings = settings(max_examples=60, stateful_step_count=40)


def test_keys_in_use_outlive_the_others() -> None:
    """DESIGN, "Storage": a bounded cache; a key that is read again gets a second chance."""
    cache = RecordCache(10 * cost_bytes(b"00", Record(b"", 1, 0, 0, b"")))
    for number in range(40):
        cache.add(b"%02d" % number, Record(b"", 1, 0, 0, b""))
        kept = cache.get(b"00")
        assert kept is not None
        kept.used_ms += 1
    assert cache.get(b"39") is not None
    assert len(cache) == 10


def test_command_on_a_due_key_finds_none_and_removes_it() -> None:
    """redis, "How Redis expires keys": whoever touches it."""
    cases: list[tuple[list[bytes], Reply, bytes | None]] = [
        ([b"DEL", b"k"], 0, None),
        ([b"SET", b"k", b"new", b"XX"], None, None),
        ([b"SET", b"k", b"new", b"NX"], OK, b"new"),
        ([b"SET", b"k", b"new", b"GET"], None, b"new"),
        ([b"SET", b"k", b"new", b"KEEPTTL"], OK, b"new"),
        ([b"SET", b"k", b"new"], OK, b"new"),
        ([b"MSET", b"k", b"new"], OK, b"new"),
        ([b"INCR", b"k"], 1, b"1"),
        ([b"APPEND", b"k", b"x"], 1, b"x"),
        ([b"EXPIRE", b"k", b"10"], 0, None),
        ([b"PERSIST", b"k"], 0, None),
    ]
    for args, reply, value in cases:
        replica = Replica()
        replica.write(b"SET", b"k", b"5", b"PXAT", b"100", time_ms=50)
        assert replica.write(*args, time_ms=100) == reply, args
        assert replica.read(b"GET", b"k") == value, args
        assert replica.read(b"PTTL", b"k") == (-2 if value is None else -1), args
        check_rows(replica)


def test_expired_keys_are_counted() -> None:
    """redis INFO, expired_keys"""
    replica = Replica()
    replica.write(b"SET", b"k", b"5", b"PXAT", b"100", time_ms=50)
    with pytest.raises(ReadsDueKey):
        replica.read(b"GET", b"k", clock_ms=100)
    assert replica.machine.keyspace.expired_count == 0
    replica.write(b"DEL", b"k", time_ms=100)
    replica.write(b"DEL", b"k", time_ms=100)
    assert replica.machine.keyspace.expired_count == 1
