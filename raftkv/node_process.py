"""One node's process under `raftkv up`: start it, wait for its end, start it again, stop it.

Knows how a process is started and what its end means, not what the node says of itself (`status`).
A node stops when the `up` that started it is gone, however that ended: `exit_with_parent`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds before a node that died is started again: doubled at each death in a row.
RESTART_SECONDS_MIN = 0.5
RESTART_SECONDS_MAX = 30.0
#: A node that ran for this long before it died starts a new row.
STEADY_SECONDS = 30.0
#: Seconds that a node has to stop after SIGTERM.
STOP_SECONDS_MAX = 15.0
#: Lines of a node's log shown when it dies.
LAST_LINES_SHOWN = 5

#: `serve`'s exit code for a configuration that can't be: starting again would not help.
EXIT_USAGE = 2

_LOG_TAIL_BYTES = 16 << 10
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """What a node's process is started with."""

    node_id: int
    config_path: Path
    log_path: Path


class NodeProcess:
    """A node that is kept running until `stop`."""

    def __init__(self, files: NodeFiles, *, restart: bool, say: Callable[[str], None]) -> None:
        """`say` is handed a line for each start and each end."""
        self._files = files
        self._restart = restart
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        #: What to show beside the node while it doesn't run; "" while it does.
        self.note = ""

    async def keep_running(self) -> None:
        """Start the node, and again when it dies; returns once it is stopped or stays down."""
        deaths_in_row = 0
        while not self._stopping.is_set():
            process = await self._start()
            began = time.monotonic()
            await self._until_stopping(process.wait())
            if process.returncode is None:
                await self._end(process)
                return
            deaths_in_row = 1 if time.monotonic() - began > STEADY_SECONDS else deaths_in_row + 1
            delay = self._delay_after(process.returncode, deaths_in_row)
            self._tell_death(process.returncode, delay)
            if delay is None:
                return
            await self._until_stopping(asyncio.sleep(delay))

    def stop(self) -> None:
        """Have `keep_running` stop the process and return."""
        self._stopping.set()

    def kill(self) -> None:
        """Have `keep_running` return soon: the process is killed, whatever it is doing."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    async def _start(self) -> asyncio.subprocess.Process:
        files = self._files
        command = (sys.executable, "-m", "raftkv", "serve", "--config", str(files.config_path))
        with files.log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                "--exit-with-parent",
                str(os.getpid()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment_without_settings(os.environ),
                # Ctrl-C in the terminal is for `up` alone, which then stops the nodes.
                start_new_session=True,
            )
        self._process = process
        self.note = ""
        self._say(f"node {files.node_id} started (pid {process.pid}), log {files.log_path}")
        return process

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """SIGTERM, wait, and if that doesn't help SIGKILL."""
        node_id = self._files.node_id
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS_MAX)
        except TimeoutError:
            self._say(f"node {node_id} did not stop within {STOP_SECONDS_MAX:g} s: killed with SIGKILL")
            self._signal(signal.SIGKILL)
            await process.wait()
        assert process.returncode is not None, "a process that was waited for has ended"
        self._say(f"node {node_id} stopped ({how_it_ended(process.returncode)})")

    async def _until_stopping(self, work: Coroutine[Any, Any, object]) -> None:
        """Await `work`, but no longer than until `stop`."""
        tasks = (asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    def _delay_after(self, returncode: int, deaths_in_row: int) -> float | None:
        """Return the seconds until the next start, None for no further start."""
        if not self._restart or returncode == EXIT_USAGE:
            return None
        return restart_delay(deaths_in_row)

    def _tell_death(self, returncode: int, delay: float | None) -> None:
        what_next = "not started again" if delay is None else f"starts again after {delay:g} s"
        self.note = f"{how_it_ended(returncode)}, {what_next}"
        self._say(f"node {self._files.node_id} died: {self.note}; the end of its log:")
        for line in last_lines(self._files.log_path):
            self._say(f"  | {line}")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def restart_delay(deaths_in_row: int) -> float:
    """Return the seconds to wait after the given number of deaths, from 1."""
    return min(RESTART_SECONDS_MAX, RESTART_SECONDS_MIN * 2.0 ** min(deaths_in_row - 1, 16))


def how_it_ended(returncode: int) -> str:
    """Say an exit code, or the signal that a negative one stands for."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def last_lines(path: Path) -> list[str]:
    """Return the last lines of a log, without those that are empty."""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
        lines = log.read().decode("utf-8", errors="replace").splitlines()
    return [line for line in lines if line.strip()][-LAST_LINES_SHOWN:]


def environment_without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without RAFTKV_*: a node under `up` is configured by its file alone."""
    return {name: value for name, value in environ.items() if not name.startswith("RAFTKV_")}


def exit_with_parent(parent_pid: int) -> None:
    """Have the kernel send this process SIGTERM when its parent is gone, even by SIGKILL.

    prctl(PR_SET_PDEATHSIG) and not a watched pipe: the kernel does it whatever this process is busy
    with, and it takes no thread. Raises SystemExit if the parent is gone already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        raise SystemExit(0)
