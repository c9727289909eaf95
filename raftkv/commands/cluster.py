"""CLUSTER: the Raft group, as clients of Redis Cluster expect to be told.

One Raft group owns all slots: its leader is the master of 0-16383, every other member is a replica of it,
learners included, but one that is yet to catch up is no node that clients are sent to.
While there is no leader the last one stays the master in all answers, for clients raise at an empty map; only
CLUSTER INFO says that the cluster is down. Knows nothing of how leaders are elected: everything is read from
one NodeStatus.

Invariant: nodes that know the same leader and term answer alike, but for `myself` and what they hear of each
other; `redis-cli --cluster check` compares them.
"""

from __future__ import annotations

from raftkv.commands.cluster_changes import on_failover, on_forget, on_meet
from raftkv.commands.containers import container
from raftkv.commands.refused import CLUSTER_ROWS
from raftkv.commands.session import MemberStatus, NodeStatus, Session, member_name, shard_name
from raftkv.commands.table import LOCAL, Argument, CommandDocs, CommandSpec, Handler, Sliced
from raftkv.raft.types import FOLLOWER, LEADER, NOBODY, Role
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import (
    NOT_AN_INTEGER,
    Error,
    Reply,
    Verbatim,
    printable_at_end,
)
from raftkv.slots import SLOT_COUNT, slot_of

#: Redis's texts.
_INVALID_SLOT = Error("ERR Invalid slot")
_INVALID_SLOT_OR_COUNT = Error("ERR Invalid slot or number of keys")
_NOT_A_MASTER = Error("ERR The specified node is not a master")


def role_name(role: Role) -> str:
    """What a node in that role is called outside: a pre-candidate's term never begins."""
    return "leader" if role is LEADER else "follower" if role is FOLLOWER else "candidate"


def on_slots(session: Session, _args: list[bytes]) -> Reply:
    """Answer which nodes serve which slots, the master first."""
    status = session.node.status()
    # Redis leaves out replicas that have nothing yet (isReplicaAvailable).
    members = [status.master, *(member for member in _replicas(status) if member.is_ready)]
    return [[0, SLOT_COUNT - 1, *(_node_of_slots(status, member) for member in members)]]


def _node_of_slots(status: NodeStatus, member: MemberStatus) -> Reply:
    return [member.host.encode(), member.port, _name(status, member), {}]


def on_shards(session: Session, _args: list[bytes]) -> Reply:
    """Answer the shards with their slots and nodes: there is one."""
    status = session.node.status()
    members = [status.master, *_replicas(status)]
    nodes = [_node_of_shard(status, member) for member in members]
    return [{b"slots": [0, SLOT_COUNT - 1], b"nodes": nodes}]


def _node_of_shard(status: NodeStatus, member: MemberStatus) -> Reply:
    host = member.host.encode()
    return {
        b"id": _name(status, member),
        b"port": member.port,
        b"ip": host,
        b"endpoint": host,
        b"role": b"master" if member is status.master else b"replica",
        b"replication-offset": _offset(status, member),
        b"health": _health_of(member),
    }


def _health_of(member: MemberStatus) -> bytes:
    if not member.is_reachable:
        return b"fail"
    return b"online" if member.is_ready else b"loading"


def _offset(status: NodeStatus, member: MemberStatus) -> int:
    """How far a node has come, in log indexes; 0 is what this node can't know."""
    if member.node_id == status.node_id:
        return status.raft.last_applied
    return member.match_index or (status.raft.commit_index if member is status.master else 0)


def on_nodes(session: Session, _args: list[bytes]) -> Reply:
    """Describe all nodes, one a line (redis CLUSTER NODES)."""
    status = session.node.status()
    lines = (node_line(status, member) + "\n" for member in status.members)
    return Verbatim("".join(lines).encode())


def node_line(status: NodeStatus, member: MemberStatus) -> str:
    """`id host:port@peer_port flags master ping-sent pong-received epoch link-state slots`."""
    master = status.master
    is_master = member is master
    flags = ["myself"] if member.node_id == status.node_id else []
    flags.append("master" if is_master else "slave")
    if not member.is_reachable:
        flags.append("fail?")
    if not member.is_voter:
        flags.append("nofailover")
    words = [
        _name(status, member).decode(),
        f"{member.host}:{member.port}@{member.peer_port}",
        ",".join(flags),
        "-" if is_master else _name(status, master).decode(),
        "0",
        "0",
        str(status.raft.current_term),
        "connected" if member.is_reachable else "disconnected",
    ]
    if is_master:
        words.append(f"0-{SLOT_COUNT - 1}")
    return " ".join(words)


