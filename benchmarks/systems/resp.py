"""What raftkv and Redis have in common: writers, readers and loaders that speak Redis's protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmarks import redis_benchmark
from benchmarks.systems.system import key_name
from benchmarks.workload import At, Workload
from tests.integration.wire import NoAnswer, Wire, ask

#: SETs that are sent in one piece while keys are loaded.
_LOADED_AT_ONCE = 1000
#: Seconds that a piece may take, on a machine that has other things to do.
_LOAD_SECONDS = 120.0
#: Seconds within which a live server answers.
_ANSWER_SECONDS = 3.0


def writer(port: int) -> Callable[[], bool]:
    """Connect to the port; return what tries one write. Raises NoAnswer."""
    wire = Wire(port)

    def write() -> bool:
        try:
            return bool(wire.call("SET", "alone", "1") == b"OK")
        except NoAnswer:
            return False

    return write


def serves(port: int, key: str, value: str) -> bool:
    """Whether GET at the port has that reply."""
    try:
        return bool(ask(port, "GET", key, seconds_max=_ANSWER_SECONDS) == value.encode())
    except NoAnswer:
        return False


def load_keys(port: int, count: int, value: str) -> None:
    """SET that many keys, in pieces on one connection. Raises AssertionError when one is refused."""
    with Wire(port, seconds_max=_LOAD_SECONDS) as wire:
        for first in range(0, count, _LOADED_AT_ONCE):
            commands = [
                ("SET", key_name(number), value)
                for number in range(first, min(first + _LOADED_AT_ONCE, count))
            ]
            wire.send(*commands)
            for _ in commands:
                reply = wire.receive()
                assert reply == b"OK", f"a key was not loaded: {reply!r}"


def prepare(port: int, workload: Workload) -> None:
    """Store what GETs find: with several keys, as many random ones as there are. Raises Disturbed."""
    if workload.command == "get":
        stored = replace(workload, command="set", pipeline=1, at=At.LEADER)
        redis_benchmark.run(port, stored, requests=workload.keys)
