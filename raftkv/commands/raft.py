"""RAFT: what only a store over Raft can be asked, and the changes of its members.

Knows nothing of how a digest is made or a change is carried out. ADD, REMOVE, PROMOTE, REPLACE and TRANSFER
are for the leader, see `changes`; SNAPSHOT and COMPACT are about the node that is asked.
"""

from __future__ import annotations

from collections.abc import Callable

from raftkv.commands.administration import Undertaking
from raftkv.commands.backup import BACKUP
from raftkv.commands.changes import (
    Target,
    answer_number,
    answer_ok,
    awaited,
    elsewhere,
    node_id_of,
    refusal_of_stranger,
    target_of,
)
from raftkv.commands.containers import container
from raftkv.commands.raft_info import on_info, on_members
from raftkv.commands.session import Session
from raftkv.commands.table import LOCAL, Argument, Awaited, CommandDocs, CommandSpec, Handler, Sliced
from raftkv.raft.types import NOBODY
from raftkv.resp.integers import parse_integer
from raftkv.resp.replies import NOT_AN_INTEGER, SYNTAX_ERROR, Error, Reply, try_again

_KEEP_NEGATIVE = Error("ERR value is out of range, must be positive")
_FLUSHING = try_again("the flush to disk is still under way")
#: A transfer is given up by the leader after one.
_TRANSFER_ELECTION_TIMEOUTS = 2


def on_digest(session: Session, _args: list[bytes]) -> Sliced:
    """Answer the digest of this node's whole keyspace and the applied index at which it holds."""
    return session.node.digest()


def on_add(session: Session, args: list[bytes]) -> Reply | Awaited:
    """Have the node that waits at an address taken in; answer its id once it is a member.

    It becomes a voter by itself once it has caught up, a LEARNER never.
    """
    is_learner = args[2].lower() == b"learner"
    target = _target_in(args[3:] if is_learner else args[2:])
    return _take_in(session, target, takes_place_of=NOBODY, is_learner=is_learner)


def on_replace(session: Session, args: list[bytes]) -> Reply | Awaited:
    """As ADD, but once the new node has caught up a voter goes in the same step."""
    takes_place_of = node_id_of(args[2])
    if isinstance(takes_place_of, Error):
        return takes_place_of
    return _take_in(session, _target_in(args[3:]), takes_place_of=takes_place_of, is_learner=False)


def _target_in(words: list[bytes]) -> Target | Error:
    if len(words) == 4 and words[2].lower() == b"peerport":
        return target_of(words[0], words[1], words[3])
    return target_of(words[0], words[1], None) if len(words) == 2 else SYNTAX_ERROR


def _take_in(
    session: Session, target: Target | Error, *, takes_place_of: int, is_learner: bool
) -> Reply | Awaited:
    if isinstance(target, Error):
        return target
    refusal = elsewhere(session)
    if refusal is None and takes_place_of != NOBODY:
        refusal = refusal_of_stranger(session, takes_place_of)
    if refusal is not None:
        return refusal
    undertaking = session.node.administration.add(
        target.host, target.peer_port, takes_place_of=takes_place_of, is_learner=is_learner
    )
    return awaited(session, undertaking, answer_number)


def on_remove(session: Session, args: list[bytes]) -> Reply | Awaited:
    """Let a member go; answer once that is committed, so that it counts no more."""
    return _change_member(session, args[2], session.node.administration.remove)


def on_promote(session: Session, args: list[bytes]) -> Reply | Awaited:
    """Make a learner that has caught up a voter; answer once that is committed."""
    return _change_member(session, args[2], session.node.administration.promote)


def _change_member(session: Session, text: bytes, begin: Callable[[int], Undertaking]) -> Reply | Awaited:
    node_id = node_id_of(text)
    if isinstance(node_id, Error):
        return node_id
    refusal = elsewhere(session) or refusal_of_stranger(session, node_id)
    if refusal is not None:
        return refusal
    return awaited(session, begin(node_id), answer_ok)


def on_transfer(session: Session, args: list[bytes]) -> Reply | Awaited:
    """Hand leadership over, to whoever has most of the log unless told; answer who leads then."""
    if len(args) > 3:
        return SYNTAX_ERROR
    node_id = node_id_of(args[2]) if len(args) == 3 else NOBODY
    if isinstance(node_id, Error):
        return node_id
    refusal = elsewhere(session)
    if refusal is not None:
        return refusal
    to = "another node" if node_id == NOBODY else f"node {node_id}"
    late = try_again(f"{to} did not take over in time; RAFT MEMBERS shows who leads")
    timeout_ms = _TRANSFER_ELECTION_TIMEOUTS * session.node.settings.config.election_timeout_ms
    undertaking = session.node.administration.transfer(node_id)
    return awaited(session, undertaking, answer_number, late=late, timeout_ms=timeout_ms)


