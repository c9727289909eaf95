"""The way of clients' writes into the log: gathered, then proposed here or passed on to the leader.

Knows when an entry is made, of whose commands, and who waits for it; not what is done with entries once
they are committed (`group`), nor anything of connections.

Invariant: one client's writes enter the log in the order in which they were submitted. While batches that
were passed on in an earlier term are open, nothing that came later goes anywhere: see `forwarding`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import chain

from raftkv.config import Config
from raftkv.machine import Batch, CorruptEntry, encode_batch
from raftkv.node.clock import Clock, LogClock
from raftkv.node.entry_size import EntrySize
from raftkv.node.forwarding import SHORTAGE_NUMBER, ForwardInbox, ForwardOutbox, Settled
from raftkv.node.pace import Pace
from raftkv.node.pending import Gatherer, Pending, PendingBatch, ReplySink
from raftkv.raft import LEADER, NOBODY, EntryId, Forward, Message, NotLeader, ProposalDropped, RaftCore
from raftkv.resp.replies import Reply

log = logging.getLogger(__name__)


class Proposals:
    """The writes of one group's clients on this node that are not applied yet."""

    def __init__(
        self,
        *,
        config: Config,
        core: RaftCore,
        clock: Clock,
        log_clock: LogClock,
        life: int,
        send: Callable[[Message], None],
        wake: Callable[[], None],
        wake_in: Callable[[int], None],
    ) -> None:
        """`life` tells this run of the process from the node's others. `wake` asks for another turn."""
        #: Replaced as a whole when a setting changes.
        self.config = config
        self._core = core
        self._clock = clock
        self._log_clock = log_clock
        self._send = send
        self._wake = wake
        self._wake_in = wake_in
        #: Learns from whoever applies entries.
        self.entry_size = EntrySize()
        self._gatherer = Gatherer(config.batch_bytes_max, self.entry_size, deadline_ns=self._deadline_ns)
        self._pace = Pace()
        self._pending = Pending()
        self._outbox = ForwardOutbox(config.node_id, life)
        self._inbox = ForwardInbox()
        #: No writes are taken, for want of disk space; `fitness` writes it.
        self.is_refusing = False
        #: When other nodes last said that they are short of disk space.
        self._shortages: dict[int, int] = {}
        #: Nodes whose clients wait to hear of what was applied here.
        self._origins: set[int] = set()

    def __len__(self) -> int:
        """How many batches wait for anything."""
        return len(self._gatherer) + len(self._pending) + len(self._outbox)

    def submit(
        self, sink: ReplySink, first_slot: int, *, db: int, commands: list[list[bytes]], size_bytes: int
    ) -> PendingBatch:
        """Take one client's consecutive write commands. Raises ProposalDropped: too much is waiting."""
        if not self._has_room(size_bytes):
            raise ProposalDropped("too much is waiting for the log")
        return self._gatherer.add(sink, first_slot, db=db, commands=commands, size_bytes=size_bytes)

    def take_forwards(self, forwards: list[Forward]) -> None:
        """Gather what followers passed on to this node as the leader of their term.

        What there is no room for is left, and comes again.
        """
        for forward in forwards:
            if forward.number == SHORTAGE_NUMBER:
                self._shortages[forward.sender] = self._clock.now_ns()
                continue
            if not self._has_room(len(forward.payload)):
                continue
            try:
                runs = self._inbox.take(forward)
            except CorruptEntry as garbage:
                log.warning("what node %d passed on is no batch: %s", forward.sender, garbage)
                continue
            if runs is not None:
                self._gatherer.add_forwarded(forward.term, runs, size_bytes=len(forward.payload))

    def tell_of_shortage(self) -> None:
        """Tell the leader, which must be known, that this node is short of disk space."""
        self._send(self._outbox.shortage(term=self._core.current_term, to=self._core.leader_id))

    def shortages_since(self, since_ns: int) -> frozenset[int]:
        """The nodes that have said since then that they are short of disk space."""
        return frozenset(node_id for node_id, said_ns in self._shortages.items() if said_ns >= since_ns)

    def begin_turn(self) -> None:
        """Note that a turn begins."""
        self._pace.begin_turn()

    def on_new_term(self) -> None:
        """Note that the core's term has changed."""
        self._pace.on_new_term()

    # -- onwards ----------------------------------------------------------------------------

    def advance(self) -> None:
        """Propose or pass on what was gathered and need not wait any longer."""
        gatherer = self._gatherer
        if not gatherer.has_any:
            return
        core = self._core
        if not self._outbox.may_forward(core.current_term):
            return
        if core.role is LEADER:
            self._propose_gathered()
        else:
            gatherer.drop_forwarded()  # of an earlier term: their origin passes them on again
            if core.leader_id != NOBODY:
                self._forward_gathered(core.leader_id)

    def _propose_gathered(self) -> None:
        gatherer = self._gatherer
        self._pace.on_applied(self._core.last_applied)
        while gatherer.has_any:
            now_ns = self._clock.now_ns()
            if self._is_paced(now_ns) or not self._propose(now_ns):
                return

    def _forward_gathered(self, leader_id: int) -> None:
        gatherer = self._gatherer
        while len(gatherer):
            now_ns = self._clock.now_ns()
            if len(gatherer) == 1 and self._expects_company(now_ns):
                return
            self._pace.end_wait()
            batch = gatherer.pop()
            batch.refuse_reads()  # they were to run on the leader that this node was
            forward = self._outbox.forward(batch, term=self._core.current_term, to=leader_id, now_ns=now_ns)
            self._send(forward)

    def _is_paced(self, now_ns: int) -> bool:
        """Whether what was gathered is to wait; sees to it that it is looked at again."""
        pace, config = self._pace, self.config
        if pace.under_way_count >= config.batches_in_flight_max:
            return True
        wait_ns = pace.wait_ns(now_ns, int(config.gather_ms * 1_000_000))
        if wait_ns > 0:
            self._wake_in(wait_ns)
            return True
        # A batch that is full, since there is one behind it, gets no company any more.
        return len(self._gatherer) <= 1 and self._expects_company(now_ns)

    def _expects_company(self, now_ns: int) -> bool:
        gather_ns = int(self.config.gather_ms * 1_000_000)
        if self._pace.expects_company(self._gatherer.added_count, now_ns, gather_ns):
            self._wake()
            return True
        return False

    def _propose(self, now_ns: int) -> bool:
        """Make one entry of the oldest batch and of what other nodes passed on; say whether to go on.

        What the core doesn't take is refused, but for what was passed on: it stays for the next turn, since
        its origin counts on it that what is taken is proposed, unless the term ends.
        """
        gatherer = self._gatherer
        batch = gatherer.pop() if len(gatherer) else PendingBatch(deadline_ns=self._deadline_ns())
        forwarded = gatherer.take_forwarded(
            self._core.current_term,
            bytes_max=self.config.batch_bytes_max - batch.size_bytes,
            count_max=self.entry_size.commands_max - batch.count,
        )
        runs = [run for each in forwarded for run in each.runs]
        if not batch.count and not runs:
            return True
        time_ms = self._log_clock.now_ms()
        batch.batch = Batch(time_ms, [*batch.runs, *runs])
        batch.origins = frozenset(run.origin.node_id for run in runs if run.origin is not None)
        try:
            entry_id = self._core.propose(encode_batch(batch.batch))
        except (NotLeader, ProposalDropped):
            batch.refuse()
            gatherer.put_back_forwarded(forwarded)
            return len(gatherer) > 0
        self._log_clock.observe(time_ms)
        batch.entry_id = entry_id
        self._pending.add(batch)
        self._pace.on_proposed(entry_id.index, now_ns)
        return True

    # -- what the log tells -----------------------------------------------------------------

    def pop(self, entry_id: EntryId) -> list[PendingBatch]:
        """An entry is about to be applied: take out the batches that were proposed for its index.

        The batch with its id was done; any other lost its place and never will be.
        """
        batches = self._outbox.on_term(entry_id.term)
        if batches:
            # Those whose clients were told that nobody knows stay untold.
            self._gatherer.put_back([batch for batch in batches if not batch.is_settled])
            self._wake()
        batches = self._pending.pop(entry_id.index)
        for proposed in batches:
            self._origins |= proposed.origins
        return batches

    def announce(self) -> bool:
        """Have the origins of what was applied told that it is committed; say whether there are any."""
        if not self._origins:
            return False
        self._core.announce_commit(self._origins)
        self._origins.clear()
        return True

    def on_applied(self, entry_id: EntryId, batch: Batch, replies: list[Reply]) -> list[Settled]:
        """An entry of another node was applied: give what it settles of what was passed on from here."""
        if not len(self._outbox):
            return []
        settled = self._outbox.on_applied(entry_id.term, batch.runs, replies, self._clock.now_ns())
        for done in settled:
            done.batch.entry_id = entry_id
        return settled

    def lose_track_to(self, index: int) -> None:
        """A snapshot jumped over everything up to `index`: nobody here knows what was in there."""
        for batch in chain(self._pending.pop_to(index), self._outbox.batches):
            if not batch.is_settled:
                batch.lose_track()

    # -- time -------------------------------------------------------------------------------

    def on_tick(self, now_ns: int) -> None:
        """Answer whoever has waited too long, and pass on again what may be lost."""
        core, config = self._core, self.config
        patience_ms = 0
        if core.leader_id == NOBODY:
            patience_ms = max(0, config.request_timeout_ms - config.leader_wait_ms)
        for batch in self._gatherer.pop_overdue(now_ns + patience_ms * 1_000_000):
            batch.refuse()
        for batch in chain(list(self._pending.pop_overdue(now_ns)), self._outbox.overdue(now_ns)):
            batch.lose_track()
        if core.role is not LEADER and core.leader_id != NOBODY:
            for forward in self._outbox.repeat(term=core.current_term, to=core.leader_id, now_ns=now_ns):
                self._send(forward)

    def _deadline_ns(self) -> int:
        return self._clock.now_ns() + self.config.request_timeout_ms * 1_000_000

    def _has_room(self, size_bytes: int) -> bool:
        if self.is_refusing:
            return False
        waiting_bytes = self._gatherer.size_bytes + self._outbox.size_bytes
        return waiting_bytes + size_bytes <= self.config.uncommitted_bytes_max
