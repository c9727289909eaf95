"""When gathered commands become an entry (`raftkv.node.pace`)."""

from __future__ import annotations

from raftkv.node.pace import Pace

GATHER_NS = 5_000_000


def test_commands_wait_while_an_entry_is_under_way_but_not_longer_than_the_window() -> None:
    """An entry is under way until it is applied."""
    pace = Pace()
    assert pace.wait_ns(0, GATHER_NS) == 0
    pace.on_proposed(7, 1_000)
    assert pace.wait_ns(1_000, GATHER_NS) == GATHER_NS
    assert pace.wait_ns(1_000 + GATHER_NS, GATHER_NS) == 0
    pace.on_applied(6)
    assert (pace.under_way_count, pace.wait_ns(2_000, GATHER_NS)) == (1, GATHER_NS - 1_000)
    pace.on_applied(7)
    assert (pace.under_way_count, pace.wait_ns(2_000, GATHER_NS)) == (0, 0)


def test_nothing_of_an_earlier_term_is_waited_for() -> None:
    """It may never be applied."""
    pace = Pace()
    pace.on_proposed(7, 1_000)
    pace.on_new_term()
    assert (pace.under_way_count, pace.wait_ns(2_000, GATHER_NS)) == (0, 0)


def test_company_is_expected_until_a_turn_brings_none() -> None:
    """However often it is asked within a turn."""
    pace = Pace()
    for count in (1, 2, 3):
        pace.begin_turn()
        assert [pace.expects_company(count, 10, GATHER_NS) for _ in range(3)] == [True] * 3
    pace.begin_turn()
    assert not pace.expects_company(3, 10, GATHER_NS)


def test_the_wait_for_company_ends() -> None:
    """After a millisecond, or after the window, if that is shorter; and begins anew for the next entry."""
    pace = Pace()
    pace.begin_turn()
    assert pace.expects_company(1, 10, GATHER_NS)
    pace.begin_turn()
    assert pace.expects_company(2, 9 + 1_000_000, GATHER_NS)
    assert not pace.expects_company(3, 10 + 1_000_000, GATHER_NS)
    pace.on_proposed(1, 10 + 1_000_000)
    pace.begin_turn()
    assert pace.expects_company(4, 11 + 1_000_000, GATHER_NS)
    assert not pace.expects_company(5, 1_000_021, 10)
    assert not Pace().expects_company(1, 10, 0), "without a window nothing waits"
