"""How rough one run is: rates, delays and faults, drawn from the seed (swarm testing: no run has them all).

Knows only numbers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.simulator.clock import MICROSECOND, MILLISECOND

#: Every fault that `faults` can inject, with how often it is drawn in a run that has it.
FAULT_WEIGHTS: tuple[tuple[str, int], ...] = (
    ("crash", 6),
    ("crash_at_point", 6),
    ("crash_all", 1),
    ("split", 4),
    ("isolate", 4),
    ("cut_one_way", 4),
    ("bridge", 3),
    ("pause", 5),
    ("pause_at_point", 6),
    ("slow_disk", 4),
    ("stall_apply", 3),
    ("flush_state", 5),
    ("transfer", 6),
    ("drift", 2),
    ("compact", 8),
    ("add_member", 5),
    ("remove_member", 5),
    ("promote", 2),
    ("move", 1),
)

#: How much more often this comes where members come and go.
_CHURN = {
    "add_member": 6,
    "compact": 3,
    "crash_at_point": 2,
    "flush_state": 2,
    "promote": 4,
    "remove_member": 5,
    "transfer": 2,
}


@dataclass(slots=True)
class Profile:
    """The numbers of one run. Times in nanoseconds, shares from 0 to 1."""

    loss: float = 0.0
    duplication: float = 0.0
    delay_ns_min: int = 100 * MICROSECOND
    delay_ns_max: int = 300 * MICROSECOND
    #: Share of messages that arrive very late, long after what was sent later.
    straggling: float = 0.0
    straggler_delay_ns_max: int = 2_000 * MILLISECOND
    #: A snapshot takes up to so much longer than a message.
    snapshot_ns_max: int = 20 * MILLISECOND
    fsync_ns_min: int = 300 * MICROSECOND
    fsync_ns_max: int = 800 * MICROSECOND
    tick_ns: int = 10 * MILLISECOND
    #: The shorter, the more elections in as many steps. Faults and patience are measured by it.
    election_timeout_ms: int = 500
    #: Share of inputs that wait for others, to be read in one turn with them.
    gathering: float = 0.0
    gather_ns_max: int = 500 * MICROSECOND
    #: Every clock goes wrong by up to half of what the core allows two of them to differ by.
    clock_drift_percent: int = 5
    has_drift: bool = False
    client_count: int = 4
    think_ns_max: int = 20 * MILLISECOND
    #: A client asks the node that it believes to be the leader, otherwise any.
    faithfulness: float = 0.7
    fault_interval_ns_min: int = 30 * MILLISECOND
    fault_interval_ns_max: int = 600 * MILLISECOND
    fault_weights: tuple[tuple[str, int], ...] = ()
    #: Limits of the core, small enough to be reached.
    core_limits: dict[str, int] = field(default_factory=dict)

    @property
    def drift_ppm_max(self) -> int:
        """How far from true time a clock may run, in millionths of the time."""
        return self.clock_drift_percent * 10_000 // 2 if self.has_drift else 0

    @classmethod
    def drawn(cls, rng: random.Random) -> Profile:
        """Draw a rough run."""
        is_lossy = rng.random() < 0.6
        election_timeout_ms = rng.choice((100, 100, 200, 500))
        slow_ms = rng.choice((1, 1, election_timeout_ms // 50, election_timeout_ms // 15))
        fsync_ms = rng.choice((1, 1, 4, election_timeout_ms // 20))
        weights = tuple(pair for pair in FAULT_WEIGHTS if rng.random() < 0.6) or FAULT_WEIGHTS
        return cls(
            loss=rng.choice((0.01, 0.05, 0.2)) if is_lossy else 0.0,
            duplication=rng.choice((0.0, 0.02, 0.1)),
            delay_ns_min=50 * MICROSECOND,
            delay_ns_max=slow_ms * MILLISECOND,
            straggling=rng.choice((0.0, 0.01, 0.05)),
            snapshot_ns_max=election_timeout_ms * MILLISECOND * rng.choice((1, 3)) // 2,
            fsync_ns_min=100 * MICROSECOND,
            fsync_ns_max=fsync_ms * MILLISECOND,
            tick_ns=rng.choice((5, 10)) * MILLISECOND,
            election_timeout_ms=election_timeout_ms,
            gathering=rng.choice((0.0, 0.3, 0.8)),
            gather_ns_max=rng.choice((200, 2_000)) * MICROSECOND,
            clock_drift_percent=rng.choice((5, 30)),
            has_drift=rng.random() < 0.7,
            client_count=rng.randint(2, 6),
            think_ns_max=rng.choice((2, 5, 20, 60)) * MILLISECOND,
            faithfulness=rng.choice((0.5, 0.8, 0.95)),
            fault_interval_ns_min=election_timeout_ms * MILLISECOND // 20,
            fault_interval_ns_max=election_timeout_ms * MILLISECOND * rng.choice((1, 2, 4)),
            fault_weights=weights,
            core_limits=rng.choice(
                (
                    {},
                    {"append_bytes_max": 64, "inflight_messages_max": 3},
                    {"log_cache_bytes_max": 600, "promotion_lag_entries_max": 2},
                    {"log_cache_bytes_max": 600, "append_bytes_max": 64, "inflight_messages_max": 3},
                )
            ),
        )

    @classmethod
    def churning(cls, rng: random.Random) -> Profile:
        """Draw a run in which members come and go all the time, and logs are dropped."""
        profile = cls.drawn(rng)
        profile.election_timeout_ms = 100
        profile.fault_weights = tuple(
            (name, weight * _CHURN.get(name, 1))
            for name, weight in FAULT_WEIGHTS
            if name in _CHURN or rng.random() < 0.4
        )
        profile.fault_interval_ns_min = 5 * MILLISECOND
        profile.fault_interval_ns_max = rng.choice((20, 50, 150)) * MILLISECOND
        profile.think_ns_max = rng.choice((5, 20, 60)) * MILLISECOND
        profile.snapshot_ns_max = rng.choice((10, 50, 400)) * MILLISECOND
        return profile

    def timeouts_ns(self, hundredths: int) -> int:
        """A time in hundredths of the election timeout."""
        return self.election_timeout_ms * MILLISECOND * hundredths // 100

    def become_calm(self) -> None:
        """From now on lose, double and hold back nothing; links and disks stay as slow as they are."""
        self.loss = self.duplication = self.straggling = 0.0


#: By name, as on the command line.
PROFILES: Mapping[str, Callable[[random.Random], Profile]] = {
    "rough": Profile.drawn,
    "churn": Profile.churning,
}
