"""Which slot a key is in (redis cluster spec)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.slots import SLOT_COUNT, hash_tag_of, slot_of


@pytest.mark.parametrize(
    ("key", "slot"), [(b"", 0), (b"a", 15495), (b"123456789", 0x31C3), (b"foo", 12182), (b"{foo}bar", 12182)]
)
def test_slot_is_the_specs(key: bytes, slot: int) -> None:
    """0x31C3 is the spec's own example, the others are redis-server's answers."""
    assert slot_of(key) == slot


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"foo{}{bar}", b"foo{}{bar}"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"foo{bar", b"foo{bar"),
        (b"}foo{bar}", b"bar"),
        (b"plain", b"plain"),
    ],
)
def test_hash_tag_is_the_specs(key: bytes, tag: bytes) -> None:
    """Examples of the spec, "Hash tags"."""
    assert hash_tag_of(key) == tag
    assert slot_of(key) == slot_of(tag) or b"{" in tag


@given(st.binary())
def test_every_key_has_a_slot(key: bytes) -> None:
    """16384 of them."""
    assert 0 <= slot_of(key) < SLOT_COUNT