def on_snapshot(session: Session, _args: list[bytes]) -> Awaited:
    """Flush this node's state; answer the index that it is durable up to then."""
    return awaited(session, session.node.administration.flush(), answer_number, late=_FLUSHING, timeout_ms=0)


def on_compact(session: Session, args: list[bytes]) -> Reply | Awaited:
    """Flush, then drop from this node's log what isn't needed any more; answer the first index left."""
    keep_count: int | None = 0
    if len(args) > 2:
        if len(args) != 4 or args[2].lower() != b"keep":
            return SYNTAX_ERROR
        keep_count = parse_integer(args[3])
    if keep_count is None:
        return NOT_AN_INTEGER
    if keep_count < 0:
        return _KEEP_NEGATIVE
    undertaking = session.node.administration.compact(keep_count)
    return awaited(session, undertaking, answer_number, late=_FLUSHING, timeout_ms=0)


_ID = Argument("node-id", "integer")
_ADDRESS = (
    Argument("host", "string"),
    Argument("port", "integer"),
    Argument("peer-port", "integer", token="PEERPORT", flags=("optional",)),
)
_PER_MEMBER = "O(N) where N is the number of members"
_FLUSHED = "O(N) where N is the number of changes since the last flush"


def _docs(summary: str, complexity: str, *arguments: Argument) -> CommandDocs:
    return CommandDocs(summary, "7.2.0", "server", complexity, arguments)


def _row(
    word: str,
    arity: int,
    handler: Handler,
    docs: CommandDocs,
    *,
    flags: str = "admin noscript stale no_multi",
) -> CommandSpec:
    words = frozenset(flags.split())
    return CommandSpec(
        name=b"raft|" + word.encode(),
        arity=arity,
        flags=words,
        route=LOCAL,
        handler=handler,
        acl_categories=frozenset({"slow", "dangerous"} | (words & {"admin"})),
        docs=docs,
        tips=("nondeterministic_output",),
    )


_LOOKS = "noscript stale"

COMMANDS: tuple[CommandSpec, ...] = (
    container(
        b"raft",
        CommandDocs("A container for commands about Raft.", "7.2.0", "server", "Depends on subcommand."),
        (
            _row(
                "info",
                2,
                on_info,
                _docs("Describes this node's Raft, membership, log and snapshots.", _PER_MEMBER),
                flags=_LOOKS,
            ),
            _row(
                "members",
                2,
                on_members,
                _docs("Describes the members; the leader knows most.", _PER_MEMBER),
                flags=_LOOKS,
            ),
            _row(
                "add",
                -4,
                on_add,
                _docs(
                    "Takes in the node that waits at an address; returns its id.",
                    "O(1)",
                    Argument("learner", "pure-token", token="LEARNER", flags=("optional",)),
                    *_ADDRESS,
                ),
            ),
            _row("remove", 3, on_remove, _docs("Lets a member go for good.", "O(1)", _ID)),
            _row("promote", 3, on_promote, _docs("Makes a learner a voter.", "O(1)", _ID)),
            _row(
                "replace",
                -5,
                on_replace,
                _docs(
                    "Takes in a node that replaces a voter once it has caught up; returns its id.",
                    "O(1)",
                    _ID,
                    *_ADDRESS,
                ),
            ),
            _row(
                "transfer",
                -2,
                on_transfer,
                _docs(
                    "Hands leadership over; returns who leads then.",
                    "O(1)",
                    Argument("node-id", "integer", flags=("optional",)),
                ),
            ),
            _row(
                "snapshot",
                2,
                on_snapshot,
                _docs("Flushes this node's state to disk; returns its log index.", _FLUSHED),
            ),
            _row(
                "compact",
                -2,
                on_compact,
                _docs(
                    "Flushes, then drops this node's log as far as possible; returns the first index left.",
                    _FLUSHED,
                    Argument("count", "integer", token="KEEP", flags=("optional",)),
                ),
            ),
            CommandSpec(
                name=b"raft|digest",
                arity=2,
                flags=frozenset({"noscript"}),
                route=LOCAL,
                handler=on_digest,
                acl_categories=frozenset({"slow", "keyspace", "dangerous"}),
                docs=CommandDocs(
                    "Returns a digest of all data on this node, and the log index at which it holds.",
                    "7.2.0",
                    "server",
                    "O(N) where N is the number of rows",
                ),
                tips=("nondeterministic_output",),
            ),
            BACKUP,
        ),
    ),
)
