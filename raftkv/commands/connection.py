"""What a client says to its connection: PING, ECHO, HELLO, AUTH, SELECT, QUIT, RESET, READONLY and the like.

Knows no sockets: handlers change the Session, and the client shell acts on it.
"""

from __future__ import annotations

import hmac

from raftkv.commands.databases import read_database
from raftkv.commands.session import ReplyMode, Session
from raftkv.commands.table import LOCAL, Argument, CommandDocs, CommandSpec
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import (
    OK,
    PONG,
    SYNTAX_ERROR,
    Error,
    Reply,
    Simple,
    printable,
)

#: The Redis whose replies these are; clients look at it to know what they may ask.
REDIS_VERSION = "7.2.4"

#: Redis's texts.
_NO_SUCH_PROTOCOL = Error("NOPROTO unsupported protocol version")
_PROTOCOL_NOT_AN_INTEGER = Error("ERR Protocol version is not an integer or out of range")
_WRONG_PASSWORD = Error("WRONGPASS invalid username-password pair or user is disabled.")
_NO_PASSWORD_SET = Error(
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
_HELLO_WITHOUT_PASSWORD = Error(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
    "<user> <pass> option can be used to authenticate the client and select the RESP protocol version at the "
    "same time"
)
_BAD_CLIENT_NAME = Error("ERR Client names cannot contain spaces, newlines or special characters.")


#: The only user there is.
_DEFAULT_USER = b"default"


def is_plain(text: bytes) -> bool:
    """Whether a client may be called that: visible ASCII only, for CLIENT LIST's sake."""
    return all(0x21 <= byte <= 0x7E for byte in text)


def set_name(session: Session, name: bytes) -> Reply:
    """Name the connection, or take its name away with an empty one (redis CLIENT SETNAME)."""
    if not is_plain(name):
        return _BAD_CLIENT_NAME
    session.name = name
    return OK


def on_ping(_session: Session, args: list[bytes]) -> Reply:
    """Answer PONG, or the message."""
    if len(args) > 2:
        return Error("ERR wrong number of arguments for 'ping' command")
    return PONG if len(args) == 1 else args[1]


def on_echo(_session: Session, args: list[bytes]) -> Reply:
    """Answer the message."""
    return args[1]


def on_hello(session: Session, args: list[bytes]) -> Reply:
    """Agree on a protocol; nothing is changed unless all that is asked can be done."""
    protocol = session.protocol
    if len(args) > 1:
        asked = parse_integer(args[1])
        if asked is None:
            return _PROTOCOL_NOT_AN_INTEGER
        if asked not in (2, 3):
            return _NO_SUCH_PROTOCOL
        protocol = asked
    name: bytes | None = None
    user_and_password: list[bytes] = []
    position = 2
    while position < len(args):
        option, values = args[position].lower(), args[position + 1 :]
        if option == b"auth" and len(values) >= 2:
            user_and_password = values[:2]
            position += 3
        elif option == b"setname" and values:
            name = values[0]
            if not is_plain(name):
                return _BAD_CLIENT_NAME
            position += 2
        else:
            return Error(f"ERR Syntax error in HELLO option '{printable(args[position])}'")
    if user_and_password and not _authenticate(session, *user_and_password):
        return _WRONG_PASSWORD
    if session.must_authenticate:
        return _HELLO_WITHOUT_PASSWORD
    if name is not None:
        session.name = name
    session.protocol = protocol
    return _greeting(session)


def _greeting(session: Session) -> Reply:
    return {
        b"server": b"redis",
        b"version": REDIS_VERSION.encode(),
        b"proto": session.protocol,
        b"id": session.client_id,
        b"mode": b"standalone" if session.is_standalone else b"cluster",
        b"role": b"master" if session.is_standalone or session.node.status().is_leader else b"replica",
        b"modules": [],
    }


def on_auth(session: Session, args: list[bytes]) -> Reply:
    """Take the password; where none is set, the default user needs none (redis AUTH)."""
    if len(args) > 3:
        return SYNTAX_ERROR
    if len(args) == 2 and not session.node.settings.config.requirepass:
        return _NO_PASSWORD_SET
    user = _DEFAULT_USER if len(args) == 2 else args[1]
    return OK if _authenticate(session, user, args[-1]) else _WRONG_PASSWORD


def _authenticate(session: Session, user: bytes, password: bytes) -> bool:
    """Let the client in if the password is right; a wrong one takes nothing from who is in already."""
    required = session.node.settings.config.requirepass.encode("utf-8", "surrogateescape")
    # The time that it takes tells nothing of how much of a guess is right.
    if user != _DEFAULT_USER or (required and not hmac.compare_digest(password, required)):
        return False
    session.is_authenticated = True
    return True


def on_select(session: Session, args: list[bytes]) -> Reply:
    """Choose the database (redis SELECT)."""
    db = read_database(args[1], is_standalone=session.is_standalone)
    if isinstance(db, Error):
        return db
    session.db = db
    return OK


def on_quit(session: Session, _args: list[bytes]) -> Reply:
    """Answer OK, then close."""
    session.is_closing = True
    return OK


def on_reset(session: Session, _args: list[bytes]) -> Reply:
    """Make the connection what it was when it was new."""
    session.protocol = 2
    session.db = 0
    session.name = b""
    session.is_readonly = False
    session.is_asking = False
    session.is_authenticated = not session.node.settings.config.requirepass
    session.is_evictable = True
    session.is_touching = True
    if session.is_silent:
        session.is_silent = False
        session.reply_change = ReplyMode.ON
    return Simple("RESET")


def on_readonly(session: Session, _args: list[bytes]) -> Reply:
    """Let this connection read at a follower."""
    session.is_readonly = True
    return OK


def on_readwrite(session: Session, _args: list[bytes]) -> Reply:
    """Send this connection's reads to the leader again."""
    session.is_readonly = False
    return OK


def on_asking(session: Session, _args: list[bytes]) -> Reply:
    """Note that the client was sent here by -ASK, which nothing sends yet."""
    session.is_asking = True
    return OK


_FAST = frozenset({"fast", "connection"})
_ALWAYS = frozenset({"loading", "stale", "fast"})
_HANDSHAKE = frozenset({"noscript", "loading", "stale", "fast", "no_auth", "allow_busy"})


def _docs(summary: str, since: str, *arguments: Argument, group: str = "connection") -> CommandDocs:
    return CommandDocs(summary, since, group, "O(1)", arguments)


_AUTH_ARGUMENT = Argument(
    "auth",
    "block",
    token="AUTH",
    flags=("optional",),
    arguments=(Argument("username", "string"), Argument("password", "string")),
)

COMMANDS: tuple[CommandSpec, ...] = (
    CommandSpec(
        name=b"ping",
        arity=-1,
        flags=frozenset({"fast"}),
        route=LOCAL,
        handler=on_ping,
        acl_categories=_FAST,
        docs=_docs(
            "Tells that the server is there.", "1.0.0", Argument("message", "string", flags=("optional",))
        ),
        tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    ),
    CommandSpec(
        name=b"echo",
        arity=2,
        flags=_ALWAYS,
        route=LOCAL,
        handler=on_echo,
        acl_categories=_FAST,
        docs=_docs("Returns the message.", "1.0.0", Argument("message", "string")),
    ),
    CommandSpec(
        name=b"hello",
        arity=-1,
        flags=_HANDSHAKE,
        route=LOCAL,
        handler=on_hello,
        acl_categories=_FAST,
        docs=_docs(
            "Agrees on a protocol version.",
            "6.0.0",
            Argument(
                "arguments",
                "block",
                flags=("optional",),
                arguments=(
                    Argument("protover", "integer"),
                    _AUTH_ARGUMENT,
                    Argument("clientname", "string", token="SETNAME", flags=("optional",)),
                ),
            ),
        ),
    ),
    CommandSpec(
        name=b"auth",
        arity=-2,
        flags=_HANDSHAKE,
        route=LOCAL,
        handler=on_auth,
        acl_categories=_FAST,
        docs=_docs(
            "Authenticates the connection.",
            "1.0.0",
            Argument("username", "string", flags=("optional",), since="6.0.0"),
            Argument("password", "string"),
        ),
    ),
    CommandSpec(
        name=b"select",
        arity=2,
        flags=_ALWAYS,
        route=LOCAL,
        handler=on_select,
        acl_categories=_FAST,
        docs=_docs("Chooses the connection's database.", "1.0.0", Argument("index", "integer")),
    ),
    CommandSpec(
        name=b"quit",
        arity=-1,
        flags=_HANDSHAKE,
        route=LOCAL,
        handler=on_quit,
        acl_categories=_FAST,
        docs=_docs("Closes the connection.", "1.0.0"),
    ),
    CommandSpec(
        name=b"reset",
        arity=1,
        flags=_HANDSHAKE,
        route=LOCAL,
        handler=on_reset,
        acl_categories=_FAST,
        docs=_docs("Makes the connection as good as new.", "6.2.0"),
    ),
    CommandSpec(
        name=b"readonly",
        arity=1,
        flags=_ALWAYS,
        route=LOCAL,
        handler=on_readonly,
        acl_categories=_FAST,
        docs=_docs("Lets the connection read at a replica.", "3.0.0", group="cluster"),
    ),
    CommandSpec(
        name=b"readwrite",
        arity=1,
        flags=_ALWAYS,
        route=LOCAL,
        handler=on_readwrite,
        acl_categories=_FAST,
        docs=_docs("Sends the connection's reads to the master again.", "3.0.0", group="cluster"),
    ),
    CommandSpec(
        name=b"asking",
        arity=1,
        flags=frozenset({"fast"}),
        route=LOCAL,
        handler=on_asking,
        acl_categories=_FAST,
        docs=_docs("Tells that the client was sent here by an -ASK error.", "3.0.0", group="cluster"),
    ),
)
