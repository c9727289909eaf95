"""Asks running nodes over RESP how they and their cluster are, as `raftkv status` and `raftkv up` show it.

A client like any other: it knows INFO, CLUSTER INFO and CLUSTER NODES, and nothing of the node behind
them. Every question has a deadline; who doesn't answer in time is reported as unreachable, never waited
for, and never remembered from an earlier look.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import hiredis

from raftkv.config import join_address

#: Seconds that a node has to answer everything it is asked.
ANSWER_SECONDS_MAX = 2.0

#: Inline requests, in the order in which `_answer_of` reads the replies.
_QUESTIONS = (b"INFO server\r\n", b"INFO raft\r\n", b"CLUSTER INFO\r\n", b"CLUSTER NODES\r\n")
_READ_BYTES = 1 << 16
_NODE_FIELD = re.compile(r"raft_node(\d+)")


class StatusUnavailable(Exception):
    """A node can't be asked, or gave no answer that a raftkv node gives."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address} {reason}")
        self.address = address
        self.reason = reason


class PasswordRefused(StatusUnavailable):
    """A node answers nothing without a password, or without another one (redis NOAUTH, WRONGPASS)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node's clients connect."""

    host: str
    port: int

    def __str__(self) -> str:
        return join_address(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a member is to the leader."""

    #: "voter", "learner", "staged" (a learner that will vote) or "outgoing".
    name: str = "voter"
    #: Entries that it lacks; None: not known, or of no interest.
    behind: int | None = None
    #: Of a snapshot that it is being sent.
    snapshot_percent: int | None = None


_VOTER = Standing()


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What one node says of itself and of its cluster."""

    cluster_id: str
    node_id: int
    #: None: it knows of no leader.
    leader_id: int | None
    #: "leader", "follower" or "candidate".
    role: str
    term: int
    commit_index: int
    applied_index: int
    last_index: int
    pid: int
    #: It says cluster_state:ok, which takes a leader that it hears.
    is_serving: bool
    #: "ok", "short" of space or "stalled".
    disk: str
    #: Every member by id, itself included.
    members: Mapping[int, Place]
    #: What it knows of the others' standing, by id.
    standings: Mapping[int, Standing] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One row of the cluster's status; None is what is unknown because the node did not answer."""

    id: int
    address: str
    role: str | None
    term: int | None
    commit_index: int | None
    applied_index: int | None
    last_index: int | None
    #: It answers, be it that it refuses the password.
    reachable: bool
    pid: int | None
    #: "ok", "short" of space or "stalled".
    disk: str | None = None
    #: As the leader says: see `Standing`. None: there is no leader that could.
    standing: str | None = None
    behind: int | None = None
    snapshot_percent: int | None = None

    @property
    def is_refusing(self) -> bool:
        """It answers, but to another password."""
        return self.reachable and self.role is None


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking several members; who is in neither did not answer."""

    answers: Mapping[int, NodeAnswer]
    #: Who refused the password.
    refusing: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """One look at a cluster, put together from what each node said of itself."""

    cluster_id: str | None
    #: The highest term that any node is in.
    term: int | None
    #: The leader of that term, None while there is none.
    leader: int | None
    #: The leader says that it serves.
    is_serving: bool
    #: Ordered by id.
    nodes: tuple[NodeStatus, ...]

    def as_json(self) -> dict[str, object]:
        """Return the object that `raftkv status --json` prints."""
        rows = [{key: getattr(node, key) for key in NodeStatus.__slots__} for node in self.nodes]
        return {"cluster_id": self.cluster_id, "term": self.term, "leader": self.leader, "nodes": rows}


async def look(place: Place, *, password: str = "") -> ClusterStatus:
    """Ask the node at `place` who the members are, then each of them. Raises StatusUnavailable.

    `password` is every node's; "": it is not known.
    """
    first = await ask_node(place, password=password)
    members = {**first.members, first.node_id: place}
    others = {node_id: member for node_id, member in members.items() if node_id != first.node_id}
    asked = await ask_members(others, password=password)
    return assemble(members, Asked({**asked.answers, first.node_id: first}, asked.refusing))


async def ask_members(members: Mapping[int, Place], *, password: str = "") -> Asked:
    """Ask all at once; who doesn't answer, or answers as another node, is left out."""
    questions = (ask_node(place, password=password) for place in members.values())
    replies = await asyncio.gather(*questions, return_exceptions=True)
    answers: dict[int, NodeAnswer] = {}
    refusing: set[int] = set()
    for node_id, reply in zip(members, replies, strict=True):
        if isinstance(reply, NodeAnswer):
            if reply.node_id == node_id:
                answers[node_id] = reply
        elif isinstance(reply, PasswordRefused):
            refusing.add(node_id)
        elif not isinstance(reply, StatusUnavailable):
            raise reply
    return Asked(answers, frozenset(refusing))


def assemble(members: Mapping[int, Place], asked: Asked) -> ClusterStatus:
    """Put the answers together; the newest term decides who leads."""
    answers = asked.answers
    newest = max(answers.values(), key=lambda answer: (answer.term, answer.role == "leader"), default=None)
    leader = None if newest is None else newest.leader_id
    leading = None if leader is None else answers.get(leader)
    return ClusterStatus(
        cluster_id=None if newest is None else newest.cluster_id,
        term=None if newest is None else newest.term,
        leader=leader,
        is_serving=leading is not None and leading.role == "leader" and leading.is_serving,
        nodes=tuple(_row(node_id, members[node_id], asked, leading) for node_id in sorted(members)),
    )


async def ask_node(place: Place, *, password: str = "") -> NodeAnswer:
    """Ask one node about itself. Raises StatusUnavailable."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            replies = await converse(place, _QUESTIONS, password=password)
    except TimeoutError:
        raise StatusUnavailable(str(place), f"did not answer within {ANSWER_SECONDS_MAX:g} s") from None
    except OSError as failure:
        raise StatusUnavailable(str(place), f"can't be reached: {failure.strerror or failure}") from None
    except hiredis.ProtocolError:
        raise StatusUnavailable(str(place), "does not speak Redis's protocol") from None
    try:
        return _answer_of(place, replies)
    except (KeyError, ValueError) as lack:
        raise StatusUnavailable(str(place), f"is no raftkv node, or none that is ready: {lack}") from None


def _row(node_id: int, place: Place, asked: Asked, leading: NodeAnswer | None) -> NodeStatus:
    answer = asked.answers.get(node_id)
    standing = None if leading is None else leading.standings.get(node_id, _VOTER)
    return NodeStatus(
        id=node_id,
        address=str(place),
        role=None if answer is None else answer.role,
        term=None if answer is None else answer.term,
        commit_index=None if answer is None else answer.commit_index,
        applied_index=None if answer is None else answer.applied_index,
        last_index=None if answer is None else answer.last_index,
        reachable=answer is not None or node_id in asked.refusing,
        pid=None if answer is None else answer.pid,
        disk=None if answer is None else answer.disk,
        standing=None if standing is None else standing.name,
        behind=None if standing is None else standing.behind,
        snapshot_percent=None if standing is None else standing.snapshot_percent,
    )


async def converse(place: Place, questions: Sequence[bytes], *, password: str) -> list[object]:
    """Send encoded requests and return a reply for each; bytes in them come as text.

    Raises PasswordRefused, OSError, hiredis.ProtocolError.
    """
    greeting = _greeting_of(password)
    try:
        reader, writer = await asyncio.open_connection(place.host, place.port)
    except UnicodeError:
        raise OSError(f"{place.host!r} is no host name") from None
    try:
        writer.write(b"".join((*greeting, *questions)))
        parser = hiredis.Reader(encoding="utf-8", errors="replace")
        replies: list[object] = []
        while len(replies) < len(greeting) + len(questions):
            received = await reader.read(_READ_BYTES)
            if not received:
                raise ConnectionResetError("it closed the connection")
            parser.feed(received)
            while (reply := parser.gets()) is not False:
                replies.append(reply)
                _refuse_password(place, reply)
        return replies[len(greeting) :]
    finally:
        writer.close()


def _greeting_of(password: str) -> list[bytes]:
    """AUTH, in the form that a node without a password takes as well (redis ACL: nopass)."""
    words = (b"AUTH", b"default", password.encode("utf-8", "surrogateescape"))
    return [hiredis.pack_command(words)] if password else []  # type: ignore[arg-type]  # the stub allows one item


def _refuse_password(place: Place, reply: object) -> None:
    if isinstance(reply, hiredis.ReplyError):
        error = str(reply)
        if error.startswith("WRONGPASS"):
            raise PasswordRefused(str(place), f"refuses the password: {error}")
        if error.startswith("NOAUTH"):
            raise PasswordRefused(str(place), f"asks for a password: {error}")


def _answer_of(place: Place, replies: Iterable[object]) -> NodeAnswer:
    """Read the replies to `_QUESTIONS`. Raises KeyError or ValueError for what a raftkv node doesn't say."""
    server_text, raft_text, cluster_text, nodes_text = (_text(reply) for reply in replies)
    server, raft, cluster = _fields(server_text), _fields(raft_text), _fields(cluster_text)
    if "raft_node_id" not in raft:
        raise ValueError("it has no raft section in INFO")
    node_id = int(raft["raft_node_id"])
    leader_id = int(raft["raft_leader_id"])
    return NodeAnswer(
        cluster_id=raft["raft_cluster_id"],
        node_id=node_id,
        leader_id=leader_id if leader_id > 0 else None,
        role=raft["raft_role"],
        term=int(raft["raft_current_term"]),
        commit_index=int(raft["raft_commit_index"]),
        applied_index=int(raft["raft_last_applied_index"]),
        last_index=int(raft["raft_current_index"]),
        pid=int(server["process_id"]),
        is_serving=cluster.get("cluster_state") == "ok",
        disk=raft.get("raft_disk", "ok"),
        members={**_members_in(raft), node_id: _own_place(nodes_text, place)},
        standings={other: _standing_in(parts) for other, parts in _others_in(raft).items()},
    )


def _text(reply: object) -> str:
    if isinstance(reply, hiredis.ReplyError):
        raise ValueError(f"it says {reply}")
    if not isinstance(reply, str):
        raise ValueError("its answers are no text")
    return reply


def _fields(text: str) -> dict[str, str]:
    """Read lines of name:value (redis INFO)."""
    lines = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in lines if colon}


def _members_in(raft: Mapping[str, str]) -> dict[int, Place]:
    """Read the raft_node<id>:...,addr=..,port=.. lines."""
    return {node_id: Place(parts["addr"], int(parts["port"])) for node_id, parts in _others_in(raft).items()}


def _others_in(raft: Mapping[str, str]) -> dict[int, dict[str, str]]:
    found = ((_NODE_FIELD.fullmatch(name), value) for name, value in raft.items())
    return {
        int(match[1]): dict(part.partition("=")[::2] for part in value.split(","))
        for match, value in found
        if match
    }


def _standing_in(parts: Mapping[str, str]) -> Standing:
    behind, percent = parts.get("lag"), parts.get("snapshot_percent")
    return Standing(
        parts.get("role", "voter"),
        None if behind is None else int(behind),
        None if percent is None else int(percent),
    )


def _own_place(nodes_text: str, asked: Place) -> Place:
    """Find the address on the `myself` line (redis CLUSTER NODES); `asked` when it names none."""
    for line in nodes_text.splitlines():
        _, address, flags, *_ = line.split(" ")
        if "myself" in flags.split(","):
            host, _, port = address.partition("@")[0].rpartition(":")
            return Place(host, int(port)) if host else asked
    return asked
