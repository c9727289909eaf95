"""What a directed scenario needs to be played."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulator.process import Process
from tests.simulator.profile import Profile
from tests.simulator.stage import Stage


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script with the stage it needs."""

    script: Callable[[Stage], None]
    node_count: int = 3
    make_profile: Callable[[], Profile] = Profile

    @property
    def name(self) -> str:
        return self.script.__name__

    def play(self, process_class: type[Process] = Process) -> Stage:
        """Play it with this driver; raises Violation when a property doesn't hold."""
        stage = Stage(self.node_count, process_class=process_class, profile=self.make_profile())
        self.script(stage)
        return stage
