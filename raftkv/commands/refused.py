"""Redis's commands that would contradict what a Raft group does by itself: refused, with what to do instead.

They are in the table so that a client learns why, and not just that the command is unknown. Nothing here
does anything.
"""

from __future__ import annotations

from raftkv.commands.containers import container
from raftkv.commands.session import Session
from raftkv.commands.table import LOCAL, NO_KEYS, Argument, CommandDocs, CommandSpec, Handler, KeySpec
from raftkv.resp.replies import Error, Reply

_REPLICATION = (
    "replication here is Raft's: each node follows the elected leader by itself. RAFT ADD takes in another "
    "node, and CLUSTER FAILOVER on one makes it lead"
)
_STREAM = (
    "there is no replication stream for Redis replicas here: nodes exchange Raft messages on their peer "
    "port. Make another raftkv node a member (RAFT ADD), or copy the data with a client that reads all keys "
    "with SCAN"
)
_FAILOVER = "use CLUSTER FAILOVER on the node that is to lead"
_MIGRATE = (
    "keys don't move between nodes here: every node holds all of them. "
    "Copy to another cluster with a client that reads all keys with SCAN"
)
_DEBUG = (
    "DEBUG would let one node differ from the others, or stop answering. See RAFT DIGEST, INFO, SLOWLOG and "
    "LATENCY for what it is used to find out; stop a node with SHUTDOWN"
)
_MODULES = "raftkv loads no modules"
_SLOTS = (
    "slots can't be assigned here: the one Raft group owns all 16384, and every member holds all data. "
    "CLUSTER FAILOVER moves the leadership"
)
_RESET = (
    "a node can't forget its cluster while it runs: its vote counts. RAFT REMOVE lets a member go, whose "
    "directory can then be deleted; a new cluster is made by starting nodes on empty directories"
)
_EPOCH = "epochs are Raft's terms here, which elections alone advance"
_NODES_FILE = "there is no nodes.conf here: the members are in the log, which is on disk already"
_REPLICATE = (
    "every member follows the elected leader by itself, whichever node that is. RAFT ADD takes in another "
    "node, RAFT ADD LEARNER one that never votes, and CLUSTER FAILOVER makes this node the leader"
)


def _refuse(name: str, reason: str) -> Handler:
    """A handler that always refuses."""
    reply = Error(f"ERR {name} is not supported: {reason}")

    def on_refused(_session: Session, _args: list[bytes]) -> Reply:
        return reply

    return on_refused


def _row(
    name: bytes,
    arity: int,
    reason: str,
    docs: CommandDocs,
    *,
    flags: str = "admin noscript no_async_loading",
    categories: str = "admin slow dangerous",
    keys: KeySpec = NO_KEYS,
    tips: tuple[str, ...] = (),
) -> CommandSpec:
    return CommandSpec(
        name=name,
        arity=arity,
        flags=frozenset(flags.split()),
        route=LOCAL,
        keys=keys,
        handler=_refuse(name.replace(b"|", b" ").decode().upper(), reason),
        acl_categories=frozenset(categories.split()),
        docs=docs,
        tips=tips,
    )


def _docs(what: str, since: str, *arguments: Argument, group: str = "server") -> CommandDocs:
    return CommandDocs(f"Not supported: {what}", since, group, "O(1)", arguments)


_HOST_PORT = Argument(
    "args",
    "oneof",
    arguments=(
        Argument("host-port", "block", arguments=(Argument("host", "string"), Argument("port", "integer"))),
        Argument(
            "no-one",
            "block",
            arguments=(
                Argument("no", "pure-token", token="NO"),
                Argument("one", "pure-token", token="ONE"),
            ),
        ),
    ),
)

_FAILOVER_OPTIONS = (
    Argument(
        "target",
        "block",
        token="TO",
        flags=("optional",),
        arguments=(
            Argument("host", "string"),
            Argument("port", "integer"),
            Argument("force", "pure-token", token="FORCE", flags=("optional",)),
        ),
    ),
    Argument("abort", "pure-token", token="ABORT", flags=("optional",)),
    Argument("milliseconds", "integer", token="TIMEOUT", flags=("optional",)),
)

