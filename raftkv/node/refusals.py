"""The errors that the client shell itself answers. All but `UNKNOWN` are definite: nothing was done."""

from __future__ import annotations

from typing import Final

from raftkv.resp.replies import Error, cluster_down, encode, try_again, unknown_outcome

UNKNOWN: Final = unknown_outcome("the write was proposed, but its outcome could not be learned in time")
NOT_TAKEN: Final = try_again(
    "the leader takes no more writes at the moment or none in time, nothing was done"
)
NO_LEADER: Final = cluster_down("no leader is known, nothing was done")
NOT_CONFIRMED: Final = cluster_down("no majority confirmed in time that this node may answer reads")
EXPIRY_UNSETTLED: Final = try_again("whether the key has expired could not be settled in time")
NO_SPACE: Final = Error(
    "MISCONF the disk of this node, or the disks of a majority, have less space left than disk-free-min,"
    " so that writes are refused; nothing was done"
)
TOO_LARGE: Final = Error("ERR command is larger than command-bytes-max, nothing was done")
UNBLOCKED: Final = Error("UNBLOCKED client unblocked via CLIENT UNBLOCK")
NOT_AUTHENTICATED: Final = Error("NOAUTH Authentication required.")
#: For a client whose protocol is not known yet.
TOO_MANY_CLIENTS: Final = encode(Error("ERR max number of clients reached"), 2)
