"""Liveness: once the faults are over, a cluster elects a leader and serves everybody within a stated time."""

from __future__ import annotations

from collections.abc import Callable

from raftkv.raft.membership import AddMember, MembershipChange, RemoveMember
from tests.simulator.clock import MILLISECOND
from tests.simulator.cluster import Cluster
from tests.simulator.operations import INDEX_READ, LEASE_READ, WRITE, Operation, OperationKind, Outcome
from tests.simulator.process import Change
from tests.simulator.properties import Violation

#: Virtual time for all of it: syncs that were slow when the faults ended, and election timeouts: the first
#: after a restart, in which nobody votes, then elections of which some may split.
_SYNCS_MS_MAX = 4_000
_TIMEOUTS_MAX = 16

_PATIENCE_MS = 500
_PAUSE_MS = 20


def require_recovery(cluster: Cluster) -> int:
    """Write and read at the leader, read at every node, let all apply all; return the virtual ms it took."""
    begin_ns = cluster.timeline.now_ns
    deadline_ns = begin_ns + _recovery_ms_max(cluster) * MILLISECOND
    _require_served(cluster, WRITE, 0, deadline_ns)
    _require_served(cluster, LEASE_READ, 0, deadline_ns)
    for node_id in sorted(cluster.ledger.membership.member_ids):
        _require_served(cluster, INDEX_READ, node_id, deadline_ns)
    is_caught_up = cluster.run_until(
        lambda: _is_at_rest(cluster), within_ms=(deadline_ns - cluster.timeline.now_ns) // MILLISECOND
    )
    if not is_caught_up:
        membership = cluster.ledger.membership
        applied = {
            member: cluster.node(member).state.applied.index for member in sorted(membership.member_ids)
        }
        raise Violation(
            None, f"{cluster.ledger.last_index} is committed, applied is {applied}, members are {membership}"
        )
    return (cluster.timeline.now_ns - begin_ns) // MILLISECOND


def require_changes(cluster: Cluster) -> None:
    """While nobody writes take in one more voter, then remove the leader; all come to rest each time."""
    newcomer = cluster.join()
    _require_changed(
        cluster,
        AddMember(b"", node_id=newcomer.node_id),
        lambda: newcomer.node_id in cluster.ledger.membership.voters,
    )
    leader = cluster.leader()
    assert leader is not None, "somebody ended the change"
    _require_changed(
        cluster,
        RemoveMember(leader.node_id),
        lambda: leader.node_id not in cluster.ledger.membership.member_ids,
    )


def _require_changed(cluster: Cluster, change: MembershipChange, is_made: Callable[[], bool]) -> None:
    """Ask whoever leads until the change is under way, as an operator would."""
    deadline_ns = cluster.timeline.now_ns + _recovery_ms_max(cluster) * MILLISECOND
    while cluster.timeline.now_ns < deadline_ns:
        leader = cluster.leader()
        if leader is not None:
            leader.receive(Change(change))
        if cluster.run_until(lambda: is_made() and _is_at_rest(cluster), within_ms=_PATIENCE_MS):
            return
    raise Violation(None, f"{change} isn't made, members are {cluster.ledger.membership}")


def _recovery_ms_max(cluster: Cluster) -> int:
    return _SYNCS_MS_MAX + _TIMEOUTS_MAX * cluster.profile.election_timeout_ms


def _is_at_rest(cluster: Cluster) -> bool:
    """Tell whether every member has applied everything, and every change of members is over."""
    ledger = cluster.ledger
    membership = ledger.membership
    if membership.is_joint or membership.staged:
        return False
    applied = [cluster.node(member).state.applied.index for member in sorted(membership.member_ids)]
    return applied == [ledger.last_index] * len(applied)


def _require_served(cluster: Cluster, kind: OperationKind, node_id: int, deadline_ns: int) -> None:
    """Ask again and again, the leader when `node_id` is 0, until it is done or the node is no member."""
    while cluster.timeline.now_ns < deadline_ns:
        if node_id and node_id not in cluster.ledger.membership.member_ids:
            return
        leader = cluster.leader()
        target_id = node_id or (leader.node_id if leader is not None else 0)
        if target_id:
            payload = f"recovery-{cluster.timeline.now_ns}".encode() if kind is WRITE else b""
            operation = Operation(kind, payload)
            cluster.submit(target_id, operation)
            cluster.run_until(lambda: operation.outcome is not Outcome.PENDING, within_ms=_PATIENCE_MS)  # noqa: B023
            if operation.outcome is Outcome.DONE:
                return
        cluster.run_ms(_PAUSE_MS)
    raise Violation(None, f"no {kind.value} at {node_id or 'the leader'} in {deadline_ns // MILLISECOND} ms")
