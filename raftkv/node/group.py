"""Drives one Raft group on this node: Ready -> send, persist, apply, reply.

All that happens between two waits of the event loop is one turn: clients' commands gather,
peers' messages are stepped, and the turn that follows carries everything out at once. Knows no
sockets and no Redis syntax: connections are `ReplySink`s and `Reader`s, peers are behind `Links`.

Invariants:
* What a Ready promises in `messages_after_persist` leaves only after an fsync that began after the
  Ready was written.
* Replies leave only after the rows of their entry are in the store.
* Entries are applied in order, and only those that the own log has synced (the core sees to it).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final, Protocol

from raftkv.commands.table import CommandSpec, Sliced
from raftkv.config import Config
from raftkv.machine import Batch, Machine, PlacedRead, decode_batch, encode_batch
from raftkv.node.clock import Clock, LogClock
from raftkv.node.forwarding import Settled
from raftkv.node.pending import PendingBatch, ReplySink, WaitingRead
from raftkv.node.proposals import Proposals
from raftkv.node.reads import Reader, ReadQueue
from raftkv.node.shared_reads import SharingReader, run_together
from raftkv.node.slices import LongReads
from raftkv.raft import (
    COMMAND,
    LEADER,
    Entry,
    EntryId,
    HardState,
    Message,
    NotLeader,
    ProposalDropped,
    RaftCore,
    Ready,
    Role,
)
from raftkv.resp.replies import Reply
from raftkv.storage.errors import WriteStalled

log = logging.getLogger(__name__)

#: Commands that remove due keys, in one entry.
_EXPIRED_COUNT_MAX: Final = 1000

#: Ticks that are further apart than this mean that the process stood still.
_STOOD_STILL_NS: Final = 100_000_000


class Links(Protocol):
    """The way to the peers."""

    def send(self, to: int, group_id: int, messages: list[Message]) -> None:
        """Queue messages; never blocks, may lose them."""

    def flush(self) -> None:
        """Write what was queued in this turn."""


class DurableLog(Protocol):
    """The group's log on disk."""

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Write, not yet durably; cuts the log from the first entry's index on."""


@dataclass(slots=True)
class _Unsynced:
    """What waits for an fsync."""

    ticket: int
    hard_state: HardState | None
    #: The last entry written with it, if any.
    last: EntryId | None
    messages: list[Message]


