"""One seed from start to rest: a rough time full of faults, then peace in which the cluster must serve.

A run is a function of its `RunSpec` alone.
"""

from __future__ import annotations

import random
import traceback
from dataclasses import dataclass

from tests.simulator.cluster import Cluster, Tally
from tests.simulator.faults import Faults
from tests.simulator.process import Process
from tests.simulator.profile import PROFILES
from tests.simulator.properties import Property, Violation
from tests.simulator.recovery import require_changes, require_recovery


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Everything that a run depends on."""

    seed: int
    node_count: int = 3
    steps: int = 10_000
    #: One of `PROFILES`.
    profile: str = "rough"

    def command(self) -> str:
        """The command line that repeats the run."""
        command = (
            f"python -m tests.simulator --seed {self.seed} --nodes {self.node_count} --steps {self.steps}"
        )
        return command if self.profile == "rough" else f"{command} --profile {self.profile}"


@dataclass(slots=True)
class RunResult:
    """How a run ended."""

    spec: RunSpec
    tally: Tally
    trace_lines: list[str]
    #: None: everything held.
    failure: str | None = None
    #: It was a property, or liveness.
    has_violation: bool = False
    #: The property that didn't hold; None when something else failed.
    violated: type[Property] | None = None
    #: Virtual time from the end of the faults until everything was served.
    recovery_ms: int = 0

    def is_violation_of(self, property_class: type[Property] | None) -> bool:
        """Tell whether this property didn't hold; None: whether the cluster didn't recover."""
        return self.has_violation and self.violated is property_class

    def report(self, tail_count: int = 60) -> str:
        """Say what failed, the end of the trace, and how to see it again."""
        tail = "\n".join(self.trace_lines[-tail_count:])
        return f"{tail}\n{self.failure}\nreproduce with: {self.spec.command()}"


def run(
    spec: RunSpec, *, process_class: type[Process] = Process, trace_lines_max: int | None = None
) -> RunResult:
    """Run a seed; failures are part of the result, whatever they are."""
    rng = random.Random(spec.seed)
    cluster = Cluster(
        spec.node_count,
        rng,
        PROFILES[spec.profile](rng),
        process_class=process_class,
        trace_lines_max=trace_lines_max,
    )
    result = RunResult(spec, cluster.tally, [])
    try:
        result.recovery_ms = _run_to_rest(cluster, rng, spec.steps)
    except Violation as violation:
        result.failure = str(violation)
        result.has_violation = True
        result.violated = violation.property_class
    except Exception:  # noqa: BLE001 - a core that raises anything at all has failed this seed
        result.failure = traceback.format_exc()
    result.trace_lines = list(cluster.trace_lines)
    return result


def _run_to_rest(cluster: Cluster, rng: random.Random, steps: int) -> int:
    faults = Faults(cluster, rng)
    faults.begin()
    cluster.start_clients()
    cluster.run_steps(steps)
    cluster.stop_clients()
    faults.end()
    cluster.profile.become_calm()
    cluster.trace("the faults end")
    recovery_ms = require_recovery(cluster)
    require_changes(cluster)
    return recovery_ms
