"""Keys whatever their type: exact replies (redis, "Generic" commands). See also test_against_redis."""

from __future__ import annotations

from raftkv.resp.replies import NO_SUCH_KEY, OK, Simple
from tests.commands.script import replies


def test_existence() -> None:
    """redis EXISTS, DEL, UNLINK, TYPE: a key named twice exists twice and goes once."""
    lines = (
        "MSET a 1 b 2 c 3",
        "EXISTS a a b x",
        "TYPE a",
        "TYPE x",
        "DEL a a x",
        "UNLINK b c",
        "EXISTS a b c",
    )
    assert replies(*lines) == [OK, 3, Simple("string"), Simple("none"), 1, 2, 0]


def test_touch_counts_as_exists_does() -> None:
    """redis TOUCH"""
    assert replies("MSET a 1 b 2", "TOUCH a a b x", "TOUCH x") == [OK, 3, 0]


def test_rename_takes_value_and_expiry_along() -> None:
    """redis RENAME: over whatever was there, its expiry included."""
    lines = ("SET a 1 EX 5", "RENAME a b", "EXISTS a", "GET b", "TTL b")
    assert replies(*lines) == [OK, OK, 0, b"1", 5]
    lines = ("SET a 1", "SET b 2 EX 5", "RENAME a b", "EXISTS a", "GET b", "TTL b")
    assert replies(*lines) == [OK, OK, OK, 0, b"1", -1]


def test_rename_to_itself_changes_nothing() -> None:
    """redis RENAME, RENAMENX"""
    lines = ("SET a 1 EX 5", "RENAME a a", "RENAMENX a a", "GET a", "TTL a")
    assert replies(*lines) == [OK, OK, 0, b"1", 5]


def test_renamenx_does_nothing_where_there_is_a_key() -> None:
    """redis RENAMENX"""
    lines = ("MSET a 1 b 2", "RENAMENX a b", "MGET a b", "RENAMENX a c", "MGET a c")
    assert replies(*lines) == [OK, 0, [b"1", b"2"], 1, [None, b"1"]]


def test_rename_of_no_key_is_an_error() -> None:
    """redis RENAME, RENAMENX: whatever is at the other one."""
    lines = ("SET b 1", "RENAME a b", "RENAME a a", "RENAMENX a b", "GET b")
    assert replies(*lines) == [OK, NO_SUCH_KEY, NO_SUCH_KEY, NO_SUCH_KEY, b"1"]
