"""RAFT INFO and RAFT MEMBERS: the members, their logs and the snapshots on their way, as one node sees them.

Only the leader knows how far the others are; elsewhere that is null, or left out. Knows nothing of what
changes them.
"""

from __future__ import annotations

from collections.abc import Iterable

from raftkv.commands.info import Fields, Report, text_of
from raftkv.commands.session import MemberStatus, NodeStatus, Session, member_name
from raftkv.raft.types import NOBODY
from raftkv.resp.replies import Reply, Verbatim


def on_info(session: Session, _args: list[bytes]) -> Reply:
    """Report INFO's section on Raft, then the membership, the log and the snapshots under way."""
    report = Report(session.node, is_standalone=session.is_standalone)
    sections = {
        "Membership": _membership(report.status),
        "Log": _log(report, session.node.administration.first_index),
        "Snapshots": _snapshots(report.status),
    }
    texts = [text_of(report, ["raft"]), *(_section(title, fields) for title, fields in sections.items())]
    return Verbatim("\r\n".join(texts).encode())


def _section(title: str, fields: Fields) -> str:
    return f"# {title}\r\n" + "".join(f"{name}:{value}\r\n" for name, value in fields)


def _membership(status: NodeStatus) -> Fields:
    membership = status.membership
    yield "membership_voters", _ids(membership.voters)
    yield "membership_outgoing", _ids(membership.outgoing)
    yield "membership_learners", _ids(membership.learners)
    yield "membership_staged", _ids(staged.node_id for staged in membership.staged)
    yield "membership_newest_id", membership.newest_id
    yield "membership_changing", int(membership.is_joint or not status.is_membership_committed)
    for member in status.members:
        fields = {
            "role": role_of(status, member),
            "addr": member.host,
            "port": member.port,
            "peer_port": member.peer_port,
            "match_index": match_index_of(status, member),
            "lag": lag_of(status, member),
            "heard_ms": heard_ms_of(status, member),
            "state": state_of(status, member),
            "takes_place_of": member.takes_place_of or None,
        }
        shown = (f"{name}={value}" for name, value in fields.items() if value is not None)
        yield f"membership_node{member.node_id}", ",".join(shown)


def _log(report: Report, first_index: int) -> Fields:
    raft, process = report.status.raft, report.process
    yield "log_first_index", first_index
    yield "log_last_index", raft.last_index
    yield "log_entries", raft.last_index - first_index + 1
    yield "log_dropped_to_index", first_index - 1
    yield "log_persisted_index", raft.persisted_index
    yield "log_committed_index", raft.commit_index
    yield "log_applied_index", raft.last_applied
    yield "log_bytes", process.log_bytes
    yield "state_durable_index", process.state_durable_index
    yield "state_bytes", process.state_bytes


def _snapshots(status: NodeStatus) -> Fields:
    under_way = [member for member in status.members if member.snapshot is not None]
    yield "snapshots_under_way", len(under_way)
    for member in under_way:
        assert member.snapshot is not None, "it is under way"
        done, total = member.snapshot.bytes_done, member.snapshot.bytes_total
        percent = member.snapshot.percent
        fields = f"to={member.node_id},bytes_done={done},bytes_total={total},percent={percent}"
        yield f"snapshot_to_node{member.node_id}", fields


def _ids(node_ids: Iterable[int]) -> str:
    return ",".join(map(str, node_ids))


def on_members(session: Session, _args: list[bytes]) -> Reply:
    """Describe every member, a map each, by id; the node asked is among them even if it was removed."""
    status = session.node.status()
    return [_row(status, member) for member in status.members]


def _row(status: NodeStatus, member: MemberStatus) -> Reply:
    snapshot = member.snapshot
    state = state_of(status, member)
    return {
        b"id": member.node_id,
        b"name": member_name(status.cluster_id, member.node_id).encode(),
        b"role": role_of(status, member).encode(),
        b"host": member.host.encode(),
        b"port": member.port,
        b"peer-port": member.peer_port,
        b"match-index": match_index_of(status, member),
        b"lag": lag_of(status, member),
        b"heard-ms-ago": heard_ms_of(status, member),
        b"state": None if state is None else state.encode(),
        b"takes-place-of": member.takes_place_of or None,
        b"snapshot-bytes-done": None if snapshot is None else snapshot.bytes_done,
        b"snapshot-bytes-total": None if snapshot is None else snapshot.bytes_total,
    }


def role_of(status: NodeStatus, member: MemberStatus) -> str:
    """What a member is: the leader, or its standing."""
    is_leader = status.raft.leader_id != NOBODY and member.node_id == status.raft.leader_id
    return "leader" if is_leader else member.standing.value


def match_index_of(status: NodeStatus, member: MemberStatus) -> int | None:
    """Up to where the member's log is known to be durable and the leader's; None: not known here."""
    if member.node_id == status.node_id:
        return status.raft.persisted_index
    return member.match_index if status.is_leader else None


def lag_of(status: NodeStatus, member: MemberStatus) -> int | None:
    """How many entries a member lacks of those that are committed; None: not known here."""
    match_index = match_index_of(status, member)
    return None if match_index is None else max(0, status.raft.commit_index - match_index)


def heard_ms_of(status: NodeStatus, member: MemberStatus) -> int | None:
    """Milliseconds since a member was heard; None: not in this term, or not known here."""
    return 0 if member.node_id == status.node_id else member.heard_ms_ago


def state_of(status: NodeStatus, member: MemberStatus) -> str | None:
    """What is known of the way to a member: how the leader sends it entries, or that it doesn't answer."""
    if member.node_id == status.node_id:
        return "self"
    if not member.is_reachable:
        return "unreachable"
    return member.replication or ("connected" if not status.is_leader else None)
