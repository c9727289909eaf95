"""What a broken rule is caught by: a scenario or some seeds, and the property that must see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.simulator.process import Process
from tests.simulator.properties import Property, Violation
from tests.simulator.run import RunSpec, run
from tests.simulator.scenarios.scenario import Scenario

BreakRule = Callable[[pytest.MonkeyPatch], type[Process]]


@dataclass(frozen=True, slots=True)
class ByScenario:
    """A broken rule, the scenario that shows it, and the property that must catch it."""

    break_rule: BreakRule
    scenario: Scenario
    #: None: the cluster doesn't recover.
    caught_by: type[Property] | None

    @property
    def name(self) -> str:
        return f"{self.break_rule.__name__}-{self.scenario.name}"

    def require_caught(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Play the scenario with the rule broken; fail unless the property sees it."""
        with pytest.raises(Violation) as caught:
            self.scenario.play(self.break_rule(monkeypatch))
        assert caught.value.property_class is self.caught_by


@dataclass(frozen=True, slots=True)
class BySeeds:
    """A broken rule that random runs show within `seeds` seeds: about three times as many as it took."""

    break_rule: BreakRule
    #: None: the cluster doesn't recover.
    caught_by: type[Property] | None
    seeds: int = 60
    node_count: int = 3
    steps: int = 5_000
    #: One of `profile.PROFILES`.
    profile: str = "rough"

    @property
    def name(self) -> str:
        return self.break_rule.__name__

    def require_caught(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Run seed after seed with the rule broken; fail unless the property sees it in one of them."""
        process_class = self.break_rule(monkeypatch)
        results = []
        for seed in range(1, self.seeds + 1):
            spec = RunSpec(seed, self.node_count, self.steps, self.profile)
            result = run(spec, process_class=process_class, trace_lines_max=0)
            if result.is_violation_of(self.caught_by):
                return
            results.append(result.violated or result.failure)
        pytest.fail(f"{self.caught_by} caught nothing in {self.seeds} seeds; there was {results}")
