"""A node whose lease rule is broken; takes the arguments of `raftkv`.

A leader's lease never ends while it takes itself for the leader: one that was paused, or cut off, answers
reads from what it holds although another may lead by now. A run against three of these must find that.
"""

from __future__ import annotations

from raftkv.cli import main
from raftkv.raft import read_index
from raftkv.raft.state import RaftState


def is_endless_lease_valid(state: RaftState, now_ns: int) -> bool:
    """Say yes to every leader that has begun to serve, whatever time it is: against thesis §6.4.1."""
    del now_ns
    leader = state.leader
    return leader is not None and state.log.last_applied >= leader.term_start_index


if __name__ == "__main__":
    read_index.is_lease_valid = is_endless_lease_valid
    main()
