"""Clocks of nodes that jump while they run: Debian's libfaketime, preloaded, with a file that it reads.

With FAKETIME_DONT_FAKE_MONOTONIC it changes CLOCK_REALTIME alone (`time.time`, `time.time_ns`), while
CLOCK_BOOTTIME and CLOCK_MONOTONIC stay true. That is what an administrator, or an NTP that steps, does to a
machine. Without it libfaketime moves CLOCK_BOOTTIME too, which no machine does, and on which leases rest.
(With it CPython's `time.sleep` fails: libfaketime takes its deadline on CLOCK_MONOTONIC for one on the faked
clock. Nodes don't call it.)
"""

from __future__ import annotations

from pathlib import Path

from tests.chaos.dials import Dials

_LIBRARIES = "usr/lib/*/faketime/libfaketimeMT.so.1"
#: A node reads its file again after so long; each reading of the clock would cost 5 us otherwise, not 0.3.
CACHE_SECONDS = 1


class JumpingClocks:
    """The clocks of all nodes."""

    def __init__(self, directory: Path) -> None:
        """`directory` is for the files."""
        self._dials = Dials(directory, "clock")
        self._library = next(iter(sorted(Path("/").glob(_LIBRARIES))), None)

    def reason_against(self) -> str:
        """Say why no clock can be made to jump; "" if it can."""
        return "" if self._library else "needs libfaketime (apt-get install faketime)"

    def environment(self, node_id: int) -> dict[str, str]:
        """Return what to set for a node's process; its clock is right at first."""
        self.jump(node_id, seconds=0)
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._dials.path(node_id)),
            "FAKETIME_CACHE_DURATION": str(CACHE_SECONDS),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, node_id: int, *, seconds: int) -> None:
        """Let a node's clock be wrong by so much, within `CACHE_SECONDS`."""
        self._dials.turn(node_id, f"{seconds:+d}")
