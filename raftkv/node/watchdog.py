"""Ends this process when its event loop hangs, as in a write to a disk that no longer answers.

A leader that hangs sends no heartbeats, so the others elect another one without any help. But its clients
would wait for as long as the disk hangs: once the process ends, their connections do, and they go elsewhere.

Who watches is a process of its own. A thread could not: while RocksDB writes, the Python interpreter is
locked, and no other thread of Python runs. A timer of the kernel would also count the time in which the
process was stopped (SIGSTOP), and end it as it goes on. The watcher is forked before anything is opened,
holds nothing but its end of a pipe, and ends when the pipe does. What stands still for `loop_stall_ms`
without being stopped is killed.

Process 1 of a container can't be killed from inside: there the node needs an init above it (docker --init).
A thread that waits inside the kernel for the disk may keep the dying process, and so its connections, until
the disk answers: nobody can help that.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

#: Looks of the watcher in the time that the loop may hang.
_LOOKS_COUNT: Final = 10
#: Signs of life per hang that is noticed; the pipe has room for many more.
_READ_BYTES: Final = 4096


class Watchdog:
    """The watched side: the process and its watcher."""

    def __init__(self, *, limit_ms: int) -> None:
        """Fork the watcher; it begins with the first sign of life. Only while there is no other thread."""
        read_end, self._pipe = os.pipe()
        parent_id = os.getpid()
        self._watcher_id = os.fork()
        if self._watcher_id == 0:
            try:
                _watch(read_end, parent_id, limit_ms)
            finally:
                os._exit(0)
        os.close(read_end)
        os.set_blocking(self._pipe, False)

    def give_sign(self) -> None:
        """Tell the watcher that the loop runs; several times within the limit."""
        try:
            os.write(self._pipe, b".")
        except BlockingIOError:
            return  # there are signs enough that it has not read
        except BrokenPipeError:
            return  # somebody killed it: the node goes on unwatched

    def close(self) -> None:
        """Let the watcher end. Harmless when it has."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
            os.waitpid(self._watcher_id, 0)


class Silence:
    """How long the watched process has given no sign of life, in looks of the watcher's.

    Its own looks are what it counts, so that neither process's standing still is taken for a hang.
    """

    def __init__(self, is_stopped: Callable[[], bool]) -> None:
        self._is_stopped = is_stopped
        self._looks_count = 0

    def end(self) -> None:
        """There was a sign."""
        self._looks_count = 0

    def is_too_long(self) -> bool:
        """There was none since the last look; say whether there was none for too long."""
        self._looks_count = 0 if self._is_stopped() else self._looks_count + 1
        return self._looks_count >= _LOOKS_COUNT


def _watch(pipe: int, parent_id: int, limit_ms: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are the parent's to heed, which ends the pipe
    _close_all_but(pipe, 2)
    silence = Silence(lambda: is_stopped(parent_id))
    look_seconds = None
    while True:
        if select.select((pipe,), (), (), look_seconds)[0]:
            if not os.read(pipe, _READ_BYTES):
                return
            look_seconds = limit_ms / 1000 / _LOOKS_COUNT
            silence.end()
        elif silence.is_too_long():
            os.write(2, b"the event loop has been hanging for %d ms: the process is killed\n" % limit_ms)
            if os.getppid() == parent_id:
                os.kill(parent_id, signal.SIGKILL)
            return


def is_stopped(process_id: int) -> bool:
    """Whether a process is stopped by a signal or a debugger, or gone (proc(5), stat)."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_bytes()
    except OSError:
        return True
    return stat.rpartition(b")")[2].split()[0] in (b"T", b"t")


def _close_all_but(*kept: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                continue  # the listing's own
