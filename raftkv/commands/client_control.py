"""CLIENT's sub-commands that act on connections: KILL, PAUSE, UNBLOCK, REPLY and the like.

Knows no sockets: handlers change the asking Session, or tell the node what to do with other connections.
"""

from __future__ import annotations

from dataclasses import dataclass

from raftkv.commands.session import ReplyMode, Session
from raftkv.commands.table import LOCAL, Argument, CommandDocs, CommandSpec, Handler
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, OK, SYNTAX_ERROR, Error, Reply, ReplySet, printable

#: Which of Redis's kinds of clients there are any of here (redis getClientTypeByName).
CLIENT_TYPES = {b"normal": True, b"master": False, b"replica": False, b"slave": False, b"pubsub": False}

_NO_SUCH_CLIENT = Error("ERR No such client")
_BAD_CLIENT_ID = Error("ERR client-id should be greater than 0")
_BAD_PAUSE_MODE = Error("ERR CLIENT PAUSE mode must be WRITE or ALL")
_BAD_TIMEOUT = Error("ERR timeout is not an integer or out of range")
_NEGATIVE_TIMEOUT = Error("ERR timeout is negative")
_TIMEOUT_TOO_LONG = Error("ERR timeout is out of range")
_BAD_UNBLOCK_REASON = Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
_INT64_MAX = (1 << 63) - 1
_REPLY_MODES = {b"on": ReplyMode.ON, b"off": ReplyMode.OFF, b"skip": ReplyMode.SKIP}
_SWITCH = {b"on": True, b"off": False}


@dataclass(slots=True)
class _Filter:
    """Which connections CLIENT KILL means: those that everything set here holds for."""

    client_id: int | None = None
    address: str | None = None
    local_address: str | None = None
    #: Of none that is connected to this node.
    is_of_nobody: bool = False
    spares_asking: bool = True

    def chosen(self, asking: Session) -> list[Session]:
        """The sessions that it means, the asking one among them if it isn't spared."""
        if self.is_of_nobody:
            return []
        return [
            other
            for other in asking.node.sessions()
            if self.client_id in (None, other.client_id)
            and self.address in (None, other.address)
            and self.local_address in (None, other.local_address)
            and not (other is asking and self.spares_asking)
        ]


def on_kill(session: Session, args: list[bytes]) -> Reply:
    """Close the connection of an address, or those that filters leave (redis CLIENT KILL)."""
    if len(args) == 3:
        chosen = _Filter(address=_text(args[2]), spares_asking=False).chosen(session)
    else:
        found = _read_filter(args[2:])
        if isinstance(found, Error):
            return found
        chosen = found.chosen(session)
    for other in chosen:
        if other is session:
            session.is_closing = True
        else:
            session.node.kill_client(other.client_id)
    if len(args) == 3:
        return OK if chosen else _NO_SUCH_CLIENT
    return len(chosen)


def _read_filter(words: list[bytes]) -> _Filter | Error:
    found = _Filter()
    if len(words) % 2:
        # What stands in front of the lonely word is complained of first.
        refusal = _read_filter(words[:-1]) if len(words) > 1 else None
        return refusal if isinstance(refusal, Error) else SYNTAX_ERROR
    for name, value in zip(words[::2], words[1::2], strict=True):
        refusal = _read_condition(found, name.lower(), value)
        if refusal is not None:
            return refusal
    return found


def _read_condition(found: _Filter, name: bytes, value: bytes) -> Error | None:
    match name:
        case b"id":
            found.client_id = parse_integer(value)
            return _BAD_CLIENT_ID if found.client_id is None or found.client_id < 1 else None
        case b"type":
            has_any = CLIENT_TYPES.get(value.lower())
            if has_any is None:
                return Error(f"ERR Unknown client type '{printable(value)}'")
            found.is_of_nobody = not has_any
        case b"addr":
            found.address = _text(value)
        case b"laddr":
            found.local_address = _text(value)
        case b"user":
            if value != b"default":
                return Error(f"ERR No such user '{printable(value)}'")
        case b"skipme" if value.lower() in (b"yes", b"no"):
            found.spares_asking = value.lower() == b"yes"
        case _:
            return SYNTAX_ERROR
    return None


