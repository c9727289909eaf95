"""LCS: the longest common subsequence of two strings (redis LCS).

Redis fills a table with a number per pair of bytes. Here a whole row of it is a few operations on long
integers (H. Hyyrö, "Bit-parallel LCS-length computation revisited", 2004), since neighbouring numbers differ
by 0 or 1: 11,583 bytes against as many, the most that Redis takes, are done in 0.1 s and with
18 MB, where its table has 512 MB. Of several longest subsequences Redis's is found, so the way back through
the table makes its choices.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from raftkv.commands.string_ranges import STRING_BYTES_MAX
from raftkv.commands.string_specs import string_docs, string_spec
from raftkv.commands.table import Argument, CommandSpec, KeySpec, Sliced
from raftkv.keyspace import Keyspace, WrongType
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, SYNTAX_ERROR, Error, Reply

#: Numbers in Redis's table, of four bytes each, which are no more than a string may have.
_CELLS_MAX: Final = STRING_BYTES_MAX // 4
#: So few are done at once: a fraction of a millisecond.
_CELLS_OF_ONE_STEP: Final = 1 << 14
#: Bits of a row that one step computes: some microseconds.
_CHUNK_BITS: Final = 1 << 16

_NO_STRINGS: Final = Error("ERR The specified keys must contain string values")
_LEN_WITH_IDX: Final = Error("ERR If you want both the length and indexes, please just use IDX.")
_TOO_LARGE: Final = Error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")


def on_lcs(keyspace: Keyspace, args: list[bytes]) -> Reply | Sliced:
    """redis LCS"""
    try:
        first = keyspace.get_string(args[1]) or b""
        second = keyspace.get_string(args[2]) or b""
    except WrongType:
        return _NO_STRINGS
    options = _read_options(args)
    if isinstance(options, Error):
        return options
    cells_count = (len(first) + 1) * (len(second) + 1)
    if cells_count > _CELLS_MAX:
        return _TOO_LARGE
    work = Sliced(_answer(_Table(first, second), options))
    return work.run() if cells_count <= _CELLS_OF_ONE_STEP else work


@dataclass(slots=True)
class _Options:
    length_only: bool = False
    with_matches: bool = False
    with_match_length: bool = False
    match_length_min: int = 0


def _read_options(args: list[bytes]) -> _Options | Error:
    options = _Options()
    position = 3
    while position < len(args):
        word = args[position].lower()
        position += 1
        if word == b"len":
            options.length_only = True
        elif word == b"idx":
            options.with_matches = True
        elif word == b"withmatchlen":
            options.with_match_length = True
        elif word == b"minmatchlen" and position < len(args):
            number = parse_integer(args[position])
            if number is None:
                return NOT_AN_INTEGER
            options.match_length_min = number
            position += 1
        else:
            return SYNTAX_ERROR
    return _LEN_WITH_IDX if options.length_only and options.with_matches else options


@dataclass(slots=True)
class _Match:
    """A part that both strings have, and where it begins in each."""

    first: int
    second: int
    length: int


def _answer(table: _Table, options: _Options) -> Generator[None, None, Reply]:
    yield from table.fill()
    if options.length_only:
        return table.length
    matches = yield from table.walk_back()
    if not options.with_matches:
        return b"".join(table.first[each.first : each.first + each.length] for each in reversed(matches))
    shown = [_ranges(each, options) for each in matches if each.length >= options.match_length_min]
    return {b"matches": shown, b"len": table.length}


def _ranges(match: _Match, options: _Options) -> list[Reply]:
    ranges: list[Reply] = [
        [match.first, match.first + match.length - 1],
        [match.second, match.second + match.length - 1],
    ]
    if options.with_match_length:
        ranges.append(match.length)
    return ranges


class _Table:
    """LCS(i, j), of the first i bytes of one string and the first j of the other, a bit or two per pair.

    Its rows belong to the bytes of the shorter string: few and long ones cost least.
    """

    __slots__ = (
        "_chunk_bits",
        "_chunk_count",
        "_columns",
        "_has_rows_of_first",
        "_rows",
        "_stops",
        "first",
        "length",
    )

    def __init__(self, first: bytes, second: bytes) -> None:
        self.first = first
        #: LCS of the whole strings, once `fill` is done.
        self.length = 0
        self._has_rows_of_first = len(first) <= len(second)
        self._rows, self._columns = (first, second) if self._has_rows_of_first else (second, first)
        self._chunk_bits = min(_CHUNK_BITS, len(self._columns))
        self._chunk_count = -(-len(self._columns) // _CHUNK_BITS)
        #: The columns where the way back leaves a row, in chunks, row after row. One flat list, for the
        #: garbage collector would walk over one per row.
        self._stops: list[int] = []

    def fill(self) -> Generator[None, None, None]:
        """Compute row after row."""
        if not self._rows:
            return
        masks: dict[int, list[int]] = {}
        chunk_bits, all_bits = self._chunk_bits, (1 << self._chunk_bits) - 1
        # A bit is 0 where LCS grows by 1 from one column to the next. Behind the last column they stay 1.
        row = [all_bits] * self._chunk_count
        for byte in self._rows:
            if byte not in masks:
                masks[byte] = yield from self._find(byte)
            carry = 0
            for place, mask in enumerate(masks[byte]):
                before = row[place]
                common = before & mask
                total = before + common + carry
                row[place] = after = (total | (before - common)) & all_bits
                # Where the bytes differ, Redis goes back in the first string if LCS(i, j) > LCS(i, j - 1),
                # else in the second. That difference is the row's own if the first string has the rows,
                # else it is between this row and the one before: what the addition carries.
                goes_on = after if self._has_rows_of_first else (total ^ before ^ common) >> 1
                self._stops.append(mask | (all_bits ^ goes_on))
                carry = total >> chunk_bits
                yield
        for chunk in row:
            self.length += chunk_bits - chunk.bit_count()
            yield

    def _find(self, byte: int) -> Generator[None, None, list[int]]:
        """The columns of this byte: a bit for each column, in chunks."""
        is_byte = b"0" * byte + b"1" + b"0" * (255 - byte)
        found: list[int] = []
        for begin in range(0, len(self._columns), self._chunk_bits):
            chunk = self._columns[begin : begin + self._chunk_bits]
            found.append(int(chunk[::-1].translate(is_byte), 2))
            yield
        return found

    def walk_back(self) -> Generator[None, None, list[_Match]]:
        """What both strings have in common, from its end; `fill` comes first."""
        matches: list[_Match] = []
        column = len(self._columns)
        for row in range(len(self._rows) - 1, -1, -1):
            column = yield from self._stop(row, column)
            if not column:
                break
            yield
            if self._rows[row] != self._columns[column - 1]:
                continue
            column -= 1
            first, second = (row, column) if self._has_rows_of_first else (column, row)
            last = matches[-1] if matches else None
            if last is not None and (last.first, last.second) == (first + 1, second + 1):
                matches[-1] = _Match(first, second, last.length + 1)
            else:
                matches.append(_Match(first, second, 1))
        return matches

    def _stop(self, row: int, column: int) -> Generator[None, None, int]:
        """Go back along a row from `column`, a number of columns; 0: there are none left."""
        first = row * self._chunk_count
        place, bits = divmod(column, self._chunk_bits)
        chunk = self._stops[first + place] & ((1 << bits) - 1) if bits else 0
        while not chunk and place:
            place -= 1
            chunk = self._stops[first + place]
            yield
        return place * self._chunk_bits + chunk.bit_length()


_OPTIONAL: Final = ("optional",)

COMMANDS: tuple[CommandSpec, ...] = (
    string_spec(
        b"lcs",
        -3,
        on_lcs,
        string_docs(
            "Finds the longest common substring.",
            Argument("key1", "key", key_spec_index=0),
            Argument("key2", "key", key_spec_index=0),
            Argument("len", "pure-token", token="LEN", flags=_OPTIONAL),
            Argument("idx", "pure-token", token="IDX", flags=_OPTIONAL),
            Argument("min-match-len", "integer", token="MINMATCHLEN", flags=_OPTIONAL),
            Argument("withmatchlen", "pure-token", token="WITHMATCHLEN", flags=_OPTIONAL),
            since="7.0.0",
            complexity="O(N*M) where N and M are the lengths of s1 and s2, respectively",
        ),
        flags="readonly",
        keys=KeySpec(1, 2, 1, flags=("RO", "access")),
    ),
)
