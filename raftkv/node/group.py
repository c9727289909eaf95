"""Drives one Raft group on this node: Ready -> send, persist, apply, reply.

All that happens between two waits of the event loop is one turn: clients' commands gather,
peers' messages are stepped, and the turn that follows carries everything out at once. Knows no
sockets and no Redis syntax: connections are `ReplySink`s and `Reader`s, peers are behind `Links`.

Invariants:
* What a Ready promises in `messages_after_persist` leaves only after an fsync that began after the
  Ready was written.
* Entries are applied in order, and only those that the own log has synced (the core sees to it).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from raftkv.commands.table import CommandSpec, Sliced
from raftkv.config import Config
from raftkv.machine import Batch, Machine, encode_batch
from raftkv.node.applying import Applier
from raftkv.node.clock import Clock, LogClock
from raftkv.node.pending import PendingBatch, ReplySink, WaitingRead
from raftkv.node.proposals import Proposals
from raftkv.node.reads import Reader, ReadQueue
from raftkv.node.shared_reads import SharingReader, run_together
from raftkv.node.slices import LongReads
from raftkv.raft import (
    LEADER,
    Entry,
    EntryId,
    HardState,
    MembershipChange,
    Message,
    NotLeader,
    ProposalDropped,
    RaftCore,
    Ready,
    Role,
    decode_membership,
)
from raftkv.resp.replies import Reply

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


class Snapshots(Protocol):
    """What brings snapshots to others, and puts the one that came here in place."""

    def send_to(self, node_id: int) -> None:
        """Bring a follower a snapshot; tells the group's core how it ended."""

    def install(self, entry_id: EntryId) -> None:
        """Put what was received in the place of the rows, then of the log, each durably; blocks.

        The log is synced first. Raises StorageFailure.
        """


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
        on_members: Callable[[], None],
        snapshots: Snapshots,
    ) -> None:
        """Take over the parts.

        `life` tells this run of the process from the node's others. `request_sync(ticket)` asks for an
        fsync of the log, answered by `on_synced`; `request_flush()` for a flush of the state to disk, off
        the loop; `on_leader(node id)` is told whenever another node, or nobody, leads, `on_members()`
        whenever the membership or whom this node speaks to has changed.
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
        self._call_soon = call_soon
        self._call_later = call_later
        self._on_leader = on_leader
        self._on_members = on_members
        self._snapshots = snapshots
        self._membership = core.membership
        self._peers = core.peers
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
        self._applier = self._make_applier(request_flush)
        self._ticket = 0
        self._unsynced: deque[_Unsynced] = deque()
        self._long_reads = LongReads(clock)
        self._is_stopped = False
        self._ticked_ns = clock.now_ns()
        self._has_left_out_tick = False
        self._is_sync_wanted = self._is_turn_scheduled = self._is_timer_set = False
        self._is_expiry_wanted = False
        #: The newest entry that removes due keys, proposed here.
        self._expiry = EntryId(0, 0)

    def _make_applier(self, request_flush: Callable[[], object]) -> Applier:
        return Applier(
            config=self._config,
            core=self.core,
            machine=self.machine,
            proposals=self.proposals,
            clock=self.clock,
            log_clock=self.log_clock,
            wake=self.wake,
            request_flush=request_flush,
        )

    @property
    def config(self) -> Config:
        """The settings; replaced as a whole when one changes."""
        return self._config

    @config.setter
    def config(self, config: Config) -> None:
        self._config = self.proposals.config = self._applier.config = config

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
        return not self._applier.is_stalled and self.core.lease_is_valid(now_ns)

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
        return not self._applier.is_stalled and self.core.last_applied >= self.core.commit_index

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
            self._applier.read_at(commit_index, read)
        else:
            behind.placed_reads.append(read)

    @property
    def has_pending(self) -> bool:
        """Whether any client's write waits for its reply."""
        return bool(len(self.proposals) or self._applier.has_unsettled)

    @property
    def has_peers(self) -> bool:
        """There is another voter."""
        return any(voter != self._config.node_id for voter in self.core.membership.voters)

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

    def transfer_to(self, node_id: int) -> None:
        """As the leader, begin to hand over to this voter. Raises NotLeader, ValueError."""
        self.core.transfer_leadership(node_id, self.clock.now_ns())
        self.wake()

    def change_membership(self, change: MembershipChange) -> EntryId:
        """As the leader, begin a change of the members. Raises NotLeader, ProposalDropped, ChangeRefused."""
        entry_id = self.core.change_membership(change, self.clock.now_ns())
        self.wake()
        return entry_id

    def request_leadership(self) -> None:
        """Ask the leader to hand over to this node; nothing tells whether it will."""
        self.core.request_leadership(self.clock.now_ns())
        self.wake()

    def campaign(self) -> None:
        """If no leader was heard lately: ask at once whether a majority would elect this node."""
        self.core.campaign(self.clock.now_ns())
        self.wake()

    def on_next_entry(self, callback: Callable[[], None]) -> None:
        """Call back once, after the next entries are applied; sees to it that one comes soon."""
        self._applier.on_next_entry(callback)
        self._is_expiry_wanted = True
        self.wake()

    def run_sliced(self, sliced: Sliced, done: Callable[[Reply], None]) -> None:
        """Run a long read a few milliseconds per turn; `done` gets its reply."""
        self._long_reads.begin(sliced, done)
        self.wake()

    # -- what the outside reports -----------------------------------------------------------

    def offer_snapshot(self, entry_id: EntryId, membership: bytes) -> bool:
        """Take a snapshot that was received whole, if it is news; it is in place then."""
        if self._is_stopped:
            return False
        members = decode_membership(membership) if membership else None
        is_news = self.core.restore(entry_id, members)
        self._advance()
        self.wake()
        return is_news

    def on_snapshot_sent(self, node_id: int, index: int) -> None:
        """A follower has a snapshot that covers `index`; 0: it could not be brought there."""
        self.core.snapshot_ended(node_id, index)
        self.wake()

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
        self.proposals.on_tick(now_ns)
        self._applier.give_up_overdue(now_ns)
        self.reads.ask_again(now_ns)
        self._note_members()
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
        if self._applier.run():
            self.reads.release(self.core.last_applied)
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
        if self.core.membership is not self._membership:
            self._note_members()

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

    def _note_members(self) -> None:
        membership, peers = self.core.membership, self.core.peers
        if membership is self._membership and peers == self._peers:
            return
        if membership != self._membership:
            log.info(
                "group %d: voters %s%s, learners %s, term %d, last index %d",
                self.group_id,
                list(membership.voters),
                f" and {list(membership.outgoing)}" if membership.is_joint else "",
                list(membership.learners),
                self.core.current_term,
                self.core.last_index,
            )
        self._membership, self._peers = membership, peers
        self._on_members()

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

    def _install(self, ready: Ready) -> None:
        """Go on from a snapshot in the place of everything."""
        assert ready.snapshot is not None, "there is something to install"
        # The log that begins behind the snapshot must not be of a later term than the hard state.
        self._log.append(ready.hard_state, [])
        self._snapshots.install(ready.snapshot)
        self.machine.begin_anew()
        self.log_clock.observe(self.machine.log_time_ms)
        log.info(
            "group %d: snapshot of index %d, term %d is in place",
            self.group_id,
            ready.snapshot.index,
            ready.snapshot.term,
        )
        self._long_reads.abandon()
        self._applier.begin_anew()
        self.proposals.lose_track_to(ready.snapshot.index)

    def _carry_out(self, ready: Ready) -> None:
        if ready.snapshot is not None:
            self._install(ready)
        for node_id in ready.snapshots_wanted:
            self._snapshots.send_to(node_id)
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
        self._applier.take(ready.committed_entries)

    def _hold_back(self, messages: list[Message]) -> None:
        """Send messages once all that is written by now is durable."""
        if self._unsynced:
            self._unsynced[-1].messages.extend(messages)
        else:
            self._send(messages)

    def _send(self, messages: list[Message]) -> None:
        for message in messages:
            self._links.send(message.to, self.group_id, [message])

    # -- work beside the log ----------------------------------------------------------------

    def _maybe_expire(self) -> None:
        """As the leader, propose the removal of due keys; one such entry is under way at most."""
        core = self.core
        is_under_way = self._expiry.term == core.current_term and self._expiry.index > core.last_applied
        if not core.is_serving or self._applier.is_stalled or is_under_way:
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