def on_pause(session: Session, args: list[bytes]) -> Reply:
    """Let this node's clients wait for some milliseconds, with all commands or with writes."""
    if len(args) > 4:
        return _wrong_usage(args)
    mode = args[3].lower() if len(args) == 4 else b"all"
    if mode not in (b"all", b"write"):
        return _BAD_PAUSE_MODE
    timeout_ms = parse_integer(args[2])
    if timeout_ms is None:
        return _BAD_TIMEOUT
    if timeout_ms < 0:
        return _NEGATIVE_TIMEOUT
    if timeout_ms > _INT64_MAX - session.node.now_us() // 1000:
        return _TIMEOUT_TOO_LONG
    session.node.pause_clients(timeout_ms, is_of_all=mode == b"all")
    return OK


def on_unpause(session: Session, _args: list[bytes]) -> Reply:
    """Let this node's clients go on."""
    session.node.unpause_clients()
    return OK


def on_unblock(session: Session, args: list[bytes]) -> Reply:
    """End the waiting of a client's command (redis CLIENT UNBLOCK); answer whether there was one."""
    if len(args) > 4:
        return _wrong_usage(args)
    reason = args[3].lower() if len(args) == 4 else b"timeout"
    if reason not in (b"timeout", b"error"):
        return _BAD_UNBLOCK_REASON
    client_id = parse_integer(args[2])
    if client_id is None:
        return NOT_AN_INTEGER
    return int(session.node.unblock_client(client_id, with_error=reason == b"error"))


def on_reply(session: Session, args: list[bytes]) -> Reply:
    """Have replies sent, or not, or not that to the next command; only ON is answered itself."""
    mode = _REPLY_MODES.get(args[2].lower())
    if mode is None:
        return SYNTAX_ERROR
    if not (mode is ReplyMode.SKIP and session.is_silent):
        session.reply_change = mode
        session.is_silent = mode is ReplyMode.OFF
    return OK


def on_no_evict(session: Session, args: list[bytes]) -> Reply:
    """Note that the connection is not to be closed for memory's sake, as none is here."""
    switch = _SWITCH.get(args[2].lower())
    if switch is None:
        return SYNTAX_ERROR
    session.is_evictable = not switch
    return OK


def on_no_touch(session: Session, args: list[bytes]) -> Reply:
    """Have the connection's reads leave it as it is when keys were last used, but for TOUCH."""
    switch = _SWITCH.get(args[2].lower())
    if switch is None:
        return SYNTAX_ERROR
    session.is_touching = not switch
    return OK


def on_trackinginfo(_session: Session, _args: list[bytes]) -> Reply:
    """Answer that nothing is tracked for this connection."""
    return {b"flags": ReplySet([b"off"]), b"redirect": -1, b"prefixes": []}


def on_getredir(_session: Session, _args: list[bytes]) -> Reply:
    """Answer -1: nothing is tracked for this connection."""
    return -1


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")


def _wrong_usage(args: list[bytes]) -> Error:
    """Redis's text where the arity alone does not tell (redis addReplySubcommandSyntaxError)."""
    word = printable(args[1])
    return Error(f"ERR unknown subcommand or wrong number of arguments for '{word}'. Try CLIENT HELP.")


def _row(
    word: bytes, arity: int, handler: Handler, docs: CommandDocs, *, is_of_admins: bool = True
) -> CommandSpec:
    flags = frozenset({"noscript", "loading", "stale"})
    categories = frozenset({"slow", "connection"})
    return CommandSpec(
        name=b"client|" + word,
        arity=arity,
        flags=flags | {"admin"} if is_of_admins else flags,
        route=LOCAL,
        handler=handler,
        acl_categories=categories | {"admin", "dangerous"} if is_of_admins else categories,
        docs=docs,
    )


