"""For whom the log is kept after a snapshot, and for how long."""

from __future__ import annotations

import pytest

from raftkv.node.catching_up import CatchUps

MS = 1_000_000


@pytest.fixture
def catch_ups() -> CatchUps:
    """Node 2 has 100, node 3 has 150, and 200 was committed by then."""
    catch_ups = CatchUps(abandon_ms=1000)
    catch_ups.begin(2, has_index=100, goal_index=200, now_ns=0)
    catch_ups.begin(3, has_index=150, goal_index=200, now_ns=0)
    return catch_ups


def test_nothing_is_kept_for_nobody() -> None:
    assert CatchUps(abandon_ms=1000).needed_index is None


def test_the_log_is_kept_behind_who_has_least(catch_ups: CatchUps) -> None:
    assert catch_ups.needed_index == 100
    catch_ups.look({2: 170, 3: 150}, MS)
    assert catch_ups.needed_index == 150


def test_a_leader_that_has_not_heard_of_the_snapshot_keeps_what_follows_it(catch_ups: CatchUps) -> None:
    """The follower's own word comes later than the transfer's end."""
    catch_ups.look({2: 0, 3: 0}, MS)
    assert catch_ups.needed_index == 100


def test_who_has_what_was_committed_has_caught_up(catch_ups: CatchUps) -> None:
    catch_ups.look({2: 200, 3: 199}, MS)
    assert catch_ups.needed_index == 199
    catch_ups.look({2: 200, 3: 200}, MS)
    assert not catch_ups
    assert catch_ups.needed_index is None


def test_who_gets_no_further_is_waited_for_no_more(catch_ups: CatchUps) -> None:
    catch_ups.look({2: 101, 3: 150}, 900 * MS)
    catch_ups.look({2: 101, 3: 150}, 1000 * MS)
    assert catch_ups.needed_index == 101
    catch_ups.look({2: 101, 3: 150}, 1900 * MS)
    assert catch_ups.needed_index is None


def test_who_left_is_waited_for_no_more(catch_ups: CatchUps) -> None:
    catch_ups.look({3: 150}, MS)
    assert catch_ups.needed_index == 150


def test_another_leader_sees_to_its_own(catch_ups: CatchUps) -> None:
    catch_ups.clear()
    assert catch_ups.needed_index is None
