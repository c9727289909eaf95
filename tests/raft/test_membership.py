"""Rules of `raftkv.raft.membership`: the value, what changes make of it, and its bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.raft import (
    NOBODY,
    AddMember,
    ChangeRefused,
    Membership,
    MembershipChange,
    MoveMember,
    PromoteLearner,
    ProtocolError,
    RemoveMember,
    Staged,
    decode_membership,
    encode_membership,
    founding_membership,
)
from raftkv.raft.membership import ADDRESS_BYTES_MAX, MEMBERS_MAX, changed, left_joint

FOUNDERS = founding_membership((1, 2, 3), {1: b"a:1", 2: b"b:1", 3: b"c:1"})
WITH_LEARNER = changed(FOUNDERS, AddMember(b"d:1", takes_place_of=2))

ADDRESSES = st.binary(max_size=20)


@st.composite
def memberships(draw: st.DrawFn) -> Membership:
    """Draw any membership that holds to the rules."""
    ids = draw(st.lists(st.integers(1, 2**32 - 1), min_size=0, max_size=12, unique=True))
    parts: dict[str, list[int]] = {"new": [], "old": [], "both": [], "learner": []}
    for node_id in sorted(ids):
        parts[draw(st.sampled_from(sorted(parts)))].append(node_id)
    voters = tuple(sorted(parts["new"] + parts["both"]))
    outgoing: tuple[int, ...] = ()
    if voters and draw(st.booleans()):
        outgoing = tuple(sorted(parts["old"] + parts["both"]))
    learners = tuple(parts["learner"])
    staged = [Staged(node_id, draw(st.sampled_from([NOBODY, *voters]))) for node_id in learners]
    known = sorted({*voters, *outgoing, *learners})
    return Membership(
        voters,
        outgoing,
        learners,
        tuple(each for each in staged if draw(st.booleans())),
        tuple((node_id, draw(ADDRESSES)) for node_id in known if draw(st.booleans())),
        newest_id=max(known, default=0),
    )


@st.composite
def changes(draw: st.DrawFn) -> MembershipChange:
    """Draw a change that may or may not fit."""
    node_id = draw(st.integers(1, 8))
    possible: list[MembershipChange] = [
        AddMember(b"x", is_staged=draw(st.booleans()), takes_place_of=draw(st.integers(0, 6))),
        RemoveMember(node_id),
        PromoteLearner(node_id),
        MoveMember(node_id, b"y"),
    ]
    return draw(st.sampled_from(possible))


# --- the value ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"voters": (2, 1)}, "distinct rising ids"),
        ({"voters": (1, 1)}, "distinct rising ids"),
        ({"voters": (0, 1)}, "distinct rising ids"),
        ({"voters": (1,), "outgoing": (3, 2)}, "distinct rising ids"),
        ({"voters": (1,), "learners": (3, 2)}, "distinct rising ids"),
        ({"voters": (1,), "addresses": ((2, b""), (1, b""))}, "distinct rising ids"),
        ({"voters": (1, 2), "learners": (2,)}, "learners and voters"),
        ({"voters": (1,), "outgoing": (1, 2), "learners": (2,)}, "learners and voters"),
        ({"voters": (1,), "staged": (Staged(2),)}, "only learners"),
        ({"voters": (), "outgoing": (1,)}, "a joint membership has new voters"),
        ({"voters": tuple(range(1, MEMBERS_MAX + 2))}, f"at most {MEMBERS_MAX} members"),
    ],
)
def test_a_membership_that_contradicts_itself_is_refused(fields: dict[str, object], complaint: str) -> None:
    """Membership: checked when it is made, so also when it comes off a wire."""
    with pytest.raises(ValueError, match=complaint):
        Membership(**fields)  # type: ignore[arg-type]


def test_a_membership_tells_who_votes_and_who_belongs() -> None:
    """Membership: the properties that others count with."""
    joint = Membership((1, 4), outgoing=(1, 2), learners=(5,), addresses=((4, b"d:1"),), newest_id=5)
    assert joint.voter_ids == {1, 2, 4}
    assert joint.member_ids == {1, 2, 4, 5}
    assert joint.is_joint
    assert (joint.address_of(4), joint.address_of(1)) == (b"d:1", b"")


@pytest.mark.parametrize(
    ("membership", "is_sole"),
    [
        (Membership((1,)), True),
        (Membership((1,), learners=(2,)), True),
        (Membership((1,), outgoing=(1,)), True),
        (Membership((1,), outgoing=(1, 2)), False),
        (Membership((1, 2), outgoing=(1,)), False),
        (Membership((2,)), False),
        (Membership(()), False),
    ],
)
def test_a_sole_voter_is_a_majority_of_every_half(membership: Membership, is_sole: bool) -> None:
    """Raft §6."""
    assert membership.is_sole_voter(1) == is_sole


def test_the_founders_begin_with_the_highest_id() -> None:
    """founding_membership: no id is used twice, theirs included."""
    assert founding_membership((1, 2, 7)).newest_id == 7
    assert founding_membership(()) == Membership(())


# --- changes ------------------------------------------------------------------------------------


def test_a_new_member_gets_the_next_id_and_learns_first() -> None:
    """Thesis §4.2.1."""
    expected = replace(
        FOUNDERS,
        learners=(4,),
        staged=(Staged(4, takes_place_of=2),),
        addresses=(*FOUNDERS.addresses, (4, b"d:1")),
        newest_id=4,
    )
    assert expected == WITH_LEARNER


def test_a_promotion_is_joint_and_lets_the_replaced_voter_go() -> None:
    """Raft §6."""
    joint = changed(WITH_LEARNER, PromoteLearner(4))
    assert (joint.voters, joint.outgoing, joint.learners, joint.staged) == ((1, 3, 4), (1, 2, 3), (), ())
    left = left_joint(joint)
    assert (left.voters, left.outgoing) == ((1, 3, 4), ())
    assert [node_id for node_id, _ in left.addresses] == [1, 3, 4]


def test_a_promotion_leaves_alone_whom_another_learner_is_to_replace() -> None:
    """Staged.takes_place_of: each goes in the step of its own successor."""
    both = changed(WITH_LEARNER, AddMember(b"e:1", takes_place_of=3))
    joint = changed(both, PromoteLearner(4))
    assert (joint.voters, joint.staged) == ((1, 3, 4), (Staged(5, takes_place_of=3),))


def test_a_removal_of_a_voter_is_joint_and_of_a_learner_is_not() -> None:
    """Raft §6."""
    assert changed(FOUNDERS, RemoveMember(2)) == replace(FOUNDERS, voters=(1, 3), outgoing=(1, 2, 3))
    assert changed(WITH_LEARNER, RemoveMember(4)) == replace(FOUNDERS, newest_id=4)


def test_who_was_to_be_replaced_and_left_is_forgotten() -> None:
    """left_joint: its id names nobody any more."""
    left = left_joint(changed(WITH_LEARNER, RemoveMember(2)))
    assert left.staged == (Staged(4, NOBODY),)


def test_a_move_changes_an_address_alone() -> None:
    """MoveMember."""
    moved = changed(FOUNDERS, MoveMember(2, b"b:2"))
    assert replace(moved, addresses=FOUNDERS.addresses) == FOUNDERS
    assert moved.address_of(2) == b"b:2"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (AddMember(b"", node_id=4), "id 4 was used before, the next free one is 5"),
        (AddMember(b"", takes_place_of=9), "node 9 is no voter that could be replaced"),
        (AddMember(b"", takes_place_of=4), "node 4 is no voter that could be replaced"),
        (AddMember(b"", takes_place_of=2), "node 2 is being replaced already"),
        (AddMember(b"x" * (ADDRESS_BYTES_MAX + 1)), "4096 are allowed"),
        (RemoveMember(9), "node 9 is no member"),
        (MoveMember(9, b""), "node 9 is no member"),
        (MoveMember(1, b"x" * (ADDRESS_BYTES_MAX + 1)), "4096 are allowed"),
        (PromoteLearner(1), "node 1 votes already"),
        (PromoteLearner(9), "node 9 is no learner"),
    ],
)
def test_what_cannot_be_done_is_refused(change: MembershipChange, complaint: str) -> None:
    """ChangeRefused: one reason each."""
    with pytest.raises(ChangeRefused, match=complaint):
        changed(WITH_LEARNER, change)


def test_the_last_voter_stays() -> None:
    """ChangeRefused: nobody could decide anything any more."""
    with pytest.raises(ChangeRefused, match="node 1 is the last voter"):
        changed(founding_membership((1,)), RemoveMember(1))


def test_members_are_bounded() -> None:
    """MEMBERS_MAX."""
    full = founding_membership(range(1, MEMBERS_MAX + 1))
    with pytest.raises(ChangeRefused, match="64 members already"):
        changed(full, AddMember(b""))


def test_a_joint_membership_is_left_before_it_is_changed() -> None:
    """Raft §6; a bug in the caller, so an assertion."""
    joint = changed(FOUNDERS, RemoveMember(2))
    with pytest.raises(AssertionError, match="left before"):
        changed(joint, RemoveMember(3))
    with pytest.raises(AssertionError, match="only a joint"):
        left_joint(FOUNDERS)


@given(st.lists(changes(), max_size=12))
def test_any_series_of_changes_keeps_the_rules(series: list[MembershipChange]) -> None:
    """Raft §6: voters change through joint memberships alone; ids only rise; addresses are members'."""
    membership = founding_membership((1, 2, 3))
    for change in series:
        try:
            after = changed(membership, change)
        except ChangeRefused:
            continue
        assert after.is_joint == (set(after.voters) != set(membership.voters))
        assert after.outgoing in ((), membership.voters)
        assert after.newest_id >= membership.newest_id
        membership = left_joint(after) if after.is_joint else after
        assert membership.voters
        assert {node_id for node_id, _ in membership.addresses} <= membership.member_ids
        assert {each.takes_place_of for each in membership.staged} <= {NOBODY, *membership.voters}


