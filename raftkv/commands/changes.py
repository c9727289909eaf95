"""What RAFT and CLUSTER share when they change the cluster: who may be asked, and how a client waits.

A change is begun at the leader alone. A node that doesn't lead sends clients there as for a key: MOVED, which
`redis-cli -c` follows; on the standalone listener, whose clients know no MOVED, an error names the address.
Knows nothing of what a change does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from raftkv.commands.administration import Done, Failed, Undertaking, Waiting
from raftkv.commands.session import Session
from raftkv.commands.table import Awaited
from raftkv.config import PEER_PORT_OFFSET, join_address
from raftkv.raft.types import NOBODY
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import OK, Error, Reply, cluster_down, moved, printable, try_again, unknown_outcome

#: What is said of a member that went for good.
WAS_REMOVED = "is no member any more: it was removed"

_NO_LEADER = cluster_down("no leader is known, nothing was done")
_LATE = unknown_outcome(
    "it was asked for, but the outcome could not be learned in time; RAFT MEMBERS shows what became of it"
)
_PORT_MAX = 65535
_HOST_BYTES_MAX = 255
#: Far above any that a membership can hold.
_ID_MAX = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Target:
    """Where a node listens that is to be taken in."""

    host: str
    peer_port: int


def target_of(host: bytes, port: bytes, peer_port: bytes | None) -> Target | Error:
    """Read an address as CLUSTER MEET does; without a peer port it is `port` + 10000 (redis CLUSTER MEET)."""
    number = parse_integer(port)
    if number is None:
        return Error(f"ERR Invalid base port specified: {printable(port)}")
    peer_number = number + PEER_PORT_OFFSET if peer_port is None else parse_integer(peer_port)
    if peer_number is None:
        return Error(f"ERR Invalid bus port specified: {printable(peer_port or b'')}")
    is_host = 0 < len(host) <= _HOST_BYTES_MAX and host.isascii() and host.decode("ascii").isprintable()
    if not is_host or b" " in host or not 0 < number <= _PORT_MAX or not 0 < peer_number <= _PORT_MAX:
        return Error(f"ERR Invalid node address specified: {printable(host)}:{printable(port)}")
    return Target(host.decode("ascii"), peer_number)


def node_id_of(text: bytes) -> int | Error:
    """Read a node's id."""
    node_id = parse_integer(text)
    if node_id is None or not 0 < node_id <= _ID_MAX:
        return Error(f"ERR Invalid node id: {printable(text)}")
    return node_id


def refusal_of_stranger(session: Session, node_id: int) -> Error | None:
    """Say that somebody is no member; whether he was one once tells if there is anything left to do."""
    membership = session.node.status().membership
    if node_id in membership.member_ids:
        return None
    if node_id <= membership.newest_id:
        return Error(f"ERR node {node_id} {WAS_REMOVED}")
    return Error(f"ERR node {node_id} is no member, and never was")


def elsewhere(session: Session) -> Error | None:
    """Say where the leader is, if it isn't here."""
    status = session.node.status()
    if status.is_leader:
        return None
    leader = None if status.raft.leader_id == NOBODY else status.find(status.raft.leader_id)
    if leader is None:
        return _NO_LEADER
    if session.is_standalone:
        address = join_address(leader.host, leader.port)
        return Error(f"ERR node {leader.node_id} leads the cluster: say it there, at {address}")
    return moved(0, leader.host, leader.port)


def answer_number(number: int) -> Reply:
    """Answer what was asked for."""
    return number


def answer_ok(_number: int) -> Reply:
    """Answer that it was done."""
    return OK


def awaited(
    session: Session,
    undertaking: Undertaking,
    reply_of: Callable[[int], Reply],
    *,
    late: Error = _LATE,
    timeout_ms: int | None = None,
) -> Awaited:
    """Answer once it is over; without a time of its own after `request_timeout_ms`, 0: never.

    At the deadline the answer is definite if it had not begun, else `late`.
    """
    at_last = late

    def look() -> Reply:
        nonlocal at_last
        outcome = undertaking()
        at_last = try_again(f"{outcome.reason}; nothing was done") if isinstance(outcome, Waiting) else late
        return None if outcome is None or isinstance(outcome, Waiting) else _reply_to(outcome, reply_of)

    limit_ms = session.node.settings.config.request_timeout_ms if timeout_ms is None else timeout_ms
    return Awaited(look=look, at_last=lambda: at_last, timeout_ms=limit_ms)


def _reply_to(outcome: Done | Failed, reply_of: Callable[[int], Reply]) -> Reply:
    if isinstance(outcome, Done):
        return reply_of(outcome.number)
    return try_again(outcome.reason) if outcome.is_passing else Error(f"ERR {outcome.reason}")
