"""`raftkv recover`: tells what may be lost, asks whether it is meant, and has one node begin a new cluster.

Knows how that is told; what is done is `storage.recovery`'s business.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raftkv.inspect_cli import facts_of, membership_text, progress_bar
from raftkv.storage.inspection import inspect_quickly, unused
from raftkv.storage.recovery import Recovery, force_new_cluster, plan_recovery

_CONFIRMATION = "yes, lose them"


@dataclass(frozen=True, slots=True)
class RecoverRequest:
    """Which directory, and whether it was said before that it is meant."""

    path: Path
    is_confirmed: bool


def run_recover(request: RecoverRequest) -> int:
    """Force a new cluster; give the exit code. Raises DataDirRefused, StorageFailure, OSError."""
    with unused(request.path), progress_bar() as on_progress:
        recovery = plan_recovery(inspect_quickly(request.path, on_progress))
    sys.stdout.write("".join(f"{line}\n" for line in warning_of(recovery)))
    sys.stdout.flush()
    if not request.is_confirmed and not _is_meant():
        sys.stderr.write("raftkv: nothing was changed\n")
        return 1
    cluster_id = force_new_cluster(recovery)
    sys.stdout.write("".join(f"{line}\n" for line in _outcome_of(recovery, cluster_id)))
    return 0


def warning_of(recovery: Recovery) -> Iterator[str]:
    """Say what there is, what will be done, and what may be lost."""
    last, node_id = recovery.last, recovery.node_id
    yield from facts_of(recovery.report)
    yield f"members: {membership_text(recovery.old)}"
    yield ""
    yield f"Node {node_id} becomes the only voter of a NEW CLUSTER, which goes on from entry {last.index}."
    if recovery.lost_ids:
        lost = ", ".join(map(str, recovery.lost_ids))
        yield f"Given up for good, with all that only they had: node {lost}."
    yield f"* Acknowledged writes behind entry {last.index} of term {last.term} ARE LOST."
    if last.index > recovery.applied_index:
        yield (
            f"* Of the entries {recovery.applied_index + 1} to {last.index} it isn't known here whether they"
            " were committed; they are kept and take effect."
        )
    if node_id not in recovery.old.voter_ids:
        yield f"* Node {node_id} had no vote: ANY NUMBER of acknowledged writes may never have come to it."
    if len(recovery.old.voter_ids) > 1:
        yield "* Do this to ONE node only: to the survivor whose last entry has the highest term, and of"
        yield "  several the one with the highest index."
        yield "* If a majority of the nodes can still be started, do not do this at all: start them."
        yield "* No given up node may ever be started on its data again: it would serve the old cluster."


def _is_meant() -> bool:
    if not sys.stdin.isatty():
        sys.stderr.write("raftkv: without a terminal to ask at, --yes must say that this is meant\n")
        return False
    return input(f"\nType '{_CONFIRMATION}' to go on: ").strip() == _CONFIRMATION


def _outcome_of(recovery: Recovery, cluster_id: bytes) -> Iterator[str]:
    node_id = recovery.node_id
    yield ""
    yield f"Node {node_id} is the only voter of cluster {cluster_id.hex()}."
    yield "Start it as before. All others join as new nodes, with an empty data directory each:"
    yield "    raftkv serve --join HOST:PORT --data-dir DIR        (HOST:PORT of this node)"
