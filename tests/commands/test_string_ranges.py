"""Parts of strings: exact replies (redis, "String" commands). See also test_strings_against_redis."""

from __future__ import annotations

import pytest

from raftkv.commands import string_ranges
from raftkv.resp.replies import STRING_TOO_LONG
from tests.commands.script import replies


def test_append_and_strlen() -> None:
    """redis APPEND, STRLEN: an expiry stays."""
    lines = ("STRLEN k", "APPEND k abc", "EXPIRE k 9", "APPEND k de", "GET k", "STRLEN k", "TTL k")
    assert replies(*lines) == [0, 3, 1, 5, b"abcde", 5, 9]
    assert replies("APPEND k ", "EXISTS k", "GET k") == [0, 1, b""]


def test_string_is_never_longer_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """redis APPEND, proto-max-bulk-len"""
    monkeypatch.setattr(string_ranges, "STRING_BYTES_MAX", 5)
    assert replies("APPEND k abc", "APPEND k def", "APPEND k de", "GET k") == [
        3,
        STRING_TOO_LONG,
        5,
        b"abcde",
    ]
