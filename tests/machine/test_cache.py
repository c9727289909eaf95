"""What the cache forgets, and what that costs (`raftkv.cache`). Its bookkeeping: see test_keyspace."""

from __future__ import annotations

from raftkv.cache import CHANCES_MAX, Record, RecordCache, cost_bytes


def record() -> Record:
    """One without a value."""
    return Record(b"", 1, 0, 0, b"")


def held(cache: RecordCache) -> list[Record]:
    """All records of the selected database."""
    return [each for records in cache.shards for each in records.values()]


def filled(count: int) -> RecordCache:
    """A cache with room for `count` keys of four bytes that holds so many, all of them in use."""
    cache = RecordCache(count * cost_bytes(b"0000", record()))
    for number in range(count):
        cache.add(b"%04d" % number, record())
    for each in held(cache):
        each.used_ms += 1
    return cache


def test_one_key_more_does_not_walk_over_all_others() -> None:
    """With all keys in use, looking for one that is not would take as long as the cache is large."""
    cache = filled(1000)
    cache.add(b"more", record())
    assert len(cache) == 1000
    assert sum(each.used_ms == each.spared_ms for each in held(cache)) == CHANCES_MAX + 1


def test_a_database_gets_its_room_from_the_largest() -> None:
    """A database that comes second finds the cache full of the first one's keys."""
    cache = filled(100)
    cache.select(1)
    for number in range(1000):
        cache.add(b"%04d" % number, record())
    assert len(cache) == 51, "a half, and the newest"
    cache.select(0)
    assert len(cache) == 49
