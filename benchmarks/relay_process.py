"""The relay as a process of its own, so that its work is not counted as a node's."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).parents[1]


class RelayProcess:
    """One relay. Nothing runs before `start`."""

    def __init__(self, targets: Mapping[int, int], *, delay_ms: float, directory: Path) -> None:
        """`targets`: for each port to listen on, the port to pass on to. Logs into `directory`."""
        ways = [f"{listen}:{target}" for listen, target in targets.items()]
        self._command = [sys.executable, "-m", "benchmarks.relay", f"--delay-ms={delay_ms}", *ways]
        self._log = directory / "relay.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=log)
        assert self._process.stdout is not None, "a pipe was asked for"
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the relay does not start: {self._log.read_text()}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None, "it was started"
        self._process.send_signal(number)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None, "a pipe was asked for"
            self._process.stdout.close()
