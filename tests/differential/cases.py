"""A case: what is sent, in which pieces, on which connections; and how people read it.

Knows nothing of the servers that it is sent to. As text a case is a line per request, quoted as redis-cli
takes it; requests of one pipeline follow each other, and an empty line ends a piece:

    #2                      what follows is sent on the third connection
    SET {t}a "\\x00"
    GET {t}a

    !"*1\\r\\n$-5\\r\\n"    bytes as they are; the client ends its side behind them
    ~PING                   an inline request
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from raftkv.resp.inline import split_inline

Request = tuple[bytes, ...]

#: Bytes of one argument that are shown; a longer one is shown as what it repeats, or cut.
_SHOWN_BYTES_MAX = 200
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.:{}()[]*?|/,=<>@%^&$;")
_SHORT = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}


@dataclass(frozen=True, slots=True)
class Step:
    """What one client sends in one piece, before it waits for the replies."""

    requests: tuple[Request, ...] = ()
    #: Which of the case's connections.
    client: int = 0
    #: The requests are sent as lines.
    is_inline: bool = False
    #: Instead of requests: bytes as they are, behind which the client ends its side.
    raw: bytes = b""

    @property
    def data(self) -> bytes:
        """The bytes that go over the connection."""
        if self.raw:
            return self.raw
        pack = _as_line if self.is_inline else _as_array
        return b"".join(map(pack, self.requests))


@dataclass(frozen=True, slots=True)
class Case:
    """One sequence, and where it came from."""

    steps: tuple[Step, ...]
    #: 0: it was written by hand.
    seed: int = 0

    def __str__(self) -> str:
        return "\n\n".join(_blocks(self.steps))


def _as_array(request: Request) -> bytes:
    return b"*%d\r\n" % len(request) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in request)


def _as_line(request: Request) -> bytes:
    return b" ".join(quoted(arg).encode("ascii") for arg in request) + b"\r\n"


def quoted(arg: bytes) -> str:
    """An argument as redis-cli and inline requests take it."""
    if arg and _PLAIN.issuperset(arg):
        return arg.decode("ascii")
    return '"' + "".join(_quoted_byte(byte) for byte in arg) + '"'


def _quoted_byte(byte: int) -> str:
    if byte in _SHORT:
        return _SHORT[byte]
    return chr(byte) if 0x20 <= byte <= 0x7E else f"\\x{byte:02x}"


def line_of(request: Request) -> str:
    """A request as redis-cli takes it; what is very long is cut, and says so."""
    return " ".join(_shown(arg) for arg in request)


def _shown(arg: bytes) -> str:
    if len(arg) <= _SHOWN_BYTES_MAX:
        return quoted(arg)
    return f"{quoted(arg[:20])}...({len(arg)} bytes)"


def _blocks(steps: Iterable[Step]) -> Iterator[str]:
    client = 0
    for step in steps:
        lines = [] if step.client == client else [f"#{step.client}"]
        client = step.client
        if step.raw:
            lines.append(f"!{_shown(step.raw)}")
        lines += [("~" if step.is_inline else "") + line_of(request) for request in step.requests]
        yield "\n".join(lines)


def case_of(text: str) -> Case:
    """A case from the text that it is shown as."""
    steps: list[Step] = []
    client = 0
    requests: list[Request] = []
    is_inline = False

    def end_piece() -> None:
        if requests:
            steps.append(Step(tuple(requests), client, is_inline))
            requests.clear()

    for line in [*text.strip().split("\n"), ""]:
        line = line.strip()
        if line.startswith("#"):
            end_piece()
            client = int(line[1:])
        elif line.startswith("!"):
            end_piece()
            steps.append(Step(client=client, raw=b"".join(_words(line[1:]))))
        elif line:
            is_inline = line.startswith("~")
            requests.append(tuple(_words(line.removeprefix("~"))))
        else:
            end_piece()
    return Case(tuple(steps))


def _words(line: str) -> list[bytes]:
    words = split_inline(line.encode("latin-1"))
    assert words is not None, f"the quotes of {line!r} don't end"
    return words
