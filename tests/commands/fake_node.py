"""A NodeView over values that a test sets, which records what it is asked to do."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field

from raftkv.commands import build_table
from raftkv.commands.session import (
    Counters,
    KeyCount,
    MemberStatus,
    NodeStatus,
    NodeView,
    ProcessStatus,
    Session,
)
from raftkv.commands.table import Awaited, CommandRefused, CommandTable, Sliced
from raftkv.config import Config
from raftkv.raft.types import FOLLOWER, LEADER, RaftStatus
from raftkv.resp.replies import Reply
from raftkv.runtime_settings import RuntimeSettings

CLUSTER_ID = bytes(range(16))
NOW_US = 1_700_000_000_123_456
TABLE = build_table()


def member(node_id: int, *, match_index: int = 0) -> MemberStatus:
    """Node 1 is at port 7001, and so on."""
    return MemberStatus(
        node_id, "127.0.0.1", 7000 + node_id, 17000 + node_id, is_reachable=True, match_index=match_index
    )


def node_status(node_id: int = 1, *, leader_id: int = 1) -> NodeStatus:
    """Three nodes in term 4, with 90 of 100 entries committed and applied."""
    is_leader = node_id == leader_id
    return NodeStatus(
        cluster_id=CLUSTER_ID,
        node_id=node_id,
        members=[
            member(other, match_index=80 + other if is_leader and other != node_id else 0)
            for other in (1, 2, 3)
        ],
        raft=RaftStatus(
            node_id=node_id,
            role=LEADER if is_leader else FOLLOWER,
            current_term=4,
            leader_id=leader_id,
            commit_index=90,
            last_applied=90,
            first_index=1,
            last_index=100,
            persisted_index=95,
            peers=[],
        ),
        last_leader_id=leader_id or 1,
        process=ProcessStatus(
            pid=4242,
            run_id="ab" * 20,
            uptime_s=90000,
            memory_bytes=3 << 20,
            memory_peak_bytes=4 << 20,
            memory_total_bytes=8 << 30,
            cpu_user_s=1.5,
            cpu_system_s=0.25,
            log_bytes=1000,
            state_bytes=2000,
            state_durable_index=50,
            os_name="Linux",
        ),
        counters=Counters(connections_received=7, errors={"ERR": 2, "MOVED": 1}),
    )


@dataclass
class FakeNode:
    """Satisfies NodeView."""

    look: NodeStatus = field(default_factory=node_status)
    settings: RuntimeSettings = field(default_factory=lambda: RuntimeSettings(Config()))
    commands: CommandTable = TABLE
    open_sessions: list[Session] = field(default_factory=list)
    keys_by_slot: dict[int, list[bytes]] = field(default_factory=dict)
    replicas: int = 2
    leadership_requests: int = 0
    replicas_asked_at: list[int] = field(default_factory=list)

    def status(self) -> NodeStatus:
        return self.look

    def now_us(self) -> int:
        return NOW_US

    def sessions(self) -> Iterable[Session]:
        return iter(self.open_sessions)

    def key_counts(self) -> Mapping[int, KeyCount]:
        keys = sum(map(len, self.keys_by_slot.values()))
        return {0: KeyCount(keys=keys, expiring=1 if keys else 0)}

    def count_keys_in_slot(self, slot: int) -> Sliced:
        return _sliced(len(self.keys_by_slot.get(slot, [])))

    def keys_in_slot(self, slot: int, *, count_max: int) -> Sliced:
        return _sliced(self.keys_by_slot.get(slot, [])[:count_max])

    def digest(self) -> Sliced:
        return _sliced([b"d1635", self.look.raft.last_applied])

    def replicas_at(self, index: int) -> int:
        self.replicas_asked_at.append(index)
        return self.replicas

    def request_leadership(self) -> None:
        self.leadership_requests += 1


def _sliced(reply: Reply) -> Sliced:
    """A reply that is made in two pieces."""

    def work() -> Generator[None, None, Reply]:
        yield
        return reply

    return Sliced(work())


def open_session(node: FakeNode | None = None) -> Session:
    """Connect a client."""
    node = node or FakeNode()
    view: NodeView = node
    session = Session(
        client_id=len(node.open_sessions) + 1,
        node=view,
        address="127.0.0.1:50000",
        local_address="127.0.0.1:7001",
        created_ms=NOW_US // 1000 - 5000,
        active_ms=NOW_US // 1000 - 2000,
    )
    node.open_sessions.append(session)
    return session


def ask(session: Session, *args: str | bytes) -> Reply | Awaited:
    """Answer a request as the client shell does; long replies are made at once."""
    request = [arg.encode() if isinstance(arg, str) else arg for arg in args]
    try:
        spec = session.node.commands.resolve(request)
    except CommandRefused as refused:
        return refused.reply
    session.last_command = spec.name
    reply = spec.handler(session, request)
    return reply.run() if isinstance(reply, Sliced) else reply
