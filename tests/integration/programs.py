"""Runs other people's programs to their end, or for as long as they have something to show.

Knows nothing of what they do.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time

#: Seconds; only ends a program that hangs.
_SECONDS_MAX = 60
_READ_BYTES = 1 << 16


def run(*command: str | int, stdin: str = "") -> str:
    """Run a program that must succeed and return what it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, input=stdin, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def complaint_of(*command: str | int) -> str:
    """Run a program that must fail and return all that it said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False)
    assert done.returncode != 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def shown_on_terminal(*command: str | int, until: str) -> str:
    """Run an endless program on a terminal; stop it once the pattern was seen, and return all of it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = ""
    deadline = time.monotonic() + _SECONDS_MAX
    try:
        while re.search(until, shown) is None:
            is_readable, _, _ = select.select([ours], [], [], max(0, deadline - time.monotonic()))
            assert is_readable, f"{command}: nothing like {until!r} in {shown!r}"
            shown += _read(ours, f"{command} ended: {shown!r}")
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return shown


def _read(descriptor: int, complaint: str) -> str:
    try:
        return os.read(descriptor, _READ_BYTES).decode(errors="replace")
    except OSError:  # what a terminal gives whose other end is closed
        raise AssertionError(complaint) from None
