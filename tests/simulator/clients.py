"""Virtual clients: each asks one thing at a time, waits so long for the answer, and goes on.

Know nothing of Raft but that some node is the leader. No client retries a write.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tests.simulator.clock import MILLISECOND, Timeline
from tests.simulator.operations import INDEX_READ, LEASE_READ, WRITE, Operation, Outcome
from tests.simulator.profile import Profile

#: A refused client doesn't ask again at once, or asking would be most of what happens.
_REFUSED_NS = 20 * MILLISECOND
_KINDS = (WRITE, WRITE, LEASE_READ, LEASE_READ, INDEX_READ)


class Client:
    """A closed loop of requests. `submit(node_id, operation)` says whether the node runs."""

    def __init__(
        self,
        client_id: int,
        node_ids: Callable[[], Sequence[int]],
        timeline: Timeline,
        rng: random.Random,
        profile: Profile,
        submit: Callable[[int, Operation], bool],
    ) -> None:
        self._client_id = client_id
        self._node_ids = node_ids
        self._timeline = timeline
        self._rng = rng
        self._profile = profile
        self._submit = submit
        self._leader_id = rng.choice(node_ids())
        self._operation_count = 0
        self._operation: Operation | None = None
        self._is_stopped = False

    def think(self) -> None:
        """Ask something after a while."""
        if not self._is_stopped:
            self._timeline.after(self._rng.randint(0, self._profile.think_ns_max), self._ask)

    def stop(self) -> None:
        """Ask nothing more."""
        self._is_stopped = True

    def _ask(self) -> None:
        if self._is_stopped:
            return
        self._operation_count += 1
        kind = self._rng.choice(_KINDS)
        payload = f"c{self._client_id}-{self._operation_count}".encode() if kind is WRITE else b""
        self._operation = operation = Operation(kind, payload)
        if self._submit(self._draw_target(kind is INDEX_READ), operation):
            self._timeline.after(self._profile.timeouts_ns(60), lambda: self._give_up(operation))
        else:
            operation.outcome = Outcome.REFUSED
            self.on_finished(operation)

    def _draw_target(self, is_anyone_able: bool) -> int:
        if not is_anyone_able and self._rng.random() < self._profile.faithfulness:
            return self._leader_id
        return self._rng.choice(self._node_ids())

    def _give_up(self, operation: Operation) -> None:
        if operation is self._operation:
            self._leader_id = self._rng.choice(self._node_ids())
            self._operation = None
            self.think()

    def on_finished(self, operation: Operation) -> None:
        """Take the answer, if this still waits for it."""
        if operation is not self._operation:
            return
        self._operation = None
        if operation.outcome is Outcome.REFUSED:
            self._leader_id = operation.leader_id or self._rng.choice(self._node_ids())
            self._timeline.after(_REFUSED_NS, self.think)
        else:
            self.think()
