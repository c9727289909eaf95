"""What a run did, in numbers: outcomes by face, faults by kind, and how long nobody could write.

Knows no process and no socket: it is told what happened and when, by one clock in nanoseconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import median

ANSWERED, UNCERTAIN, REFUSED = "ok", "uncertain", "refused"
_OUTCOMES = (ANSWERED, UNCERTAIN, REFUSED)


@dataclass(slots=True)
class Figures:
    """Counts and times of one run so far."""

    #: (face, outcome) -> how many operations.
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    #: By kind of fault: seconds from its beginning to the next acknowledged write sent after that.
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    #: The longest time between two answered writes.
    write_gap_ns_max: int = 0
    #: Operations that were judged, and those whose keys' histories were too hard to judge.
    checked_count: int = 0
    undecided_count: int = 0
    #: Terms in which a node led.
    elections_count: int = 0
    #: Counters, lists and members that were as they had been, at the end.
    settled_count: int = 0
    #: Of all replicas at the end; "": they were not compared.
    digest: str = ""
    #: The longest time for which the run's own process stood still, or was busy with one thing.
    stall_seconds_max: float = 0.0
    _written_ns: int = 0
    #: (kind, begin) of the faults after which nobody's write was acknowledged yet.
    _unrecovered: list[tuple[str, int]] = field(default_factory=list)

    def count(self, face: str, outcome: str) -> None:
        """Count an operation that is over."""
        self.outcomes[face, outcome] += 1

    def on_fault(self, kind: str, begin_ns: int) -> None:
        """A fault begins."""
        self.faults[kind] += 1
        self._unrecovered.append((kind, begin_ns))

    def on_write(self, *, invoked_ns: int, returned_ns: int) -> None:
        """A write was answered."""
        if self._written_ns:
            self.write_gap_ns_max = max(self.write_gap_ns_max, returned_ns - self._written_ns)
        self._written_ns = max(self._written_ns, returned_ns)
        left = []
        for kind, begin_ns in self._unrecovered:
            if invoked_ns < begin_ns:
                left.append((kind, begin_ns))
            else:
                self.recoveries.setdefault(kind, []).append((returned_ns - begin_ns) / 1e9)
        self._unrecovered = left

    def silence_seconds(self, now_ns: int) -> float:
        """How long ago a write was answered; 0 before the first."""
        return (now_ns - self._written_ns) / 1e9 if self._written_ns else 0.0

    def restart_silence(self, now_ns: int) -> None:
        """Nobody wrote for a while because nobody was to, or could: no node's fault."""
        self._written_ns = now_ns
        self._unrecovered.clear()

    @property
    def is_recovered(self) -> bool:
        """Whether a write was acknowledged since the last fault began."""
        return not self._unrecovered

    def __str__(self) -> str:
        """One line."""
        counts = ", ".join(f"{self._sum(outcome)} {outcome}" for outcome in _OUTCOMES)
        undecided = f", {self.undecided_count} NOT DECIDED" if self.undecided_count else ""
        return (
            f"{counts}; {self.checked_count} checked{undecided}; {self.faults.total()} faults; "
            f"{self.write_gap_ns_max / 1e9:.2f} s without a write at most"
        )

    def report(self) -> str:
        """All of it, a line each."""
        lines = [str(self)]
        for face in sorted({face for face, _ in self.outcomes}):
            counts = ", ".join(f"{self.outcomes[face, outcome]} {outcome}" for outcome in _OUTCOMES)
            lines.append(f"  {face}: {counts}")
        lines.append(f"  {self.elections_count} elections")
        lines.append("  until the next acknowledged write, median and worst, by fault:")
        for kind, count in sorted(self.faults.items()):
            seconds = self.recoveries.get(kind, [])
            times = f"{median(seconds):6.2f} s {max(seconds):6.2f} s" if seconds else "      -        -"
            lines.append(f"    {kind:24}{count:6} times {times}")
        if self.settled_count:
            lines.append(
                f"  {self.settled_count} counters, lists and members as they were when they were settled"
            )
        is_equal = f"byte-identical at the end, {self.digest}" if self.digest else "NOT COMPARED"
        lines.append(f"  replicas: {is_equal}")
        lines.append(f"  the clients' process stood still for {self.stall_seconds_max:.2f} s at most")
        return "\n".join(lines)

    def _sum(self, outcome: str) -> int:
        return sum(count for (_, each), count in self.outcomes.items() if each == outcome)
