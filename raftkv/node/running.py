"""Runs one node in this process: its log, its loop, its watchdog, and the exit code.

Knows nothing of what a node does.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from raftkv.config import Config
from raftkv.node.advice import advice_on
from raftkv.node.joining import JoinRefused
from raftkv.node.node import Node
from raftkv.node.open_files import room_for_clients
from raftkv.node.watchdog import Watchdog
from raftkv.storage import SWITCH_INTERVAL_SECONDS, DataDirRefused, StorageFailure

log = logging.getLogger(__name__)

#: A shorter time would be over between two signs of life.
_LOOP_STALL_MS_MIN = 1000
#: No full collections: with 600,000 keys in the cache each stopped the loop for 0.17 s. What is freed in
#: cycles here (connections, tasks) is young when it dies, and nothing in the caches refers back. While keys
#: are loaded, what the others look at is mostly new records: 5 ms each time, where ten times 50,000 took 60.
_GC_THRESHOLDS = (20_000, 5, 1_000_000)


def run_node(config: Config, config_path: Path | None = None) -> int:
    """Run one node until it is told to stop; give the process's exit code (0: it stopped cleanly).

    `config_path` is the file that CONFIG REWRITE writes to, if there is one.
    """
    logging.basicConfig(
        level=config.log_level.upper(),
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    config = _config_that_fits(config)
    # Before there is any thread or open file: it is a fork.
    watchdog = _watchdog_of(config)
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        with asyncio.Runner(loop_factory=_loop_factory(config)) as runner:
            return runner.run(Node(config, config_path, watchdog).run())
    except JoinRefused as refusal:
        log.critical("this node can't join %s: %s", config.join, refusal)
    except (StorageFailure, DataDirRefused) as failure:
        log.critical("node %d: stopped: %s", config.node_id, failure)
        if advice := advice_on(failure, config):
            log.critical("node %d: %s", config.node_id, advice)
    except OSError as failure:
        log.critical("node %d: can't start: %s", config.node_id, failure)
    return 1


def _watchdog_of(config: Config) -> Watchdog | None:
    limit_ms = config.loop_stall_ms
    return Watchdog(limit_ms=max(limit_ms, _LOOP_STALL_MS_MIN)) if limit_ms else None


def _config_that_fits(config: Config) -> Config:
    """Let no more clients in than the operating system has files for (redis adjustOpenFilesLimit)."""
    room = room_for_clients(config.clients_max)
    if room == config.clients_max:
        return config
    log.warning(
        "node %d: this process may open few files (ulimit -n), so that maxclients is %d instead of %d",
        config.node_id,
        room,
        config.clients_max,
    )
    return replace(config, clients_max=room)


def _loop_factory(config: Config) -> Callable[[], asyncio.AbstractEventLoop]:
    if config.loop == "asyncio":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop
