"""CLIENT: what clients tell of themselves and learn of each other; `client_control` has the rest.

Knows no sockets: everything is read from the sessions and written to the asking one.
"""

from __future__ import annotations

from raftkv.commands.client_control import CLIENT_TYPES, SUBCOMMANDS
from raftkv.commands.connection import is_plain, set_name
from raftkv.commands.containers import container
from raftkv.commands.session import Session
from raftkv.commands.table import LOCAL, Argument, CommandDocs, CommandSpec
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import OK, SYNTAX_ERROR, Error, Reply, Verbatim, printable


def on_id(session: Session, _args: list[bytes]) -> Reply:
    """Answer the connection's number."""
    return session.client_id


def on_setname(session: Session, args: list[bytes]) -> Reply:
    """Name the connection."""
    return set_name(session, args[2])


def on_getname(session: Session, _args: list[bytes]) -> Reply:
    """Answer the connection's name, null if it has none."""
    return session.name or None


def on_setinfo(session: Session, args: list[bytes]) -> Reply:
    """Note which client library this is (redis CLIENT SETINFO)."""
    attribute, value = args[2].lower(), args[3]
    if attribute not in (b"lib-name", b"lib-ver"):
        return Error(f"ERR Unrecognized option '{printable(args[2])}'")
    if not is_plain(value):
        return Error(f"ERR {printable(args[2])} cannot contain spaces, newlines or special characters.")
    if attribute == b"lib-name":
        session.lib_name = value
    else:
        session.lib_ver = value
    return OK


def on_list(session: Session, args: list[bytes]) -> Reply:
    """Describe all connections, or those of a type or with given numbers, one a line."""
    now_ms = session.node.now_us() // 1000
    options = args[2:]
    if not options:
        chosen = list(session.node.sessions())
    elif options[0].lower() == b"type" and len(options) == 2:
        has_any = CLIENT_TYPES.get(options[1].lower())
        if has_any is None:
            return Error(f"ERR Unknown client type '{printable(options[1])}'")
        chosen = list(session.node.sessions()) if has_any else []
    elif options[0].lower() == b"id" and len(options) > 1:
        client_ids = [parse_integer(option) for option in options[1:]]
        if None in client_ids:
            return Error("ERR Invalid client ID")
        by_id = {other.client_id: other for other in session.node.sessions()}
        # In the order in which they are named, and as often.
        chosen = [by_id[client_id] for client_id in client_ids if client_id in by_id]
    else:
        return SYNTAX_ERROR
    return Verbatim(b"".join(describe(other, now_ms) + b"\n" for other in chosen))


def on_info(session: Session, _args: list[bytes]) -> Reply:
    """Describe this connection."""
    return Verbatim(describe(session, session.node.now_us() // 1000) + b"\n")


def describe(session: Session, now_ms: int) -> bytes:
    """One line of CLIENT LIST (redis catClientInfoString); what raftkv has no like of is 0."""
    fields: dict[str, object] = {
        "id": session.client_id,
        "addr": session.address,
        "laddr": session.local_address,
        "fd": session.file_descriptor,
        "name": session.name.decode(),
        "age": max(0, now_ms - session.created_ms) // 1000,
        "idle": max(0, now_ms - max(session.active_ms, session.created_ms)) // 1000,
        "flags": _flags_of(session),
        "db": session.db,
        "sub": 0,
        "psub": 0,
        "ssub": 0,
        "multi": -1,
        "qbuf": session.input_bytes,
        "qbuf-free": 0,
        "argv-mem": 0,
        "multi-mem": 0,
        "rbs": 0,
        "rbp": 0,
        "obl": 0,
        "oll": 0,
        "omem": session.output_bytes,
        "tot-mem": session.input_bytes + session.output_bytes,
        "events": "r",
        "cmd": session.last_command.decode() or "NULL",
        "user": "default",
        "redir": -1,
        "resp": session.protocol,
        "lib-name": session.lib_name.decode(),
        "lib-ver": session.lib_ver.decode(),
    }
    return " ".join(f"{name}={value}" for name, value in fields.items()).encode()


def _flags_of(session: Session) -> str:
    flags = (
        ("b", session.is_blocked),
        ("r", session.is_readonly),
        ("e", not session.is_evictable),
        ("T", not session.is_touching),
    )
    return "".join(flag for flag, is_set in flags if is_set) or "N"


_FLAGS = frozenset({"noscript", "loading", "stale"})
_CATEGORIES = frozenset({"slow", "connection"})


def _docs(summary: str, since: str, *arguments: Argument, complexity: str = "O(1)") -> CommandDocs:
    return CommandDocs(summary, since, "connection", complexity, arguments)


_LIST_ARGUMENTS = (
    Argument(
        "client-type",
        "oneof",
        token="TYPE",
        flags=("optional",),
        arguments=tuple(
            Argument(kind, "pure-token", token=kind.upper())
            for kind in ("normal", "master", "replica", "pubsub")
        ),
        since="5.0.0",
    ),
    Argument("client-id", "integer", token="ID", flags=("optional", "multiple"), since="6.2.0"),
)

COMMANDS: tuple[CommandSpec, ...] = (
    container(
        b"client",
        _docs("A container for commands about connections.", "2.4.0", complexity="Depends on subcommand."),
        (
            CommandSpec(
                name=b"client|id",
                arity=2,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_id,
                acl_categories=_CATEGORIES,
                docs=_docs("Returns the connection's number.", "5.0.0"),
            ),
            CommandSpec(
                name=b"client|setname",
                arity=3,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_setname,
                acl_categories=_CATEGORIES,
                docs=_docs("Names the connection.", "2.6.9", Argument("connection-name", "string")),
                tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
            ),
            CommandSpec(
                name=b"client|getname",
                arity=2,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_getname,
                acl_categories=_CATEGORIES,
                docs=_docs("Returns the connection's name.", "2.6.9"),
            ),
            CommandSpec(
                name=b"client|setinfo",
                arity=4,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_setinfo,
                acl_categories=_CATEGORIES,
                docs=_docs(
                    "Notes which client library the connection is used by.",
                    "7.2.0",
                    Argument(
                        "attr",
                        "oneof",
                        arguments=(
                            Argument("libname", "string", token="LIB-NAME"),
                            Argument("libver", "string", token="LIB-VER"),
                        ),
                    ),
                ),
                tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
            ),
            CommandSpec(
                name=b"client|list",
                arity=-2,
                flags=_FLAGS | {"admin"},
                route=LOCAL,
                handler=on_list,
                acl_categories=_CATEGORIES | {"admin", "dangerous"},
                docs=_docs(
                    "Describes all connections.",
                    "2.4.0",
                    *_LIST_ARGUMENTS,
                    complexity="O(N) where N is the number of connections",
                ),
                tips=("nondeterministic_output",),
            ),
            CommandSpec(
                name=b"client|info",
                arity=2,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_info,
                acl_categories=_CATEGORIES,
                docs=_docs("Describes this connection.", "6.2.0"),
                tips=("nondeterministic_output",),
            ),
            *SUBCOMMANDS,
        ),
        acl_categories=_CATEGORIES,
    ),
)