class Group:
    """One Raft group: its core, its log, its state machine and the clients who wait for it."""

    def __init__(
        self,
        *,
        group_id: int,
        config: Config,
        core: RaftCore,
        durable_log: DurableLog,
        machine: Machine,
        links: Links,
        clock: Clock,
        life: int,
        request_sync: Callable[[int], None],
        request_flush: Callable[[], object],
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object],
        on_leader: Callable[[int], None],
    ) -> None:
        """Take over the parts.

        `life` tells this run of the process from the node's others. `request_sync(ticket)` asks for an
        fsync of the log, answered by `on_synced`; `request_flush()` for a flush of the state to disk, off
        the loop; `on_leader(node id)` is told whenever another node, or nobody, leads.
        """
        self.group_id = group_id
        self.core = core
        self.machine = machine
        self.clock = clock
        self.log_clock = LogClock(clock, machine.log_time_ms)
        self._config = config
        self._log = durable_log
        self._links = links
        self._request_sync = request_sync
        self._request_flush = request_flush
        self._call_soon = call_soon
        self._call_later = call_later
        self._on_leader = on_leader
        self._transition = (core.role, core.current_term, core.leader_id)
        self.proposals = Proposals(
            config=config,
            core=core,
            clock=clock,
            log_clock=self.log_clock,
            life=life,
            send=lambda message: links.send(message.to, group_id, [message]),
            wake=self.wake,
            wake_in=self._wake_in,
        )
        retry_ns = 2 * config.heartbeat_interval_ms * 1_000_000
        run = partial(run_together, machine)
        self.reads = ReadQueue[SharingReader](core, retry_ns=retry_ns, look=self._look_at_clocks, run=run)
        self._ticket = 0
        self._unsynced: deque[_Unsynced] = deque()
        self._to_apply: deque[Entry] = deque()
        self._settlements: list[Settled] = []
        #: Replies of placed reads, held back until the rows of their entry are stored.
        self._placed: list[tuple[WaitingRead, Reply | Sliced]] = []
        #: index -> reads to run once that entry is applied.
        self._reads_at: dict[int, list[WaitingRead]] = {}
        self._on_next_entry: list[Callable[[], None]] = []
        self._long_reads = LongReads(clock)
        self._commands_since_flush = 0
        self._is_stalled = False
        self._is_stopped = False
        self._ticked_ns = clock.now_ns()
        self._has_left_out_tick = False
        self._is_sync_wanted = self._is_turn_scheduled = self._is_timer_set = False
        self._is_expiry_wanted = False
        #: The newest entry that removes due keys, proposed here.
        self._expiry = EntryId(0, 0)

    @property
    def config(self) -> Config:
        """The settings; replaced as a whole when one changes."""
        return self._config

    @config.setter
    def config(self, config: Config) -> None:
        self._config = self.proposals.config = config

    # -- what connections ask ---------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """This node believes that it leads; it may have been deposed without knowing."""
        return self.core.role is LEADER

    @property
    def leader_id(self) -> int:
        """Who leads, as far as this node knows; NOBODY when it doesn't."""
        return self.core.leader_id

    @property
    def is_serving(self) -> bool:
        """This node leads and has applied the empty entry that began its term (Raft §8)."""
        return self.core.is_serving

    def has_lease(self, now_ns: int) -> bool:
        """Whether reads may be answered here as of `now_ns`, sampled after their bytes were read."""
        return not self._is_stalled and self.core.lease_is_valid(now_ns)

    def clock_if_readable(self, now_ns: int) -> int:
        """The log clock's time if the state as it is may be read as of `now_ns`, else 0."""
        return self.log_clock.now_ms() if self.has_lease(now_ns) and self.is_caught_up else 0

    def _look_at_clocks(self) -> tuple[int, int]:
        return self.clock.now_ns(), self.log_clock.now_ms()

    def queue_reads(self, reader: SharingReader) -> None:
        """Have reads run at the end of this turn; see `ReadQueue.queue`."""
        self.reads.queue(reader)
        if not self._is_turn_scheduled:
            self.wake()

    @property
    def commit_index(self) -> int:
        """The newest index that is known to be committed."""
        return self.core.commit_index

    def join_reads(self, reader: Reader) -> None:
        """Confirm a read by ReadIndex: asked at the end of this turn, one request for all who joined."""
        self.reads.join(reader)
        self.wake()

    @property
    def is_caught_up(self) -> bool:
        """All that is known to be committed is applied, and its rows are stored."""
        return not self._is_stalled and self.core.last_applied >= self.core.commit_index

    def submit(
        self, sink: ReplySink, first_slot: int, *, db: int, commands: list[list[bytes]], size_bytes: int
    ) -> PendingBatch:
        """Take one client's consecutive write commands, to be proposed with the next entry.

        Raises `ProposalDropped` when too much is waiting already: nothing was taken.
        """
        batch = self.proposals.submit(sink, first_slot, db=db, commands=commands, size_bytes=size_bytes)
        self.wake()
        return batch

    def place_read(
        self,
        sink: ReplySink,
        slot: int,
        *,
        behind: PendingBatch,
        spec: CommandSpec,
        args: list[bytes],
        db: int,
    ) -> None:
        """Run a READ command right behind its own connection's writes in `behind`, not yet applied.

        The caller holds the lease. What is committed by now is reflected too: a follower may have
        shown it to somebody already.
        """

        read = WaitingRead(sink, slot, db, spec, args, behind.deadline_ns, behind.count)
        commit_index = self.core.commit_index
        if behind.entry_id is not None and behind.entry_id.index < commit_index:
            self._reads_at.setdefault(commit_index, []).append(read)
        else:
            behind.placed_reads.append(read)

    @property
    def has_pending(self) -> bool:
        """Whether any client's write waits for its reply."""
        return bool(len(self.proposals) or self._settlements)

    @property
    def has_peers(self) -> bool:
        """There is another voter."""
        return len(self.core.membership.voters) > 1

    def hand_over(self, avoid: Container[int] = ()) -> int:
        """As the leader, begin to hand over to the follower that has most of the log; give its id.

        Members to `avoid` don't count; there must be another one.
        """
        now_ns = self.clock.now_ns()
        peers = self.core.status(now_ns).peers
        peers = [
            peer
            for peer in peers
            if peer.node_id in self.core.membership.voters and peer.node_id not in avoid
        ]
        successor = max(peers, key=lambda peer: (peer.heard_ms_ago is not None, peer.match_index))
        self.core.transfer_leadership(successor.node_id, now_ns)
        self.wake()
        return successor.node_id

    def request_leadership(self) -> None:
        """Ask the leader to hand over to this node; nothing tells whether it will."""
        self.core.request_leadership(self.clock.now_ns())
        self.wake()

    def on_next_entry(self, callback: Callable[[], None]) -> None:
        """Call back once, after the next entries are applied; sees to it that one comes soon."""
        self._on_next_entry.append(callback)
        self._is_expiry_wanted = True
        self.wake()

    def run_sliced(self, sliced: Sliced, done: Callable[[Reply], None]) -> None:
        """Run a long read a few milliseconds per turn; `done` gets its reply."""
        self._long_reads.begin(sliced, done)
        self.wake()

    # -- what the outside reports -----------------------------------------------------------

    def on_messages(self, messages: list[Message]) -> None:
        """Step peers' messages. Raises `ProtocolError` for what no correct peer sends."""
        if self._is_stopped:
            return
        now_ns = self.clock.now_ns()
        self.wake()
        for message in messages:
            self.core.step(message, now_ns)

    def on_synced(self, ticket: int) -> None:
        """An fsync ended that began after `ticket` was requested."""
        if self._is_stopped:
            return
        unsynced = self._unsynced
        last = None
        while unsynced and unsynced[0].ticket <= ticket:
            done = unsynced.popleft()
            last = done.last or last
            if done.hard_state is not None:
                self.core.hard_state_persisted(done.hard_state)
            self._send(done.messages)
        if last is not None:
            self.core.persisted(last)
        self.wake()

    def on_tick(self) -> None:
        """Let time pass; every ten milliseconds or so."""
        if self._is_stopped:
            return
        now_ns = self.clock.now_ns()
        self._maybe_tick(now_ns)
        self._give_up_overdue(now_ns)
        self.reads.ask_again(now_ns)
        self._is_expiry_wanted = True
        self.wake()

    def _maybe_tick(self, now_ns: int) -> None:
        """Let the core's timers run, unless this process stood still just now.

        Then its peers' heartbeats lie unread in the sockets: they are read before the next tick, so
        a node that was stopped for a while doesn't take its own silence for its leader's. Never two
        ticks in a row are left out.
        """
        stood_still = now_ns - self._ticked_ns > _STOOD_STILL_NS
        self._ticked_ns = now_ns
        if stood_still and not self._has_left_out_tick:
            self._has_left_out_tick = True
            return
        self._has_left_out_tick = False
        self.core.tick(now_ns)

    def stop(self) -> None:
        """Do nothing any more; the parts are about to be closed."""
        self._is_stopped = True

    def wake(self) -> None:
        """Have a turn before the loop waits again."""
        if not self._is_turn_scheduled and not self._is_stopped:
            self._is_turn_scheduled = True
            self._call_soon(self._turn)

    # -- one turn ---------------------------------------------------------------------------

    def _turn(self) -> None:
        self._is_turn_scheduled = False
        if self._is_stopped:
            return
        self.proposals.begin_turn()
        if self._is_expiry_wanted:
            self._is_expiry_wanted = False
            self._maybe_expire()
        now_ns = self.clock.now_ns()
        if self.reads.has_queued and not self.is_leader:
            self.reads.bundle_queued(now_ns, self._config.leader_wait_ms * 1_000_000)
        self.reads.ask(now_ns)
        self._advance()
        self._apply()
        if self.reads.has_queued:
            now_ns = self.clock.now_ns()
            self.reads.run_queued(now_ns, self.clock_if_readable(now_ns))
        if self._long_reads:
            self._long_reads.run(self._config.slice_ms)
            self.wake()
        self._advance()
        if self.proposals.announce():
            self._advance()
        self._links.flush()
        if self._is_sync_wanted:
            # Last: the thread that syncs needs the GIL for a moment, which a loop that is about to wait
            # gives up by itself. 10 instead of 15 context switches per entry on the leader.
            self._is_sync_wanted = False
            self._request_sync(self._ticket)
        transition = (self.core.role, self.core.current_term, self.core.leader_id)
        if transition != self._transition:
            self._note_transition(transition)

    def _note_transition(self, transition: tuple[Role, int, int]) -> None:
        core = self.core
        log.info(
            "group %d: %s in term %d, leader %s, last index %d, committed %d",
            self.group_id,
            core.role.name.lower().replace("_", "-"),
            core.current_term,
            core.leader_id or "unknown",
            core.last_index,
            core.commit_index,
        )
        if core.leader_id != self._transition[2]:
            self._on_leader(core.leader_id)
        if core.current_term != self._transition[1]:
            self.proposals.on_new_term()
        self._transition = transition

    def _advance(self) -> None:
        """Propose what may be proposed and carry out every Ready."""
        core = self.core
        while True:
            self.proposals.advance()
            if not core.has_ready():
                return
            self._carry_out(core.ready())

    def _wake_in(self, wait_ns: int) -> None:
        if not self._is_timer_set:
            self._is_timer_set = True
            self._call_later(wait_ns / 1e9, self._on_timer)

    def _on_timer(self) -> None:
        self._is_timer_set = False
        self.wake()

    def _carry_out(self, ready: Ready) -> None:
        if ready.hard_state is not None or ready.entries:
            self._log.append(ready.hard_state, ready.entries)
            self._ticket += 1
            last = EntryId(ready.entries[-1].term, ready.entries[-1].index) if ready.entries else None
            held = _Unsynced(self._ticket, ready.hard_state, last, ready.messages_after_persist)
            self._unsynced.append(held)
            self._send(ready.messages)
            self._is_sync_wanted = True
        else:
            self._send(ready.messages)
            self._hold_back(ready.messages_after_persist)
        if ready.read_states:
            self.reads.on_read_states(ready.read_states)
        if ready.forwards:
            self.proposals.take_forwards(ready.forwards)
        self._to_apply.extend(ready.committed_entries)

    def _hold_back(self, messages: list[Message]) -> None:
        """Send messages once all that is written by now is durable."""
        if self._unsynced:
            self._unsynced[-1].messages.extend(messages)
        else:
            self._send(messages)

    def _send(self, messages: list[Message]) -> None:
        for message in messages:
            self._links.send(message.to, self.group_id, [message])

    # -- applying ---------------------------------------------------------------------------

    def _apply(self) -> None:
        """Apply committed entries for at most a slice of time, store their rows, then reply."""
        if self._is_stalled or self._to_apply:
            if self._is_stalled or self.machine.is_write_stopped():
                self._is_stalled = True
                if not self._retry_store():
                    return
            end_ns = self.clock.now_ns() + self._config.slice_ms * 1_000_000
            while self._to_apply:
                self._apply_one(self._to_apply.popleft())
                if self.clock.now_ns() > end_ns:
                    self.wake()
                    break
            if not self._store():
                return
            self._settle()
        self.reads.release(self.core.last_applied)

    def _apply_one(self, entry: Entry) -> None:
        entry_id = EntryId(entry.term, entry.index)
        applied = None
        for batch in self.proposals.pop(entry_id):
            if batch.entry_id == entry_id:
                applied = batch
            else:
                self._settlements.append(Settled(batch, None))
        if entry.kind is COMMAND:
            replies = self._apply_batch(entry_id, applied, entry.payload)
            if applied is not None:
                self._settlements.append(Settled(applied, replies))
        else:
            self.machine.apply_empty(entry_id)
        for read in self._reads_at.pop(entry.index, ()):
            self._run_placed(read)

    def _apply_batch(self, entry_id: EntryId, pending: PendingBatch | None, payload: bytes) -> list[Reply]:
        if pending is None or pending.batch is None:
            batch = decode_batch(payload)
            replies = self.machine.apply(entry_id, batch)
            self._settlements += self.proposals.on_applied(entry_id, batch, replies)
        else:
            batch = pending.batch
            reads = [PlacedRead(read.after, partial(self._run_placed, read)) for read in pending.placed_reads]
            replies = self.machine.apply(entry_id, batch, reads)
        self._commands_since_flush += len(replies)
        return replies

    def _run_placed(self, read: WaitingRead) -> None:
        """Run a read between two writes, by the time of the entry that it stands in."""
        if not read.is_settled:
            reply = self.machine.read(read.spec, read.args, db=read.db, clock_ms=self.machine.log_time_ms)
            self._placed.append((read, reply))

    def _give_up_overdue(self, now_ns: int) -> None:
        """Answer whoever has waited too long. Those who hear may ask for more while this runs."""
        self.proposals.on_tick(now_ns)
        for settlement in self._settlements:  # there are some only while their rows can't be stored
            batch = settlement.batch
            if batch.deadline_ns > now_ns or batch.is_settled:
                continue
            if settlement.replies is None:
                batch.refuse()
            else:
                batch.lose_track()
        placed = [read for read, _ in self._placed]
        for read in chain(placed, *list(self._reads_at.values())):
            if read.deadline_ns <= now_ns:
                read.refuse()

    def _store(self) -> bool:
        """Store the rows of what was applied; False when the store must be let recover first."""
        try:
            self.machine.commit()
        except WriteStalled:
            log.warning("state: writes are stalled, applying is paused at index %d", self.core.last_applied)
            self._is_stalled = True
            return False
        self._is_stalled = False
        self.core.applied(self.machine.applied_index)
        self.log_clock.observe(self.machine.log_time_ms)
        if self._commands_since_flush >= self._config.flush_commands_max:
            self._commands_since_flush = 0
            self._request_flush()
        return True

    def _retry_store(self) -> bool:
        """Go on after a stall, if it is over; the next tick tries again otherwise."""
        if self.machine.is_write_stopped() or not self._store():
            return False
        self._settle()
        return True

    def _settle(self) -> None:
        """Hand out the replies of entries whose rows are stored."""
        settlements, self._settlements = self._settlements, []
        placed, self._placed = self._placed, []
        for read, reply in placed:
            read.settle(reply)
        for settlement in settlements:
            if settlement.batch.is_settled:
                continue  # it became overdue while the rows could not be stored
            if settlement.replies is None:
                settlement.batch.refuse()
            else:
                settlement.batch.settle(settlement.replies)
        callbacks, self._on_next_entry = self._on_next_entry, []
        for callback in callbacks:
            callback()

    # -- work beside the log ----------------------------------------------------------------

    def _maybe_expire(self) -> None:
        """As the leader, propose the removal of due keys; one such entry is under way at most."""
        core = self.core
        is_under_way = self._expiry.term == core.current_term and self._expiry.index > core.last_applied
        if not core.is_serving or self._is_stalled or is_under_way:
            return
        time_ms = self.log_clock.now_ms()
        commands = self.machine.expiry_commands(time_ms, _EXPIRED_COUNT_MAX)
        if not commands:
            return
        try:
            self._expiry = core.propose(encode_batch(Batch(time_ms, commands)))
        except (NotLeader, ProposalDropped):
            return
        self.log_clock.observe(time_ms)
