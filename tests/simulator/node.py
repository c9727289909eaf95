"""One node of the virtual cluster: what outlives its process (disk, clock), and its process while it lives.

Decides when the process runs, stops and dies. Knows nothing of the network or of the other nodes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Protocol

from raftkv.raft.core import RaftCore
from raftkv.raft.types import Message, RaftConfig
from tests.simulator.clock import MILLISECOND, SECOND, DriftingClock, Timeline
from tests.simulator.disk import LogWrite, SyncWriter, VirtualLog, VirtualState
from tests.simulator.network import Parcel
from tests.simulator.process import Input, Observer, Process, StopPoint, Synced
from tests.simulator.profile import Profile

#: However slow a disk is, a sync ends: what it holds up must recover in time.
_SYNC_NS_MAX = 2 * SECOND


class NodeObserver(Observer, Protocol):
    """Who wants to know what a node does."""

    def on_log_durable(self, node_id: int, write: LogWrite) -> None: ...

    def on_stepped(self, node: Node) -> None: ...

    def on_event(self, node_id: int, text: str) -> None: ...


class Node:
    """A machine with a disk and a clock that runs one process at a time."""

    def __init__(
        self,
        config: RaftConfig,
        timeline: Timeline,
        rng: random.Random,
        profile: Profile,
        observer: NodeObserver,
        *,
        process_class: type[Process],
        send: Callable[[Message], None],
        send_parcel: Callable[[Parcel], None],
    ) -> None:
        self.node_id = config.node_id
        self._config = config
        self._timeline = timeline
        self._rng = rng
        self._profile = profile
        self._observer = observer
        self._process_class = process_class
        self._send = send
        self._send_parcel = send_parcel
        #: It ceased to be a member, and its process was ended for good.
        self.is_retired = False
        self.lose_directory()
        self.clock = DriftingClock(
            timeline, offset_ns=rng.randint(1, 10**15), drift_ppm=self._draw_drift_ppm()
        )
        self.life = 0
        self.process: Process | None = None
        #: Fsyncs take this many times longer.
        self.fsync_slowness = 1
        self.is_paused = False
        self._pause_count = 0
        #: The interrupted turn while the process stands still in the middle of one.
        self._turn: Iterator[StopPoint] | None = None
        self._is_waking = False
        self._stop_point: StopPoint | None = None
        self._stop_action: Callable[[], None] = lambda: None

    @property
    def founders(self) -> tuple[int, ...]:
        """Who founded the group, as this node was told; empty at one that joined."""
        return self._config.voters

    @property
    def core(self) -> RaftCore | None:
        """The core of the living process."""
        return self.process.core if self.process is not None else None

    @property
    def is_mid_turn(self) -> bool:
        """Whether a turn is interrupted: the log may be behind what the core decided."""
        return self._turn is not None

    # -- life and death ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start a process on what the disk holds."""
        assert self.process is None, f"node {self.node_id} already runs"
        self.life += 1
        writer = SyncWriter(
            self._timeline, self.log, draw_sync_ns=self._draw_sync_ns, on_synced=self._on_synced
        )
        self.process = self._process_class(
            self._config,
            self.log,
            self.state,
            writer,
            self._observer,
            life=self.life,
            rng=self._rng,
            read_clock=self.clock.now_ns,
            send=self._send,
            send_parcel=self._send_parcel,
        )
        self._observer.on_event(self.node_id, f"starts life {self.life} at {self.state.applied}")
        self._schedule_tick(self.life)

    def crash(self, kept_count: int | None = None) -> None:
        """Lose the process and what the disk had not made durable, but for `kept_count` writes."""
        assert self.process is not None, f"node {self.node_id} doesn't run"
        self.process.writer.close()
        self.process = None
        self._turn = None
        self._stop_point = None
        self.is_paused = False
        self.log.lose_unsynced(self._draw_kept_count() if kept_count is None else kept_count)
        self.state.lose_unflushed(self._rng)
        self._observer.on_event(
            self.node_id, f"crashes; log kept to {self.log.last_index}, state to {self.state.applied}"
        )
        self._observer.on_stepped(self)

    def lose_directory(self) -> None:
        """Begin with an empty disk, at first or once more."""
        self.log = VirtualLog(lambda write: self._observer.on_log_durable(self.node_id, write))
        self.state = VirtualState()

    def retire(self) -> None:
        """End the process for good."""
        if self.process is not None:
            self.crash()
        self.is_retired = True

    def pause(self, pause_ns: int) -> None:
        """Stop the process (SIGSTOP) for a while, wherever it is."""
        if self.process is None:
            return
        self.is_paused = True
        self._pause_count += 1
        self.process.writer.stop()
        self._observer.on_event(self.node_id, f"stands still for {pause_ns // MILLISECOND} ms")
        count = self._pause_count
        self._timeline.after(pause_ns, lambda: self._go_on(count))

    def _go_on(self, pause_count: int) -> None:
        if self.is_paused and pause_count == self._pause_count:
            self.go_on()

    def go_on(self) -> None:
        """End a pause."""
        assert self.process is not None, "only a living process is paused"
        self.is_paused = False
        self._observer.on_event(self.node_id, "goes on")
        self.process.writer.go_on()
        if self._turn is not None:
            self._continue_turn()
        else:
            self._run_turn()

    def at_stop_point(self, point: StopPoint, action: Callable[[], None]) -> None:
        """Let `action` (a pause or a crash) hit the process when a turn next comes to `point`."""
        self._stop_point = point
        self._stop_action = action

    def disarm_stop_point(self) -> None:
        """Forget what was to happen at a stop point."""
        self._stop_point = None

    # -- turns -------------------------------------------------------------------------------------

    def receive(self, one: Input) -> None:
        """Put an input where the process finds it: at once, or gathered with what comes soon."""
        if self.process is None:
            return
        self.process.inbox.append(one)
        if self._rng.random() < self._profile.gathering:
            if not self._is_waking:
                self._is_waking = True
                self._timeline.after(self._rng.randint(0, self._profile.gather_ns_max), self._on_woken)
        else:
            self._run_turn()

    def _on_woken(self) -> None:
        self._is_waking = False
        self._run_turn()

    def _run_turn(self) -> None:
        process = self.process
        if process is None or self.is_paused or self._turn is not None:
            return
        if process.inbox or process.is_tick_due:
            self._turn = process.turn()
            self._continue_turn()

    def _continue_turn(self) -> None:
        assert self._turn is not None, "there is a turn to continue"
        for point in self._turn:
            if point is self._stop_point:
                self._stop_point = None
                self._observer.on_event(self.node_id, f"is interrupted {point.value}")
                self._stop_action()
                if self.process is None:
                    return
                if self.is_paused:
                    self._observer.on_stepped(self)
                    return
        self._turn = None
        self._observer.on_stepped(self)

    def _schedule_tick(self, life: int) -> None:
        tick_ns = self._profile.tick_ns
        self._timeline.after(self._rng.randint(tick_ns * 3 // 4, tick_ns), lambda: self._on_tick(life))

    def _on_tick(self, life: int) -> None:
        if self.process is None or life != self.life:
            return
        self.process.is_tick_due = True
        self._run_turn()
        if self.process is not None and life == self.life:
            self._schedule_tick(life)

    # -- what the hardware does --------------------------------------------------------------------

    def _on_synced(self, ticket: int) -> None:
        self.receive(Synced(ticket))
        self._observer.on_stepped(self)

    def _draw_sync_ns(self) -> int:
        profile = self._profile
        sync_ns = self._rng.randint(profile.fsync_ns_min, profile.fsync_ns_max) * self.fsync_slowness
        return min(sync_ns, _SYNC_NS_MAX)

    def _draw_kept_count(self) -> int:
        """How many unsynced writes a crash leaves: often none, often all."""
        unsynced_count = self.log.unsynced_count
        return self._rng.choice((0, unsynced_count, self._rng.randint(0, unsynced_count)))

    def _draw_drift_ppm(self) -> int:
        drift_ppm_max = self._profile.drift_ppm_max
        return self._rng.choice(
            (-drift_ppm_max, drift_ppm_max, self._rng.randint(-drift_ppm_max, drift_ppm_max))
        )

    def change_drift(self) -> None:
        """Let the clock go at another speed from now on."""
        self.clock.set_drift(self._draw_drift_ppm())
