"""How long nobody serves: from the moment of a fault to the first write that a survivor acknowledges."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from tests.integration.wire import NoAnswer, Wire

#: Seconds after which no survivor is expected to serve any more.
SECONDS_MAX = 30.0
#: Seconds between two tries at one node.
_TRY_SECONDS = 0.005
_KEY = "failover"


class Survivors:
    """Tries a write at several nodes at once, on connections that stand before the fault comes."""

    def __init__(self, ports: Sequence[int]) -> None:
        """Connect to every port. Raises NoAnswer."""
        self._served = threading.Event()
        self._stop = threading.Event()
        self._served_at = 0.0
        self._wires = [Wire(port, seconds_max=SECONDS_MAX) for port in ports]

    def seconds_to_first_write(self, since: float) -> float:
        """Try until one is acknowledged; return the seconds from `since`, a `time.monotonic()`."""
        threads = [threading.Thread(target=self._try, args=(wire,), daemon=True) for wire in self._wires]
        for thread in threads:
            thread.start()
        is_served = self._served.wait(SECONDS_MAX)
        self._stop.set()
        for thread in threads:
            thread.join()
        assert is_served, f"no survivor acknowledged a write within {SECONDS_MAX:g} s"
        return self._served_at - since

    def _try(self, wire: Wire) -> None:
        with wire:
            while not self._stop.is_set():
                try:
                    reply = wire.call("SET", _KEY, "1")
                except NoAnswer:
                    return
                if reply == b"OK" and not self._stop.is_set():
                    self._served_at = self._served_at or time.monotonic()
                    self._served.set()
                    return
                self._stop.wait(_TRY_SECONDS)
