"""One process of a system that is no raftkv: a command line, a log, an environment."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class ServerProcess:
    """A process that can be killed and started again. Nothing runs before `start`."""

    def __init__(self, command: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> None:
        self._command = list(command)
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None, "it was started"
        return self._process.pid

    def start(self) -> None:
        """Start, once what ran before has ended."""
        if self._process is not None:
            self._process.wait()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """kill -9, without waiting for the end."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None, "it was started"
        self._process.send_signal(number)

    def close(self) -> None:
        """End the process whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
