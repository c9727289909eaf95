"""One client's requests, carried out in their order: requests -> routes -> replies.

A write goes to the group and the next command follows at once; a read behind such a write is placed
behind it in the log. Whatever else must wait (for a leader, for the own writes, for a read index) holds
the requests back: those that follow stay in the backlog.

Knows no sockets, those are `connection`'s, and no Raft: whether this node may serve is the group's to say.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from raftkv.commands.session import Session
from raftkv.commands.table import LOCAL, READ, WRITE, Awaited, CommandRefused, CommandSpec, Sliced
from raftkv.keyspace import ReadsDueKey
from raftkv.node import refusals
from raftkv.node.holds import HeldRead, Hold
from raftkv.node.lookup import Lookup
from raftkv.node.pending import OwnBatches
from raftkv.node.reply_stream import ReplyStream
from raftkv.node.requests import cluster_refusal, common_command, first_slot_of, size_of
from raftkv.raft import ProposalDropped
from raftkv.resp.parser import ProtocolError
from raftkv.resp.replies import NO_CLUSTER, Error, Reply, moved

if TYPE_CHECKING:
    from raftkv.node.clients import Clients
    from raftkv.node.connection import Connection

log = logging.getLogger(__name__)

#: Requests that are carried out before their replies leave; a pipeline of reads can make many bytes.
_PIECE_COUNT: Final = 64


class Executor:
    """The requests of one connection; also the `ReplySink` of its writes, and a `SharingReader`."""

    def __init__(self, clients: Clients, connection: Connection, session: Session) -> None:
        self.session = session
        #: What the leader must do is passed on then, and nobody is sent elsewhere.
        self._is_standalone = session.is_standalone
        self._clients = clients
        self._connection = connection
        self._send, self._write, self._throttle = connection.send, connection.write, connection.throttle
        self._group, self._pause = clients.group, clients.pause
        self.lookup = Lookup(session, clients.table)
        self._now_ns, self._calls = clients.clock.now_ns, clients.calls
        self.replies = ReplyStream(session, clients.count_error)
        #: What came and was not begun; the connection puts it here while something holds it back.
        self.backlog: deque[list[bytes]] = deque()
        #: What made the rest of the incoming bytes meaningless; the connection sets it.
        self.garbage: ProtocolError | None = None
        #: Reads of one command that run at the end of the group's turn; what came behind them waits in the
        #: backlog.
        self.queued: list[list[bytes]] = []
        self.queued_spec: CommandSpec
        self.hold: Hold | None = None
        #: Counts holds, so that the end of an earlier one is told from that of the present one.
        self._hold_number = 0
        #: When the request at the head of the backlog began to wait; None: it doesn't.
        self._waiting_since_ns: int | None = None
        #: See `_process_first`.
        self._is_confirmed = self._is_impatient = False
        self._own_batches = OwnBatches()
        self._awaited: Awaited | None = None
        #: The connection is gone: nothing is carried out or answered any more.
        self._is_lost = False
        #: Requests wait for the node to do other things first; see `Clients.defer`.
        self.is_deferred = False

    @property
    def is_idle(self) -> bool:
        """Nothing waits, no reads are queued, and no garbage is still to be answered."""
        return self.hold is None and not self.queued and not self.backlog and self.garbage is None

    @property
    def may_follow(self) -> bool:
        """Its reads may be answered by a node that doesn't lead."""
        return self._is_standalone or self.session.is_readonly

    def end(self) -> None:
        """Drop all that waits: the connection is gone."""
        self._is_lost = True
        self.backlog.clear()
        # Nothing may refer back to it: cycles that have grown old are never looked for (see `node`).
        self.lookup.end()
        self._send = self._throttle = _do_nothing
        self._write = _drop
        del self._connection

    # -- ReplySink --------------------------------------------------------------------------

    def settle(self, first_slot: int, replies: Sequence[Reply]) -> None:
        """Take replies and send all that is next in order."""
        if self._is_lost:
            return
        self._write(self.replies.settle(first_slot, replies))
        if self.hold is Hold.OWN_REPLIES and not self.replies.pending:
            self._resume(self._hold_number)
        if self._connection.is_reading_paused:
            self._throttle()

    def settle_read(self, slot: int, reply: Reply | Sliced) -> None:
        """Take a read's reply, or begin to make it."""
        if isinstance(reply, Sliced):
            self._group.run_sliced(reply, partial(self.settle_read, slot))
        else:
            self.settle(slot, [reply])

    def refuse(self, first_slot: int, commands: list[list[bytes]]) -> None:
        """Answer commands that were not done and never will be."""
        self.settle(first_slot, [self._refusal_of(args) for args in commands])

    def lose_track(self, first_slot: int, count: int) -> None:
        """Answer commands whose outcome nobody knows."""
        self.settle(first_slot, [refusals.UNKNOWN] * count)

    def _refusal_of(self, args: list[bytes]) -> Error:
        """The definite error that fits now: where to go, or why not."""
        leader = self._clients.other_leader()
        if leader is not None and not self._is_standalone:
            return moved(first_slot_of(self.lookup.resolve(args), args), leader.host, leader.port)
        if self._group.proposals.is_refusing:
            return refusals.NO_SPACE
        return refusals.NO_LEADER if leader is None and not self._group.is_leader else refusals.NOT_TAKEN

    def _takes_writes(self) -> bool:
        """Whether writes can go to the log from here, or be passed on."""
        group = self._group
        return group.is_serving or (self._is_standalone and self._clients.other_leader() is not None)

    def _refusal_before(self, spec: CommandSpec, args: list[bytes]) -> Error | None:
        """What a node of a Redis Cluster refuses before it looks any further."""
        return None if spec.has_one_key or self._is_standalone else cluster_refusal(spec, args)

    # -- carrying out -----------------------------------------------------------------------

    def process(self, now_ns: int) -> None:
        """Carry out the backlog, up to the first request that has to wait; if it takes long, in turns."""
        self._process_piece(now_ns)
        while self._may_go_on():
            if self._clients.is_overdue():
                self.is_deferred = True
                self._clients.defer(self)
                self._throttle()
                return
            self._process_piece(now_ns)

    def go_on(self) -> None:
        """Carry out what was deferred."""
        self.is_deferred = False
        if self.hold is None and self.backlog and not self.queued:
            self.process(self._now_ns())
        self._throttle()

    def carry_out_alike(self, requests: list[list[bytes]], size_bytes: int) -> bool:
        """Carry out what just came if it is one command over and over, with one key each; False: it isn't.

        Most chunks are that. `size_bytes` is the most that they can take up.
        """
        if not requests or self.backlog or len(requests) > _PIECE_COUNT or self._pause.end_ns:
            return False
        if (spec := common_command(requests, self.lookup.known)) is None:
            return False
        if spec.route is WRITE and self._takes_writes():
            self._submit(requests, size_bytes)
            self._calls[spec.name] += len(requests)
        elif spec.route is READ and self.replies.is_clear:
            self.queued, self.queued_spec = requests, spec
            self._group.queue_reads(self)
        else:
            return False
        self.session.last_command = spec.name
        return True

    def count_calls(self, spec: CommandSpec, count: int) -> None:
        """Count commands that were carried out, whichever connection's."""
        self._calls[spec.name] += count

    def answer_queued(self, data: bytes) -> None:
        """Send the replies of the reads that were queued; see `SharingReader`."""
        count, self.queued = len(self.queued), []
        if self._is_lost:
            return
        self.replies.pass_by(data, count)
        self._write(data)
        if self.backlog or self.garbage is not None:
            self.process(self._now_ns())
            self._throttle()

    def run_queued(self, now_ns: int, clock_ms: int) -> None:
        """Carry out the reads that were queued, then what came behind them; see `SharingReader`."""
        requests, self.queued = self.queued, []
        if self._is_lost:
            return
        replies = None
        if clock_ms:
            machine, db = self._group.machine, self.session.db
            replies = machine.read_alike(self.queued_spec, requests, db=db, clock_ms=clock_ms)
        if replies is None:
            self.backlog.extendleft(reversed(requests))
        else:
            self._calls[self.queued_spec.name] += len(requests)
            self.replies.answer_all(replies)
        if self.backlog or self.garbage is not None:
            self.process(now_ns)
            self._throttle()
        else:
            self._send()

    def _process_piece(self, now_ns: int) -> None:
        """Carry out the first requests of the backlog, and send their replies as far as they are known.

        Writes in a row, the bulk of a busy connection's requests, go to the group in one piece.
        """
        if self._pause.end_ns:
            self._process_paused(now_ns)
            return
        backlog = self.backlog
        session = self.session
        resolve = self.lookup.resolve
        takes_writes = self._takes_writes()
        clock_ms = 0  # taken for the first read of those that may be answered at once
        alike: CommandSpec | None = None  # requests in a row are counted together: so many waited before them
        before_count = 0
        writes: list[list[bytes]] = []
        left_count = max(0, len(backlog) - _PIECE_COUNT)
        while len(backlog) > left_count and self.hold is None and not session.is_closing:
            args = backlog.popleft()
            try:
                spec = resolve(args)
            except CommandRefused as refused:
                self._submit(writes, size_of(writes))
                writes = []
                self._answer(refused.reply)
                before_count -= 1
                continue
            if spec is not alike:
                if alike is not None:
                    self._calls[alike.name] += before_count - len(backlog) - 1
                alike, before_count = spec, len(backlog) + 1
            if spec.route is WRITE and takes_writes and self._refusal_before(spec, args) is None:
                writes.append(args)
                clock_ms = 0  # a read behind it goes another way
                continue
            if writes:
                self._submit(writes, size_of(writes))
                writes = []
            if spec.route is READ:
                clock_ms = clock_ms or self._clock_if_readable(now_ns)
                if clock_ms and self._refusal_before(spec, args) is None:
                    self._read_now(spec, args, clock_ms)
                    continue
            self._carry_out(spec, args, now_ns)
            resolve = self.lookup.resolve  # after AUTH it is another one
            if self._pause.end_ns:
                break
        self._submit(writes, size_of(writes))
        if alike is not None:
            self._calls[alike.name] += before_count - len(backlog)
            session.last_command = alike.name
        self._end_piece()

    def _process_paused(self, now_ns: int) -> None:
        """Carry out the first requests of the backlog, up to the first that has to wait for a pause's end."""
        count = _PIECE_COUNT
        while count and self._may_go_on():
            count -= 1
            self._carry_out_next(now_ns)
        self._end_piece()

    def _may_go_on(self) -> bool:
        """Whether there is a request that nothing holds back."""
        return bool(self.backlog) and self.hold is None and not self.session.is_closing

    def _carry_out_next(self, now_ns: int) -> None:
        """Carry out the first request of the backlog, or put it back, held."""
        args = self.backlog.popleft()
        try:
            spec = self.lookup.resolve(args)
        except CommandRefused as refused:
            self._answer(refused.reply)
            return
        if self._must_pause(spec):
            self._wait(Hold.PAUSE, args)
            return
        self._carry_out(spec, args, now_ns)
        self._calls[spec.name] += self.hold is None

    def _must_pause(self, spec: CommandSpec) -> bool:
        """Whether a pause holds a command; who has yet to authenticate is not kept from it."""
        return not self.lookup.is_locked and self._pause.holds(spec)

    def _end_piece(self) -> None:
        if self.lookup.has_turned:
            self.lookup.has_turned = False
            self._connection.change_parser()
        if self.garbage is not None:
            self._refuse_garbage()
        self._send()

    def _process_first(self, count: int, *, is_confirmed: bool, is_impatient: bool) -> None:
        """Carry out the first `count` requests of the backlog under a condition that holds for them alone.

        `is_confirmed`: the state as applied now is recent enough for reads; `is_impatient`: what
        would have to wait is refused instead.
        """
        now_ns = self._now_ns()
        self._is_confirmed, self._is_impatient = is_confirmed, is_impatient
        for done_count in range(count):
            if not self._may_go_on():
                break
            if is_confirmed and (done_count + 1) % _PIECE_COUNT == 0 and self._clients.is_overdue():
                break  # what is left is confirmed anew
            self._carry_out_next(now_ns)
        self._is_confirmed = self._is_impatient = False
        if self.hold is None:
            self.process(now_ns)
        else:
            self._send()
        self._throttle()

    def _carry_out(self, spec: CommandSpec, args: list[bytes], now_ns: int) -> None:
        if spec.route is LOCAL:
            self._carry_out_local(spec, args)
        elif (refusal := self._refusal_before(spec, args)) is not None:
            self._answer(refusal)
        elif spec.route is READ:
            self._carry_out_read(spec, args, now_ns)
        elif self._takes_writes():
            self._submit([args], size_of([args]))
        else:
            self._redirect(args)

    def _carry_out_read(self, spec: CommandSpec, args: list[bytes], now_ns: int) -> None:
        """Read at once under the lease, at its place behind own writes, or after a read index."""
        group = self._group
        may_follow = self.session.is_readonly or self._is_standalone or spec.keys.first == 0
        if not (group.is_leader or may_follow):
            self._redirect(args)
            return
        has_lease = group.has_lease(now_ns)
        behind = self._own_batches.newest_unsettled()
        if behind is not None:
            if has_lease:
                slot = self.replies.reserve(1)
                group.place_read(self, slot, behind=behind, spec=spec, args=args, db=self.session.db)
            else:
                self._wait(Hold.OWN_REPLIES, args)
        elif self._is_confirmed or (has_lease and group.is_caught_up):
            self._read_now(spec, args, group.log_clock.now_ms())
        elif self._is_impatient:
            self._answer(refusals.NOT_CONFIRMED)
        elif has_lease:
            group.reads.join_at(group.commit_index, self._reader(args))
        else:
            group.join_reads(self._reader(args))

    def _clock_if_readable(self, now_ns: int) -> int:
        """The log clock's time if the state as it is may be read on behalf of this connection, else 0."""
        return self._group.clock_if_readable(now_ns) if self._own_batches.newest_unsettled() is None else 0

    def _read_now(self, spec: CommandSpec, args: list[bytes], clock_ms: int) -> None:
        try:
            reply = self._group.machine.read(spec, args, db=self.session.db, clock_ms=clock_ms)
        except ReadsDueKey:
            if self._is_impatient:
                self._answer(refusals.EXPIRY_UNSETTLED)
            else:
                self._group.on_next_entry(self._wait(Hold.LOG_TIME, args))
            return
        self._answer_or_wait(args, reply)

    def _carry_out_local(self, spec: CommandSpec, args: list[bytes]) -> None:
        """Run a LOCAL command, once all before it have taken effect and their replies are encoded."""
        if self.replies.pending:
            self._wait(Hold.OWN_REPLIES, args)
            return
        if self._is_standalone and spec.is_of_cluster:
            self._answer(NO_CLUSTER)
            return
        self.session.last_write_index = self._own_batches.settled_index()
        self.session.last_command = spec.name
        self.replies.encode_answers()  # HELLO changes the protocol for what comes after it
        try:
            outcome = spec.handler(self.session, args)
        except Exception:  # a defect, but this connection's alone
            log.exception("command %s failed", spec.name.decode())
            outcome = Error(f"ERR internal error in '{spec.name.decode()}'")
        self.lookup.look_at_session()
        if self.session.reply_change is not None:
            self.replies.change_mode(self.session.reply_change)
            self.session.reply_change = None
        self._answer_or_wait(args, outcome)

    def _answer_or_wait(self, args: list[bytes], outcome: Reply | Sliced | Awaited) -> None:
        """Answer now, or hold the connection until the answer is there."""
        if outcome is None or type(outcome) is bytes:  # what most reads give
            self._answer(outcome)
        elif isinstance(outcome, Sliced):
            self._wait(Hold.SLICES, args)
            self._group.run_sliced(outcome, partial(self._answer_held, self._hold_number))
        elif isinstance(outcome, Awaited):
            reply = outcome.look()
            if reply is not None:
                self._answer(reply)
            else:
                self._wait(Hold.AWAITED, args)
                self._awaited = outcome
        else:
            self._answer(outcome)

    def _answer_held(self, hold_number: int, reply: Reply) -> None:
        """Answer the request that is held, and end its hold."""
        if self._is_held(hold_number):
            self._calls[self.lookup.resolve(self.backlog.popleft()).name] += 1
            self._answer(reply)
            self._resume(hold_number)

    def _look_at_awaited(self, waited_ms: int) -> None:
        awaited = self._awaited
        assert awaited is not None, "a connection that awaits knows what"
        reply = awaited.look()
        if reply is None and (self._connection.has_ended or 0 < awaited.timeout_ms <= waited_ms):
            reply = awaited.at_last()
        if reply is not None:
            self._awaited = None
            self._answer_held(self._hold_number, reply)

    def unblock(self, *, with_error: bool) -> bool:
        """Answer what is awaited as if its time were over, or with an error; False: nothing is."""
        awaited = self._awaited
        if self.hold is not Hold.AWAITED or awaited is None:
            return False
        self._awaited = None
        self._answer_held(self._hold_number, refusals.UNBLOCKED if with_error else awaited.at_last())
        return True

    def _redirect(self, args: list[bytes]) -> None:
        """Send the client to the leader, or wait until there is one."""
        is_elsewhere = not self._is_standalone and self._clients.other_leader() is not None
        if self._is_impatient or is_elsewhere:
            self._answer(self._refusal_of(args))
        else:
            self._wait(Hold.LEADER, args)

    def _submit(self, writes: list[list[bytes]], size_bytes: int) -> None:
        """Hand write commands to the group, in as few pieces as the size of an entry allows.

        `size_bytes` is their size, or somewhat more.
        """
        if not writes:
            return
        self._waiting_since_ns = None
        config = self._clients.config
        if size_bytes > config.batch_bytes_max:
            if len(writes) > 1:
                for args in writes:
                    self._submit([args], size_of([args]))
                return
            size_bytes = size_of(writes)
            if size_bytes > config.command_bytes_max:
                self._answer(refusals.TOO_LARGE)
                self._send()
                return
        slot = self.replies.reserve(len(writes))
        try:
            batch = self._group.submit(self, slot, db=self.session.db, commands=writes, size_bytes=size_bytes)
        except ProposalDropped:
            self.refuse(slot, writes)
            return
        self._own_batches.add(batch)

    # -- waiting ----------------------------------------------------------------------------

    def _wait(self, hold: Hold, args: list[bytes]) -> Callable[[], None]:
        """Put a request back and hold it; what is given ends this hold."""
        if self._waiting_since_ns is None:
            self._waiting_since_ns = self._now_ns()
        self.backlog.appendleft(args)
        self.hold = hold
        self._hold_number += 1
        self._clients.hold(self)
        return partial(self._resume, self._hold_number)

    def _is_held(self, hold_number: int) -> bool:
        return self.hold is not None and self._hold_number == hold_number and not self._is_lost

    def _release(self) -> None:
        self.hold = None
        self._clients.release(self)

    def _resume(self, hold_number: int) -> None:
        """Go on, unless that hold has ended in another way."""
        if self._is_held(hold_number):
            self._release()
            self.process(self._now_ns())
            self._throttle()

    def _reader(self, args: list[bytes]) -> HeldRead:
        self._wait(Hold.READ, args)
        return HeldRead(self, self._hold_number, len(self.backlog))

    def on_read_confirmed(self, hold_number: int, count: int) -> None:
        """The first `count` requests of the backlog may read the state as it is."""
        if self._is_held(hold_number):
            self._release()
            self._process_first(count, is_confirmed=True, is_impatient=False)

    def on_read_refused(self, hold_number: int) -> None:
        """Nobody confirmed the reads: wait until there is a leader who may."""
        if self._is_held(hold_number):
            self.hold = Hold.LEADER

    def on_tick(self, now_ns: int) -> None:
        """Look whether what a held connection waits for has come, or won't in time."""
        assert self._waiting_since_ns is not None, "a held connection knows since when it waits"
        waited_ms = (now_ns - self._waiting_since_ns) // 1_000_000
        config = self._clients.config
        is_unsure = self.hold in (Hold.LEADER, Hold.READ, Hold.LOG_TIME)
        if is_unsure and waited_ms > config.request_timeout_ms:
            self._give_up()
        elif self.hold is Hold.LEADER:
            if self._group.is_serving or self._clients.other_leader() is not None:
                self._resume(self._hold_number)
            elif waited_ms > config.leader_wait_ms:
                self._give_up()
        elif self.hold is Hold.AWAITED:
            self._look_at_awaited(waited_ms)
        elif self.hold is Hold.PAUSE and not self._must_pause(self.lookup.resolve(self.backlog[0])):
            self._waiting_since_ns = None  # what it waits for next has its own time
            self._resume(self._hold_number)

    def _give_up(self) -> None:
        """Refuse all that waits, as far as it has to wait."""
        hold = self.hold
        self._release()
        if hold is Hold.LOG_TIME:
            self.backlog.popleft()
            self._answer(refusals.EXPIRY_UNSETTLED)
        self._process_first(len(self.backlog), is_confirmed=False, is_impatient=True)

    # -- replies -----------------------------------------------------------------------------

    def _answer(self, reply: Reply) -> None:
        """Give the next request in order its reply."""
        self._waiting_since_ns = None
        self.replies.answer(reply)

    def _refuse_garbage(self) -> None:
        """Answer what no client may send, after the requests before it, and close (setProtocolError)."""
        if self.hold is None and not self.backlog:
            if not self.session.is_closing:
                self._answer(Error(str(self.garbage)))
            self.garbage = None
            self.session.is_closing = True


def _do_nothing() -> None:
    return None


def _drop(data: bytes | None) -> None:
    del data
