"""Who the members are and how they are reached.

Source: DESIGN.md, "Storage": membership is in the log; `raftkv.node.roster`.
"""

from __future__ import annotations

import pytest

from raftkv.config import Config, Member
from raftkv.node.roster import Roster, decode_place, encode_place, nonce_in, refusal_of
from raftkv.raft import Membership, founding_membership
from raftkv.transport import NO_MEMBER, REMOVED

ONE, TWO, THREE = (Member(number, "127.0.0.1", 7000 + number) for number in (1, 2, 3))
NEWCOMER = Member(4, "10.0.0.4", 7004, "10.1.0.4", 9004)


def roster_of(membership: Membership) -> tuple[Roster, list[Membership]]:
    """Return node 1's roster, and the list whose last one is in force."""
    in_force = [membership]
    return Roster(Config(members=(ONE, TWO, THREE), port=7001), lambda: in_force[-1]), in_force


def test_a_place_comes_back_as_it_was() -> None:
    place = encode_place(NEWCOMER, b"n" * 16)
    assert decode_place(4, place) == NEWCOMER
    assert nonce_in(place) == b"n" * 16


@pytest.mark.parametrize("address", [b"", b"\xff", b"\x93\x01\x02\x03"])
def test_what_is_no_place_is_unknown_and_not_an_error(address: bytes) -> None:
    """A later version may write something else."""
    assert decode_place(4, address) is None
    assert nonce_in(address) == b""


def test_founders_are_reached_as_the_settings_say_until_the_log_says_more() -> None:
    roster, in_force = roster_of(founding_membership((1, 2, 3)))
    assert roster.members == (ONE, TWO, THREE)
    assert roster.untold() == [ONE, TWO, THREE]
    moved = Member(2, "10.0.0.2", 7002)
    in_force.append(founding_membership((1, 2, 3), {1: encode_place(ONE, b""), 2: encode_place(moved, b"")}))
    roster.refresh()
    assert roster.members == (ONE, moved, THREE)
    assert roster.peer_addresses(frozenset({2, 3})) == {2: ("10.0.0.2", 17002), 3: ("127.0.0.1", 17003)}
    assert roster.untold() == [THREE]


def test_a_node_that_moved_lets_the_log_know() -> None:
    """Its own settings are right, whatever the log says."""
    old = Member(1, "127.0.0.1", 6001)
    addresses = {each.node_id: encode_place(each, b"") for each in (old, TWO, THREE)}
    roster, _ = roster_of(founding_membership((1, 2, 3), addresses))
    assert roster.members[0] == ONE
    assert roster.untold() == [ONE]


def test_newcomers_come_with_their_address_and_leavers_keep_theirs() -> None:
    """Whoever left is told so, for a while."""
    roster, in_force = roster_of(founding_membership((1, 2, 3)))
    place = encode_place(NEWCOMER, b"n")
    in_force.append(Membership((1, 2), learners=(4,), addresses=((4, place),), newest_id=4))
    roster.refresh()
    assert roster.members == (ONE, TWO, NEWCOMER)
    assert roster.peer_addresses(frozenset({2, 3, 4})) == {
        2: ("127.0.0.1", 17002),
        3: ("127.0.0.1", 17003),
        4: ("10.1.0.4", 9004),
    }


def test_a_stranger_of_this_cluster_is_answered_where_he_says_that_he_is() -> None:
    """He may be a leader that this node has yet to learn of; what the log says later counts more."""
    roster, in_force = roster_of(founding_membership((1, 2, 3)))
    roster.note_peer_address(4, ("10.1.0.9", 9009))
    assert roster.peer_addresses(frozenset())[4] == ("10.1.0.9", 9009)
    place = encode_place(NEWCOMER, b"n")
    in_force.append(Membership((1, 2, 3), learners=(4,), addresses=((4, place),), newest_id=4))
    roster.refresh()
    assert roster.peer_addresses(frozenset({4}))[4] == ("10.1.0.4", 9004)


def test_a_node_that_is_no_member_still_knows_itself() -> None:
    """CLUSTER NODES has a `myself` in every case."""
    roster, _ = roster_of(Membership((2, 3), newest_id=3))
    assert roster.members == (ONE, TWO, THREE)


def test_who_was_removed_is_told_so_and_who_is_to_come_is_welcome() -> None:
    """Ids rise and are never used twice: below the newest, whoever is no member was one."""
    committed = Membership((1, 2), newest_id=3)
    newest = Membership((1, 2), learners=(4,), newest_id=4)
    assert refusal_of(1, committed, committed) is None
    assert refusal_of(4, committed, newest) is None
    assert refusal_of(9, committed, committed) is None
    removed, nobody = refusal_of(3, committed, newest), refusal_of(0, committed, newest)
    assert removed is not None
    assert nobody is not None
    assert (removed.code, nobody.code) == (REMOVED, NO_MEMBER)
