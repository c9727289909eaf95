"""What a client asks the server as a whole: INFO, TIME, ROLE, WAIT, WAITAOF.

Knows no section of INFO: `info` does.
"""

from __future__ import annotations

from raftkv.commands.info import Report, sections_of, text_of
from raftkv.commands.session import NodeStatus, Session
from raftkv.commands.table import LOCAL, Argument, Awaited, CommandDocs, CommandSpec
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, Error, Reply, Verbatim

#: Redis's texts.
_TIMEOUT_NOT_AN_INTEGER = Error("ERR timeout is not an integer or out of range")
_LOCAL_OUT_OF_RANGE = Error("ERR value is out of range, value must between 0 and 1")
_NOT_POSITIVE = Error("ERR value is out of range, must be positive")
_TIMEOUT_NEGATIVE = Error("ERR timeout is negative")
_WAIT_AT_REPLICA = Error(
    "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is "
    "configured to be writable (which is not the default) writes to replicas are just local and are not "
    "propagated."
)
_WAITAOF_AT_REPLICA = Error(
    "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just "
    "local and are not propagated."
)

_NO_LONGER_LEADER = Error(
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)


def on_info(session: Session, args: list[bytes]) -> Reply:
    """Report the sections asked for, or all."""
    names = [arg.decode("utf-8", "replace").lower() for arg in args[1:]]
    report = Report(session.node, is_standalone=session.is_standalone)
    return Verbatim(text_of(report, sections_of(names)).encode())


def on_time(session: Session, _args: list[bytes]) -> Reply:
    """Answer seconds and microseconds by this node's clock."""
    seconds, microseconds = divmod(session.node.now_us(), 1_000_000)
    return [b"%d" % seconds, b"%d" % microseconds]


def on_role(session: Session, _args: list[bytes]) -> Reply:
    """Answer the role in replication: a leader is a master, any other node a replica (redis ROLE)."""
    status = session.node.status()
    is_master = status.is_leader or session.is_standalone
    return _role_of_leader(status) if is_master else _role_of_follower(status)


def _role_of_leader(status: NodeStatus) -> Reply:
    replicas = [
        [member.host.encode(), b"%d" % member.port, b"%d" % member.match_index]
        for member in status.members
        if member.node_id != status.node_id and member.is_reachable
    ]
    return [b"master", status.raft.commit_index, replicas]


def _role_of_follower(status: NodeStatus) -> Reply:
    state = b"connected" if status.has_leader else b"connect"
    master = status.master
    return [b"slave", master.host.encode(), master.port, state, status.raft.last_applied]


def on_wait(session: Session, args: list[bytes]) -> Reply | Awaited:
    """Wait until that many replicas hold the connection's last write.

    Whatever was acknowledged is on a majority's disks already; so this is about more than a majority.
    """
    if not (session.is_standalone or session.node.status().is_leader):
        return _WAIT_AT_REPLICA
    replicas_count, timeout_ms = parse_integer(args[1]), parse_integer(args[2])
    if replicas_count is None:
        return NOT_AN_INTEGER
    if timeout_ms is None:
        return _TIMEOUT_NOT_AN_INTEGER
    if timeout_ms < 0:
        return _TIMEOUT_NEGATIVE
    node, index = session.node, session.last_write_index
    majority_count = len(node.status().membership.voters) // 2 + 1
    wanted = replicas_count

    def at_last() -> Reply:
        reached = node.replicas_at(index)
        if reached is None and session.is_standalone:
            return majority_count - 1  # what was acknowledged is on the disks of a majority at least
        return _NO_LONGER_LEADER if reached is None else reached

    def look() -> Reply:
        reached = at_last()
        return None if isinstance(reached, int) and reached < wanted else reached

    reply = look()
    return Awaited(look, at_last, timeout_ms) if reply is None else reply


def on_waitaof(session: Session, args: list[bytes]) -> Reply | Awaited:
    """Wait until this node and that many replicas have the connection's last write on their disks.

    Nothing is acknowledged before it is on this node's disk and a majority's, so what may be waited for is
    more replicas than that.
    """
    local_count, replicas_count = parse_integer(args[1]), parse_integer(args[2])
    if local_count is None:
        return NOT_AN_INTEGER
    if not 0 <= local_count <= 1:
        return _LOCAL_OUT_OF_RANGE
    if replicas_count is None or replicas_count < 0:
        return _NOT_POSITIVE
    timeout_ms = parse_integer(args[3])
    if timeout_ms is None:
        return _TIMEOUT_NOT_AN_INTEGER
    if timeout_ms < 0:
        return _TIMEOUT_NEGATIVE
    node, index = session.node, session.last_write_index
    if not node.status().is_leader:
        return _WAITAOF_AT_REPLICA
    wanted = [local_count, replicas_count]

    def at_last() -> Reply:
        reached = node.replicas_at(index)
        if reached is None:
            return _NO_LONGER_LEADER
        return [int(node.status().raft.persisted_index >= index), reached]

    def look() -> Reply:
        reply = at_last()
        is_enough = not isinstance(reply, list) or all(map(int.__ge__, reply, wanted))
        return reply if is_enough else None

    reply = look()
    return Awaited(look, at_last, timeout_ms) if reply is None else reply


COMMANDS: tuple[CommandSpec, ...] = (
    CommandSpec(
        name=b"info",
        arity=-1,
        flags=frozenset({"loading", "stale"}),
        route=LOCAL,
        handler=on_info,
        acl_categories=frozenset({"slow", "dangerous"}),
        docs=CommandDocs(
            "Reports on this node.",
            "1.0.0",
            "server",
            "O(1)",
            (Argument("section", "string", flags=("optional", "multiple")),),
        ),
        tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    ),
    CommandSpec(
        name=b"time",
        arity=1,
        flags=frozenset({"loading", "stale", "fast"}),
        route=LOCAL,
        handler=on_time,
        acl_categories=frozenset({"fast"}),
        docs=CommandDocs("Returns the time by this node's clock.", "2.6.0", "server", "O(1)"),
        tips=("nondeterministic_output",),
    ),
    CommandSpec(
        name=b"role",
        arity=1,
        flags=frozenset({"noscript", "loading", "stale", "fast"}),
        route=LOCAL,
        handler=on_role,
        acl_categories=frozenset({"admin", "fast", "dangerous"}),
        docs=CommandDocs("Returns this node's role in replication.", "2.8.12", "server", "O(1)"),
    ),
    CommandSpec(
        name=b"wait",
        arity=3,
        route=LOCAL,
        handler=on_wait,
        acl_categories=frozenset({"slow", "connection"}),
        docs=CommandDocs(
            "Waits until that many replicas hold the connection's writes.",
            "3.0.0",
            "generic",
            "O(1)",
            (Argument("numreplicas", "integer"), Argument("timeout", "integer")),
        ),
        tips=("request_policy:all_shards", "response_policy:agg_min"),
    ),
    CommandSpec(
        name=b"waitaof",
        arity=4,
        flags=frozenset({"noscript"}),
        route=LOCAL,
        handler=on_waitaof,
        acl_categories=frozenset({"slow", "connection"}),
        docs=CommandDocs(
            "Waits until the connection's writes are on the disks of this node and that many replicas.",
            "7.2.0",
            "generic",
            "O(1)",
            (
                Argument("numlocal", "integer"),
                Argument("numreplicas", "integer"),
                Argument("timeout", "integer"),
            ),
        ),
        tips=("request_policy:all_shards", "response_policy:agg_min"),
    ),
)
