"""Commands written as lines, run one after the other at one moment."""

from __future__ import annotations

from raftkv.commands.table import READ
from raftkv.resp.replies import Reply
from tests.machine.replica import Replica, check_rows

NOW_MS = 1_800_000_000_000


def run(replica: Replica, line: str) -> Reply:
    """A command written as one line, at one moment."""
    args = line.encode().split(b" ")
    spec = replica.commands.lookup(args[0])
    if spec is not None and spec.route is READ:
        return replica.read(*args, clock_ms=NOW_MS)
    return replica.write(*args, time_ms=NOW_MS)


def replies(*lines: str) -> list[Reply]:
    """The replies of a fresh replica."""
    replica = Replica()
    found = [run(replica, line) for line in lines]
    check_rows(replica)
    return found