_PLAIN: tuple[CommandSpec, ...] = (
    _row(
        b"replicaof",
        3,
        _REPLICATION,
        _docs("a node follows its leader by itself.", "5.0.0", _HOST_PORT),
        flags="admin noscript stale no_async_loading",
    ),
    _row(
        b"slaveof",
        3,
        _REPLICATION,
        _docs("a node follows its leader by itself.", "1.0.0", _HOST_PORT),
        flags="admin noscript stale no_async_loading",
    ),
    _row(
        b"sync",
        1,
        _STREAM,
        _docs("nodes replicate by Raft.", "1.0.0"),
        flags="admin noscript no_async_loading no_multi",
    ),
    _row(
        b"psync",
        -3,
        _STREAM,
        _docs(
            "nodes replicate by Raft.",
            "2.8.0",
            Argument("replicationid", "string"),
            Argument("offset", "integer"),
        ),
        flags="admin noscript no_async_loading no_multi",
    ),
    _row(
        b"failover",
        -1,
        _FAILOVER,
        _docs("see CLUSTER FAILOVER.", "6.2.0", *_FAILOVER_OPTIONS),
        flags="admin noscript stale",
    ),
    _row(
        b"migrate",
        -6,
        _MIGRATE,
        _docs(
            "all nodes hold all keys.",
            "2.6.0",
            Argument("host", "string"),
            Argument("port", "integer"),
            Argument("key", "key", key_spec_index=0),
            Argument("destination-db", "integer"),
            Argument("timeout", "integer"),
            group="generic",
        ),
        flags="",
        categories="keyspace write slow dangerous",
        keys=KeySpec(3, 3, 1, flags=("RW", "access", "delete")),
        tips=("nondeterministic_output",),
    ),
    _row(
        b"debug",
        -2,
        _DEBUG,
        _docs("a node must stay like the others.", "1.0.0"),
        flags="admin noscript loading stale",
    ),
)


def on_module_list(_session: Session, _args: list[bytes]) -> Reply:
    """Answer that there are no modules."""
    return []


_MODULE = container(
    b"module",
    CommandDocs("A container for module commands.", "4.0.0", "server", "Depends on subcommand."),
    (
        CommandSpec(
            name=b"module|list",
            arity=2,
            flags=frozenset({"admin", "noscript"}),
            route=LOCAL,
            handler=on_module_list,
            acl_categories=frozenset({"admin", "slow", "dangerous"}),
            docs=CommandDocs("Returns all loaded modules: none.", "4.0.0", "server", "O(1)"),
            tips=("nondeterministic_output_order",),
        ),
        _row(
            b"module|load",
            -3,
            _MODULES,
            _docs(
                "there are no modules.",
                "4.0.0",
                Argument("path", "string"),
                Argument("arg", "string", flags=("optional", "multiple")),
            ),
        ),
        _row(
            b"module|loadex",
            -3,
            _MODULES,
            _docs("there are no modules.", "7.0.0", Argument("path", "string")),
        ),
        _row(
            b"module|unload", 3, _MODULES, _docs("there are no modules.", "4.0.0", Argument("name", "string"))
        ),
    ),
)

COMMANDS: tuple[CommandSpec, ...] = (*_PLAIN, _MODULE)


def _cluster_row(
    word: str,
    arity: int,
    reason: str,
    since: str,
    *arguments: Argument,
    flags: str = "admin stale no_async_loading",
    tips: tuple[str, ...] = (),
) -> CommandSpec:
    return _row(
        b"cluster|" + word.encode(),
        arity,
        reason,
        _docs("the Raft group sees to it.", since, *arguments, group="cluster"),
        flags=flags,
        tips=tips,
    )


_SLOT_LIST = Argument("slot", "integer", flags=("multiple",))
_SLOT_RANGES = Argument(
    "range",
    "block",
    flags=("multiple",),
    arguments=(Argument("start-slot", "integer"), Argument("end-slot", "integer")),
)

#: Those of CLUSTER, for `cluster`'s container.
CLUSTER_ROWS: tuple[CommandSpec, ...] = (
    _cluster_row("addslots", -3, _SLOTS, "3.0.0", _SLOT_LIST),
    _cluster_row("addslotsrange", -4, _SLOTS, "7.0.0", _SLOT_RANGES),
    _cluster_row("delslots", -3, _SLOTS, "3.0.0", _SLOT_LIST),
    _cluster_row("delslotsrange", -4, _SLOTS, "7.0.0", _SLOT_RANGES),
    _cluster_row("setslot", -4, _SLOTS, "3.0.0", Argument("slot", "integer")),
    _cluster_row("flushslots", 2, _SLOTS, "3.0.0"),
    _cluster_row("replicate", 3, _REPLICATE, "3.0.0", Argument("node-id", "string")),
    _cluster_row("reset", -2, _RESET, "3.0.0", flags="admin noscript stale"),
    _cluster_row("saveconfig", 2, _NODES_FILE, "3.0.0"),
    _cluster_row("bumpepoch", 2, _EPOCH, "3.0.0", tips=("nondeterministic_output",)),
    _cluster_row("set-config-epoch", 3, _EPOCH, "3.0.0", Argument("config-epoch", "integer")),
)