def on_info(session: Session, _args: list[bytes]) -> Reply:
    """Tell how the cluster is, Raft included (the `cluster_raft_` names are those of Valkey's plans)."""
    status = session.node.status()
    raft = status.raft
    served = SLOT_COUNT if status.has_leader else 0
    fields: dict[str, object] = {
        "cluster_state": "ok" if status.has_leader else "fail",
        "cluster_slots_assigned": SLOT_COUNT,
        "cluster_slots_ok": served,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": SLOT_COUNT - served,
        "cluster_known_nodes": len(status.members),
        "cluster_size": 1,
        "cluster_current_epoch": raft.current_term,
        "cluster_my_epoch": raft.current_term,
        "cluster_stats_messages_sent": 0,
        "cluster_stats_messages_received": 0,
        "total_cluster_links_buffer_limit_exceeded": 0,
        "cluster_raft_role": role_name(raft.role),
        "cluster_raft_current_term": raft.current_term,
        "cluster_raft_commit_index": raft.commit_index,
        "cluster_raft_last_applied": raft.last_applied,
        "cluster_raft_log_entries": raft.last_index - raft.first_index + 1,
        "cluster_raft_leader": _leader_name(status),
        "cluster_raft_voters": len(status.membership.voters),
        "cluster_raft_learners": len(status.membership.learners),
        "cluster_raft_changing": int(status.membership.is_joint or not status.is_membership_committed),
    }
    return Verbatim("".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode())


def _leader_name(status: NodeStatus) -> str:
    leader_id = status.raft.leader_id
    return "" if leader_id == NOBODY else member_name(status.cluster_id, leader_id)


def on_myid(session: Session, _args: list[bytes]) -> Reply:
    """Answer this node's name."""
    status = session.node.status()
    return _name(status, status.myself)


def on_myshardid(session: Session, _args: list[bytes]) -> Reply:
    """Answer the name of the Raft group that this node is in."""
    return shard_name(session.node.status().cluster_id, 0).encode()


def on_keyslot(_session: Session, args: list[bytes]) -> Reply:
    """Answer the slot of a key."""
    return slot_of(args[2])


def on_countkeysinslot(session: Session, args: list[bytes]) -> Reply | Sliced:
    """Count this node's keys in a slot."""
    slot = parse_integer(args[2])
    if slot is None:
        return NOT_AN_INTEGER
    return session.node.count_keys_in_slot(slot) if 0 <= slot < SLOT_COUNT else _INVALID_SLOT


def on_getkeysinslot(session: Session, args: list[bytes]) -> Reply | Sliced:
    """Answer some of this node's keys in a slot."""
    slot, count_max = parse_integer(args[2]), parse_integer(args[3])
    if slot is None or count_max is None:
        return NOT_AN_INTEGER
    if not 0 <= slot < SLOT_COUNT or count_max < 0:
        return _INVALID_SLOT_OR_COUNT
    return session.node.keys_in_slot(slot, count_max=count_max)


def on_replicas(session: Session, args: list[bytes]) -> Reply:
    """Describe the replicas of a master, a line each."""
    status = session.node.status()
    member = _member_called(status, args[2])
    if member is None:
        return _unknown_node(args[2])
    if member is not status.master:
        return _NOT_A_MASTER
    return [node_line(status, replica).encode() for replica in _replicas(status)]


def on_links(session: Session, _args: list[bytes]) -> Reply:
    """Describe the links to the other nodes that stand, one each way."""
    status = session.node.status()
    now_ms = session.node.now_us() // 1000
    others = [each for each in status.members if each.node_id != status.node_id and each.is_reachable]
    return [_link(status, member, way, now_ms) for member in others for way in (b"to", b"from")]


def _link(status: NodeStatus, member: MemberStatus, way: bytes, now_ms: int) -> Reply:
    return {
        b"direction": way,
        b"node": _name(status, member),
        b"create-time": min(now_ms, status.started_ms),
        b"events": b"rw" if way == b"to" else b"r",
        b"send-buffer-allocated": 0,
        b"send-buffer-used": 0,
    }


def on_count_failure_reports(session: Session, args: list[bytes]) -> Reply:
    """Answer 0 for any node: members don't report each other, they elect."""
    status = session.node.status()
    return _unknown_node(args[2]) if _member_called(status, args[2]) is None else 0


def _name(status: NodeStatus, member: MemberStatus) -> bytes:
    return member_name(status.cluster_id, member.node_id).encode()


def _replicas(status: NodeStatus) -> list[MemberStatus]:
    master = status.master
    return [member for member in status.members if member is not master]


def _member_called(status: NodeStatus, name: bytes) -> MemberStatus | None:
    found = (member for member in status.members if _name(status, member) == name.lower())
    return next(found, None)


def _unknown_node(name: bytes) -> Error:
    return Error(f"ERR Unknown node {printable_at_end(name)}")


