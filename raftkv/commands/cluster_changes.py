"""CLUSTER MEET, FORGET and FAILOVER: the changes that the Raft group makes on request.

A name stands for a node's id. Knows nothing of how a change is carried out; what only Redis's own cluster bus
could do is in `refused`.
"""

from __future__ import annotations

from raftkv.commands.changes import answer_ok, awaited, elsewhere, target_of
from raftkv.commands.session import Session, member_name
from raftkv.commands.table import Awaited
from raftkv.raft.types import NOBODY
from raftkv.resp.replies import OK, SYNTAX_ERROR, Error, Reply, printable, printable_at_end

#: Redis's texts.
_NOT_A_REPLICA = Error("ERR You should send CLUSTER FAILOVER to a replica")
_MASTER_IS_DOWN = Error("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE")

_NO_TAKEOVER = Error(
    "ERR CLUSTER FAILOVER TAKEOVER is not supported: a node that led without the votes of a majority could "
    "lose writes and contradict another leader. Use FORCE; if a majority is lost for good, see raftkv recover"
)
_NO_VOTER = Error("ERR this node doesn't vote, and so can't lead; RAFT PROMOTE makes a learner a voter")
_DISK_HANGS = Error("ERR the disk of this node hangs, so that it won't lead")
#: Names of former members are looked for among so many ids.
_FORMER_IDS_MAX = 4096


def on_meet(session: Session, args: list[bytes]) -> Reply | Awaited:
    """Have the node that waits at an address taken in, to vote; unlike Redis's this answers once it is in."""
    if len(args) > 5:
        return _wrong_count(args)
    target = target_of(args[2], args[3], args[4] if len(args) == 5 else None)
    if isinstance(target, Error):
        return target
    refusal = elsewhere(session)
    if refusal is not None:
        return refusal
    undertaking = session.node.administration.add(
        target.host, target.peer_port, takes_place_of=NOBODY, is_learner=False
    )
    return awaited(session, undertaking, answer_ok)


def on_forget(session: Session, args: list[bytes]) -> Reply | Awaited:
    """Let a member go, for good; of one that went already it is said that it did (redis CLUSTER FORGET)."""
    status = session.node.status()
    membership, name = status.membership, args[2].lower()

    def is_called_so(node_id: int) -> bool:
        return member_name(status.cluster_id, node_id).encode() == name

    node_id = next(filter(is_called_so, membership.member_ids), NOBODY)
    if node_id == NOBODY:
        former_ids = range(membership.newest_id, max(0, membership.newest_id - _FORMER_IDS_MAX), -1)
        if any(map(is_called_so, former_ids)):
            return OK
        return Error(f"ERR Unknown node {printable_at_end(args[2])}")
    refusal = elsewhere(session)
    if refusal is not None:
        return refusal
    return awaited(session, session.node.administration.remove(node_id), answer_ok)


def on_failover(session: Session, args: list[bytes]) -> Reply:
    """Ask the leader to hand over to this node; FORCE: without one, ask the voters at once.

    A majority decides in any case, and nobody votes who heard a leader within an election timeout: FORCE
    spares no more than the random wait after that. TAKEOVER would do without the majority: nothing here can.
    """
    if len(args) > 3:
        return _wrong_count(args)
    option = args[2].lower() if len(args) == 3 else b""
    if option not in (b"", b"force", b"takeover"):
        return SYNTAX_ERROR
    status = session.node.status()
    if status.is_leader:
        return _NOT_A_REPLICA
    if option == b"takeover":
        return _NO_TAKEOVER
    if not status.myself.is_voter:
        return _NO_VOTER
    if session.node.fitness().is_disk_stalled:
        return _DISK_HANGS
    if not status.has_leader and not option:
        return _MASTER_IS_DOWN
    if status.has_leader:
        session.node.request_leadership()
    if option:  # the leader that is known may be gone
        session.node.administration.campaign()
    return OK


def _wrong_count(args: list[bytes]) -> Error:
    word = printable(args[1])
    return Error(f"ERR unknown subcommand or wrong number of arguments for '{word}'. Try CLUSTER HELP.")
