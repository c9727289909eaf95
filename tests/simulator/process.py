"""One life of a node, from start to crash: the core and the virtual driver around it.

The driver keeps the order that every driver of the core must keep. Its turn is a generator that yields
at each point where the operating system may stop the process or the power may go; between two points
nothing can come in between.

    read what arrived -> sample the clock -> step the core -> for each Ready:
        install its snapshot (synced at each step) -> write (unsynced) -> send `messages`
        -> request a sync, hold `messages_after_persist` -> apply
    -> answer reads

Knows no fault and no property; what happens is told to an `Observer`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from raftkv.raft.core import RaftCore
from raftkv.raft.membership import ChangeRefused, Membership, MembershipChange, decode_membership
from raftkv.raft.types import (
    COMMAND,
    LEADER,
    Entry,
    EntryId,
    HardState,
    Message,
    NotLeader,
    ProposalDropped,
    RaftConfig,
    ReadState,
    Ready,
)
from tests.simulator.clock import MILLISECOND
from tests.simulator.disk import (
    LogWrite,
    StateAt,
    SyncWriter,
    VirtualLog,
    VirtualState,
    settle_log_with_state,
)
from tests.simulator.network import Parcel, SnapshotArrived, SnapshotStream
from tests.simulator.operations import INDEX_READ, WRITE, Operation, Outcome


class StopPoint(Enum):
    """Where a turn can be interrupted."""

    INPUTS_READ = "after reading its inputs"
    CLOCK_SAMPLED = "after sampling the clock"
    STEPPED = "after stepping the core"
    WRITTEN = "after writing the log"
    SENT = "after sending"
    READS_READY = "before answering reads"
    TERM_SYNCED = "after syncing the term for a snapshot"
    INSTALLED = "after installing a snapshot, before the log begins anew"


STOP_POINTS = tuple(StopPoint)


@dataclass(slots=True)
class Synced:
    """An input: a sync ended; everything up to `ticket` is durable."""

    ticket: int


@dataclass(slots=True)
class Transfer:
    """An input: an operator asks for leadership to move."""

    to: int


@dataclass(slots=True)
class Change:
    """An input: an operator asks for a change of the members."""

    change: MembershipChange


@dataclass(slots=True)
class Compact:
    """An input: drop from the log what is durable in the state, but for the last entries."""

    kept_count: int


Input = Message | Operation | Synced | Transfer | Change | Compact | SnapshotStream | SnapshotArrived


@dataclass(slots=True)
class HeldReady:
    """What a Ready left to do for when its writes are durable."""

    ticket: int
    messages: list[Message]
    hard_state: HardState | None
    last_entry: EntryId | None


class Observer(Protocol):
    """Who wants to know what a process does."""

    def on_sent(self, node_id: int, message: Message) -> None: ...

    def on_log_written(self, node_id: int, entries: list[Entry]) -> None: ...

    def on_applied(self, node_id: int, entry: Entry) -> None: ...

    def on_restored(self, node_id: int, snapshot: StateAt) -> None: ...

    def on_finished(self, node_id: int, operation: Operation) -> None: ...

    def on_event(self, node_id: int, text: str) -> None: ...


class Process:
    """The volatile half of a node."""

    core_class: type[RaftCore] = RaftCore

    def __init__(
        self,
        config: RaftConfig,
        log: VirtualLog,
        state: VirtualState,
        writer: SyncWriter,
        observer: Observer,
        *,
        life: int,
        rng: random.Random,
        read_clock: Callable[[], int],
        send: Callable[[Message], None],
        send_parcel: Callable[[Parcel], None],
    ) -> None:
        self.node_id = config.node_id
        self.log = log
        self.state = state
        self.writer = writer
        self.observer = observer
        self._rng = rng
        self.read_clock = read_clock
        self._send = send
        self._send_parcel = send_parcel
        #: Nodes that are being sent a snapshot: when that is given up.
        self._streams: dict[int, int] = {}
        #: What was received whole, until the core has decided about it.
        self._received: StateAt | None = None
        #: The core took it, and its Ready isn't carried out yet.
        self.is_restoring = False
        self._election_timeout_ns = config.election_timeout_ms * MILLISECOND
        settle_log_with_state(log, state)
        self.inbox: list[Input] = []
        self.is_tick_due = False
        #: The state machine refuses writes for a while (a write stall of RocksDB).
        self.is_apply_stalled = False
        self._held: deque[HeldReady] = deque()
        self._ticket = 0
        self._unapplied: deque[Entry] = deque()
        #: index -> (term, write) of everything proposed there in this life.
        self._pending_writes: dict[int, list[tuple[int, Operation]]] = {}
        #: Contexts must not come back in a later life: an answer to the old one may still be under way.
        self.next_read_context = (life << 32) + 1
        self._asked_reads: dict[int, Operation] = {}
        #: Reads that run once the index is applied.
        self._confirmed_reads: list[tuple[int, Operation]] = []
        self.core = self.core_class(
            config,
            log.hard_state,
            log,
            applied=state.applied,
            random=random.Random(rng.getrandbits(64)),
            now_ns=read_clock(),
            membership=self.membership_at_start(),
        )

    def membership_at_start(self) -> Membership | None:
        """Return the membership that the state has; None: there was none."""
        encoded = self.state.newest.membership
        return decode_membership(encoded) if encoded else None

    # -- a turn ------------------------------------------------------------------------------------

    def turn(self) -> Iterator[StopPoint]:
        """Run one turn of the event loop, yielding wherever it can be interrupted."""
        inputs: list[Input] = []
        yield from self.read_inputs(inputs)
        now_ns = self.read_clock()
        yield StopPoint.CLOCK_SAMPLED
        self.take_turn(inputs, now_ns)
        yield StopPoint.STEPPED
        yield from self.finish_turn()

    def read_inputs(self, inputs: list[Input]) -> Iterator[StopPoint]:
        """Take what arrived off the sockets."""
        inputs += self.inbox
        self.inbox = []
        yield StopPoint.INPUTS_READ

    def take_turn(self, inputs: list[Input], now_ns: int) -> None:
        """Hand everything to the core, the tick first or last as a real loop's timers may run."""
        is_tick_first = self._rng.random() < 0.5
        if is_tick_first:
            self._tick_if_due(now_ns)
        for position, one in enumerate(inputs):
            self._take(one, now_ns)
            if self.is_restoring:
                self.inbox = inputs[position + 1 :] + self.inbox  # the core wants its Ready taken first
                return
        self._tick_if_due(now_ns)

    def _tick_if_due(self, now_ns: int) -> None:
        if self.is_tick_due:
            self.is_tick_due = False
            self.core.tick(now_ns)
            self._give_up_streams(now_ns)

    def _take(self, one: Input, now_ns: int) -> None:
        if isinstance(one, Operation):
            self._take_operation(one, now_ns)
        elif isinstance(one, Synced):
            self._on_synced(one.ticket)
        elif isinstance(one, Transfer):
            self._transfer(one.to, now_ns)
        elif isinstance(one, Change):
            self._change(one.change, now_ns)
        elif isinstance(one, Compact):
            self._compact(one.kept_count)
        elif isinstance(one, SnapshotStream):
            self._receive_snapshot(one)
        elif isinstance(one, SnapshotArrived):
            if self._streams.pop(one.sender, None) is not None:
                self.core.snapshot_ended(one.sender, one.index)
        else:
            self.core.step(one, now_ns)

    def finish_turn(self) -> Iterator[StopPoint]:
        """Do what the core wants done, then answer reads."""
        if not self.is_restoring:
            self._apply()
        while self.core.has_ready():
            yield from self.carry_out(self.core.ready())
        if self._confirmed_reads:
            yield StopPoint.READS_READY
            self._answer_reads()

    # -- Ready -------------------------------------------------------------------------------------

    def carry_out(self, ready: Ready) -> Iterator[StopPoint]:
        """Do what the core wants done, in the one safe order."""
        if ready.snapshot is not None:
            yield from self.install(ready)
        for node_id in ready.snapshots_wanted:
            self._stream_snapshot(node_id)
        is_writing = ready.hard_state is not None or bool(ready.entries)
        if is_writing:
            self.log.append(LogWrite(ready.hard_state, ready.entries))
            self.observer.on_log_written(self.node_id, ready.entries)
            yield StopPoint.WRITTEN
        self.send_all(ready.messages)
        if ready.messages:
            yield StopPoint.SENT
        self.persist(ready, is_writing)
        self._take_read_states(ready.read_states)
        self._unapplied.extend(ready.committed_entries)
        self._apply()

    def persist(self, ready: Ready, is_writing: bool) -> None:
        """Hold what must follow the sync; without anything unsynced nothing has to wait."""
        if is_writing or (ready.messages_after_persist and self._held):
            last = ready.entries[-1] if ready.entries else None
            last_entry = EntryId(last.term, last.index) if last is not None else None
            self._ticket += 1
            messages = ready.messages_after_persist
            self._held.append(HeldReady(self._ticket, messages, ready.hard_state, last_entry))
            self.writer.request(self._ticket)
        else:
            self.send_all(ready.messages_after_persist)

    def send_all(self, messages: list[Message]) -> None:
        for message in messages:
            self.observer.on_sent(self.node_id, message)
            self._send(message)

    def _on_synced(self, ticket: int) -> None:
        while self._held and self._held[0].ticket <= ticket:
            held = self._held.popleft()
            self.send_all(held.messages)
            if held.hard_state is not None:
                self.core.hard_state_persisted(held.hard_state)
            if held.last_entry is not None:
                self.core.persisted(held.last_entry)

    # -- the state machine -------------------------------------------------------------------------

    def _apply(self) -> None:
        if self.is_apply_stalled or not self._unapplied:
            return
        while self._unapplied:
            entry = self._unapplied.popleft()
            self.state.apply(entry)
            self.observer.on_applied(self.node_id, entry)
            self._settle_writes(entry)
        self.core.applied(self.state.applied.index)

    def _settle_writes(self, entry: Entry) -> None:
        """Answer every write proposed at this index: the entry that took the place decides."""
        for term, operation in self._pending_writes.pop(entry.index, ()):
            if term == entry.term and entry.kind is COMMAND:
                self._finish(operation, Outcome.DONE, entry.index)
            else:
                self._finish(operation, Outcome.REFUSED, 0)

    def refuse_all_writes(self) -> None:
        """Tell every waiting writer that nothing was done; no correct driver says so unasked."""
        for writes in self._pending_writes.values():
            for _, operation in writes:
                self._finish(operation, Outcome.REFUSED, 0)
        self._pending_writes.clear()

    # -- snapshots and members -----------------------------------------------------------------

    def install(self, ready: Ready) -> Iterator[StopPoint]:
        """Put the snapshot that was received in the place of state and log."""
        snapshot = self.received(ready)
        if ready.hard_state is not None:
            self.log.append(LogWrite(ready.hard_state, []))
        self.log.sync()
        yield StopPoint.TERM_SYNCED
        self.state.install(snapshot)
        self.observer.on_restored(self.node_id, snapshot)
        self.forget_unapplied()
        yield StopPoint.INSTALLED
        self.log.begin_behind(snapshot.entry_id)
        self.is_restoring = False

    def received(self, ready: Ready) -> StateAt:
        """Return the snapshot that the core wants installed."""
        snapshot = self._received
        assert snapshot is not None, "a core restores what was received"
        assert snapshot.entry_id == ready.snapshot, f"{ready.snapshot} restored, {snapshot} received"
        return snapshot

    def forget_unapplied(self) -> None:
        """Forget what is committed and not applied: a snapshot has it."""
        self._unapplied.clear()

    def _receive_snapshot(self, stream: SnapshotStream) -> None:
        self._received = stream.snapshot
        entry_id, membership = stream.snapshot.entry_id, stream.snapshot.membership
        self.is_restoring = self.core.restore(entry_id, decode_membership(membership) if membership else None)
        self._send_parcel(SnapshotArrived(self.node_id, stream.sender, entry_id.index))

    def _stream_snapshot(self, to: int) -> None:
        """Send a checkpoint of the state as it is."""
        self._streams[to] = self.read_clock() + 2 * self._election_timeout_ns
        self._send_parcel(SnapshotStream(self.node_id, to, self.state.newest))

    def _give_up_streams(self, now_ns: int) -> None:
        for node_id in [node_id for node_id, end_ns in self._streams.items() if now_ns >= end_ns]:
            del self._streams[node_id]
            self.core.snapshot_ended(node_id, 0)

    def _compact(self, kept_count: int) -> None:
        index = min(self.droppable_index(), self.log.last_index) - kept_count
        if index >= self.log.first_index:
            self.log.drop_to(index)
            self.observer.on_event(self.node_id, f"drops its log up to {index}")

    def droppable_index(self) -> int:
        """Return up to where the log isn't needed any more to bring back the state."""
        return self.state.durable_index

    def _change(self, change: MembershipChange, now_ns: int) -> None:
        try:
            entry_id = self.core.change_membership(change, now_ns)
        except (NotLeader, ProposalDropped, ChangeRefused) as refusal:
            self.observer.on_event(self.node_id, f"refuses {change}: {refusal}")
        else:
            self.observer.on_event(self.node_id, f"begins {change} at {entry_id}")

    # -- clients -----------------------------------------------------------------------------------

    def _take_operation(self, operation: Operation, now_ns: int) -> None:
        try:
            if operation.kind is WRITE:
                entry_id = self.core.propose(operation.payload)
                self._pending_writes.setdefault(entry_id.index, []).append((entry_id.term, operation))
            elif operation.kind is INDEX_READ:
                self._ask_read_index(operation, now_ns)
            else:
                self.read_at_leader(operation, now_ns)
        except NotLeader as refusal:
            operation.leader_id = refusal.leader_id
            self._finish(operation, Outcome.REFUSED, 0)
        except ProposalDropped:
            self._finish(operation, Outcome.REFUSED, 0)

    def read_at_leader(self, operation: Operation, now_ns: int) -> None:
        """Read under the lease; what is committed may have been seen at a follower, so wait for it."""
        if self.core.role is not LEADER:
            raise NotLeader(self.core.leader_id)
        if self.core.lease_is_valid(now_ns):
            self.answer_once_applied(self.core.commit_index, operation)
        else:
            self._ask_read_index(operation, now_ns)

    def _ask_read_index(self, operation: Operation, now_ns: int) -> None:
        context = self.next_read_context
        self.core.read_index(context, now_ns)
        self.next_read_context += 1
        self._asked_reads[context] = operation

    def _take_read_states(self, read_states: list[ReadState]) -> None:
        for read_state in read_states:
            operation = self._asked_reads.pop(read_state.context, None)
            if operation is None:
                continue
            if read_state.index == 0:
                self._finish(operation, Outcome.REFUSED, 0)
            else:
                self.answer_once_applied(read_state.index, operation)

    def answer_once_applied(self, index: int, operation: Operation) -> None:
        """Answer a read as soon as the state machine has come to `index`."""
        self._confirmed_reads.append((index, operation))

    def _answer_reads(self) -> None:
        applied_index = self.state.applied.index
        waiting = []
        for index, operation in self._confirmed_reads:
            if applied_index >= index:
                self._finish(operation, Outcome.DONE, applied_index)
            else:
                waiting.append((index, operation))
        self._confirmed_reads = waiting

    def _finish(self, operation: Operation, outcome: Outcome, index: int) -> None:
        operation.outcome = outcome
        operation.index = index
        self.observer.on_finished(self.node_id, operation)

    def _transfer(self, to: int, now_ns: int) -> None:
        try:
            self.core.transfer_leadership(to, now_ns)
        except (NotLeader, ValueError):
            return  # a voter no more
