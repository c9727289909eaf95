"""Puts a broken core behind a driver that is whole."""

from __future__ import annotations

from raftkv.raft.core import RaftCore
from tests.simulator.process import Process


def driver_of(core: type[RaftCore]) -> type[Process]:
    """Return the driver that runs this core."""

    class Driver(Process):
        core_class = core

    return Driver
