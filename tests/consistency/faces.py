"""How a node's listeners behave: what a client has to know of one before it uses it.

A further face is a further row here; nothing else has to change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.integration.cluster import NodeProcess


@dataclass(frozen=True, slots=True)
class Face:
    """One kind of listener, or of connection to it."""

    name: str
    port_of: Callable[[NodeProcess], int]
    #: Commands said first on each connection, which must be answered with OK.
    opening: tuple[tuple[str, ...], ...] = ()
    #: Only reads are sent to it, to any node.
    is_for_reads: bool = False
    #: After which part of its pipelines a client goes to another node without need. Who reads moves much:
    #: what is to be found is a node that is behind, and that others have left.
    leave_part: float = 0.01
    #: A node that doesn't lead may send the client to the one that does.
    may_say_moved: bool = True


def _client_port(node: NodeProcess) -> int:
    return node.port


def _standalone_port(node: NodeProcess) -> int:
    return node.standalone_port


#: A node of a Redis Cluster: whoever isn't the leader says MOVED.
CLUSTER = Face("cluster", _client_port)
#: The same, on connections that read at any node. Such reads are as linearizable as all others.
READONLY = Face("readonly", _client_port, opening=(("READONLY",),), is_for_reads=True, leave_part=0.15)
#: One single Redis: every node takes every command.
STANDALONE = Face("standalone", _standalone_port, may_say_moved=False)

#: Each face, and how many clients use it.
CLIENTS_BY_FACE: tuple[tuple[Face, int], ...] = ((CLUSTER, 4), (READONLY, 3), (STANDALONE, 5))
