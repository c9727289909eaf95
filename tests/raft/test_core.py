"""Rules of `raftkv.raft.core`: who gets which message, and what a Ready holds."""

from __future__ import annotations

import random
import typing

import pytest

from raftkv.raft import (
    COMMAND,
    FOLLOWER,
    NOBODY,
    Entry,
    EntryId,
    HardState,
    Heartbeat,
    Message,
    ProtocolError,
    RaftConfig,
    RaftCore,
    RaftStatus,
    Ready,
    Role,
)
from raftkv.raft.core import _HANDLERS
from tests.raft.nodes import MemoryLog, Node, append_reply, follower, leader


def test_every_message_has_a_handler_in_every_role() -> None:
    """STYLE.md: the table of roles and messages has no hole."""
    assert set(_HANDLERS) == set(typing.get_args(Message))
    for message_type, by_role in _HANDLERS.items():
        assert set(by_role) == set(Role), message_type.__name__


@pytest.mark.parametrize(("sender", "to"), [(1, 1), (2, 3), (0, 1)])
def test_a_message_from_or_to_somebody_else_is_refused(sender: int, to: int) -> None:
    """Raft §6: only members' messages count; a wrong one changes nothing."""
    node = Node([1])
    with pytest.raises(ProtocolError, match=f"from node {sender} to {to}"):
        node.step(Heartbeat(7, sender, to, 0, 1))
    assert node.core.current_term == 1
    assert not node.core.has_ready()


def test_a_node_starts_as_a_follower_of_nobody_with_what_was_durable() -> None:
    """Raft §5.2, and Figure 2: commitIndex starts from what the state machine is known to have."""
    node = Node([1, 1, 4], current_term=6, voted_for=3, applied=2)
    assert node.core.status(0) == RaftStatus(
        node_id=1,
        role=FOLLOWER,
        current_term=6,
        leader_id=NOBODY,
        commit_index=2,
        last_applied=2,
        first_index=1,
        last_index=3,
        persisted_index=3,
        peers=[],
    )
    assert not node.core.has_ready()


@pytest.mark.parametrize("voters", [(1, 1, 2), (2, 1), (0, 1)])
def test_a_group_is_founded_by_distinct_voters(voters: tuple[int, ...]) -> None:
    """RaftConfig.voters."""
    with pytest.raises(ValueError, match="distinct rising ids"):
        Node(voters=voters)


def test_a_hard_state_older_than_the_log_stops_the_start() -> None:
    """Raft Figure 2: the term is durable before an entry of it; a lost one would vote twice."""
    with pytest.raises(AssertionError, match="the log ends in term 3, the hard state in 2"):
        Node([1, 3], current_term=2)


def test_a_state_machine_ahead_of_its_log_stops_the_start() -> None:
    """DESIGN.md: last_applied <= persisted."""
    with pytest.raises(AssertionError, match="cursors out of order"):
        RaftCore(
            RaftConfig(node_id=1, voters=(1, 2, 3)),
            HardState(1, 0),
            MemoryLog([1]),
            applied=EntryId(1, 2),
            random=random.Random(0),
            now_ns=0,
        )


def test_a_ready_is_handed_out_once() -> None:
    """RaftCore.ready: taking it is accepting it."""
    node = leader()
    node.core.propose(b"a")
    assert node.core.has_ready()
    assert node.take() != Ready()
    assert not node.core.has_ready()
    assert node.take() == Ready()


def test_committed_entries_of_a_ready_are_bounded() -> None:
    """RaftConfig.committed_bytes_max: the rest comes with the next one."""
    node = follower([1, 1, 1], committed_bytes_max=7)
    node.step(Heartbeat(1, 2, 1, 3, 2))
    counts = []
    while node.core.has_ready():
        counts.append(len(node.take().committed_entries))
    assert counts == [2, 1]


def test_entries_are_handed_out_once_though_not_yet_applied() -> None:
    """RaftCore.applied may come any time later."""
    node = leader()
    node.core.propose(b"x")
    node.persist(node.take())
    node.step(append_reply(node, 2, 2))
    assert [entry.index for entry in node.take().committed_entries] == [2]
    assert not node.core.has_ready()
    assert node.core.last_applied == 1
    node.core.applied(2)
    assert node.core.last_applied == 2


def test_an_older_reading_of_the_clock_is_no_news() -> None:
    """RaftCore.step: what was sampled earlier says nothing about now."""
    node = leader()
    node.tick_after(400)
    node.core.step(append_reply(node, 2, 1), node.now_ns - 10**9)
    node.tick_after(499)
    assert node.core.leader_id == 1


def test_a_payload_is_never_copied_on_its_way() -> None:
    """DESIGN.md: the bytes made once; also what the log hands to messages, disk and state machine."""
    node = leader()
    payload = b"payload" * 100
    node.core.propose(payload)
    ready = node.take()
    node.persist(ready)
    node.step(append_reply(node, 2, 2))
    committed = node.take().committed_entries
    assert committed == [Entry(1, 2, COMMAND, payload)]
    assert ready.entries[0].payload is payload
    assert committed[0].payload is payload