# --- bytes --------------------------------------------------------------------------------------


@given(memberships())
def test_a_membership_survives_its_bytes(membership: Membership) -> None:
    """encode_membership, decode_membership."""
    assert decode_membership(encode_membership(membership)) == membership


def test_a_membership_has_the_layout_of_the_docstring() -> None:
    """encode_membership: newest id, voters, outgoing, learners, staged, addresses."""
    membership = Membership((1, 2), (1,), (5,), (Staged(5, 2),), ((2, b"ab"),), newest_id=6)
    words = [6, 2, 1, 2, 1, 1, 1, 5, 1, 5, 2, 1, 2, 2]
    assert encode_membership(membership) == b"".join(word.to_bytes(4, "big") for word in words) + b"ab"


@given(memberships(), st.data())
def test_a_cut_membership_is_refused(membership: Membership, data: st.DataObject) -> None:
    """ProtocolError: all of it or nothing."""
    encoded = encode_membership(membership)
    with pytest.raises(ProtocolError):
        decode_membership(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@given(memberships(), st.binary(min_size=1, max_size=8))
def test_a_membership_with_something_behind_it_is_refused(membership: Membership, tail: bytes) -> None:
    """ProtocolError."""
    with pytest.raises(ProtocolError, match="bytes behind a membership"):
        decode_membership(encode_membership(membership) + tail)


@given(st.binary(max_size=80))
def test_garbage_raises_nothing_but_protocol_error(data: bytes) -> None:
    """ProtocolError: what came off a wire."""
    try:
        membership = decode_membership(data)
    except ProtocolError:
        return
    assert encode_membership(membership) == data


@given(memberships(), st.data())
def test_a_flipped_byte_raises_nothing_but_protocol_error(
    membership: Membership, data: st.DataObject
) -> None:
    """ProtocolError, or a membership that holds to the rules."""
    encoded = bytearray(encode_membership(membership))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_membership(bytes(encoded))
    except ProtocolError:
        return
    assert encode_membership(decoded) == bytes(encoded)


@pytest.mark.parametrize("position", [4, 8, 12, 16, 20])
def test_a_list_longer_than_a_group_may_be_is_refused_unread(position: int) -> None:
    """MEMBERS_MAX: nothing is allocated for a count that lies."""
    encoded = bytearray(encode_membership(Membership(())))
    encoded[position : position + 4] = (2**32 - 1).to_bytes(4, "big")
    with pytest.raises(ProtocolError, match="a list of 4294967295 members"):
        decode_membership(bytes(encoded))
