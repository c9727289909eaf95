"""LOLWUT: something nice to look at, and the version.

Knows nothing of the node. The same words give the same picture, drawn from `VERSION`'s number.
"""

from __future__ import annotations

from raftkv import __version__
from raftkv.commands.connection import REDIS_VERSION
from raftkv.commands.session import Session
from raftkv.commands.table import LOCAL, Argument, CommandDocs, CommandSpec
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, Reply, Verbatim

_VERSION = 7
_NODES_COUNT = 5
_COLUMNS = 60
#: A linear congruential generator (Numerical Recipes).
_MULTIPLIER, _INCREMENT, _MODULUS = 1664525, 1013904223, 1 << 32


def on_lolwut(_session: Session, args: list[bytes]) -> Reply:
    """Draw the logs of five nodes, one of which leads; further arguments are ignored as Redis's art would."""
    number = _VERSION
    if len(args) > 2 and args[1].lower() == b"version":
        given = parse_integer(args[2])
        if given is None:
            return NOT_AN_INTEGER
        number = given
    return Verbatim(f"{_picture(number)}\nraftkv {__version__}, Redis ver. {REDIS_VERSION}\n".encode())


def _picture(number: int) -> str:
    state = number % _MODULUS
    lengths = []
    for _ in range(_NODES_COUNT):
        state = (state * _MULTIPLIER + _INCREMENT) % _MODULUS
        lengths.append(state * (_COLUMNS - 10) // _MODULUS + 10)
    committed = sorted(lengths)[_NODES_COUNT // 2]
    longest = max(lengths)
    return "".join(
        f"{'*' if length == longest else ' '} {'#' * min(length, committed)}{'.' * (length - committed)}\n"
        for length in lengths
    )


COMMANDS: tuple[CommandSpec, ...] = (
    CommandSpec(
        name=b"lolwut",
        arity=-1,
        flags=frozenset({"fast"}),
        route=LOCAL,
        handler=on_lolwut,
        acl_categories=frozenset({"read", "fast"}),
        docs=CommandDocs(
            "Displays the logs of a Raft group, and the version.",
            "5.0.0",
            "server",
            "O(1)",
            (Argument("version", "integer", token="VERSION", flags=("optional",)),),
        ),
    ),
)
