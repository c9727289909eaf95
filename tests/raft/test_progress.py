"""Rules of `raftkv.raft.progress`."""

from __future__ import annotations

import pytest

from raftkv.raft import AppendEntries, Heartbeat
from raftkv.raft.progress import PROBE, REPLICATE, Inflights, Progress
from tests.raft.nodes import append_reply, new_leader, rejection


def new_progress() -> Progress:
    return Progress(node_id=2, next_index=5, inflights=Inflights(count_max=2, bytes_max=100))


def test_a_window_is_full_at_its_count_or_its_bytes() -> None:
    """RaftConfig.inflight_messages_max and inflight_bytes_max."""
    window = Inflights(count_max=2, bytes_max=100)
    window.add(5, 10)
    assert not window.is_full
    window.add(7, 10)
    assert window.is_full
    window.free_to(4)
    assert (len(window), window.bytes) == (2, 20)
    window.free_to(6)
    assert (len(window), window.bytes) == (1, 10)
    window.add(8, 90)
    assert window.is_full
    window.clear()
    assert (len(window), window.bytes) == (0, 0)


def test_a_match_ends_the_probing() -> None:
    """etcd Progress: PROBE to REPLICATE, and back after a rejection or a loss."""
    progress = new_progress()
    assert progress.state is PROBE
    progress.sent(6, 10, 0)
    assert not progress.has_room
    assert progress.maybe_match(6, 1)
    assert (progress.state, progress.match_index, progress.next_index) == (REPLICATE, 6, 7)
    progress.sent(8, 10, 2)
    progress.become_probe(7)
    assert (progress.state, progress.next_index, progress.is_waiting) == (PROBE, 7, False)


def test_an_old_match_is_no_news() -> None:
    """Raft Figure 2, matchIndex: increases monotonically."""
    progress = new_progress()
    progress.maybe_match(6, 0)
    assert not progress.maybe_match(5, 1)
    assert not progress.maybe_match(6, 1)
    assert progress.match_index == 6


def test_next_index_stays_above_the_match() -> None:
    """Raft Figure 2; etcd had a bug of this kind."""
    progress = new_progress()
    progress.maybe_match(6, 0)
    with pytest.raises(AssertionError, match="next 6, match 6"):
        progress.become_probe(6)


def test_a_follower_that_needs_what_the_log_lost_gets_heartbeats_alone() -> None:
    """Raft §7: it waits for a snapshot; the others go on."""
    node = new_leader([1, 1, 1, 1], applied=4)
    node.settle()
    node.log.first_index = 4
    node.step(rejection(node, 2, 4, conflict_index=2, conflict_term=0))
    assert node.settled_messages() == []
    assert [peer.state for peer in node.core.status(0).peers] == ["snapshot", "probe"]
    node.step(append_reply(node, 3, 5))
    assert node.core.commit_index == 5
    node.core.propose(b"a")
    assert [(type(msg), msg.to) for msg in node.settled_messages()] == [(AppendEntries, 3)]
    node.tick_after(100)
    assert [(type(msg), msg.to) for msg in node.settled_messages()] == [(Heartbeat, 2), (Heartbeat, 3)]
