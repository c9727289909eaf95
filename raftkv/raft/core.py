"""One Raft node as a pure state machine: inputs are methods, the output is a `Ready`.

Knows no clock, no disk, no socket: times, randomness and the durable log are handed in. The rules
stand in `election`, `replication`, `read_index` and `transfer`; here is who gets which message, and
the way in and out.

The driver does with every Ready, in this order:

0. if there is a `snapshot`: sync the hard state, put the snapshot in the place of the state and then of the
   log, durably, and forget committed entries that are not applied yet;
1. write its hard state and entries to the log, unsynced, before the next call into the core;
2. send `messages`;
3. ask for an fsync; once one that BEGAN after the write has ended: send `messages_after_persist`
   and call `hard_state_persisted` and `persisted` with what was in it, Ready by Ready in their order;
4. apply `committed_entries`, then call `applied`.

When it likes it drops entries from the log's beginning, none of them newer than what is durable in the state.

Every `now_ns` is read after the bytes of what it comes with were received: a process can be
stopped in between, and the lease and stickiness count on "received no earlier than sent, heard no
earlier than received".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, NoReturn

from raftkv.raft import election, read_index, reconfiguration, replication, snapshot, transfer
from raftkv.raft import state as raft_state
from raftkv.raft.log import RaftLog
from raftkv.raft.membership import Membership, MembershipChange, founding_membership
from raftkv.raft.progress import Progress
from raftkv.raft.state import NS_PER_MS, Outbox, RaftState
from raftkv.raft.types import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    NOBODY,
    PRE_CANDIDATE,
    AppendEntries,
    AppendEntriesReply,
    EntryId,
    Forward,
    HardState,
    Heartbeat,
    HeartbeatReply,
    LogReader,
    Message,
    PeerStatus,
    ProtocolError,
    RaftConfig,
    RaftStatus,
    ReadIndexReply,
    ReadIndexRequest,
    Ready,
    RequestVote,
    RequestVoteReply,
    Role,
    TimeoutNow,
    TransferRequest,
)

#: Each takes the message type that it stands beside, which the type system can't say of a dict.
_Handler = Callable[[RaftState, Any], None]


def _ignore(_state: RaftState, _msg: Message) -> None:
    """Drop an answer to what this node asked in another role."""


def _take_forward(state: RaftState, msg: Forward) -> None:
    state.outbox.forwards.append(msg)


def _refuse_timeout_now(_state: RaftState, msg: TimeoutNow) -> NoReturn:
    raise ProtocolError(f"node {msg.sender} hands over term {msg.term}, which this node leads")


#: What each message does in each role, in a message's own term.
_HANDLERS: dict[type, Mapping[Role, _Handler]] = {
    RequestVote: {
        FOLLOWER: election.on_request_vote,
        PRE_CANDIDATE: election.on_request_vote,
        CANDIDATE: election.on_request_vote,
        LEADER: election.on_request_vote,
    },
    RequestVoteReply: {
        FOLLOWER: _ignore,
        PRE_CANDIDATE: election.on_pre_vote_reply,
        CANDIDATE: election.on_vote_reply,
        LEADER: _ignore,
    },
    # A leader meets another one of its term: refused in there.
    AppendEntries: {
        FOLLOWER: replication.on_append_entries,
        PRE_CANDIDATE: replication.on_append_entries,
        CANDIDATE: replication.on_append_entries,
        LEADER: replication.on_append_entries,
    },
    AppendEntriesReply: {
        FOLLOWER: _ignore,
        PRE_CANDIDATE: _ignore,
        CANDIDATE: _ignore,
        LEADER: replication.on_append_entries_reply,
    },
    Heartbeat: {
        FOLLOWER: replication.on_heartbeat,
        PRE_CANDIDATE: replication.on_heartbeat,
        CANDIDATE: replication.on_heartbeat,
        LEADER: replication.on_heartbeat,
    },
    HeartbeatReply: {
        FOLLOWER: _ignore,
        PRE_CANDIDATE: _ignore,
        CANDIDATE: _ignore,
        LEADER: replication.on_heartbeat_reply,
    },
    TimeoutNow: {
        FOLLOWER: election.on_timeout_now,
        PRE_CANDIDATE: election.on_timeout_now,
        CANDIDATE: election.on_timeout_now,
        LEADER: _refuse_timeout_now,
    },
    TransferRequest: {
        FOLLOWER: _ignore,
        PRE_CANDIDATE: _ignore,
        CANDIDATE: _ignore,
        LEADER: transfer.on_transfer_request,
    },
    Forward: {
        FOLLOWER: _ignore,
        PRE_CANDIDATE: _ignore,
        CANDIDATE: _ignore,
        LEADER: _take_forward,
    },
    ReadIndexRequest: {
        FOLLOWER: read_index.refuse_read_index_request,
        PRE_CANDIDATE: read_index.refuse_read_index_request,
        CANDIDATE: read_index.refuse_read_index_request,
        LEADER: read_index.on_read_index_request,
    },
    ReadIndexReply: {
        FOLLOWER: replication.on_read_index_reply,
        PRE_CANDIDATE: _ignore,
        CANDIDATE: _ignore,
        LEADER: _ignore,
    },
}


class RaftCore:
    """One member of one Raft group. Not thread-safe; never calls back."""

    def __init__(
        self,
        config: RaftConfig,
        hard_state: HardState,
        log: LogReader,
        *,
        applied: EntryId,
        random: Random,
        now_ns: int,
        membership: Membership | None = None,
    ) -> None:
        """Start as a follower from what is durable.

        `applied` is what the state machine has, its term checked against the log by the driver, and
        `membership` that of the newest MEMBERSHIP entry among it, None if there was none. `random` must
        differ from start to start, or answers to an earlier life could be taken for answers to this one.
        """
        raft_log = RaftLog(log, applied=applied, cache_bytes_max=config.log_cache_bytes_max)
        self._founding = founding_membership(config.voters)
        memberships = reconfiguration.find_memberships(raft_log, membership or self._founding)
        self._state = raft_state.start(config, hard_state, raft_log, random, now_ns, memberships)
        election.restart_election_timer(self._state)

    # --- inputs -----------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """Let time pass; to be called about every 10 ms, and when the process wakes up."""
        state = self._state
        state.advance_clock(now_ns)
        if state.role is LEADER:
            transfer.maybe_give_up_transfer(state)
            election.check_quorum(state)
        else:
            election.maybe_campaign(state)
        if state.leader is not None:
            reconfiguration.on_leader_tick(state)
            replication.on_leader_tick(state)

    def step(self, msg: Message, now_ns: int) -> None:
        """Take a message from a peer. Raises ProtocolError for what no correct peer sends."""
        state = self._state
        # A sender that isn't among the known members may have become one since.
        if msg.to != state.config.node_id or msg.sender in (msg.to, NOBODY):
            raise ProtocolError(f"a message from node {msg.sender} to {msg.to} reached {state.node_id}")
        state.advance_clock(now_ns)
        if msg.term < state.current_term:
            election.answer_old_term(state, msg)
        elif msg.term == state.current_term or election.maybe_adopt_term(state, msg):
            _HANDLERS[type(msg)][state.role](state, msg)

    def propose(self, payload: bytes) -> EntryId:
        """Append a command and return the id that it is committed under, if it ever is.

        Its AppendEntries are made in `ready`, so what one turn proposes shares messages.
        Raises NotLeader, ProposalDropped.
        """
        return replication.propose(self._state, payload)

    def read_index(self, context: int, now_ns: int) -> None:
        """Ask for an index to read at; a ReadState with `context` answers in some Ready.

        A lost question or answer isn't repeated: ask again, under a new context. Once a leader is
        lost, what waits for it comes out refused. Raises NotLeader(NOBODY) when no leader is known.
        """
        self._state.advance_clock(now_ns)
        read_index.read_index(self._state, context)

    def transfer_leadership(self, to: int, now_ns: int) -> None:
        """Hand leadership over to another voter; given up after an election timeout.

        Raises NotLeader, ValueError.
        """
        self._state.advance_clock(now_ns)
        transfer.transfer_leadership(self._state, to)

    def request_leadership(self, now_ns: int) -> None:
        """Ask the leader to hand over to this node; nothing tells whether it will.

        Raises NotLeader(NOBODY) when no leader is known.
        """
        self._state.advance_clock(now_ns)
        transfer.request_leadership(self._state)

    def campaign(self, now_ns: int) -> None:
        """Ask now whether a majority would elect this node, rather than at the end of its random wait.

        Nothing happens if it heard a leader within an election timeout, or may not lead; the others say no
        for such reasons too, as always.
        """
        self._state.advance_clock(now_ns)
        election.campaign_now(self._state)

    def change_membership(self, change: MembershipChange, now_ns: int) -> EntryId:
        """Begin a change of the members and return the id of the entry that brings it; one at a time.

        If voters change, that entry is a joint membership, and the leader ends the change by another one.
        Raises NotLeader, ProposalDropped, ChangeRefused.
        """
        self._state.advance_clock(now_ns)
        return reconfiguration.change_membership(self._state, change)

    def restore(self, entry_id: EntryId, membership: Membership | None) -> bool:
        """Offer a snapshot that was received whole, is durable, and ends with this entry (Raft §7).

        `membership` is what its state says, None if no MEMBERSHIP entry was applied. True: the next Ready
        wants it carried out, before any other call. False: this node has as much, the snapshot can go.
        """
        return snapshot.restore(self._state, entry_id, membership or self._founding)

    def snapshot_ended(self, node_id: int, index: int) -> None:
        """Note that a wanted snapshot reached `node_id`, and what it covers; 0: it didn't."""
        snapshot.end_snapshot(self._state, node_id, index)

    def step_down(self, now_ns: int) -> None:
        """Lead no more, and neither campaign nor take leadership over until `stand_again`.

        For a node that would be a bad leader, as when its disk hangs. It votes and follows as before.
        """
        self._state.advance_clock(now_ns)
        election.step_down(self._state)

    def stand_again(self) -> None:
        """Undo `step_down`: the node may be elected again."""
        self._state.may_lead = True

    def distrust_clock(self, now_ns: int) -> None:
        """Note that the driver's clock has jumped.

        Nobody is helped to be elected for an election timeout from now on, and no lease is valid until
        `trust_clock`.
        """
        self._state.advance_clock(now_ns)
        election.distrust_clock(self._state)

    def distrust_leases(self) -> None:
        """Note that the driver's clock goes wrong: no lease is valid until `trust_clock`."""
        self._state.may_lease = False

    def trust_clock(self) -> None:
        """Undo `distrust_clock` and `distrust_leases`."""
        self._state.may_lease = True

    def announce_commit(self, to: Iterable[int]) -> None:
        """As the leader, tell these followers what was committed, now rather than with what comes next.

        For those whose clients wait for what they apply; the others learn it within a tick. Nothing
        happens at a node that doesn't lead.
        """
        if self._state.leader is not None:
            replication.announce_commit(self._state, to)

    def hard_state_persisted(self, hard_state: HardState) -> None:
        """Note that the write of the Ready with this hard state is durable, and all before it."""
        election.on_hard_state_persisted(self._state, hard_state)

    def persisted(self, entry_id: EntryId) -> None:
        """Note that the write of the Ready that ended with `entry_id` is durable, and all before it.

        Of several finished writes the newest may be reported alone. A report of entries that were
        cut since is late and ignored.
        """
        state = self._state
        if state.log.persist_to(entry_id) and state.role is LEADER:
            replication.maybe_commit(state)

    def applied(self, index: int) -> None:
        """Note that the state machine has applied everything up to `index`."""
        self._state.log.apply_to(index)

    # --- outputs ----------------------------------------------------------------------------

    def has_ready(self) -> bool:
        """Tell whether `ready` has anything to say."""
        state = self._state
        outbox = state.outbox
        leader = state.leader
        return bool(
            outbox.messages
            or outbox.messages_after_persist
            or outbox.read_states
            or outbox.forwards
            or outbox.has_hard_state
            or outbox.snapshots_wanted
            or outbox.snapshot is not None
            or state.log.has_unaccepted
            or state.log.has_committed
            or (leader is not None and (leader.has_appends or leader.wants_heartbeats))
        )

    def ready(self) -> Ready:
        """Return what is to be done now; taking it is accepting it. See the module's docstring."""
        state = self._state
        log = state.log
        leader = state.leader
        if leader is not None:
            if leader.wants_heartbeats:
                replication.send_heartbeats(state)
            if leader.has_appends:
                replication.send_appends(state)
        outbox = state.outbox
        state.outbox = Outbox()
        return Ready(
            outbox.snapshot,
            HardState(state.current_term, state.voted_for) if outbox.has_hard_state else None,
            log.take_unaccepted(),
            outbox.messages,
            outbox.messages_after_persist,
            log.take_committed(state.config.committed_bytes_max),
            outbox.read_states,
            outbox.forwards,
            outbox.snapshots_wanted,
        )

    def lease_is_valid(self, now_ns: int) -> bool:
        """Tell whether a request received by `now_ns` may be read here without a ReadIndex round.

        The lease alone is not enough: whoever reads waits until `commit_index` is applied, for a
        follower may be ahead of a leader with a slow disk, and have shown what it has.
        `now_ns` must have been read after the request was received (thesis §6.4.1).
        """
        return read_index.is_lease_valid(self._state, now_ns)

    @property
    def is_serving(self) -> bool:
        """Whether this node leads and has applied its term's first entry, and so all before it (Raft §8)."""
        leader = self._state.leader
        return leader is not None and self._state.log.last_applied >= leader.term_start_index

    def status(self, now_ns: int) -> RaftStatus:
        """Return one look at everything that a status page shows."""
        state = self._state
        leader = state.leader
        progresses = leader.progresses.values() if leader is not None else ()
        return RaftStatus(
            node_id=state.node_id,
            role=state.role,
            current_term=state.current_term,
            leader_id=state.leader_id,
            commit_index=state.log.commit_index,
            last_applied=state.log.last_applied,
            first_index=state.log.first_index,
            last_index=state.log.last_index,
            persisted_index=state.log.persisted_index,
            peers=[_peer_status(state, progress, now_ns) for progress in progresses],
        )

    @property
    def membership(self) -> Membership:
        """The membership in force: the newest one of the log, committed or not."""
        return self._state.membership

    @property
    def committed_membership(self) -> Membership:
        """The newest membership that is known to be committed."""
        return reconfiguration.committed_membership(self._state)

    @property
    def is_removed(self) -> bool:
        """Whether this node knows for sure that it is no member any more: nobody will speak to it again."""
        return reconfiguration.is_removed(self._state)

    @property
    def peers(self) -> frozenset[int]:
        """Whom this node may have to send something, besides those who send to it."""
        others = set(self._state.membership.member_ids)
        if self._state.leader is not None:
            others |= self._state.leader.progresses.keys()
        return frozenset(others - {self._state.node_id})

    @property
    def role(self) -> Role:
        """What this node is in its term."""
        return self._state.role

    @property
    def current_term(self) -> int:
        """The newest term that this node knows of."""
        return self._state.current_term

    @property
    def leader_id(self) -> int:
        """The leader of the current term; NOBODY when none is known."""
        return self._state.leader_id

    @property
    def commit_index(self) -> int:
        """The newest entry known to be committed."""
        return self._state.log.commit_index

    @property
    def last_applied(self) -> int:
        """The newest entry that the state machine has."""
        return self._state.log.last_applied

    @property
    def last_index(self) -> int:
        """The newest entry of the log, durable or not."""
        return self._state.log.last_index

    @property
    def persisted_index(self) -> int:
        """The newest entry that is durable here."""
        return self._state.log.persisted_index


def _peer_status(state: RaftState, progress: Progress, now_ns: int) -> PeerStatus:
    heard_ns = progress.heard_ns
    return PeerStatus(
        node_id=progress.node_id,
        match_index=progress.match_index,
        next_index=progress.next_index,
        state=progress.state.name.lower(),
        heard_ms_ago=None if heard_ns is None else max(0, now_ns - heard_ns) // NS_PER_MS,
        is_voter=progress.node_id in state.membership.voter_ids,
    )