def _docs(summary: str, since: str, *arguments: Argument, complexity: str = "O(1)") -> CommandDocs:
    return CommandDocs(summary, since, "connection", complexity, arguments)


def _token(name: str, *, since: str = "") -> Argument:
    return Argument(name, "pure-token", token=name.upper(), since=since)


_OPTIONAL = ("optional",)
_ON_OFF = Argument("enabled", "oneof", arguments=(_token("on"), _token("off")))
_KILL_ARGUMENT = Argument(
    "filter",
    "oneof",
    arguments=(
        Argument("old-format", "string"),
        Argument(
            "new-format",
            "oneof",
            flags=("multiple",),
            arguments=(
                Argument("client-id", "integer", token="ID", flags=_OPTIONAL, since="2.8.12"),
                Argument(
                    "client-type",
                    "oneof",
                    token="TYPE",
                    flags=_OPTIONAL,
                    arguments=(
                        _token("normal"),
                        _token("master", since="3.2.0"),
                        _token("slave"),
                        _token("replica", since="5.0.0"),
                        _token("pubsub"),
                    ),
                    since="2.8.12",
                ),
                Argument("username", "string", token="USER", flags=_OPTIONAL),
                Argument("addr", "string", token="ADDR", flags=_OPTIONAL),
                Argument("laddr", "string", token="LADDR", flags=_OPTIONAL, since="6.2.0"),
                Argument(
                    "skipme",
                    "oneof",
                    token="SKIPME",
                    flags=_OPTIONAL,
                    arguments=(_token("yes"), _token("no")),
                ),
            ),
        ),
    ),
)

SUBCOMMANDS: tuple[CommandSpec, ...] = (
    _row(
        b"kill",
        -3,
        on_kill,
        _docs(
            "Closes connections.",
            "2.4.0",
            _KILL_ARGUMENT,
            complexity="O(N) where N is the number of client connections",
        ),
    ),
    _row(
        b"pause",
        -3,
        on_pause,
        _docs(
            "Lets the clients of this node wait.",
            "3.0.0",
            Argument("timeout", "integer"),
            Argument(
                "mode",
                "oneof",
                flags=_OPTIONAL,
                arguments=(_token("write"), _token("all")),
                since="6.2.0",
            ),
        ),
    ),
    _row(
        b"unpause",
        2,
        on_unpause,
        _docs(
            "Lets paused clients go on.", "6.2.0", complexity="O(N) Where N is the number of paused clients"
        ),
    ),
    _row(
        b"unblock",
        -3,
        on_unblock,
        _docs(
            "Ends the waiting of another connection's command.",
            "5.0.0",
            Argument("client-id", "integer"),
            Argument(
                "unblock-type", "oneof", flags=_OPTIONAL, arguments=(_token("timeout"), _token("error"))
            ),
            complexity="O(log N) where N is the number of client connections",
        ),
    ),
    _row(
        b"reply",
        3,
        on_reply,
        _docs(
            "Says whether replies are sent.",
            "3.2.0",
            Argument("action", "oneof", arguments=(_token("on"), _token("off"), _token("skip"))),
        ),
        is_of_admins=False,
    ),
    _row(
        b"no-evict",
        3,
        on_no_evict,
        _docs("Keeps the connection from being closed for memory's sake.", "7.0.0", _ON_OFF),
    ),
    _row(
        b"no-touch",
        3,
        on_no_touch,
        _docs("Keeps the connection's reads from counting as uses of keys.", "7.2.0", _ON_OFF),
        is_of_admins=False,
    ),
    _row(
        b"trackinginfo",
        2,
        on_trackinginfo,
        _docs("Returns what is tracked for the connection.", "6.2.0"),
        is_of_admins=False,
    ),
    _row(
        b"getredir",
        2,
        on_getredir,
        _docs("Returns who is told of what is tracked for the connection.", "6.0.0"),
        is_of_admins=False,
    ),
)
