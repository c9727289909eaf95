"""Plays the `membership` scenarios: what each change makes of a membership.

    founded 1 2 3          begin anew, with these voters
    joining                begin anew, as a node that knows nobody
    add, remove, ...       see `change_words`
    leave                  leave a joint membership
    bytes                  its encoding, in hexadecimal digits

After each change the membership is encoded and decoded: it must stay what it is.
"""

from __future__ import annotations

from raftkv.raft import (
    ChangeRefused,
    Membership,
    decode_membership,
    encode_membership,
    founding_membership,
)
from raftkv.raft.membership import changed, left_joint
from tests.scenarios.change_words import parse_change
from tests.scenarios.script import ScriptError
from tests.scenarios.words import membership_words

_LINE_DIGITS = 64


class MembershipPlayer:
    """Holds one membership that commands change."""

    def __init__(self) -> None:
        self._membership = founding_membership(())

    def play(self, words: list[str]) -> list[str]:
        """Carry out one command. Raises ScriptError."""
        match words:
            case ["founded", *ids]:
                return self._show(founding_membership(int(each) for each in ids))
            case ["joining"]:
                return self._show(founding_membership(()))
            case ["bytes"]:
                digits = encode_membership(self._membership).hex()
                return [digits[at : at + _LINE_DIGITS] for at in range(0, len(digits), _LINE_DIGITS)]
            case ["leave"]:
                if not self._membership.is_joint:
                    raise ScriptError("only a joint membership is left")
                return self._show(left_joint(self._membership))
        if self._membership.is_joint:
            raise ScriptError("a joint membership is left before another change begins")
        try:
            membership = changed(self._membership, parse_change(words))
        except ChangeRefused as refusal:
            return [f"refused: {refusal}"]
        return self._show(membership)

    def _show(self, membership: Membership) -> list[str]:
        assert decode_membership(encode_membership(membership)) == membership, "its bytes say something else"
        self._membership = membership
        lines = [f"{membership_words(membership)}; newest id {membership.newest_id}"]
        lines += [
            f"{node_id} is at {address.decode()}" for node_id, address in membership.addresses if address
        ]
        return lines
