"""Reads a change of the members off a script's words.

add 4 [as learner] [in place of 2] [at host:port]
remove 4 | promote 4 | move 4 to host:port
"""

from __future__ import annotations

from raftkv.raft import NOBODY, AddMember, MembershipChange, MoveMember, PromoteLearner, RemoveMember
from tests.scenarios.script import ScriptError


def parse_change(words: list[str]) -> MembershipChange:
    """Return the change that these words ask for. Raises ScriptError."""
    match words:
        case ["add", *rest]:
            return _addition(rest)
        case ["remove", node_id]:
            return RemoveMember(int(node_id))
        case ["promote", node_id]:
            return PromoteLearner(int(node_id))
        case ["move", node_id, "to", address]:
            return MoveMember(int(node_id), address.encode())
    raise ScriptError(f"unknown change {' '.join(words)}")


def _addition(words: list[str]) -> AddMember:
    node_id = takes_place_of = NOBODY
    is_staged, address = True, b""
    while words:
        match words:
            case ["as", "learner", *rest]:
                is_staged, words = False, rest
            case ["in", "place", "of", voter, *rest]:
                takes_place_of, words = int(voter), rest
            case ["at", where, *rest]:
                address, words = where.encode(), rest
            case [number, *rest] if number.isdigit() and node_id == NOBODY:
                node_id, words = int(number), rest
            case _:
                raise ScriptError(f"unknown words {' '.join(words)}")
    return AddMember(address, is_staged=is_staged, takes_place_of=takes_place_of, node_id=node_id)
