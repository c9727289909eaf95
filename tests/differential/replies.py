"""Replies read off a connection's bytes, with everything that the bytes say: kinds, order, nesting.

Client libraries make one value of a simple string and a bulk string, or of a null and a null array; what is
compared here must not. Knows nothing of who sent the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_LINES: Final = b"+-:,#(_"
_BULKS: Final = b"$=!"
_CONTAINERS: Final = b"*~>"
#: Of the text that is shown of one reply.
_SHOWN_MAX: Final = 300


class NotAReply(Exception):
    """The bytes are no reply of either protocol."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, or one item of one."""

    #: The byte that it begins with: `+`, `-`, `$` and so on; `%` for RESP3's maps.
    mark: str
    #: What stands on the line or in the bulk; None: RESP2's nulls, and containers.
    text: bytes | None = None
    #: What a container holds; of a map keys and values in turn. None: it is none, or RESP2's null array.
    items: tuple[Reply, ...] | None = None

    @property
    def is_error(self) -> bool:
        """Whether the server refused."""
        return self.mark == "-"

    @property
    def number(self) -> int:
        """What an integer reply says; -1 for anything else."""
        return int(self.text) if self.mark == ":" and self.text is not None else -1

    def leaves(self) -> Iterator[bytes]:
        """The texts of all that it holds, in order."""
        if self.items is None:
            yield self.text or b""
        else:
            for item in self.items:
                yield from item.leaves()

    def pairs(self) -> dict[bytes, Reply]:
        """A map, or the flat array that RESP2 has for it, by its keys."""
        items = self.items or ()
        return {key.text or b"": value for key, value in zip(items[::2], items[1::2], strict=True)}

    def __str__(self) -> str:
        text = self._shown()
        return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}... ({len(text)} characters)"

    def _shown(self) -> str:
        if self.items is not None:
            return f"{self.mark}[{', '.join(item._shown() for item in self.items)}]"
        if self.text is None:
            return f"{self.mark}null"
        return f"{self.mark}{self.text!r}"


#: Stands for the reply that did not come.
NOTHING: Final = Reply("")


def read_reply(data: bytes, position: int) -> tuple[Reply, int] | None:
    """The reply that begins at `position` and where it ends; None: its end has not come. Raises NotAReply."""
    line_end = data.find(b"\r\n", position)
    if line_end < 0:
        return None
    first, line = data[position], data[position + 1 : line_end]
    mark, end = chr(first), line_end + 2
    if first in _LINES:
        return Reply(mark, line), end
    if first not in _BULKS and first not in _CONTAINERS and mark != "%":
        raise NotAReply(f"{data[position : position + 40]!r}")
    count = int(line)
    if count < 0:
        return Reply(mark), end
    if first in _BULKS:
        if len(data) < end + count + 2:
            return None
        if data[end + count : end + count + 2] != b"\r\n":
            raise NotAReply(f"a bulk of {count} bytes that ends otherwise")
        return Reply(mark, data[end : end + count]), end + count + 2
    return _read_items(data, end, mark, 2 * count if mark == "%" else count)


def _read_items(data: bytes, position: int, mark: str, count: int) -> tuple[Reply, int] | None:
    items: list[Reply] = []
    for _ in range(count):
        if position >= len(data):
            return None
        found = read_reply(data, position)
        if found is None:
            return None
        item, position = found
        items.append(item)
    return Reply(mark, None, tuple(items)), position


class ReplyReader:
    """The replies of one connection, as they come."""

    def __init__(self) -> None:
        self._data = b""

    @property
    def rest(self) -> bytes:
        """What has come of a reply that isn't complete."""
        return self._data

    def feed(self, data: bytes) -> list[Reply]:
        """Take what came; give the replies that it completes. Raises NotAReply."""
        self._data += data
        position = 0
        found: list[Reply] = []
        while position < len(self._data):
            complete = read_reply(self._data, position)
            if complete is None:
                break
            reply, position = complete
            found.append(reply)
        self._data = self._data[position:]
        return found
