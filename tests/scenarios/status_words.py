"""What a core shows of itself, and how a log looks, in few words."""

from __future__ import annotations

from raftkv.raft import LEADER, RaftStatus, Role
from tests.scenarios.actor import Actor


def status_words(status: RaftStatus) -> list[str]:
    """Return a line for the node and, if it leads, one for each follower."""
    role = status.role.name.lower().replace("_", "-")
    if status.role is Role.FOLLOWER:
        role += f" of {status.leader_id or 'nobody'}"
    log = f"log {status.first_index}..{status.last_index}, durable {status.persisted_index}"
    lines = [
        f"{status.node_id}: {role} in term {status.current_term}; {log}, "
        f"committed {status.commit_index}, applied {status.last_applied}"
    ]
    if status.role is not LEADER:
        return lines
    for peer in status.peers:
        heard = "never heard" if peer.heard_ms_ago is None else f"heard {peer.heard_ms_ago} ms ago"
        kind = "" if peer.is_voter else ", no voter"
        lines.append(
            f"   {peer.node_id}: {peer.state}, has {peer.match_index}, next {peer.next_index}, {heard}{kind}"
        )
    return lines


def log_words(actor: Actor) -> str:
    """Return the terms of a node's log, `|` behind what it knows to be committed, `...` for what is gone."""
    log, core = actor.log, actor.running
    cells = ["..."] if log.first_index > 1 else []
    for entry in log.entries:
        cells.append(str(entry.term))
        if entry.index == core.commit_index:
            cells.append("|")
    return f"{actor.node_id}: {' '.join(cells)}"
