"""Glob patterns (redis stringmatchlen). Compared with Redis itself in test_against_redis."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raftkv.commands.glob import compile_glob


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"", [b""], [b"a"]),
        (b"*", [b"", b"a\nb", b"\xff"], []),
        (b"a?c", [b"abc", b"a\nc"], [b"ac", b"abbc"]),
        (b"a*b*c", [b"abc", b"axbxbxc"], [b"acb", b"ab"]),
        (b"**a", [b"a", b"ba"], [b"ab"]),
        (b"**", [b"a"], [b""]),
        (b"[ab]", [b"a", b"b"], [b"c", b"ab", b""]),
        (b"[^ab]", [b"c", b"^"], [b"a", b""]),
        (b"[a-c]", [b"b"], [b"d", b"-"]),
        (b"[c-a]", [b"b"], [b"d"]),
        (b"[a\\]b]", [b"]", b"a"], [b"\\", b"a]"]),
        (b"[abc", [b"a", b"c"], [b"[abc", b"d"]),
        (b"[]", [], [b"", b"]", b"[]"]),
        (b"[^]", [b"]", b"a"], [b"", b"[]"]),
        (b"[a-]x]", [b"^", b"x", b"a"], [b"-", b"b"]),
        (b"[^", [b"x"], [b"", b"[^"]),
        (b"a[", [], [b"a", b"a["]),
        (b"[\\", [b"\\"], [b"a"]),
        (b"\\*", [b"*"], [b"a", b"\\*"]),
        (b"a\\", [b"a\\"], [b"a"]),
        (b"a.b", [b"a.b"], [b"axb"]),
        (b"(a|b)$", [b"(a|b)$"], [b"a"]),
    ],
)
def test_glob(pattern: bytes, yes: list[bytes], no: list[bytes]) -> None:
    """redis KEYS, "glob-style patterns"."""
    matches = compile_glob(pattern).fullmatch
    assert [text for text in yes if not matches(text)] == []
    assert [text for text in no if matches(text)] == []


@given(st.lists(st.sampled_from([b"*", b"?", b"a", b"b"])).map(b"".join), st.text("ab").map(str.encode))
def test_stars_match_as_a_plain_regular_expression(pattern: bytes, text: bytes) -> None:
    """Taking each star's first match for good loses none."""
    assume(text or not pattern.startswith(b"**"))  # Redis's own way with the empty key
    plain = pattern.replace(b"*", b".*").replace(b"?", b".")
    assert bool(compile_glob(pattern).fullmatch(text)) == bool(re.fullmatch(plain, text))


def test_hostile_pattern_is_no_exponential_work() -> None:
    """A matcher that goes back and forth would not end in this life."""
    assert not compile_glob(b"*a" * 30 + b"b").fullmatch(b"a" * 5000)
