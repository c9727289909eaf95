"""How many files and sockets this process may have open, and how many of those are left for clients.

A node that can't open a file of its databases has to stop, so clients never get the last ones.
"""

from __future__ import annotations

import contextlib
import resource
from typing import Final

#: For the databases (128 and 512 at most, and those being written), the other nodes, strangers on the peer
#: port (64 at most) and the listeners.
_RESERVED: Final = 800
#: Connections that the kernel holds, per listener, until they are accepted.
BACKLOG_MAX: Final = 1024
_LISTENERS: Final = 2


def room_for_clients(wanted: int) -> int:
    """Raise the process's limit of open files as far as `wanted` clients need; give how many fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _RESERVED + _LISTENERS * BACKLOG_MAX
    if _is_below(soft, needed):
        raised = min(needed, hard) if hard != resource.RLIM_INFINITY else needed
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not _is_below(soft, needed):
        return wanted
    return min(wanted, max(soft - _RESERVED - _LISTENERS * backlog(), soft // 8, 1))


def backlog() -> int:
    """How many connections the kernel may hold for each listener: all of them may be accepted in one turn."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(BACKLOG_MAX, soft // 8)) if soft != resource.RLIM_INFINITY else BACKLOG_MAX


def _is_below(limit: int, needed: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < needed
