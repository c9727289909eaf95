"""LCS: exact replies, against the textbook's table, and in slices. See also test_strings_against_redis."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.commands import lcs
from raftkv.commands.table import Sliced
from raftkv.resp.replies import NOT_AN_INTEGER, SYNTAX_ERROR, Error, Reply, encode
from raftkv.rows import STRING, key_row, pack_value
from tests.commands.script import replies
from tests.machine.replica import Replica
from tests.memory_rows import MemoryRows

TOO_LARGE = Error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
LONG_MATCH = [[4, 7], [5, 8]]
SHORT_MATCH = [[2, 3], [0, 1]]


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        ("", b"mytext"),
        ("LEN", 6),
        ("IDX", {b"matches": [LONG_MATCH, SHORT_MATCH], b"len": 6}),
        ("idx MINMATCHLEN 4", {b"matches": [LONG_MATCH], b"len": 6}),
        ("IDX MINMATCHLEN -1", {b"matches": [LONG_MATCH, SHORT_MATCH], b"len": 6}),
        ("MINMATCHLEN 4 WITHMATCHLEN IDX", {b"matches": [[*LONG_MATCH, 4]], b"len": 6}),
        ("IDX MINMATCHLEN 9", {b"matches": [], b"len": 6}),
        ("MINMATCHLEN 9 WITHMATCHLEN", b"mytext"),
        ("LEN MINMATCHLEN 9 WITHMATCHLEN LEN", 6),
        *((each, SYNTAX_ERROR) for each in ("x", "MINMATCHLEN", "LEN x", "IDX LEN MINMATCHLEN")),
        *((f"IDX MINMATCHLEN {each}", NOT_AN_INTEGER) for each in ("x", "1.5", "9223372036854775808")),
        ("LEN IDX", Error("ERR If you want both the length and indexes, please just use IDX.")),
    ],
)
def test_lcs_answers_what_was_asked_for(options: str, reply: Reply) -> None:
    """redis LCS, "Examples" """
    assert replies("MSET a ohmytext b mynewtext", f"LCS a b {options}".strip())[1] == reply


def test_matches_are_a_map_in_resp3() -> None:
    """redis LCS, RESP3"""
    (_, reply) = replies("MSET a ab b xab", "LCS a b IDX WITHMATCHLEN")
    match = b"*3\r\n*2\r\n:0\r\n:1\r\n*2\r\n:1\r\n:2\r\n:2\r\n"
    pairs = b"$7\r\nmatches\r\n*1\r\n" + match + b"$3\r\nlen\r\n:2\r\n"
    assert encode(reply, 3) == b"%2\r\n" + pairs
    assert encode(reply, 2) == b"*4\r\n" + pairs


@pytest.mark.parametrize("keys", ["a nothing", "nothing a", "nothing nothing", "a empty", "empty empty"])
def test_a_missing_key_is_an_empty_string(keys: str) -> None:
    """redis LCS"""
    lines = (f"LCS {keys}", f"LCS {keys} LEN", f"LCS {keys} IDX")
    assert replies("MSET a text empty ", *lines)[1:] == [b"", 0, {b"matches": [], b"len": 0}]


def test_other_types_are_refused_before_the_options() -> None:
    """redis LCS: not with WRONGTYPE."""
    store = MemoryRows()
    store.rows[key_row(0, b"list")] = pack_value(STRING + 1, 0, 1, b"")
    replica = Replica(store)
    for keys in ((b"list", b"a"), (b"a", b"list")):
        refused = Error("ERR The specified keys must contain string values")
        assert replica.read(b"LCS", *keys, b"x") == refused


def test_strings_are_too_long_where_redis_runs_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """redis LCS: four bytes per pair, one more of each string, at most proto-max-bulk-len; options first."""
    monkeypatch.setattr(lcs, "_CELLS_MAX", 20)
    assert replies("MSET a 123 b 1234", "LCS a b") == [replies("SET a 1")[0], b"123"]
    lines = ("MSET a 1234 b 1234", "LCS a b", "LCS a b LEN", "LCS a b x", "LCS a nothing")
    assert replies(*lines)[1:] == [TOO_LARGE, TOO_LARGE, SYNTAX_ERROR, b""]


def textbook(first: bytes, second: bytes) -> list[tuple[int, int]]:
    """Pairs of equal bytes of the subsequence that Redis finds, from a table of numbers."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, j in product(range(1, len(first) + 1), range(1, len(second) + 1)):
        longest = max(table[i - 1][j], table[i][j - 1])
        table[i][j] = table[i - 1][j - 1] + 1 if first[i - 1] == second[j - 1] else longest
    pairs = []
    i, j = len(first), len(second)
    while i and j:
        if first[i - 1] == second[j - 1]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return pairs


def runs(pairs: list[tuple[int, int]]) -> list[list[Reply]]:
    """The same pairs as ranges, which are as long as can be, with their lengths."""
    found: list[list[Reply]] = []
    length = 0
    for place, (i, j) in enumerate(pairs):
        length += 1
        if place + 1 == len(pairs) or pairs[place + 1] != (i - 1, j - 1):
            found.append([[i, i + length - 1], [j, j + length - 1], length])
            length = 0
    return found


def ask(first: bytes, second: bytes, *options: bytes) -> Reply:
    """The reply for two strings."""
    replica = Replica()
    replica.write(b"MSET", b"a", first, b"b", second)
    return replica.read(b"LCS", b"a", b"b", *options)


STRINGS = (
    st.binary(max_size=40) | st.text("ab", max_size=40).map(str.encode) | st.text("abcd").map(str.encode)
)


@pytest.mark.parametrize("chunk_bits", [1, 3, 8, 1 << 16])
@given(first=STRINGS, second=STRINGS)
def test_any_two_strings_have_the_matches_of_the_textbook(
    chunk_bits: int, first: bytes, second: bytes
) -> None:
    """redis lcsCommand: whichever is the shorter one, and wherever a row is cut into chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lcs, "_CHUNK_BITS", chunk_bits)
        pairs = textbook(first, second)
        assert ask(first, second) == bytes(first[i] for i, _ in reversed(pairs))
        assert ask(first, second, b"LEN") == len(pairs)
        reply = ask(first, second, b"IDX", b"WITHMATCHLEN")
    assert reply == {b"matches": runs(pairs), b"len": len(pairs)}


def test_long_work_runs_in_steps_on_the_strings_as_they_were() -> None:
    """DESIGN: work over much data runs in slices; its view is taken at once."""
    replica = Replica()
    replica.write(b"MSET", b"a", b"xyz" * 100, b"b", b"zyx" * 100)
    args = [b"LCS", b"a", b"b", b"LEN"]
    sliced = replica.machine.read(replica.commands.resolve(args), args, db=0, clock_ms=0)
    assert isinstance(sliced, Sliced)
    steps = sliced.steps()
    next(steps)
    replica.write(b"FLUSHALL")
    assert len(list(steps)) >= 300
    assert sliced.result == len(textbook(b"xyz" * 100, b"zyx" * 100))