_ADMIN = frozenset({"admin", "slow", "dangerous"})
_LOADING = frozenset({"loading"})
_VARIES = ("nondeterministic_output",)
_SLOT = Argument("slot", "integer")
_NODE_ID = Argument("node-id", "string")


def _row(
    word: str,
    arity: int,
    handler: Handler,
    docs: CommandDocs,
    *,
    tips: tuple[str, ...] = (),
    is_admin: bool = False,
    more_flags: frozenset[str] = frozenset(),
) -> CommandSpec:
    return CommandSpec(
        name=b"cluster|" + word.encode(),
        arity=arity,
        flags=more_flags | ({"admin", "stale"} if is_admin else {"stale"}),
        route=LOCAL,
        handler=handler,
        acl_categories=_ADMIN if is_admin else frozenset({"slow"}),
        docs=docs,
        tips=tips,
    )


def _docs(summary: str, since: str, complexity: str, *arguments: Argument) -> CommandDocs:
    return CommandDocs(summary, since, "cluster", complexity, arguments)


_PER_NODE = "O(N) where N is the number of nodes"


COMMANDS: tuple[CommandSpec, ...] = (
    container(
        b"cluster",
        _docs("A container for commands about the cluster.", "3.0.0", "Depends on subcommand."),
        (
            _row(
                "slots",
                2,
                on_slots,
                _docs("Maps slots to nodes.", "3.0.0", _PER_NODE),
                tips=_VARIES,
                more_flags=_LOADING,
            ),
            _row(
                "shards",
                2,
                on_shards,
                _docs("Lists the shards.", "7.0.0", _PER_NODE),
                tips=_VARIES,
                more_flags=_LOADING,
            ),
            _row("nodes", 2, on_nodes, _docs("Describes all nodes.", "3.0.0", _PER_NODE), tips=_VARIES),
            _row("info", 2, on_info, _docs("Describes the cluster.", "3.0.0", "O(1)"), tips=_VARIES),
            _row("myid", 2, on_myid, _docs("Returns this node's id.", "3.0.0", "O(1)")),
            _row(
                "myshardid", 2, on_myshardid, _docs("Returns this shard's id.", "7.2.0", "O(1)"), tips=_VARIES
            ),
            _row(
                "keyslot",
                3,
                on_keyslot,
                _docs(
                    "Returns a key's slot.", "3.0.0", "O(N) where N is its length", Argument("key", "string")
                ),
            ),
            _row(
                "countkeysinslot",
                3,
                on_countkeysinslot,
                _docs("Counts the keys in a slot.", "3.0.0", "O(N) where N is their number", _SLOT),
            ),
            _row(
                "getkeysinslot",
                4,
                on_getkeysinslot,
                _docs(
                    "Returns keys in a slot.",
                    "3.0.0",
                    "O(N) where N is their number",
                    _SLOT,
                    Argument("count", "integer"),
                ),
                tips=_VARIES,
            ),
            _row(
                "replicas",
                3,
                on_replicas,
                _docs("Describes a master's replicas.", "5.0.0", _PER_NODE, _NODE_ID),
                tips=_VARIES,
                is_admin=True,
            ),
            _row(
                "links", 2, on_links, _docs("Describes the links to nodes.", "7.0.0", _PER_NODE), tips=_VARIES
            ),
            _row(
                "count-failure-reports",
                3,
                on_count_failure_reports,
                _docs("Counts the reports that a node failed.", "3.0.0", _PER_NODE, _NODE_ID),
                tips=_VARIES,
                is_admin=True,
            ),
            _row(
                "meet",
                -4,
                on_meet,
                CommandDocs(
                    "Takes in the node that waits at an address.",
                    "3.0.0",
                    "cluster",
                    "O(1)",
                    (
                        Argument("ip", "string"),
                        Argument("port", "integer"),
                        Argument("cluster-bus-port", "integer", flags=("optional",), since="4.0.0"),
                    ),
                    history=(("4.0.0", "Added the optional `cluster_bus_port` argument."),),
                ),
                is_admin=True,
                more_flags=frozenset({"no_async_loading"}),
            ),
            _row(
                "forget",
                3,
                on_forget,
                _docs("Lets a member go for good.", "3.0.0", "O(1)", _NODE_ID),
                is_admin=True,
                more_flags=frozenset({"no_async_loading"}),
            ),
            _row(
                "failover",
                -2,
                on_failover,
                _docs(
                    "Asks the master to hand over to this node.",
                    "3.0.0",
                    "O(1)",
                    Argument(
                        "options",
                        "oneof",
                        flags=("optional",),
                        arguments=(
                            Argument("force", "pure-token", token="FORCE"),
                            Argument("takeover", "pure-token", token="TAKEOVER"),
                        ),
                    ),
                ),
                is_admin=True,
                more_flags=frozenset({"no_async_loading"}),
            ),
            *CLUSTER_ROWS,
        ),
    ),
)
