"""Liveness on half-broken machines, and that it needs the rules that are there for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftkv.raft import election
from tests.simulator.scenarios import half_broken
from tests.simulator.scenarios.scenario import Scenario
from tests.simulator.stage import Stage

SCENARIOS = (
    Scenario(half_broken.follower_hears_no_leader),
    Scenario(half_broken.leader_hears_not_one_follower),
    Scenario(half_broken.leader_is_deaf),
    Scenario(half_broken.leader_is_mute),
    Scenario(half_broken.chain_with_the_leader_at_its_end),
    Scenario(half_broken.chain_with_the_leader_in_its_middle),
    Scenario(half_broken.bridge_of_five, node_count=5),
    Scenario(half_broken.star_of_five, node_count=5),
    Scenario(half_broken.follower_has_a_slow_disk),
    Scenario(half_broken.follower_has_a_slow_link),
    Scenario(half_broken.follower_stands_still),
    Scenario(half_broken.leader_steps_down_for_its_disk),
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_half_broken_machines_cost_no_leader_and_no_rate(scenario: Scenario) -> None:
    scenario.play()


def test_a_deaf_leader_needs_check_quorum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thesis §6.2: its followers would stick to it for ever."""
    monkeypatch.setattr(election, "check_quorum", lambda _state: None)
    with pytest.raises(AssertionError, match="could lead no longer"):
        Scenario(half_broken.leader_is_deaf).play()


@pytest.mark.parametrize(
    ("script", "node_count"),
    [(half_broken.follower_hears_no_leader, 3), (half_broken.bridge_of_five, 5)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_leader_unheard_by_some_needs_stickiness(
    script: Callable[[Stage], None], node_count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thesis §4.2.3, §9.6: who hears it must not help those who don't."""
    monkeypatch.setattr(election, "_refuses_votes", lambda _state, _msg: False)
    with pytest.raises(AssertionError):
        Scenario(script, node_count).play()
