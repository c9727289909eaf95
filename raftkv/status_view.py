"""Shows a cluster's status to a person: as a table, and as one line per change.

Pure: gets a `ClusterStatus`, knows nothing of connections, processes or terminals.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from raftkv.status import ClusterStatus, NodeStatus

_UNKNOWN = "-"
_STYLES = {"leader": "bold green", "follower": "", "candidate": "yellow", None: "red"}


def headline(status: ClusterStatus) -> str:
    """Return the cluster's id, term and leader in one line."""
    leader = "no leader" if status.leader is None else f"leader {status.leader}"
    return f"cluster {status.cluster_id or 'unknown'}   term {_shown(status.term)}   {leader}"


def table_of(status: ClusterStatus, *, notes: Mapping[int, str]) -> Table:
    """Draw one row per node; `notes` says more about a node, such as how its process ended."""
    table = Table(title=headline(status), title_justify="left", title_style="", box=None, pad_edge=False)
    for column in ("node", "address", "role"):
        table.add_column(column)
    for column in ("term", "commit", "applied", "last", "lag", "pid"):
        table.add_column(column, justify="right")
    if notes:
        table.add_column("")
    for node in status.nodes:
        cells = [
            str(node.id),
            node.address,
            _role_of(node),
            _shown(node.term),
            _shown(node.commit_index),
            _shown(node.applied_index),
            _shown(node.last_index),
            _shown(lag_of(node, status)),
            _shown(node.pid),
        ]
        if notes:
            cells.append(notes.get(node.id, ""))
        table.add_row(*cells, style=_STYLES.get(node.role, ""))
    return table


def _role_of(node: NodeStatus) -> str:
    if node.role is None:
        return "password refused" if node.is_refusing else "unreachable"
    words = [node.role if node.standing in ("voter", None) else str(node.standing)]
    if node.snapshot_percent is not None:
        words.append(f"snapshot {node.snapshot_percent} %")
    elif node.behind:
        words.append(f"{node.behind} entries behind")
    if node.disk not in ("ok", None):
        words.append(f"disk {node.disk}")
    return ", ".join(words)


def lag_of(node: NodeStatus, status: ClusterStatus) -> int | None:
    """Return how many entries the node has yet to apply of those that the leader knows as committed."""
    leader = next((each for each in status.nodes if each.id == status.leader), None)
    if leader is None or leader.commit_index is None or node.applied_index is None:
        return None
    # The leader was asked at another moment than the node, which may be ahead of its answer.
    return max(0, leader.commit_index - node.applied_index)


def changes(before: ClusterStatus | None, now: ClusterStatus) -> list[str]:
    """Return a line for each thing that became different; indexes are no such thing."""
    lines: list[str] = []
    earlier = {} if before is None else {node.id: node for node in before.nodes}
    for node in now.nodes:
        former = earlier.get(node.id)
        if former is not None and (former.reachable, former.is_refusing) == (
            node.reachable,
            node.is_refusing,
        ):
            lines += _disk_change(former, node)
            continue
        if node.is_refusing:
            lines.append(f"node {node.id} refuses the password")
        elif node.reachable:
            lines.append(f"node {node.id} answers at {node.address} as {node.role}, term {node.term}")
        elif former is not None:
            lines.append(f"node {node.id} does not answer")
    if now.leader is not None and (before is None or (before.leader, before.term) != (now.leader, now.term)):
        lines.append(f"node {now.leader} leads in term {now.term}")
    if before is not None and before.leader is not None and now.leader is None:
        lines.append("no leader")
    if now.is_serving and not (before is not None and before.is_serving):
        lines.append("the cluster serves")
    elif before is not None and before.is_serving and not now.is_serving:
        lines.append("the cluster does not serve")
    return lines


def _disk_change(former: NodeStatus, node: NodeStatus) -> list[str]:
    if node.disk == former.disk or node.disk is None:
        return []
    words = {"short": "is short of disk space", "stalled": "has a disk that hangs"}
    return [f"node {node.id} {words.get(node.disk, 'has a disk that is well')}"]


def _shown(number: int | None) -> str:
    return _UNKNOWN if number is None else str(number)
